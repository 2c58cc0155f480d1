"""Every key that is written is one that other tools look for, with the shape they expect and the meaning they give it."""

import re

import pytest
import torch
from keys_models import FAMILY, MODELS, layer_shapes
from keys_world import adapted, change, lora, one_of_each, table

from assetforge_diffusers.keys import FORMATS, Layer, from_kohya, to_kohya
from assetforge_diffusers.keys.names import FAMILIES

models = pytest.mark.parametrize("model", [name for name, family in FAMILY.items() if family in FORMATS])


def known(model):
    return {component: list(layers) for component, layers in table(model)["layers"].items()}


def by_layer(tensors):
    layers = {}
    for key, tensor in tensors.items():
        for part in ("lora_down.weight", "lora_up.weight", "alpha"):
            if key.endswith(f".{part}"):
                layers.setdefault(key.removesuffix(f".{part}"), {})[part] = tensor
                break
        else:
            raise AssertionError(key)
    return layers


def in_musubi(name):
    """What musubi-tuner makes of a name when it reads or converts a file."""
    return f"lora_unet_{name.removeprefix('diffusion_model.')}".replace(".", "_") if "." in name else name


def test_the_tables_are_of_the_models_that_are_installed():
    for model in MODELS:
        assert layer_shapes(model) == table(model)["layers"], model


@models
def test_the_documented_examples_are_among_the_keys(model):
    family = FAMILY[model]
    layers = [lora(*layer, device="meta") for layer in adapted(model, family)]
    written = set(by_layer(to_kohya(family, layers)))
    examples = re.findall(r"(?:lora_\w+|diffusion_model[\w.]+\w)(?!\w*\.\.\.)\b", FORMATS[family].example)
    has_encoders = "text_encoder" in table(model)["layers"]
    assert examples
    assert {name for name in examples if has_encoders or not name.startswith("lora_te")} <= written


def test_every_family_is_documented():
    assert set(FORMATS) == set(FAMILY.values()) == set(FAMILIES)


@models
def test_all_keys_of_a_whole_model_are_read_by_comfyui(model):
    layers = [lora(*layer, device="meta") for layer in adapted(model, FAMILY[model])]
    names = table(model)["ComfyUI"]
    written = by_layer(to_kohya(FAMILY[model], layers))
    assert len(layers) > 70
    for name, parts in written.items():
        assert set(parts) == {"lora_down.weight", "lora_up.weight", "alpha"}
        _, _, shape = names[name]
        assert [parts["lora_up.weight"].shape[0], *parts["lora_down.weight"].shape[1:]] == shape, name
        assert parts["lora_up.weight"].shape[1] == parts["lora_down.weight"].shape[0]


@models
def test_all_keys_of_a_whole_model_are_made_and_read_by_kohyas_scripts(model):
    tool = "sd-scripts" if "sd-scripts" in table(model) else "musubi-tuner"
    names = table(model)[tool]
    layers = [lora(*layer, device="meta") for layer in adapted(model, FAMILY[model])]
    written = by_layer(to_kohya(FAMILY[model], layers))
    for name, parts in written.items():
        shape = names[in_musubi(name) if tool == "musubi-tuner" else name]
        assert [parts["lora_up.weight"].shape[0], *parts["lora_down.weight"].shape[1:]] == shape, name


@models
def test_what_comfyui_adds_to_each_weight_is_what_was_trained(model):
    names = table(model)["ComfyUI"]
    layers = [lora(*layer) for layer in one_of_each(model, FAMILY[model])]
    layers = [layer for layer in layers if not layer.component.startswith("text_encoder")]
    added = {}
    for name, parts in by_layer(to_kohya(FAMILY[model], layers)).items():
        target, part, _ = names[name]
        file = Layer(
            "",
            "",
            {"lora_A.weight": parts["lora_down.weight"], "lora_B.weight": parts["lora_up.weight"]},
            float(parts["alpha"]),
            parts["lora_down.weight"].shape[0],
        )
        added[target, tuple(part or ())] = change(file)
    checked = 0
    for layer in layers:
        meant = names.get(f"lycoris_{layer.path}".replace(".", "_"))
        if meant is None:
            assert FAMILY[model] == "wan"  # ComfyUI has no names of diffusers' for this family
            continue
        target, part, _ = meant
        whole = added.get((target, ()))
        got = added[target, tuple(part)] if whole is None else whole
        if whole is not None and part is not None:
            got = whole[part[1] : part[1] + part[2]]
        assert torch.equal(got, change(layer)), layer.path
        checked += 1
    assert checked == (0 if FAMILY[model] == "wan" else len(layers))


@models
def test_a_file_is_read_back_exactly(model):
    layers = [lora(*layer) for layer in one_of_each(model, FAMILY[model])]
    again = from_kohya(FAMILY[model], to_kohya(FAMILY[model], layers), known(model))
    back = {(layer.component, layer.path): layer for layer in again}
    assert len(again) == len(back) == len(layers)
    for layer in layers:
        other = back[layer.component, layer.path]
        assert (other.alpha, other.rank) == (layer.alpha, layer.rank)
        assert set(other.tensors) == set(layer.tensors)
        assert all(torch.equal(other.tensors[name], tensor) for name, tensor in layer.tensors.items()), layer.path
