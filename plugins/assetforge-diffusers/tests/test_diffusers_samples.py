"""Pictures on the way: what is learnt so far is shown, and nothing of it changes what is learnt."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from assetforge.api.context import Stopped
from assetforge_diffusers import run_samples
from assetforge_diffusers.params import LoraTrainerParams
from assetforge_diffusers.trainer import LoraTrainer
from diffusers_world import FolderContext, fresh_workdir, slow

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # the schedulers' own

TINY = {"rank": 4, "alpha": 8.0, "steps": 5, "batch_size": 2, "learning_rate": 5e-2, "checkpoint_every": 3}
SAMPLES = {"sample_every": 2, "sample_steps": 2}


@pytest.fixture
def workdir(pictures: Path) -> Path:
    return pictures.parent


def weights_of(context: FolderContext) -> dict[str, torch.Tensor]:
    return load_file(context.outputs / "zork-v001.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def trained(workdir: Path, base: Path, **settings: Any) -> FolderContext:
    context = FolderContext(workdir, base, LoraTrainerParams(**{**TINY, **settings}), held_out=1)
    LoraTrainer().train(context)
    return context


@pytest.mark.parametrize(
    "settings",
    [
        {"dropout": 0.1, "flip": True, "caption_dropout": 0.3},
        slow({"text_encoder": True, "ema": 0.5}),
        {"network": "loha", "optimizer": "schedule-free", "lr_scheduler": "constant"},
    ],
    ids=["plain", "text encoder and average", "schedule-free loha"],
)
def test_they_change_nothing_of_what_is_learnt(
    workdir: Path, base_folder: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    with_samples = trained(workdir, base_folder, **settings, **SAMPLES)
    without = trained(fresh_workdir(workdir, tmp_path / "without"), base_folder, **settings)
    assert same(weights_of(with_samples), weights_of(without))
    assert {step for _, step, _ in with_samples.samples} == {0, 2, 4, 5}
    assert not without.samples


def test_the_same_question_shows_what_changed(workdir: Path, base_folder: Path) -> None:
    context = trained(workdir, base_folder, **SAMPLES, sample_prompts="{trigger} the {class} at sea|  | a lamp")
    assert [prompt for _, step, prompt in context.samples if step == 2] == ["zork the robot at sea", "a lamp"]
    by_step = {step: picture for picture, step, prompt in context.samples if prompt == "a lamp"}
    assert all(picture.dtype == np.uint8 and picture.shape == (32, 32, 3) for picture in by_step.values())
    assert not np.array_equal(by_step[0], by_step[2])
    assert not np.array_equal(by_step[2], by_step[5])


def test_before_the_first_step_they_are_the_bare_bases(workdir: Path, base_folder: Path, tmp_path: Path) -> None:
    pictures = [
        trained(fresh_workdir(workdir, tmp_path / str(rank)), base_folder, **SAMPLES, rank=rank, steps=1).samples[0][0]
        for rank in (2, 8)
    ]
    assert np.array_equal(*pictures)


def test_captions_are_what_is_asked_when_nothing_else_is(workdir: Path, base_folder: Path) -> None:
    context = trained(workdir, base_folder, **SAMPLES)
    first = [prompt for _, step, prompt in context.samples if step == 0]
    held_out = [item.caption for item in context.dataset.held_out_items()]
    assert held_out[0] in first[0]
    assert 1 <= len(first) <= 4
    assert len(set(first)) == len(first)
    assert all("zork" in prompt.lower() for prompt in first)


def test_a_resumed_run_goes_on_with_them(workdir: Path, base_folder: Path) -> None:
    params = LoraTrainerParams(**{**TINY, **SAMPLES})
    stopped = FolderContext(workdir, base_folder, params, stop=lambda step: step >= 3)
    with pytest.raises(Stopped):
        LoraTrainer().train(stopped)
    # Others may be asked for, and how often, without another run.
    resumed = FolderContext(workdir, base_folder, params.model_copy(update={"sample_prompts": "a boat"}))
    LoraTrainer().train(resumed)
    assert [step for _, step, _ in resumed.samples] == [4, 5]
    assert {prompt for _, _, prompt in resumed.samples} == {"a boat"}


def test_no_run_fails_for_them(workdir: Path, base_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\n20 GiB")

    monkeypatch.setattr(run_samples, "draw", fail)
    context = trained(workdir, base_folder, **SAMPLES)
    assert not context.samples
    said = [message for message in context.messages if "Samples cannot be drawn" in message]
    assert said == ["Samples cannot be drawn, and no more are tried: CUDA out of memory. Tried to allocate"]
    assert weights_of(context)
