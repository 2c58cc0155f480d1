"""The trainer contract: a new trainer is right when a subclass of :class:`TrainerContract` passes.

::

    class TestMyTrainer(TrainerContract):
        spec = MY_TRAINER_SPEC
        params = {"steps": 12, "rank": 4}

        def base(self, folder):
            return BaseRef(name="tiny", family="sd15", digest="0" * 64, path=str(TINY_MODEL), resolution=64)

The suite trains about seven times; choose parameters that take a second or two. With ``spec.resumable`` the resume tests run too.
"""

# The names of the tests are their documentation.
# ruff: noqa: D102

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from assetforge.api import Params, Stopped
from assetforge.api.job import BaseRef, WeightsOutput
from assetforge.api.protocols import TrainResult
from assetforge.api.specs import TrainerSpec
from assetforge.extension.kinds import spec_problems
from assetforge.extension.registry import load
from assetforge.store.weights import read_metadata, tensor_hash
from assetforge.testing.contexts import FolderTrainContext, SimulatedKill
from assetforge.testing.inputs import ContextMaker, write_picture
from assetforge.testing.other_values import other_values
from assetforge.testing.tensors import read_arrays
from assetforge.testing.writes import stray_writes, watch_writes

__all__ = ["FinishedRun", "TrainerContract"]


@dataclass(frozen=True)
class FinishedRun:
    """A run that came to its end.

    Attributes:
        context: What it was given, with what it reported.
        result: What it gave back.
        writes: Every path that Python code wrote meanwhile.
    """

    context: FolderTrainContext
    result: TrainResult
    writes: tuple[Path, ...]

    @property
    def final(self) -> WeightsOutput:
        """The final weights."""
        return next(weights for weights in self.result.weights if weights.final)

    @property
    def final_hash(self) -> str:
        """Identity of the final weights."""
        return tensor_hash(self.context.workdir / self.final.kohya)


