"""Recorded steps train the same. The recorder here computes again what a GPU would replay, so that places, sizes and gradients are what is tested."""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from assetforge_diffusers.graphs import StepGraphs, garbage_stays
from assetforge_diffusers.loop import TrainingLoop
from assetforge_diffusers.machine import choose_attention
from assetforge_diffusers.params import LoraTrainerParams
from assetforge_diffusers.preparation import prepare
from diffusers_world import FolderContext, fresh_workdir, tiny_base, write_pictures

SETTINGS = {"steps": 16, "rank": 2, "batch_size": 2, "accumulate": 2, "learning_rate": 1e-2, "resolutions": (16, 32)}


class Again:
    """Computes a recorded step again over the tensors that it was recorded with."""

    def __init__(self, trouble: Exception | None = None) -> None:
        self.trouble, self.recorded, self.replayed, self.usually = trouble, 0, 0, 0

    def usual(self, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
        self.usually += 1
        return compute()

    def record(self, compute: Callable[[], torch.Tensor]) -> tuple[Callable[[], None], torch.Tensor]:
        if self.trouble:
            raise self.trouble
        self.recorded += 1
        result = torch.full((), float("nan"))

        def replay() -> None:
            self.replayed += 1
            result.copy_(compute())

        return replay, result


def run(context: FolderContext, recorder: Again | None) -> tuple[TrainingLoop, list[float]]:
    loop = prepare(context).loop(context.params)
    if recorder is not None:
        loop._graphs = StepGraphs(loop._learn, loop.trained, recorder)
    losses = []
    for index in range(SETTINGS["steps"]):
        loop.step(index)
        losses += loop.read()[0]
    loop.close()
    return loop, losses


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, torch.Tensor], list[float]]:
    root = tmp_path_factory.mktemp("graphs")
    base = tiny_base(root / "base")
    write_pictures(root / "plain" / "inputs", 4)
    loop, losses = run(FolderContext(root / "plain", base, LoraTrainerParams(**SETTINGS)), None)
    return root, base, {name: p.detach().clone() for name, p in loop.parameters.items()}, losses


def check(plain: tuple, recorder: Again, name: str) -> TrainingLoop:
    root, base, weights, losses = plain
    workdir = fresh_workdir(root / "plain", root / name)
    loop, own = run(FolderContext(workdir, base, LoraTrainerParams(**SETTINGS)), recorder)
    assert own == losses
    assert all(torch.equal(parameter, weights[name]) for name, parameter in loop.parameters.items())
    return loop


def test_recorded_steps_train_the_same(plain: tuple) -> None:
    recorder = Again()
    loop = check(plain, recorder, "recorded")
    assert recorder.recorded == 2  # sizes
    assert recorder.usually == 4
    assert recorder.replayed == 2 * SETTINGS["steps"] - 4
    assert not loop.trouble


def test_what_cannot_be_recorded_is_computed_as_usual(plain: tuple) -> None:
    recorder = Again(RuntimeError("operation not permitted when stream is capturing\nand much more"))
    loop = check(plain, recorder, "refused")
    assert recorder.usually == 2 * SETTINGS["steps"]
    assert loop.trouble == "operation not permitted when stream is capturing"


def test_memory_that_runs_out_while_recording_is_no_reason_to_go_on(plain: tuple) -> None:
    with pytest.raises(torch.OutOfMemoryError):
        check(plain, Again(torch.OutOfMemoryError("CUDA out of memory")), "out of memory")


class Ring:
    """Garbage that only the collector finds."""

    def __init__(self) -> None:
        self.itself = self


def test_old_graphs_go_before_a_recording_and_nothing_goes_while_it_lasts() -> None:
    old = weakref.ref(Ring())
    with garbage_stays():
        assert old() is None
        new = weakref.ref(Ring())
        kept = [[] for _ in range(200_000)]  # enough to wake the collector
        assert new() is not None
    del kept
    assert gc.isenabled()
    gc.collect()
    assert new() is None


def test_only_unets_learn_through_the_attention_of_cudnn() -> None:
    before = torch.backends.cuda.cudnn_sdp_enabled()
    try:
        for denoiser in ("transformer", "unet"):
            choose_attention(denoiser)
            assert torch.backends.cuda.cudnn_sdp_enabled() == (denoiser == "unet")
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)
