"""Networks over a frozen base: no effect at first, every kind learns, and what was trained is read and set exactly."""

import copy

import pytest
import torch
from diffusers import UNet2DConditionModel
from networks_world import LAYERS, NETWORKS, ask, tiny_unet
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import CLIPTextConfig, CLIPTextModel

from assetforge.errors import UsageError
from assetforge_diffusers.keys.layer import Layer, kind_of
from assetforge_diffusers.networks import ADAPTER, adapt, adapter_layers, denoiser_config, load_layers, text_config
from assetforge_diffusers.params import LoraTrainerParams


def tiny_encoder() -> CLIPTextModel:
    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=24,
        projection_dim=16,
    )
    return CLIPTextModel(config).requires_grad_(False).eval()


def params(network: str, **settings) -> LoraTrainerParams:
    return LoraTrainerParams(**{"network": network, "rank": 4, "alpha": 3.0, "conv_rank": 2, **settings})


def adapted(network: str, dtype: torch.dtype = torch.float32, **settings) -> UNet2DConditionModel:
    unet = tiny_unet(dtype)
    torch.manual_seed(5)
    adapt(unet, denoiser_config(LAYERS, params(network, **settings)))
    return unet


def computing(network: str, dtype: torch.dtype):
    """As the training loop does it."""
    return torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16 and network != "lora")


def trained(network: str, steps: int = 3, **settings) -> UNet2DConditionModel:
    unet = adapted(network, **settings)
    learning = [parameter for parameter in unet.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-2)
    unet.train()
    for _ in range(steps):
        optimizer.zero_grad()
        ask(unet).square().mean().backward()
        optimizer.step()
    return unet.eval()


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_new_network_changes_nothing(network: str, dtype: torch.dtype) -> None:
    with torch.no_grad():
        before = ask(tiny_unet(dtype))
        for mode in (True, False):
            assert torch.equal(ask(adapted(network, dtype).train(mode)), before)
        plain, unet = tiny_unet(dtype), adapted(network, dtype)
        with computing(network, dtype):
            assert torch.equal(ask(unet), ask(plain))


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_kind_trains_in_fp32_over_any_base(network: str, dtype: torch.dtype) -> None:
    unet = adapted(network, dtype).train()
    learning = {name: parameter for name, parameter in unet.named_parameters() if parameter.requires_grad}
    assert learning
    assert {parameter.dtype for parameter in learning.values()} == {torch.float32}
    optimizer = torch.optim.AdamW(learning.values(), lr=1e-2)
    losses = []
    for step in range(4):
        optimizer.zero_grad()
        with computing(network, dtype):
            loss = ask(unet).float().square().mean()
        loss.backward()
        assert all(bool(p.grad.isfinite().all()) for p in learning.values())
        moving = {name for name, p in learning.items() if bool(p.grad.abs().max() > 0)}
        assert moving if step == 0 else moving == set(learning)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("network", NETWORKS)
def test_layers_are_read_and_set_exactly(network: str) -> None:
    unet, fresh = trained(network), adapted(network)
    with torch.no_grad():
        assert not torch.equal(ask(unet), ask(fresh))
        layers = adapter_layers({"unet": unet})
        load_layers({"unet": fresh}, layers)
        assert torch.equal(ask(unet), ask(fresh))
    again = adapter_layers({"unet": fresh})
    assert [(one.path, one.alpha, one.rank) for one in layers] == [(one.path, one.alpha, one.rank) for one in again]
    for one, other in zip(layers, again, strict=True):
        assert kind_of(one) == {"dora": "lora"}.get(network, network)
        assert all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors | other.tensors)


@pytest.mark.parametrize("network", NETWORKS)
def test_another_alpha_is_folded_in(network: str) -> None:
    unet, other = trained(network), adapted(network, alpha=1.5, conv_alpha=4.0)
    load_layers({"unet": other}, adapter_layers({"unet": unet}))
    with torch.no_grad():
        torch.testing.assert_close(ask(other), ask(unet), rtol=1e-4, atol=1e-6)


