"""A base in fewer bits or in main memory: close to itself, learnt over, and really smaller between forward and backward."""

import copy
import sys

import pytest
import torch
from diffusers import UNet2DConditionModel
from networks_world import LAYERS, NETWORKS, ask, tiny_unet

from assetforge.errors import UsageError
from assetforge_diffusers.networks import adapt, denoiser_config
from assetforge_diffusers.params import LoraTrainerParams
from assetforge_diffusers.quantize import StoredConv2d, StoredLinear, offload_base, quantize_base

CPU = torch.device("cpu")
LIMITS = {"int8": 0.01, "nf4": 0.08}


def learn(unet: UNet2DConditionModel, network: str) -> list[torch.nn.Parameter]:
    adapt(unet, denoiser_config(LAYERS, LoraTrainerParams(network=network, rank=4, conv_rank=2)))
    return [parameter for parameter in unet.parameters() if parameter.requires_grad]


def stored(unet: UNet2DConditionModel) -> list[StoredLinear]:
    return [layer for layer in unet.modules() if isinstance(layer, StoredLinear)]


@pytest.mark.parametrize("kind", ["int8", "nf4"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_quantised_base_is_close_to_itself(kind: str, dtype: torch.dtype) -> None:
    unet = tiny_unet(dtype)
    with torch.no_grad():
        before = ask(unet).float()
        assert quantize_base(unet, kind) == len(stored(unet)) == 15
        rounding = 2 * torch.finfo(dtype).eps  # which other processors do in another order
        assert (ask(unet).float() - before).abs().max() < (LIMITS[kind] + rounding) * before.abs().max()


@pytest.mark.parametrize("kind", ["int8", "nf4"])
def test_single_weights_are_within_half_a_level(kind: str) -> None:
    layer = torch.nn.Linear(128, 96)
    weight = layer.weight.detach().clone()
    kept = StoredLinear(layer, kind)
    levels = weight.abs().amax(dim=1, keepdim=True) / 127 if kind == "int8" else weight.abs().max() * 0.31
    assert ((kept.weight - weight).abs() <= levels * 0.5001).all()
    assert sum(t.numel() * t.element_size() for t in kept.stored) < weight.numel() * (1.1 if kind == "int8" else 0.6)


@pytest.mark.parametrize("kind", ["int8", "nf4", "dense"])
def test_gradients_are_those_of_the_dense_weight(kind: str) -> None:
    source = torch.nn.Linear(64, 32).requires_grad_(False)
    kept, dense = StoredLinear(source, kind), torch.nn.Linear(64, 32).requires_grad_(False)
    dense.weight.copy_(kept.weight)
    dense.bias.copy_(kept.bias)
    results = []
    for layer in (kept, dense):
        x = torch.randn((5, 64), generator=torch.Generator().manual_seed(1)).requires_grad_()
        y = layer(x)
        y.square().sum().backward()
        results.append((y.detach(), x.grad))
    torch.testing.assert_close(results[0], results[1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("kind", ["int8", "nf4", "offloaded"])
def test_networks_learn_over_it_and_change_nothing_at_first(network: str, kind: str) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        unet = tiny_unet(dtype)
        if kind != "offloaded":
            quantize_base(unet, kind)
        with torch.no_grad():
            before = ask(unet)
        learning = learn(unet, network)
        if kind == "offloaded":
            offload_base(unet, CPU)
        with torch.no_grad():
            assert torch.equal(ask(unet), before)
        unet.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            loss = ask(unet).float().square().mean()
        loss.backward()
        assert all(bool(parameter.grad.isfinite().all()) for parameter in learning)
        assert any(bool(parameter.grad.abs().max() > 0) for parameter in learning)


@pytest.mark.parametrize("kind", ["int8", "nf4", "offloaded"])
def test_checkpointing_over_it_gives_the_same_gradients(kind: str) -> None:
    gradients = []
    for checkpointed in (False, True):
        unet = tiny_unet()
        if kind != "offloaded":
            quantize_base(unet, kind)
        torch.manual_seed(4)
        learning = learn(unet, "lora")
        if kind == "offloaded":
            offload_base(unet, CPU)
        unet.train()
        if checkpointed:
            unet.enable_gradient_checkpointing()
        ask(unet).square().mean().backward()
        gradients.append([parameter.grad for parameter in learning])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


def test_offloading_changes_no_bit() -> None:
    plain = tiny_unet()
    unet = copy.deepcopy(plain)
    results = []
    for module in (plain, unet):
        torch.manual_seed(2)
        learning = learn(module, "lora")
        if module is unet:
            assert offload_base(module, CPU) == 15 + 14
            assert any(isinstance(layer, StoredConv2d) for layer in module.modules())
        optimizer = torch.optim.AdamW(learning, lr=1e-2)
        for _ in range(3):
            optimizer.zero_grad()
            ask(module).square().mean().backward()
            optimizer.step()
        results.append([parameter.detach() for parameter in learning])
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def test_offloaded_weights_stay_when_the_rest_moves() -> None:
    unet = tiny_unet()
    quantize_base(unet, "int8")
    learn(unet, "lora")
    offload_base(unet, torch.device("meta"))
    unet.to("meta")
    layers = [layer for layer in unet.modules() if isinstance(layer, StoredLinear | StoredConv2d)]
    assert {tensor.device.type for layer in layers for tensor in layer.stored} == {"cpu"}
    assert {parameter.device.type for parameter in unet.parameters()} == {"meta"}
    assert {layer.weight.device.type for layer in layers} == {"meta"}


@pytest.mark.parametrize("kind", ["int8", "nf4", "dense"])
def test_nothing_dense_is_kept_for_the_backward_pass(kind: str) -> None:
    layer = StoredLinear(torch.nn.Linear(256, 256).requires_grad_(False), kind)
    own = {tensor.untyped_storage().data_ptr() for tensor in layer.stored}
    kept: list[torch.Tensor] = []
    x = torch.randn((2, 256), requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        layer(x)
    assert {tensor.untyped_storage().data_ptr() for tensor in kept} == own


def test_what_a_network_begins_and_ends_with_stays_as_it_is() -> None:
    unet = tiny_unet()
    quantize_base(unet, "int8")
    assert type(unet.time_embedding.linear_1) is torch.nn.Linear
    assert type(unet.conv_in) is torch.nn.Conv2d
    assert type(unet.mid_block.resnets[0].conv1) is torch.nn.Conv2d
    assert isinstance(unet.mid_block.attentions[0].transformer_blocks[0].attn1.to_q, StoredLinear)
    assert isinstance(copy.deepcopy(unet).mid_block.attentions[0].transformer_blocks[0].attn1.to_q, StoredLinear)


def test_adapters_are_never_quantised() -> None:
    unet = tiny_unet()
    learning = learn(unet, "lora")
    assert quantize_base(unet, "int8") == 15
    assert {parameter.dtype for parameter in learning} == {torch.float32}
    again = [parameter for parameter in unet.parameters() if parameter.requires_grad]
    assert all(one is other for one, other in zip(learning, again, strict=True))


def test_nf4_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="does not run on meta") as caught:
        quantize_base(tiny_unet().to("meta"), "nf4")
    assert "int8" in caught.value.hint
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(UsageError, match="needs bitsandbytes"):
        quantize_base(tiny_unet(), "nf4")
