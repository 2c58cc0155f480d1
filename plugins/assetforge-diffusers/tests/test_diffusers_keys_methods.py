"""LoHa, LoKr and DoRA keep their meaning in a file; what cannot be written or read is refused."""

import peft
import pytest
import torch
from keys_world import lora

from assetforge.errors import UsageError
from assetforge_diffusers.keys import Layer, from_kohya, to_kohya

LINEAR = "down_blocks.0.attentions.0.transformer_blocks.0.ff.net.2"
CONV = "down_blocks.0.resnets.0.conv1"
KNOWN = {"unet": [LINEAR, CONV]}


def trained(config, module=None):
    """A layer of one of peft's methods with random weights, and the change that peft computes."""
    model = peft.inject_adapter_in_model(config, torch.nn.ModuleDict({"layer": module or torch.nn.Linear(12, 24)}))
    layer = model["layer"]
    tensors = {}
    for name, parameter in layer.named_parameters():
        if "base_layer" not in name:
            parameter.data = torch.randn_like(parameter)
            tensors[name.replace(".default", "")] = parameter.detach()
    path = CONV if isinstance(module, torch.nn.Conv2d) else LINEAR
    return Layer("unet", path, tensors, float(config.alpha), config.r), layer.get_delta_weight("default").detach()


def part(written, name):
    (key,) = [key for key in written if key.endswith(f".{name}")]
    return written[key].double()


def same(layers, others):
    for layer, other in zip(layers, others, strict=True):
        assert (layer.component, layer.path, layer.alpha, layer.rank) == (
            *(other.component, other.path),
            *(other.alpha, other.rank),
        )
        assert set(layer.tensors) == set(other.tensors)
        assert all(torch.equal(tensor, other.tensors[name]) for name, tensor in layer.tensors.items())


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_loha_means_the_same_to_lycoris(family):
    layer, delta = trained(peft.LoHaConfig(r=4, alpha=2, target_modules=["layer"]))
    written = to_kohya(family, [layer])
    product = (part(written, "hada_w1_a") @ part(written, "hada_w1_b")) * (
        part(written, "hada_w2_a") @ part(written, "hada_w2_b")
    )
    scale = part(written, "alpha") / part(written, "hada_w1_b").shape[0]
    torch.testing.assert_close(product * scale, delta.double(), rtol=1e-5, atol=1e-5)
    same([layer], from_kohya(family, written, KNOWN))


def test_loha_of_a_convolution_means_the_same_to_lycoris():
    config = peft.LoHaConfig(r=4, alpha=2, target_modules=["layer"], use_effective_conv2d=True)
    layer, delta = trained(config, torch.nn.Conv2d(12, 24, 3))
    written = to_kohya("sd15", [layer])
    one, two = (
        torch.einsum("ijkl,jr,ip->prkl", *(part(written, f"hada_{name}") for name in (f"t{n}", f"w{n}_b", f"w{n}_a")))
        for n in (1, 2)
    )
    torch.testing.assert_close(one * two * 0.5, delta.double(), rtol=1e-4, atol=1e-4)
    same([layer], from_kohya("sd15", written, KNOWN))


@pytest.mark.parametrize(("both", "rank"), [(False, 2), (True, 1)])
def test_lokr_means_the_same_to_lycoris(both, rank):
    layer, delta = trained(peft.LoKrConfig(r=rank, alpha=3, target_modules=["layer"], decompose_both=both))
    assert ("lokr_w1_a" in layer.tensors) == both
    written = to_kohya("sd15", [layer])
    one = part(written, "lokr_w1_a") @ part(written, "lokr_w1_b") if both else part(written, "lokr_w1")
    two = part(written, "lokr_w2_a") @ part(written, "lokr_w2_b")
    scale = part(written, "alpha") / part(written, "lokr_w2_b").shape[0]
    torch.testing.assert_close(torch.kron(one, two) * scale, delta.double(), rtol=1e-5, atol=1e-5)
    same([layer], from_kohya("sd15", written, KNOWN))


