"""Several processes share the batches of a step, and the run learns what it learns in one."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from assetforge.api.context import Stopped
from assetforge.errors import UsageError
from assetforge_diffusers.params import LoraTrainerParams
from assetforge_diffusers.preparation import prepare
from assetforge_diffusers.team import check_size
from assetforge_diffusers.trainer import LoraTrainer
from diffusers_world import FolderContext, fresh_workdir, tiny_base, write_pictures

TINY = {
    "rank": 2,
    "steps": 4,
    "batch_size": 1,
    "accumulate": 2,
    "learning_rate": 1e-2,
    "checkpoint_every": 2,
    "flip": True,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("team")
    write_pictures(root / "plain" / "inputs", 3)
    return tiny_base(root / "base"), root / "plain"


def weights(context: FolderContext) -> dict[str, torch.Tensor]:
    return load_file(context.outputs / "zork-v001.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_and_go_on_where_it_stopped(world: tuple, tmp_path: Path) -> None:
    base, workdir = world
    plain = FolderContext(fresh_workdir(workdir, tmp_path / "one"), base, LoraTrainerParams(**TINY))
    alone = LoraTrainer().train(plain)
    shared = FolderContext(fresh_workdir(workdir, tmp_path / "two"), base, LoraTrainerParams(**TINY, gpus=2))
    together = LoraTrainer().train(shared)
    # A sum of two does not depend on their order.
    assert same(weights(plain), weights(shared))
    assert together.metrics["loss"] == pytest.approx(alone.metrics["loss"])
    assert together.metrics["export_difference"] == 0.0


@pytest.mark.slow
def test_a_run_that_several_began_goes_on_in_one(world: tuple, tmp_path: Path) -> None:
    base, workdir = world
    plain = FolderContext(fresh_workdir(workdir, tmp_path / "one"), base, LoraTrainerParams(**TINY))
    LoraTrainer().train(plain)
    begun = tmp_path / "begun"
    halted = FolderContext(
        fresh_workdir(workdir, begun), base, LoraTrainerParams(**TINY, gpus=2), stop=lambda step: step >= 2
    )
    with pytest.raises(Stopped):
        LoraTrainer().train(halted)
    alone_again = FolderContext(begun, base, LoraTrainerParams(**TINY))
    LoraTrainer().train(alone_again)
    assert same(weights(plain), weights(alone_again))


DIES = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from assetforge_diffusers.params import LoraTrainerParams
from assetforge_diffusers.preparation import prepare
from diffusers_world import FolderContext

if __name__ == "__main__":
    context = FolderContext(Path({workdir!r}), Path({base!r}), LoraTrainerParams(**{settings!r}))
    loop = prepare(context).loop(context.params)
    loop.step(0)
    (other,) = loop._leader._others
    os.kill(other.pid, signal.SIGKILL)
    for step in range(1, 4):
        loop.step(step)
"""


@pytest.mark.slow
def test_a_process_that_ends_ends_the_run_with_a_sentence(world: tuple, tmp_path: Path) -> None:
    base, workdir = world
    script = tmp_path / "dies.py"
    there = fresh_workdir(workdir, tmp_path / "dies")
    script.write_text(
        DIES.format(tests=str(Path(__file__).parent), workdir=str(there), base=str(base), settings={**TINY, "gpus": 2}),
        encoding="utf-8",
    )
    ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=150, check=False)
    assert ended.returncode != 0
    assert "The process of GPU 1 ended in the middle of training" in ended.stderr


def test_losses_that_are_scaled_by_each_process_alone_are_refused() -> None:
    check_size(1, 1, torch.device("cpu"), scaled=True)
    with pytest.raises(UsageError, match="fp16"):
        check_size(2, 2, torch.device("cpu"), scaled=True)


def test_batches_that_cannot_be_shared_are_refused(world: tuple, tmp_path: Path) -> None:
    base, workdir = world
    params = LoraTrainerParams(**{**TINY, "accumulate": 3}, gpus=2)
    with pytest.raises(UsageError, match="cannot be shared") as caught:
        prepare(FolderContext(fresh_workdir(workdir, tmp_path / "odd"), base, params))
    assert "accumulate" in caught.value.hint