def test_convolutions_have_their_own_rank_and_alpha() -> None:
    for network in NETWORKS:
        by_path = {layer.path: layer for layer in adapter_layers({"unet": adapted(network)})}
        attention = by_path["mid_block.attentions.0.transformer_blocks.0.attn1.to_q"]
        conv = by_path["mid_block.resnets.0.conv1"]
        assert (attention.rank, conv.rank) == (4, 2)
        if network != "lokr":
            assert (attention.alpha, conv.alpha) == (3.0, 1.5)
    own = adapter_layers({"unet": adapted("lora", conv_alpha=5.0)})
    assert {layer.alpha for layer in own if layer.path.endswith(("conv1", "conv2"))} == {5.0}
    narrow = adapter_layers({"unet": adapted("lora", conv_rank=0, targets="attention")})
    assert all(layer.path.endswith(("to_q", "to_k", "to_v", "to_out.0")) for layer in narrow)


def test_tensors_have_the_names_and_shapes_of_the_contract() -> None:
    dora = {layer.path: layer for layer in adapter_layers({"unet": adapted("dora")})}
    query = dora["mid_block.attentions.0.transformer_blocks.0.attn1.to_q"]
    assert {name: tuple(tensor.shape) for name, tensor in query.tensors.items()} == {
        "lora_A.weight": (4, 16),
        "lora_B.weight": (16, 4),
        "lora_magnitude_vector": (16,),
    }
    assert dora["mid_block.resnets.0.conv1"].tensors["lora_magnitude_vector"].shape == (1, 16, 1, 1)
    loha = {layer.path: layer for layer in adapter_layers({"unet": adapted("loha")})}
    assert loha["mid_block.resnets.0.conv1"].tensors["hada_w1_b"].shape == (2, 16 * 9)


def test_lokr_splits_by_the_factor_and_scales_only_low_ranks() -> None:
    split = {layer.path: layer for layer in adapter_layers({"unet": adapted("lokr", rank=1, lokr_factor=2)})}
    query = split["mid_block.attentions.0.transformer_blocks.0.attn1.to_q"]
    assert {name: tuple(tensor.shape) for name, tensor in query.tensors.items()} == {
        "lokr_w1": (2, 2),
        "lokr_w2_a": (8, 1),
        "lokr_w2_b": (1, 8),
    }
    assert query.alpha == 3.0
    whole = {layer.path: layer for layer in adapter_layers({"unet": adapted("lokr", rank=8)})}
    query = whole["mid_block.attentions.0.transformer_blocks.0.attn1.to_q"]
    assert set(query.tensors) == {"lokr_w1", "lokr_w2"}
    assert (query.alpha, query.rank) == (8.0, 8)


@pytest.mark.parametrize("network", ["loha", "lokr"])
def test_no_layer_is_left_out_by_chance(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    unet = trained(network).train()
    state = torch.get_rng_state()
    with torch.no_grad():
        expected = ask(unet)
    assert torch.equal(torch.get_rng_state(), state)
    monkeypatch.setattr(torch, "rand", lambda *args, **options: torch.zeros(*args))
    with torch.no_grad():
        assert torch.equal(ask(unet), expected)
        assert torch.equal(ask(copy.deepcopy(unet)), expected)


def as_peft_has_it(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    for layer in unet.modules():
        own = next((kind for kind in type(layer).__mro__ if kind.__module__.startswith("peft.")), None)
        if own is not None and isinstance(layer, BaseTunerLayer):
            layer.__class__ = own
        elif type(layer).__name__.startswith("_Factor"):
            layer.__class__ = type(layer).__mro__[1]
    return unet


def gradients(unet: UNet2DConditionModel, *, autocast: bool) -> tuple[list[torch.Tensor], int]:
    """Of the adapters, and the bytes that were kept for the backward pass."""
    storages: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=autocast),
    ):
        loss = ask(unet).float().square().mean()
    loss.backward()
    return [parameter.grad for parameter in unet.parameters() if parameter.requires_grad], sum(storages.values())


