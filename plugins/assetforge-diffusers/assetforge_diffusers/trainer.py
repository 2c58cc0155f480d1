"""The trainer behind ``diffusers-lora``."""

import glob
import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from assetforge.api.context import Stopped, TrainContext
from assetforge.api.job import DatasetItem, WeightsOutput
from assetforge.api.protocols import TrainResult
from assetforge.errors import JobError, PluginError, UsageError
from assetforge_diffusers import checkpoints
from assetforge_diffusers.adapters import load_kohya
from assetforge_diffusers.export import verify_exports, write_exports
from assetforge_diffusers.families import open_family
from assetforge_diffusers.families.base import Family
from assetforge_diffusers.loading import read_tensors
from assetforge_diffusers.loop import TrainingLoop
from assetforge_diffusers.machine import Machine, engine_record, memory_mb, take_machine
from assetforge_diffusers.material import Material, prepare_material
from assetforge_diffusers.metadata import RunFacts, describe, tensor_hash
from assetforge_diffusers.optimizers import training_mode
from assetforge_diffusers.params import LoraTrainerParams
from assetforge_diffusers.plugin import TRAINER
from assetforge_diffusers.prior import prior_items
from assetforge_diffusers.schedule import total_steps
from assetforge_diffusers.views import describe_plan, plan_entries

__all__ = ["LoraTrainer", "Preparation", "prepare"]

_SMOOTHING = 0.95


@dataclass(frozen=True, slots=True)
class Preparation:
    """Everything a run needs before its first step.

    Attributes:
        loop: The run in memory, adapters added, nothing trained or restored yet.
        held_out: Encoded held-out pictures; ``None`` when nothing is validated.
    """

    loop: TrainingLoop
    held_out: Material | None


@dataclass(slots=True)
class _Clock:
    """What a run remembers about itself across attempts; none of it touches the weights."""

    started: float
    seconds: float = 0.0
    loss: float = 0.0
    losses: int = 0

    def learn(self, loss: float) -> None:
        """Take a loss into the moving average, which is unbiased from the first step on."""
        self.losses += 1
        weight = (1.0 - _SMOOTHING) / (1.0 - _SMOOTHING**self.losses)
        self.loss += weight * (loss - self.loss)

    def as_state(self) -> dict[str, Any]:
        """As JSON."""
        return {"started": self.started, "seconds": self.seconds, "loss": self.loss, "losses": self.losses}