def test_a_lokr_of_two_whole_matrices_has_its_scale_in_the_first():
    layer, delta = trained(peft.LoKrConfig(r=8, alpha=2, target_modules=["layer"]))
    assert {"lokr_w1", "lokr_w2"} == set(layer.tensors)
    written = to_kohya("sd15", [layer])
    product = torch.kron(part(written, "lokr_w1"), part(written, "lokr_w2"))
    torch.testing.assert_close(product, delta.double(), rtol=1e-5, atol=1e-5)
    again = to_kohya("sd15", from_kohya("sd15", written, KNOWN))
    assert set(again) == set(written)
    assert all(torch.equal(again[key], tensor) for key, tensor in written.items())


@pytest.mark.parametrize("module", [torch.nn.Linear(12, 24), torch.nn.Conv2d(12, 24, 3)])
def test_dora_means_the_same_to_lycoris(module):
    weight = module.weight.detach().double()
    config = peft.LoraConfig(r=4, lora_alpha=2, target_modules=["layer"], use_dora=True)
    model = peft.inject_adapter_in_model(config, torch.nn.ModuleDict({"layer": module}))
    adapter = model["layer"]
    for name, parameter in adapter.named_parameters():
        if "lora_" in name:
            parameter.data = torch.rand_like(parameter) + 0.1
    path = LINEAR if isinstance(module, torch.nn.Linear) else CONV
    tensors = {
        name.replace(".default", "").replace("vector.weight", "vector"): parameter.detach().clone()
        for name, parameter in adapter.named_parameters()
        if "lora_" in name
    }
    layer = Layer("unet", path, tensors, 2.0, 4)
    written = to_kohya("sd15", [layer])
    adapter.merge()
    changed = (part(written, "lora_up.weight").flatten(1) @ part(written, "lora_down.weight").flatten(1)) * 0.5
    changed = weight + changed.reshape(weight.shape)
    length = changed.flatten(1).norm(dim=1).reshape(-1, *[1] * (weight.ndim - 1))
    merged = adapter.base_layer.weight.detach().double()
    torch.testing.assert_close(changed / length * part(written, "dora_scale"), merged, rtol=1e-5, atol=1e-5)
    same([layer], from_kohya("sd15", written, KNOWN))


def test_a_file_in_another_tools_names_is_read():
    layer = lora("unet", LINEAR, (8, 6))
    down, up = layer.tensors["lora_A.weight"], layer.tensors["lora_B.weight"]
    peft_names = {f"unet.{LINEAR}.lora_A.weight": down, f"unet.{LINEAR}.lora_B.weight": up}
    (read,) = from_kohya("sd15", peft_names, KNOWN)
    assert (read.path, read.alpha, read.rank) == (LINEAR, 4.0, 4)
    text = "text_model.encoder.layers.0.self_attn.q_proj"
    names = {f"lora_te1_{text.replace('.', '_')}.lora_{part}.weight": t for part, t in (("down", down), ("up", up))}
    for known in (text, text.removeprefix("text_model.")):
        (read,) = from_kohya("sd15", names, {"text_encoder": [known]})
        assert (read.component, read.path) == ("text_encoder", known)
    diffusers_names = {
        f"lora_unet_{LINEAR.replace('.', '_')}.lora_{p}.weight": t for p, t in (("down", down), ("up", up))
    }
    (read,) = from_kohya("sdxl", diffusers_names, KNOWN)
    assert read.path == LINEAR


@pytest.mark.parametrize(
    ("family", "name", "path"),
    [
        ("flux1", "transformer.transformer_blocks.0.attn.to_q", "transformer_blocks.0.attn.to_q"),
        ("flux1", "lora_transformer_single_transformer_blocks_3_proj_out", "single_transformer_blocks.3.proj_out"),
        ("sd3", "transformer.transformer_blocks.0.ff_context.net.2", "transformer_blocks.0.ff_context.net.2"),
        ("z-image", "lora_unet_layers_0_attention_to_q", "layers.0.attention.to_q"),
        ("z-image", "lora_unet_layers_0_attention_out", "layers.0.attention.to_out.0"),
        ("wan", "diffusion_model.blocks.0.cross_attn.o", "blocks.0.attn2.to_out.0"),
        ("wan", "transformer.blocks.0.ffn.net.2", "blocks.0.ffn.net.2"),
        ("qwen-image", "transformer_blocks.0.attn.to_q", "transformer_blocks.0.attn.to_q"),
        ("qwen-image", "diffusion_model.transformer_blocks.0.img_mlp.net.2", "transformer_blocks.0.img_mlp.net.2"),
        ("flux2", "lycoris_transformer_blocks_0_ff_linear_in", "transformer_blocks.0.ff.linear_in"),
    ],
)
def test_names_of_other_trainers_of_transformers_are_read(family, name, path):
    layer = lora("transformer", path, (8, 6))
    file = {f"{name}.{part}": tensor for part, tensor in layer.tensors.items()}
    (read,) = from_kohya(family, file, {"transformer": [path]})
    assert (read.path, read.alpha) == (path, 4.0)