def test_lokr_keeps_inputs_once_with_the_same_result() -> None:
    plain, less = gradients(as_peft_has_it(adapted("lokr", torch.bfloat16)), autocast=True)
    own, kept = gradients(adapted("lokr", torch.bfloat16), autocast=True)
    assert all(torch.equal(one, other) for one, other in zip(own, plain, strict=True))
    assert kept < less


def test_lora_follows_its_base_in_half_precision_as_exactly_as_autocast_with_less_memory() -> None:
    halves = adapted("lora", torch.bfloat16)
    exact, _ = gradients(as_peft_has_it(copy.deepcopy(halves).float()), autocast=False)
    plain, less = gradients(as_peft_has_it(copy.deepcopy(halves)), autocast=True)
    own, kept = gradients(halves, autocast=False)

    def away(found: list[torch.Tensor]) -> float:
        return float(sum((one - other).square().sum() for one, other in zip(found, exact, strict=True)))

    assert 0 < away(own) < 1.5 * away(plain)
    assert kept < 0.85 * less


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_trained_lora_is_what_a_pipeline_in_that_precision_computes(dtype: torch.dtype) -> None:
    unet = trained("lora").to(dtype)
    for parameter in unet.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    plain = as_peft_has_it(copy.deepcopy(unet)).to(dtype)
    with torch.no_grad():
        if dtype == torch.float32:
            assert torch.equal(ask(unet), ask(plain))
        else:
            torch.testing.assert_close(ask(unet), ask(plain), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("network", NETWORKS)
def test_text_encoders_are_adapted_too(network: str) -> None:
    encoder, tokens = tiny_encoder(), torch.arange(24)[None]
    with torch.no_grad():
        before = encoder(tokens)[0]
    adapt(encoder, text_config(LAYERS, params(network)))
    assert torch.equal(encoder(tokens)[0], before)
    encoder(tokens)[0].square().mean().backward()
    layers = adapter_layers({"text_encoder": encoder})
    assert len(layers) == 12
    assert all(layer.component == "text_encoder" for layer in layers)
    gradients = [parameter.grad for parameter in encoder.parameters() if parameter.requires_grad]
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)
    assert any(bool(gradient.abs().max() > 0) for gradient in gradients)
    other = tiny_encoder()
    adapt(other, text_config(LAYERS, params(network)))
    load_layers({"text_encoder": other}, layers)
    assert torch.equal(encoder(tokens)[0], other(tokens)[0])


def test_what_does_not_fit_is_refused_and_changes_nothing() -> None:
    unet, source = adapted("lora"), trained("lora")
    before = adapter_layers({"unet": unet})
    layers = adapter_layers({"unet": source})
    other_rank = adapter_layers({"unet": adapted("lora", rank=2)})
    missing = layers[:-1]
    wrong: list[tuple[list[Layer], str]] = [
        (missing, "1 layers differ"),
        (other_rank, "do not fit at unet"),
        (adapter_layers({"unet": adapted("loha")}), "do not fit at unet"),
    ]
    for given, match in wrong:
        with pytest.raises(UsageError, match=match) as caught:
            load_layers({"unet": unet}, given)
        assert caught.value.hint
    for one, other in zip(before, adapter_layers({"unet": unet}), strict=True):
        assert all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)


def test_settings_that_the_network_lacks_are_refused() -> None:
    for network in ("loha", "lokr"):
        with pytest.raises(UsageError, match="no dropout"):
            denoiser_config(LAYERS, params(network, dropout=0.1))
    with pytest.raises(UsageError, match="no convolutions"):
        denoiser_config({"attention": ("to_q",), "ff": ()}, params("lora"))


def test_the_adapter_has_the_name_that_others_ask_for() -> None:
    assert ADAPTER in adapted("lora").peft_config