class LoraTrainer:
    """Fits :class:`assetforge.api.protocols.Trainer`."""

    def train(self, context: TrainContext) -> TrainResult:
        """Train, write both forms, prove them by reloading, and return them.

        Raises:
            Stopped: Somebody asked to stop; a checkpoint is committed.
            JobError: The loss or a gradient is not a number, memory ran out, or an export does not give back what was
                trained.
            UsageError: The recipe cannot be trained on this base, dataset or machine.
        """
        clock = _Clock(started=time.time())
        try:
            run = prepare(context)
            try:
                done = self._restore(context, run.loop, clock)
                self._train(context, run, clock, done)
                return self._finish(context, run, clock)
            finally:
                run.loop.close()
        except torch.OutOfMemoryError as error:
            raise JobError(
                f"The device {context.device} ran out of memory: {str(error).splitlines()[0]}",
                hint="Lower batch_size or resolution, or set gradient_checkpointing; the run resumes from its checkpoint "
                "only with the settings it began with.",
            ) from error

    def _restore(self, context: TrainContext, loop: TrainingLoop, clock: _Clock) -> int:
        checkpoint = context.latest_checkpoint()
        if checkpoint is None:
            if context.payload.warm_start:
                load_kohya(loop.family, loop.modules, read_tensors(context.workdir / context.payload.warm_start)[0])
            return 0
        state = checkpoints.restore(context, loop, checkpoint)
        clock.started, clock.seconds = state["started"], state["seconds"]
        clock.loss, clock.losses = state["loss"], state["losses"]
        context.log(f"Resuming after step {checkpoint.step} of {loop.total}.")
        done: int = checkpoint.step
        return done

    def _train(self, context: TrainContext, run: Preparation, clock: _Clock, done: int) -> None:
        loop, params = run.loop, run.loop.params
        committed, reported, before = done if context.latest_checkpoint() else -1, done, time.perf_counter()

        def report() -> None:
            nonlocal reported, before
            losses, bad = loop.read()
            now = time.perf_counter()
            if bad is not None:
                raise JobError(
                    f"The {bad.what} of step {bad.step} is not a number; its pictures are {', '.join(bad.pictures)}.",
                    hint="Lower the learning rate, set precision to fp32 or bf16, and look at these pictures.",
                )
            for loss in losses:
                clock.learn(loss)
            if done > reported:
                speed = (done - reported) / max(now - before, 1e-9)
                context.progress(
                    done,
                    loop.total,
                    loss=clock.loss,
                    lr=loop.learning_rate,
                    it_s=speed,
                    memory_mb=memory_mb(loop.machine.device),
                )
            clock.seconds += now - before
            reported, before = done, now

        def commit() -> None:
            nonlocal committed
            if committed != done:
                report()
                checkpoints.commit(context, loop, done, clock.as_state())
                committed = done

        context.progress(done, loop.total)
        while done < loop.total:
            if context.should_stop():
                commit()
                raise Stopped
            loop.step(done)
            done += 1
            if loop.window_full:
                report()
            if done % params.checkpoint_every == 0 or done == loop.total:
                commit()
            if params.keep_every and done % params.keep_every == 0 and done < loop.total:
                self._export(context, run, clock, done)
            if run.held_out is not None and (done % params.validation_every == 0 or done == loop.total):
                context.metric("validation_loss", loop.validate(run.held_out), done)

    def _export(self, context: TrainContext, run: Preparation, clock: _Clock, done: int) -> tuple[WeightsOutput, float]:
        """Write both forms of the weights after ``done`` steps and prove them; at the end under the plain name."""
        loop, payload, final = run.loop, context.payload, done == run.loop.total
        name = payload.output_name if final else f"{payload.output_name}-step{done:06d}"
        facts = RunFacts(
            payload=payload,
            dataset=context.dataset,
            params=loop.params,
            trainer=f"{TRAINER.name} {TRAINER.version}",
            seed=loop.seed,
            entries=loop.material.entries,
            name=name,
            steps=done,
            epochs=math.ceil(done * loop.params.batch_size * loop.params.accumulate / loop.shuffle.views_per_epoch),
            precision=loop.machine.precision,
            started=clock.started,
            finished=time.time(),
        )
        training_mode(loop.optimizer, on=False)
        with loop.ema.swapped_in() if loop.ema is not None else nullcontext():
            exports = write_exports(context.outputs, name, loop, describe(facts, loop.family))
            difference = verify_exports(loop, exports)
        if not final:
            training_mode(loop.optimizer, on=True)
            for module in loop.modules.values():
                module.train()
        return _weights(context, exports.kohya, done, exports.identity, final=final), difference

    def _finish(self, context: TrainContext, run: Preparation, clock: _Clock) -> TrainResult:
        loop = run.loop
        memory = memory_mb(loop.machine.device)
        weights, difference = self._export(context, run, clock, loop.total)
        context.log(
            f"What was written was reloaded and gives back the trained model (largest difference {difference:g})."
        )
        metrics = {
            "loss": clock.loss,
            "steps": float(loop.total),
            "seconds_per_step": clock.seconds / loop.total,
            "memory_mb": memory,
            "parameters": float(sum(parameter.numel() for parameter in loop.parameters.values())),
            "export_difference": difference,
        }
        return TrainResult(
            weights=(*_kept_on_the_way(context), weights), metrics=metrics, engine=engine_record(loop.machine)
        )


def _kept_on_the_way(context: TrainContext) -> list[WeightsOutput]:
    """The weights that were kept before the end, by whichever attempt."""
    pattern = f"{glob.escape(context.payload.output_name)}-step*.safetensors"
    files = [file for file in sorted(context.outputs.glob(pattern)) if not file.name.endswith(".diffusers.safetensors")]
    return [
        _weights(context, file, int(file.stem.rpartition("-step")[2]), tensor_hash(file), final=False) for file in files
    ]


