"""Every family on a tiny model: trains, resumes to the same bits, writes both files, which give back what was trained, and continues from one."""

import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import T5EncoderModel

from assetforge.api.context import Stopped
from assetforge_diffusers.params import LoraTrainerParams
from assetforge_diffusers.plugin import TRAINER
from assetforge_diffusers.preparation import prepare
from assetforge_diffusers.trainer import LoraTrainer
from diffusers_world import FolderContext, tiny_base, write_pictures

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # the schedulers' own

FAMILIES = [family for family in TRAINER.families if family != "sd15"]
SIDE = {"wan": 32, "qwen-image": 32}


def builder(family: str) -> Callable[[Path], Path]:
    """What makes a tiny model of that family."""
    if family == "sd15":
        return tiny_base
    name = family.replace("-", "_")
    made: Callable[[Path], Path] = getattr(import_module(f"tiny.{name}"), f"tiny_{name}")
    return made


@pytest.mark.parametrize(
    "family", [one if one in ("sd15", "flux1") else pytest.param(one, marks=pytest.mark.slow) for one in FAMILIES]
)
def test_a_family_trains_resumes_exports_and_continues(family: str, tmp_path: Path) -> None:
    base = builder(family)(tmp_path / "base")
    write_pictures(tmp_path / "first" / "inputs", 3)
    params = LoraTrainerParams(
        steps=4,
        rank=2,
        alpha=3.0,
        batch_size=2,
        learning_rate=1e-2,
        checkpoint_every=2,
        validation_every=4,
        flip=True,
        sample_every=4,
        sample_steps=2,
    )

    def context(folder: str, **changes: object) -> FolderContext:
        workdir = tmp_path / folder
        if not workdir.exists():
            shutil.copytree(tmp_path / "first" / "inputs", workdir / "inputs")
        side = SIDE.get(family, 32)
        shared = {"cache": tmp_path / "cache", "family": family, "held_out": 1, "resolution": side}
        return FolderContext(workdir, base, changes.pop("params", params), **shared, **changes)

    straight = context("first")
    result = LoraTrainer().train(straight)
    assert result.metrics["export_difference"] == 0.0
    assert any(name == "validation_loss" for name, _, _ in straight.metrics)
    assert {step for _, step, _ in straight.samples} == {0, 4}, straight.messages
    weights = load_file(straight.outputs / "zork-v001.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())
    assert any(
        float(tensor.abs().max()) > 0 for name, tensor in weights.items() if "lora_up" in name or "lora_B" in name
    )
    with safe_open(straight.outputs / "zork-v001.safetensors", framework="pt") as opened:
        metadata = opened.metadata()
    assert metadata["ss_base_model_version"]
    assert metadata["modelspec.architecture"].endswith("/lora")
    with pytest.raises(Stopped):
        LoraTrainer().train(context("again", stop=lambda step: step >= 3))
    LoraTrainer().train(context("again"))
    resumed = load_file(tmp_path / "again" / "outputs" / "zork-v001.safetensors")
    assert resumed.keys() == weights.keys()
    assert all(torch.equal(resumed[name], weights[name]) for name in weights)
    further = context("further", warm_start="inputs/start.safetensors")
    shutil.copy(straight.outputs / "zork-v001.safetensors", further.workdir / "inputs" / "start.safetensors")
    assert LoraTrainer().train(further).metrics["export_difference"] == 0.0


@pytest.mark.parametrize(("family", "frozen"), [("flux1", "text_encoder_2"), ("sd3", "text_encoder_3")])
def test_encoders_that_are_never_adapted_are_asked_once_while_others_train(
    family: str, frozen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = builder(family)(tmp_path / "base")
    write_pictures(tmp_path / "first" / "inputs", 3)
    params = LoraTrainerParams(steps=5, rank=2, batch_size=2, text_encoder=True, caption_dropout=0.3)
    asked: list[int] = []
    original = T5EncoderModel.forward

    def counted(self: T5EncoderModel, *inputs: object, **more: object) -> object:
        asked.append(1)
        return original(self, *inputs, **more)

    monkeypatch.setattr(T5EncoderModel, "forward", counted)
    context = FolderContext(tmp_path / "first", base, params, family=family)
    ready = prepare(context)
    assert len(asked) == 4  # three captions, and none
    assert frozen not in ready.family.base._loaded
    result = LoraTrainer().train(context)
    assert len(asked) == 4
    assert result.metrics["export_difference"] == 0.0
    weights = load_file(context.outputs / "zork-v001.safetensors")
    assert any("lora_te" in name or "text_encoder" in name for name in weights)
