"""The trainer behind ``diffusers-lora``."""

import glob
import math
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch._dynamo.exc import TorchDynamoException

from assetforge.api.context import Stopped, TrainContext
from assetforge.api.job import WeightsOutput
from assetforge.api.protocols import TrainResult
from assetforge.errors import JobError
from assetforge_diffusers import checkpoints
from assetforge_diffusers.adapters import load_kohya
from assetforge_diffusers.export import verify_exports, write_exports
from assetforge_diffusers.ladder import changed
from assetforge_diffusers.loading import read_tensors
from assetforge_diffusers.loop import TrainingLoop
from assetforge_diffusers.machine import engine_record, memory_mb
from assetforge_diffusers.metadata import RunFacts, describe, tensor_hash
from assetforge_diffusers.optimizers import training_mode
from assetforge_diffusers.params import LoraTrainerParams
from assetforge_diffusers.plugin import TRAINER
from assetforge_diffusers.preparation import Preparation, prepare
from assetforge_diffusers.run_samples import RunSamples
from assetforge_diffusers.slowdown import SlowdownWatch

__all__ = ["LoraTrainer"]

_SMOOTHING = 0.95
_NO_MEMORY_ON_CPU = "can't allocate memory"


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
            UsageError: The recipe cannot be trained on this base, dataset or machine, or not in its memory.
        """
        clock = _Clock(started=time.time())
        try:
            ready = prepare(context)
            params = ready.fit().params
        except (torch.OutOfMemoryError, RuntimeError) as error:
            raise _no_memory(context, _require_no_memory(error)) from error
        while True:
            outcome = self._attempt(ready, params, clock)
            if isinstance(outcome, TrainResult):
                return outcome
            context.log(outcome)
            params = ready.relieve(params).params

    def _attempt(self, ready: Preparation, params: LoraTrainerParams, clock: _Clock) -> TrainResult | str:
        """The result, or what was said when memory ran out; nothing of the attempt is left on the device then."""
        loop: TrainingLoop | None = None
        try:
            loop = ready.loop(params)
            done = self._restore(ready.context, loop, clock)
            _Run(ready, loop, clock, done).train()
            return self._finish(ready, loop, clock)
        except TorchDynamoException as error:
            raise JobError(
                f"The blocks of the denoiser cannot be compiled here: {str(error).splitlines()[0]}",
                hint="Set compile to false, or install what torch.compile needs: a C++ compiler, and Triton for a GPU.",
            ) from error
        except (torch.OutOfMemoryError, RuntimeError) as error:
            return _require_no_memory(error)
        finally:
            if loop is not None:
                loop.close()

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

    def _finish(self, ready: Preparation, loop: TrainingLoop, clock: _Clock) -> TrainResult:
        context, memory = ready.context, memory_mb(loop.machine.device)
        weights, difference = _export(context, loop, clock, loop.total)
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
        engine = engine_record(loop.machine)
        measures = changed(ready.asked, loop.params)
        if measures:
            engine["memory_measures"] = measures
        return TrainResult(weights=(*_kept_on_the_way(context), weights), metrics=metrics, engine=engine)


class _Run:
    """The steps of one attempt, and what happens between them.

    Args:
        ready: What was prepared.
        loop: The run in memory, restored.
        clock: What the run remembers about itself.
        done: Steps that are done already.
    """

    def __init__(self, ready: Preparation, loop: TrainingLoop, clock: _Clock, done: int) -> None:
        self._context, self._held_out, self._loop, self._clock = ready.context, ready.held_out, loop, clock
        self._done = self._reported = done
        self._committed = done if ready.context.latest_checkpoint() else -1
        self._since = time.perf_counter()
        self._slowdown = SlowdownWatch(loop.machine.device)
        self._unrecorded = False
        self._samples = RunSamples(ready.context, ready.samples, loop)

    def train(self) -> None:
        """All steps that are left.

        Raises:
            Stopped: Somebody asked to stop; a checkpoint is committed.
            JobError: The loss or a gradient is not a number.
        """
        context, loop, params = self._context, self._loop, self._loop.params
        context.progress(self._done, loop.total)
        if not self._done:
            self._show()
        while self._done < loop.total:
            if context.should_stop():
                self._commit()
                raise Stopped
            loop.step(self._done)
            self._done += 1
            if loop.window_full:
                self._report()
            last = self._done == loop.total
            if self._done % params.checkpoint_every == 0 or last:
                self._commit()
            if params.keep_every and self._done % params.keep_every == 0 and not last:
                self._report()
                _export(context, loop, self._clock, self._done)
                self._since = time.perf_counter()
            if self._held_out is not None and (self._done % params.validation_every == 0 or last):
                self._report()
                context.metric("validation_loss", loop.validate(self._held_out), self._done)
                self._since = time.perf_counter()
            self._show()

    def _show(self) -> None:
        if self._samples.is_due(self._done):
            self._report()
            self._samples.draw(self._done)
            self._since = time.perf_counter()

    def _report(self) -> None:
        loop, clock, context = self._loop, self._clock, self._context
        losses, bad = loop.read()
        if bad is not None:
            raise JobError(
                f"The {bad.what} of step {bad.step} is not a number; its pictures are {', '.join(bad.pictures)}.",
                hint="Lower the learning rate, set precision to fp32 or bf16, and look at these pictures.",
            )
        for loss in losses:
            clock.learn(loss)
        now, steps = time.perf_counter(), self._done - self._reported
        if steps:
            seconds = max(now - self._since, 1e-9)
            context.progress(
                self._done,
                loop.total,
                loss=clock.loss,
                lr=loop.learning_rate,
                it_s=steps / seconds,
                memory_mb=memory_mb(loop.machine.device),
            )
            clock.seconds += seconds
            warning = self._slowdown.observe(seconds / steps, steps)
            if warning:
                context.log(warning)
        if loop.trouble and not self._unrecorded:
            self._unrecorded = True
            context.log(f"Steps cannot be recorded as CUDA graphs and are launched kernel by kernel: {loop.trouble}")
        self._reported, self._since = self._done, now

    def _commit(self) -> None:
        if self._committed == self._done:
            return
        self._report()
        checkpoints.commit(self._context, self._loop, self._done, self._clock.as_state())
        self._committed, self._since = self._done, time.perf_counter()


def _require_no_memory(error: RuntimeError) -> str:
    """What was said when memory ran out; every other error goes on."""
    if isinstance(error, torch.OutOfMemoryError) or _NO_MEMORY_ON_CPU in str(error):
        return str(error).splitlines()[0]
    raise error


def _no_memory(context: TrainContext, reason: str) -> JobError:
    return JobError(
        f"The device {context.device} ran out of memory: {reason}",
        hint="Start a new run with fit_memory=auto, or with a smaller batch_size or resolution or gradient_checkpointing.",
    )


def _export(context: TrainContext, loop: TrainingLoop, clock: _Clock, done: int) -> tuple[WeightsOutput, float]:
    """Write both forms of the weights after ``done`` steps and prove them; at the end under the plain name."""
    payload, final = context.payload, done == loop.total
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
