"""Layers that stand in one for other tools do exactly what they did apart."""

import pytest
import torch
from keys_world import change, lora

from assetforge.errors import UsageError
from assetforge_diffusers.keys import Layer, from_kohya, to_kohya

QKV = [f"transformer_blocks.0.attn.to_{letter}" for letter in "qkv"]
SINGLE = [f"single_transformer_blocks.0.{name}" for name in ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")]
KNOWN = {"transformer": [*QKV, *SINGLE]}
WIDE, LONG = (16, 12), (64, 12)


def only(tensors, name):
    assert {key.split(".", 1)[0] for key in tensors} == {name}
    part = {key.split(".", 1)[1]: tensor for key, tensor in tensors.items()}
    down, up = part["lora_down.weight"], part["lora_up.weight"]
    return Layer("", "", {"lora_A.weight": down, "lora_B.weight": up}, float(part["alpha"]), down.shape[0])


def same(layers, others):
    assert [(x.path, x.alpha, x.rank) for x in layers] == [(x.path, x.alpha, x.rank) for x in others]
    for layer, other in zip(layers, others, strict=True):
        assert all(torch.equal(tensor, other.tensors[name]) for name, tensor in layer.tensors.items()), layer.path


def test_query_key_and_value_become_one_layer_of_three_times_the_rank():
    layers = [lora("transformer", path, WIDE) for path in QKV]
    tensors = to_kohya("flux1", layers)
    whole = only(tensors, "lora_unet_double_blocks_0_img_attn_qkv")
    assert (whole.rank, whole.alpha) == (12, 6.0)
    assert torch.equal(change(whole), torch.cat([change(layer) for layer in layers]))
    same(layers, from_kohya("flux1", tensors, KNOWN))


def test_random_numbers_come_out_bit_for_bit():
    torch.manual_seed(0)
    layers = [
        Layer("transformer", path, {"lora_A.weight": torch.randn(4, 12), "lora_B.weight": torch.randn(16, 4)}, 1.5, 4)
        for path in QKV
    ]
    tensors = to_kohya("flux1", layers)
    same(layers, from_kohya("flux1", tensors, KNOWN))
    whole = only(tensors, "lora_unet_double_blocks_0_img_attn_qkv")
    for slot, layer in enumerate(layers):
        rows, block = slice(16 * slot, 16 * slot + 16), slice(4 * slot, 4 * slot + 4)
        assert torch.equal(whole.tensors["lora_B.weight"][rows, block], layer.tensors["lora_B.weight"])
        assert torch.equal(whole.tensors["lora_A.weight"][block], layer.tensors["lora_A.weight"])
        assert whole.alpha / whole.rank == layer.alpha / layer.rank


@pytest.mark.parametrize("left_out", [0, 1, 3])
def test_a_layer_that_was_not_trained_stays_as_it_is(left_out):
    layers = [lora("transformer", path, LONG if "mlp" in path else WIDE) for path in SINGLE]
    kept = [layer for slot, layer in enumerate(layers) if slot != left_out]
    tensors = to_kohya("flux1", kept)
    whole = change(only(tensors, "lora_unet_single_blocks_0_linear1"))
    assert whole.shape == (16 * 3 + 64, 12)
    expected = [change(layer) * (slot != left_out) for slot, layer in enumerate(layers)]
    assert torch.equal(whole, torch.cat(expected))
    same(kept, from_kohya("flux1", tensors, KNOWN))
    adapted = {"transformer": [layer.path for layer in kept]}
    same(kept, from_kohya("flux1", tensors, adapted))


def test_ranks_may_differ():
    layers = [
        lora("transformer", path, WIDE, rank=rank, alpha=rank / 2) for path, rank in zip(QKV, (4, 2, 7), strict=True)
    ]
    tensors = to_kohya("flux1", layers)
    whole = only(tensors, "lora_unet_double_blocks_0_img_attn_qkv")
    assert torch.equal(change(whole), torch.cat([change(layer) for layer in layers]))
    same(layers, from_kohya("flux1", tensors, KNOWN))


@pytest.mark.parametrize("alphas", [(2.0, 4.0, 0.5), (1.0, 8.0, 1.0)])
def test_alphas_may_differ(alphas):
    layers = [lora("transformer", path, WIDE, rank=4, alpha=alpha) for path, alpha in zip(QKV, alphas, strict=True)]
    tensors = to_kohya("flux1", layers)
    whole = only(tensors, "lora_unet_double_blocks_0_img_attn_qkv")
    assert torch.equal(change(whole), torch.cat([change(layer) for layer in layers]))
    for layer, other in zip(layers, from_kohya("flux1", tensors, KNOWN), strict=True):
        assert torch.equal(change(layer), change(other))


def test_a_layer_without_effect_yet_is_kept():
    layers = [lora("transformer", path, WIDE) for path in QKV]
    layers[1].tensors["lora_B.weight"].zero_()
    same(layers, from_kohya("flux1", to_kohya("flux1", layers), KNOWN))


def test_a_layer_that_was_trained_in_one_is_taken_apart():
    torch.manual_seed(0)
    name = "lora_unet_double_blocks_0_img_attn_qkv"
    up, down = torch.randint(-4, 5, (48, 6)).float(), torch.randint(-4, 5, (6, 12)).float()
    file = {f"{name}.lora_up.weight": up, f"{name}.lora_down.weight": down, f"{name}.alpha": torch.tensor(3.0)}
    parts = from_kohya("flux1", file, KNOWN)
    assert [part.path for part in parts] == QKV
    assert torch.equal(torch.cat([change(part) for part in parts]), change(only(file, name)))
    again = only(to_kohya("flux1", parts), name)
    assert torch.equal(change(again), change(only(file, name)))
    with pytest.raises(UsageError, match="not adapted"):
        from_kohya("flux1", file, {"transformer": QKV[:2]})


def test_loha_is_joined():
    torch.manual_seed(0)

    def numbers(*size):
        return torch.randint(-4, 5, size).float()

    layers = [
        Layer(
            "transformer",
            path,
            {
                "hada_w1_a": numbers(16, 3),
                "hada_w1_b": numbers(3, 12),
                "hada_w2_a": numbers(16, 3),
                "hada_w2_b": numbers(3, 12),
            },
            1.5,
            3,
        )
        for path in QKV
    ]
    tensors = to_kohya("flux1", layers)
    name = "lora_unet_double_blocks_0_img_attn_qkv"

    def product(part):
        return (part["hada_w1_a"] @ part["hada_w1_b"]) * (part["hada_w2_a"] @ part["hada_w2_b"]) * 0.5

    assert float(tensors[f"{name}.alpha"]) / tensors[f"{name}.hada_w1_b"].shape[0] == 0.5
    whole = product({key.removeprefix(f"{name}."): tensor for key, tensor in tensors.items()})
    assert torch.equal(whole, torch.cat([product(layer.tensors) for layer in layers]))
    same(layers, from_kohya("flux1", tensors, KNOWN))


def test_lokr_is_written_apart_under_diffusers_paths():
    torch.manual_seed(0)
    layers = [
        Layer(
            "transformer",
            path,
            {"lokr_w1": torch.randn(4, 3), "lokr_w2_a": torch.randn(4, 2), "lokr_w2_b": torch.randn(2, 4)},
            1.0,
            2,
        )
        for path in (*QKV, "transformer_blocks.0.attn.to_out.0")
    ]
    tensors = to_kohya("flux1", layers)
    assert {key.split(".")[0] for key in tensors} == {
        f"lycoris_transformer_blocks_0_attn_{name}" for name in ("to_q", "to_k", "to_v", "to_out_0")
    }
    same(layers, from_kohya("flux1", tensors, {"transformer": [layer.path for layer in layers]}))


def test_dora_of_a_transformer_is_refused():
    layer = lora("transformer", QKV[0], WIDE)
    dora = Layer(layer.component, layer.path, {**layer.tensors, "lora_magnitude_vector": torch.ones(16)}, 2.0, 4)
    with pytest.raises(UsageError, match="DoRA"):
        to_kohya("flux1", [dora])


def test_layers_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="fit"):
        to_kohya("flux1", [lora("transformer", QKV[0], WIDE), lora("transformer", QKV[1], (16, 8))])
    loha = {
        f"hada_w{n}_{letter}": torch.ones(16, 3) if letter == "a" else torch.ones(3, 12)
        for n in (1, 2)
        for letter in "ab"
    }
    with pytest.raises(UsageError, match="joined"):
        to_kohya("flux1", [lora("transformer", QKV[0], WIDE), Layer("transformer", QKV[1], loha, 1.0, 3)])