@pytest.mark.parametrize("name", ["lora_unet_layers_0_attention_qkv", "diffusion_model.layers.0.attention.qkv"])
def test_query_key_and_value_in_one_are_read_for_z_image(name):
    paths = [f"layers.0.attention.to_{letter}" for letter in "qkv"]
    whole = lora("transformer", "x", (24, 6))
    parts = from_kohya("z-image", {f"{name}.{part}": t for part, t in whole.tensors.items()}, {"transformer": paths})
    assert [part.path for part in parts] == paths
    assert torch.equal(torch.cat([part.tensors["lora_B.weight"] for part in parts]), whole.tensors["lora_B.weight"])


def test_the_first_text_encoder_is_written_with_the_level_that_transformers_took_away():
    short, long = "encoder.layers.0.mlp.fc1", "text_model.encoder.layers.0.mlp.fc1"
    for family, component, name in [
        ("sd15", "text_encoder", "lora_te_"),
        ("sd2", "text_encoder", "lora_te_"),
        ("sdxl", "text_encoder", "lora_te1_"),
        ("sdxl", "text_encoder_2", "lora_te2_"),
    ]:
        for path in (short, long):
            written = to_kohya(family, [lora(component, path, (8, 6))])
            assert f"{name}text_model_encoder_layers_0_mlp_fc1.lora_down.weight" in written


@pytest.mark.parametrize(
    ("family", "layers"),
    [
        ("sd9", [lora("unet", LINEAR, (8, 6))]),
        ("sd15", [lora("text_encoder_2", "encoder.layers.0.mlp.fc1", (8, 6))]),
        ("sdxl", [lora("unet", "down_blocks.0.resnets.4.conv1", (8, 6, 3, 3))]),
        ("sd15", [lora("unet", LINEAR, (8, 6)), lora("unet", LINEAR, (8, 6))]),
        ("sd15", [lora("vae", LINEAR, (8, 6))]),
        ("wan", [lora("text_encoder", "encoder.block.0.layer.0.SelfAttention.q", (8, 6))]),
        ("wan", [lora("transformer", "condition_embedder.time_proj", (8, 6))]),
        ("wan", [lora(name, "blocks.0.attn1.to_q", (8, 6)) for name in ("transformer", "transformer_2")]),
        ("sd15", [Layer("unet", LINEAR, {"weight": torch.zeros(2, 2)}, 1.0, 1)]),
    ],
)
def test_what_has_no_name_elsewhere_is_refused(family, layers):
    with pytest.raises(UsageError):
        to_kohya(family, layers)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file, name: {**file, f"{name}.lora_mid.weight": torch.zeros(1)},
        lambda file, name: {**file, "lora_unet_mid_block_other.lora_down.weight": torch.zeros(1, 1)},
        lambda file, name: {**file, "something.lora_down.weight": torch.zeros(1, 1)},
        lambda file, name: {k: v for k, v in file.items() if "lora_up" not in k},
        lambda file, name: {**file, f"{name}.dora_scale": torch.ones(1, 6)},
        lambda file, name: {**file, f"unet.{LINEAR}.lora_A.weight": torch.ones(4, 6)},
        lambda file, name: {f"{name}.lokr_w1": torch.ones(2, 2), f"{name}.alpha": torch.tensor(1.0)},
    ],
)
def test_what_cannot_be_read_is_refused(spoil):
    file = to_kohya("sd15", [lora("unet", LINEAR, (8, 6))])
    with pytest.raises(UsageError):
        from_kohya("sd15", spoil(file, f"lora_unet_{LINEAR.replace('.', '_')}"), KNOWN)
