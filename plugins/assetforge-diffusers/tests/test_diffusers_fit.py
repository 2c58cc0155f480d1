"""A run and its memory: it says what it needs, stops or takes measures, and goes on after memory ran out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from assetforge.api.context import Stopped
from assetforge.errors import UsageError
from assetforge_diffusers.ladder import changed, ladder
from assetforge_diffusers.loop import TrainingLoop
from assetforge_diffusers.params import LoraTrainerParams
from assetforge_diffusers.preparation import Preparation, prepare
from assetforge_diffusers.trainer import LoraTrainer
from diffusers_world import FolderContext, fresh_workdir, slow

NEEDS_ARE_COMPUTED = True

ASKED: dict[str, Any] = {
    "rank": 64,
    "alpha": 32.0,
    "steps": 6,
    "batch_size": 4,
    "learning_rate": 1e-2,
    "checkpoint_every": 2,
}


@pytest.fixture
def workdir(pictures: Path) -> Path:
    return pictures.parent


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All tests train the same network on pictures of one size, whose needs are computed once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def context(workdir: Path, base_folder: Path, cache: Path) -> Callable[..., FolderContext]:
    """Makes the context of a run."""

    def make(params: LoraTrainerParams, folder: Path | None = None, **settings: Any) -> FolderContext:
        place = workdir if folder is None else fresh_workdir(workdir, folder)
        return FolderContext(place, base_folder, params, cache=cache, **settings)

    return make


def need(ready: Preparation, params: LoraTrainerParams) -> int:
    return ready._estimator()(params).total


def limit_under(ready: Preparation, params: LoraTrainerParams, rung: str) -> float:
    """GiB in which the rung of that name fits."""
    return need(ready, next(one.params for one in ladder(params, "cpu") if one.name == rung)) / 2**30


def weights_of(context: FolderContext) -> dict[str, torch.Tensor]:
    return load_file(context.outputs / "zork-v001.safetensors")


def run_out_at(monkeypatch: pytest.MonkeyPatch, step: int, times: int = 1) -> list[LoraTrainerParams]:
    """Have memory run out in a step; the parameters of every loop that is made."""
    made: list[LoraTrainerParams] = []
    left = [times]
    original_step, original_init = TrainingLoop.step, TrainingLoop.__init__

    def init(self: TrainingLoop, family: Any, material: Any, params: LoraTrainerParams, *rest: Any) -> None:
        made.append(params)
        original_init(self, family, material, params, *rest)

    def failing(self: TrainingLoop, index: int) -> None:
        if index == step and left[0]:
            left[0] -= 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        original_step(self, index)

    monkeypatch.setattr(TrainingLoop, "step", failing)
    monkeypatch.setattr(TrainingLoop, "__init__", init)
    return made


def test_the_need_is_said_before_the_first_step(context: Callable[..., FolderContext]) -> None:
    run = context(LoraTrainerParams(**ASKED))
    LoraTrainer().train(run)
    said = [message for message in run.messages if message.startswith("A training step needs about")]
    assert len(said) == 1
    assert "There are" in said[0]


def test_what_does_not_fit_stops_before_the_first_step_and_names_what_would(
    context: Callable[..., FolderContext],
) -> None:
    params = LoraTrainerParams(**ASKED)
    limit = limit_under(prepare(context(params)), params, "checkpointing")
    run = context(LoraTrainerParams(**ASKED, memory_limit=limit))
    with pytest.raises(UsageError, match="Training as asked needs about") as caught:
        LoraTrainer().train(run)
    assert "--set gradient_checkpointing=true" in caught.value.hint
    assert not run.steps


@pytest.mark.parametrize(
    "rung", ["checkpointing", *map(slow, ("batch 2", "batch 1", "8-bit optimizer", "int8", "nf4"))]
)
def test_every_measure_is_taken_when_it_is_the_first_that_suffices(
    rung: str, context: Callable[..., FolderContext]
) -> None:
    asked = LoraTrainerParams(**ASKED, fit_memory="auto")
    ready = prepare(context(asked))
    limit = limit_under(ready, asked, rung)
    run = context(asked.model_copy(update={"memory_limit": limit}))
    result = LoraTrainer().train(run)
    expected = next(one for one in ladder(asked, "cpu") if need(ready, one.params) <= int(limit * 2**30))
    assert result.engine["memory_measures"] == changed(asked, expected.params)
    assert any("Taken: " in message for message in run.messages)
    assert run.steps[-1] == (6, 6)
    assert result.metrics["export_difference"] == 0.0
    assert all(bool(torch.isfinite(tensor).all()) for tensor in weights_of(run).values())


def test_running_out_of_memory_takes_the_next_measure_and_goes_on(
    context: Callable[..., FolderContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run_out_at(monkeypatch, step=1, times=2)
    run = context(LoraTrainerParams(**ASKED, fit_memory="auto"))
    result = LoraTrainer().train(run)
    assert [(params.gradient_checkpointing, params.batch_size) for params in made[:2]] == [(False, 4), (True, 4)]
    assert len(made) == 3
    assert made[2].batch_size < 4
    assert result.engine["memory_measures"]["gradient_checkpointing"] is True
    assert sum("Memory ran out" in message for message in run.messages) == 2
    assert sum("2.00 GiB" in message for message in run.messages) == 2


def test_running_out_of_memory_stops_a_run_that_was_not_told_to_help_itself(
    context: Callable[..., FolderContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_out_at(monkeypatch, step=1)
    with pytest.raises(UsageError, match="Memory ran out") as caught:
        LoraTrainer().train(context(LoraTrainerParams(**ASKED)))
    assert "fit_memory=auto" in caught.value.hint


def test_after_a_checkpoint_only_what_changes_no_weight_is_changed(
    context: Callable[..., FolderContext], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = LoraTrainerParams(**ASKED, fit_memory="auto")
    whole = context(params, tmp_path / "whole")
    LoraTrainer().train(whole)
    made = run_out_at(monkeypatch, step=3)
    relieved = context(params)
    LoraTrainer().train(relieved)
    assert [changed(params, one) for one in made] == [{}, {"gradient_checkpointing": True}]
    assert any(message.startswith("Resuming after step 2") for message in relieved.messages)
    for name, tensor in weights_of(whole).items():
        assert torch.equal(tensor, weights_of(relieved)[name])
    made.clear()
    run_out_at(monkeypatch, step=5, times=2)
    again = context(params, tmp_path / "again")
    with pytest.raises(UsageError, match="Memory ran out"):
        LoraTrainer().train(again)


@pytest.mark.slow
def test_a_resumed_run_goes_on_under_the_measures_it_began_with(
    context: Callable[..., FolderContext], tmp_path: Path
) -> None:
    asked = LoraTrainerParams(**ASKED, fit_memory="auto")
    limit = limit_under(prepare(context(asked)), asked, "int8")
    params = asked.model_copy(update={"memory_limit": limit})
    whole = context(params, tmp_path / "whole")
    result = LoraTrainer().train(whole)
    assert result.engine["memory_measures"]["quantize"] == "int8"
    with pytest.raises(Stopped):
        LoraTrainer().train(context(params, stop=lambda step: step >= 3))
    plenty = context(asked)  # memory is free again: the weights are not to change for that
    resumed = LoraTrainer().train(plenty)
    assert resumed.engine["memory_measures"]["quantize"] == "int8"
    for name, tensor in weights_of(whole).items():
        assert torch.equal(tensor, weights_of(plenty)[name])


@pytest.mark.usefixtures("needs_unknown")
@pytest.mark.parametrize(
    ("settings", "network"),
    [
        ({"quantize": "int8"}, "lora"),
        ({"quantize": "nf4", "offload": True}, "dora"),
        ({"offload": True}, "lokr"),
        slow({"quantize": "int8"}, "dora"),
        slow({"quantize": "int8"}, "lokr"),
        slow({"quantize": "nf4", "offload": True}, "lora"),
        slow({"quantize": "nf4", "offload": True}, "lokr"),
        slow({"offload": True}, "lora"),
        slow({"offload": True}, "dora"),
    ],
)
def test_a_base_in_fewer_bits_or_in_main_memory_trains_and_exports(
    network: str, settings: dict[str, Any], context: Callable[..., FolderContext], tmp_path: Path
) -> None:
    params = LoraTrainerParams(
        **{**ASKED, "rank": 4, "network": network, "steps": 3, "text_encoder": True, "conv_rank": 2, **settings}
    )
    run = context(params)
    assert LoraTrainer().train(run).metrics["export_difference"] == 0.0
    if settings == {"offload": True}:
        plain = params.model_copy(update={"offload": False})
        other = context(plain, tmp_path / "other")
        LoraTrainer().train(other)
        for name, tensor in weights_of(run).items():
            assert torch.equal(tensor, weights_of(other)[name])


def test_batches_that_are_added_up_count_as_views() -> None:
    from assetforge_diffusers.schedule import total_steps

    one = LoraTrainerParams(views=10, batch_size=4)
    other = LoraTrainerParams(views=10, batch_size=1, accumulate=4)
    assert total_steps(one, 20) == total_steps(other, 20) == 50
