"""Base models on disk: folders, and single files with a folder of settings."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from assetforge.errors import NotFoundError
from assetforge_diffusers.basefiles import BaseFiles
from diffusers_world import tiny_base

SD = "StableDiffusionPipeline"


def weights_of(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    one, other = weights_of(first), weights_of(second)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_components_are_loaded_when_asked_for_and_let_go(base_folder: Path) -> None:
    base = BaseFiles(base_folder, SD)
    assert base._loaded == {}
    unet = base.load("unet")
    assert base.load("unet") is unet
    assert not any(parameter.requires_grad for parameter in unet.parameters())
    base.forget("unet")
    assert base.load("unet") is not unet
    with pytest.raises(NotFoundError, match="has no transformer"):
        base.load("transformer")


def test_digests_follow_the_bytes(tmp_path: Path) -> None:
    one, other = (BaseFiles(tiny_base(tmp_path / name, seed=seed), SD) for name, seed in (("a", 0), ("b", 1)))
    again = BaseFiles(tiny_base(tmp_path / "c", seed=0), SD, cache=tmp_path / "cache")
    assert one.digest("vae") == again.digest("vae") == again.digest("vae") != other.digest("vae")
    assert one.digest("tokenizer") == other.digest("tokenizer")


def test_what_a_single_file_holds_wins_over_the_folder(tmp_path: Path) -> None:
    settings, wanted = tiny_base(tmp_path / "settings", seed=1), tiny_base(tmp_path / "wanted", seed=0)
    single = tmp_path / "checkpoint.safetensors"
    save_file(load_file(wanted / "unet" / "diffusion_pytorch_model.safetensors"), single)
    opened = BaseFiles(single, SD, config=settings)
    assert same(opened.load("unet"), BaseFiles(wanted, SD).load("unet"))
    assert same(opened.load("vae"), BaseFiles(settings, SD).load("vae"))
    assert opened.digest("unet") != BaseFiles(settings, SD).digest("unet")
    assert opened.digest("vae") == BaseFiles(settings, SD).digest("vae")


def test_the_text_encoder_of_an_original_checkpoint_is_read(tmp_path: Path) -> None:
    settings, wanted = tiny_base(tmp_path / "settings", seed=1), tiny_base(tmp_path / "wanted", seed=0)
    encoder = load_file(next((wanted / "text_encoder").glob("*.safetensors")))
    names = {name: name if name.startswith("text_model.") else f"text_model.{name}" for name in encoder}
    tensors = {f"cond_stage_model.transformer.{names[name]}": tensor for name, tensor in encoder.items()}
    single = tmp_path / "checkpoint.safetensors"
    save_file(tensors, single)
    opened = BaseFiles(single, SD, config=settings)
    opened._held = frozenset({"text_encoder"})
    assert same(opened.load("text_encoder"), BaseFiles(wanted, SD).load("text_encoder"))