def _weights(context: TrainContext, kohya: Path, step: int, identity: str, *, final: bool) -> WeightsOutput:
    diffusers = kohya.with_suffix(".diffusers.safetensors")
    return WeightsOutput(
        step=step,
        kohya=kohya.relative_to(context.workdir).as_posix(),
        diffusers=diffusers.relative_to(context.workdir).as_posix() if diffusers.is_file() else "",
        tensor_hash=identity,
        final=final,
    )


def prepare(context: TrainContext) -> Preparation:
    """Open the base, encode the dataset, add adapters.

    Raises:
        UsageError: The recipe cannot be trained on this base, dataset or machine.
        PluginError: The parameters are not this trainer's.
        Stopped: Somebody asked to stop.
    """
    params, payload = context.params, context.payload
    if not isinstance(params, LoraTrainerParams):
        raise PluginError(
            f"The trainer {TRAINER.name} was given parameters of {type(params).__name__}.", hint="Start the run again."
        )
    items = _chosen_items(context, params)
    machine = take_machine(context.device, context.threads, params.precision, training=True)
    if machine.device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    context.log(f"Training on {machine.device} in {machine.precision}.")
    family = open_family(
        payload.base, context.base_path(payload.base), machine.dtype, cache=context.cache / "diffusers"
    )
    if params.text_encoder and not family.text_encoders:
        raise UsageError(
            f"The text encoders of {payload.base.family} cannot be adapted.", hint="Set text_encoder to false."
        )
    sides = params.resolutions or (payload.base.resolution,)
    entries = plan_entries(items, sides, family.size_multiple, params)
    for line in describe_plan(entries, params.batch_size):
        context.log(line)
    embed = not params.text_encoder
    if params.prior_pictures:
        prior = prior_items(context, family, sides[-1], params, machine.device)
        entries += [
            replace(entry, weight=params.prior_weight)
            for entry in plan_entries(prior, sides[-1:], family.size_multiple, params)
        ]
    material = prepare_material(context, family, entries, params, embed=embed, device=machine.device)
    held_out = _held_out(context, family, params, sides, machine) if params.validation_every else None
    family.forget_encoders(keep=family.adaptable_encoders if params.text_encoder else ())
    if machine.device.type != "cpu":
        torch.cuda.empty_cache() if machine.device.type == "cuda" else torch.mps.empty_cache()
    views = sum(entry.item.repeats for entry in material.entries)
    loop = TrainingLoop(family, material, params, total_steps(params, views), context.seed, machine)
    return Preparation(loop, held_out)


def _held_out(
    context: TrainContext, family: Family, params: LoraTrainerParams, sides: Sequence[int], machine: Machine
) -> Material | None:
    entries = plan_entries(context.dataset.held_out_items(), sides[-1:], family.size_multiple, params)
    if not entries:
        return None
    embed = not params.text_encoder
    return prepare_material(context, family, entries, params, embed=embed, device=machine.device, training=False)


def _chosen_items(context: TrainContext, params: LoraTrainerParams) -> list[DatasetItem]:
    """The pictures to learn from, after what the recipe says about captions; says what is odd about them.

    Raises:
        UsageError: There are none, or some have no caption and the recipe says to stop then.
    """
    items, trigger = context.dataset.train_items(), context.payload.trigger
    bare = [item for item in items if not item.caption.strip()]
    if bare:
        names = ", ".join(Path(item.file).name for item in bare[:10])
        if params.empty_captions == "stop":
            raise UsageError(
                f"{len(bare)} of {len(items)} pictures have no caption: {names}.",
                hint="Caption them and freeze the dataset again, or set empty_captions to use or skip.",
            )
        what = "left out" if params.empty_captions == "skip" else "learnt without one"
        context.log(f"{len(bare)} of {len(items)} pictures have no caption and are {what}: {names}.")
        if params.empty_captions == "skip":
            items = [item for item in items if item.caption.strip()]
    if not items:
        raise UsageError(
            f"The dataset {context.dataset.address} has no picture to train on.",
            hint="Freeze it again with fewer held-out references.",
        )
    untriggered = [item for item in items if item.caption and trigger and trigger.lower() not in item.caption.lower()]
    if untriggered and not params.insert_trigger:
        context.log(
            f"{len(untriggered)} of {len(items)} captions do not say the trigger word {trigger}, "
            f"such as that of {Path(untriggered[0].file).name}: {untriggered[0].caption[:80]!r}"
        )
    return items