class TrainerContract(ABC):
    """Subclass it, name the class ``Test...``, set ``spec`` and ``base``.

    Attributes:
        spec: The trainer's spec; its ``load`` is what is tested.
        params: Values for the parameter model that make a short run; the run must have at least 6 steps.
        size: Width and height of the pictures it is given.
        other_seed_differs: Set it to false, with a reason in a comment, for a method without randomness.
    """

    spec: ClassVar[TrainerSpec]
    params: ClassVar[Mapping[str, Any]] = {}
    size: ClassVar[tuple[int, int]] = (64, 64)
    other_seed_differs: ClassVar[bool] = True

    @abstractmethod
    def base(self, folder: Path) -> BaseRef:
        """The base model to train on, with ``path`` set. Small; may be made in ``folder``, which one test class shares."""

    @pytest.fixture(scope="class")
    def contract_root(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """One folder for all runs of the class."""
        return tmp_path_factory.mktemp("trainer-contract")

    @pytest.fixture(scope="class")
    def contract_base(self, contract_root: Path) -> BaseRef:
        """The base model."""
        folder = contract_root / "base"
        folder.mkdir()
        return self.base(folder)

    @pytest.fixture(scope="class")
    def finished(self, contract_root: Path, contract_base: BaseRef) -> FinishedRun:
        """An uninterrupted run with seed 7."""
        return self.finish(self.context(contract_root, contract_base, "finished"))

    def context(
        self, root: Path, base: BaseRef, name: str, seed: int = 7, others: Mapping[str, Any] | None = None
    ) -> FolderTrainContext:
        """A context on the work folder ``root/name``; an existing one is continued. ``others`` go before the class's own ``params``."""
        params: Params = self.spec.params.model_validate({**self.params, **(others or {})})
        return ContextMaker(root)(params, base, name=name, seed=seed, size=self.size)

    def finish(self, context: FolderTrainContext) -> FinishedRun:
        """Train to the end, in the work folder, as a job does."""
        trainer = load(self.spec.load)()
        with pytest.MonkeyPatch.context() as patch, watch_writes() as seen:
            patch.chdir(context.workdir)
            result = trainer.train(context)
        return FinishedRun(context, result, tuple(seen))

    def test_the_spec_can_be_used(self) -> None:
        assert spec_problems(self.spec, TrainerSpec) == []
        assert self.spec.families
        assert self.spec.version
        assert self.spec.params.model_json_schema()["type"] == "object"
        assert callable(load(self.spec.load)().train)

    def test_steps_are_monotonic_and_reach_the_end(self, finished: FinishedRun) -> None:
        steps = [step for step, _, _ in finished.context.steps]
        totals = {total for _, total, _ in finished.context.steps}
        assert steps == sorted(steps), "a reported step went down"
        assert len(totals) == 1, f"the total changed: {totals}"
        assert totals.pop() == steps[-1], "the last reported step is not the total"
        assert all(np.isfinite(value) for _, _, figures in finished.context.steps for value in figures.values())

    def test_it_writes_weights_that_load(self, finished: FinishedRun) -> None:
        finals = [weights for weights in finished.result.weights if weights.final]
        assert len(finals) == 1, "exactly one of the weights is final"
        for weights in finished.result.weights:
            for name in filter(None, (weights.kohya, weights.diffusers)):
                path = finished.context.workdir / name
                assert path.resolve().is_relative_to(finished.context.outputs.resolve()), (
                    f"{name} is not below outputs/"
                )
                arrays = read_arrays(path)
                assert arrays, f"{name} is empty"
                assert all(np.isfinite(array).all() for array in arrays.values()), (
                    f"{name} holds values that are not finite"
                )
                assert any(array.any() for array in arrays.values()), f"{name} holds nothing but zeros"
            if weights.tensor_hash:
                assert weights.tensor_hash == tensor_hash(finished.context.workdir / weights.kohya)

    def test_kohya_pairs_are_whole(self, finished: FinishedRun) -> None:
        arrays = read_arrays(finished.context.workdir / finished.final.kohya)
        downs = [name.removesuffix(".lora_down.weight") for name in arrays if name.endswith(".lora_down.weight")]
        for module in downs:
            rank = arrays[f"{module}.lora_down.weight"].shape[0]
            assert arrays[f"{module}.lora_up.weight"].shape[1] == rank, f"the ranks of {module} differ"
            assert f"{module}.alpha" in arrays, f"{module} has no alpha; readers would guess"

    def test_lineage_is_in_the_file(self, finished: FinishedRun) -> None:
        metadata = read_metadata(finished.context.workdir / finished.final.kohya)
        assert metadata.get("assetforge.test") == "yes", (
            "context.payload.metadata must be written into the weights file"
        )
        assert finished.context.payload.output_name in finished.final.kohya

    def test_same_seed_same_weights(self, finished: FinishedRun, contract_root: Path, contract_base: BaseRef) -> None:
        again = self.finish(self.context(contract_root, contract_base, "again"))
        assert again.final_hash == finished.final_hash

    def test_other_seed_other_weights(self, finished: FinishedRun, contract_root: Path, contract_base: BaseRef) -> None:
        if not self.other_seed_differs:
            pytest.skip("the method has no randomness")
        other = self.finish(self.context(contract_root, contract_base, "other-seed", seed=8))
        assert other.final_hash != finished.final_hash

    def test_what_claims_to_change_nothing_changes_nothing(
        self, finished: FinishedRun, contract_root: Path, contract_base: BaseRef
    ) -> None:
        # Trainings that differ in nothing else are taken for the same one, and the older result is handed out.
        others = other_values(finished.context.params)
        if not others:
            pytest.skip("every parameter has a say")
        context = self.context(contract_root, contract_base, "other-values", others=others)
        assert self.finish(context).final_hash == finished.final_hash, f"one of {others} changed the weights"

    def test_held_out_pictures_teach_nothing(
        self, finished: FinishedRun, contract_root: Path, contract_base: BaseRef
    ) -> None:
        context = self.context(contract_root, contract_base, "held-out")
        for item in context.dataset.held_out_items():
            write_picture(context.workdir / item.file, seed=999, size=self.size)
        assert self.finish(context).final_hash == finished.final_hash

    def test_it_writes_only_where_it_may(self, finished: FinishedRun, contract_root: Path) -> None:
        allowed = [finished.context.workdir, finished.context.cache]
        assert stray_writes(finished.writes, allowed=allowed, root=contract_root) == []
        for item in finished.context.dataset.items:
            data = (finished.context.workdir / item.file).read_bytes()
            assert hashlib.sha256(data).hexdigest() == item.sha256, f"the input {item.file} was changed"

    def test_it_stops_within_one_step_and_commits(
        self, finished: FinishedRun, contract_root: Path, contract_base: BaseRef
    ) -> None:
        context = self.stop(contract_root, contract_base, "stopped", finished)
        assert context.first_refusal is not None, "should_stop was never asked"
        assert len(context.steps) - context.first_refusal <= 1, "it went on after should_stop said yes"
        assert context.steps[-1][0] < context.steps[-1][1], "it went on to the end"
        if self.spec.resumable:
            assert context.commits, "it committed no checkpoint before it stopped"
            assert context.commits[-1] >= context.steps[context.first_refusal - 1][0], (
                "the step it had done is not in the checkpoint"
            )

    def test_it_resumes_to_the_same_weights(
        self, finished: FinishedRun, contract_root: Path, contract_base: BaseRef
    ) -> None:
        if not self.spec.resumable:
            pytest.skip("the spec does not claim to be resumable")
        stopped = self.stop(contract_root, contract_base, "resumed", finished)
        resumed = self.finish(self.context(contract_root, contract_base, "resumed"))
        assert resumed.context.steps[0][0] >= stopped.commits[-1], "it began anew instead of continuing"
        assert resumed.final_hash == finished.final_hash

    def test_it_survives_being_killed(self, finished: FinishedRun, contract_root: Path, contract_base: BaseRef) -> None:
        if not self.spec.resumable:
            pytest.skip("the spec does not claim to be resumable")
        context = self.context(contract_root, contract_base, "killed")
        context.kill_at = max(2, finished.context.steps[-1][1] * 2 // 3)
        with pytest.raises(SimulatedKill):
            self.finish(context)
        resumed = self.finish(self.context(contract_root, contract_base, "killed"))
        assert resumed.final_hash == finished.final_hash

    def stop(self, root: Path, base: BaseRef, name: str, finished: FinishedRun) -> FolderTrainContext:
        """Run until somebody asks to stop, half way."""
        context = self.context(root, base, name)
        context.stop_at = finished.context.steps[-1][1] // 2
        with pytest.raises(Stopped):
            self.finish(context)
        return context
