"""The trainer behind ``diffusers-lora``."""

import math
import time
from dataclasses import dataclass
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
from assetforge_diffusers.families import family_class
from assetforge_diffusers.families.base import Family
from assetforge_diffusers.loading import read_tensors
from assetforge_diffusers.loop import TrainingLoop
from assetforge_diffusers.machine import Machine, engine_record, memory_mb, take_machine
from assetforge_diffusers.material import Material, prepare_material
from assetforge_diffusers.metadata import RunFacts, describe
from assetforge_diffusers.params import LoraTrainerParams
from assetforge_diffusers.plugin import TRAINER
from assetforge_diffusers.schedule import total_steps

__all__ = ["LoraTrainer", "Preparation", "prepare"]

_SMOOTHING = 0.95


@dataclass(frozen=True, slots=True)
class Preparation:
    """Everything a run needs before its first step.

    Attributes:
        loop: The run in memory, adapters added, nothing trained or restored yet.
        family: The opened base.
        machine: Where it runs.
        items: Pictures to learn from.
        held_out: Encoded held-out pictures; ``None`` when nothing is validated.
        side: Pixels.
        base: Folder of the base model.
    """

    loop: TrainingLoop
    family: Family
    machine: Machine
    items: list[DatasetItem]
    held_out: Material | None
    side: int
    base: Path


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
            done = self._restore(context, run.loop, clock)
            self._train(context, run, clock, done)
            return self._finish(context, run, clock)
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
                    memory_mb=memory_mb(run.machine.device),
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
            if run.held_out is not None and (done % params.validation_every == 0 or done == loop.total):
                context.metric("validation_loss", loop.validate(run.held_out), done)

    def _finish(self, context: TrainContext, run: Preparation, clock: _Clock) -> TrainResult:
        loop, payload = run.loop, context.payload
        memory = memory_mb(run.machine.device)
        facts = RunFacts(
            payload=payload,
            dataset=context.dataset,
            params=loop.params,
            trainer=f"{TRAINER.name} {TRAINER.version}",
            seed=loop.seed,
            side=run.side,
            steps=loop.total,
            epochs=math.ceil(loop.total * loop.params.batch_size / loop.shuffle.views_per_epoch),
            precision=run.machine.precision,
            started=clock.started,
            finished=time.time(),
        )
        metadata = describe(facts, run.family)
        kohya, diffusers, identity = write_exports(
            context.outputs, payload.output_name, run.family, loop.modules, metadata
        )
        captions = [run.items[0].caption, ""]
        difference = verify_exports(
            run.base,
            run.family,
            run.machine,
            [*loop.modules],
            (kohya, diffusers),
            captions,
            run.side,
        )
        context.log(f"Both files were reloaded and give back the trained model (largest difference {difference:g}).")
        weights = WeightsOutput(
            step=loop.total,
            kohya=kohya.relative_to(context.workdir).as_posix(),
            diffusers=diffusers.relative_to(context.workdir).as_posix(),
            tensor_hash=identity,
        )
        metrics = {
            "loss": clock.loss,
            "steps": float(loop.total),
            "seconds_per_step": clock.seconds / loop.total,
            "memory_mb": memory,
            "parameters": float(sum(parameter.numel() for parameter in loop.parameters.values())),
            "export_difference": difference,
        }
        return TrainResult(weights=(weights,), metrics=metrics, engine=engine_record(run.machine))


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
    items = context.dataset.train_items()
    if not items:
        raise UsageError(
            f"The dataset {context.dataset.address} has no picture to train on.",
            hint="Freeze it again with fewer held-out references.",
        )
    machine = take_machine(context.device, context.threads, params.precision, training=True)
    if machine.device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    context.log(f"Training on {machine.device} in {machine.precision}.")
    untriggered = [item for item in items if payload.trigger and payload.trigger.lower() not in item.caption.lower()]
    if untriggered:
        context.log(
            f"{len(untriggered)} of {len(items)} captions do not say the trigger word {payload.trigger}, "
            f"such as that of {Path(untriggered[0].file).name}: {untriggered[0].caption[:80]!r}"
        )
    base = context.base_path(payload.base)
    family = family_class(payload.base.family).open(base)
    side = params.resolution or payload.base.resolution
    if side % family.latent_factor:
        raise UsageError(
            f"The resolution {side} is not a multiple of {family.latent_factor}.",
            hint="Choose another resolution in the recipe.",
        )
    family.encoders_to(machine.device)
    embed = not params.text_encoder
    material = prepare_material(context, family, items, side, flip=params.flip, embed=embed, device=machine.device)
    validated = context.dataset.held_out_items() if params.validation_every else []
    held_out = (
        prepare_material(context, family, validated, side, flip=False, embed=embed, device=machine.device)
        if validated
        else None
    )
    family.encoders_to(torch.device("cpu"))
    total = total_steps(params, sum(item.repeats for item in items))
    loop = TrainingLoop(family, material, [item.repeats for item in items], params, total, context.seed, machine)
    return Preparation(loop, family, machine, items, held_out, side, base)
