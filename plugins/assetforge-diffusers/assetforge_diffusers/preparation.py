"""Everything of a run before its first step: the base opened, pictures and captions encoded, memory checked, adapters added."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from assetforge.api.context import TrainContext
from assetforge.api.job import DatasetItem
from assetforge.errors import PluginError, UsageError
from assetforge_diffusers.checkpoints import MEMORY_MEASURES
from assetforge_diffusers.draws import Pick
from assetforge_diffusers.families import open_family
from assetforge_diffusers.families.base import Family
from assetforge_diffusers.follower import Share, follow
from assetforge_diffusers.ladder import Fit, preflight, relieve
from assetforge_diffusers.loop import TrainingLoop
from assetforge_diffusers.machine import Machine, take_machine
from assetforge_diffusers.material import Batch, Material, prepare_material
from assetforge_diffusers.memory import Estimator, memory_limit
from assetforge_diffusers.params import LoraTrainerParams
from assetforge_diffusers.plugin import TRAINER
from assetforge_diffusers.prior import prior_items
from assetforge_diffusers.run_samples import SamplePlan, plan_samples
from assetforge_diffusers.schedule import total_steps
from assetforge_diffusers.team import assemble, check_size
from assetforge_diffusers.views import describe_plan, plan_entries

__all__ = ["Preparation", "prepare"]


@dataclass(frozen=True, slots=True)
class Preparation:
    """What is the same whatever measures are taken to save memory.

    Attributes:
        context: The run's.
        asked: The recipe's parameters.
        machine: Where.
        family: The opened base; its encoders are gone.
        material: Encoded pictures and captions.
        held_out: Encoded held-out pictures; ``None`` when nothing is validated.
        samples: What is drawn on the way; ``None`` for nothing.
    """

    context: TrainContext
    asked: LoraTrainerParams
    machine: Machine
    family: Family
    material: Material
    held_out: Material | None
    samples: SamplePlan | None

    def fit(self) -> Fit:
        """How the run can begin, or go on, in the memory that there is; said in the log.

        Raises:
            UsageError: It cannot, or not without measures that the recipe does not allow.
        """
        params, resumed = self._as_begun()
        limit = memory_limit(params, self.machine.device, [self.family.denoiser])
        fit = preflight(params, limit, self._estimator(), self.machine.device.type, resumed=resumed)
        self.context.log(fit.message)
        return fit

    def relieve(self, params: LoraTrainerParams) -> Fit:
        """How the run can go on after memory ran out under ``params``; said in the log.

        Raises:
            UsageError: It cannot, or not without measures that the recipe does not allow.
        """
        self.forget_networks()
        _, resumed = self._as_begun()
        limit = memory_limit(params, self.machine.device, [self.family.denoiser])
        fit = relieve(params, limit, self._estimator(), self.machine.device.type, resumed=resumed)
        self.context.log(fit.message)
        return fit

    def forget_networks(self) -> None:
        """Let go of whatever was adapted, quantised or moved to the device, so that the next loop begins with the base's own networks."""
        self.machine.accelerator.free_memory()
        self.family.forget_networks()

    def loop(self, params: LoraTrainerParams) -> TrainingLoop:
        """The run in memory: adapters added, nothing trained or restored yet."""
        views = sum(entry.item.repeats for entry in self.material.entries)
        total = total_steps(params, views)
        loop = TrainingLoop(self.family, self.material, params, total, self.context.seed, self.machine)
        if params.gpus > 1:
            loop.lead(assemble(params.gpus, follow, self._share(params, total), self.machine.device))
        return loop

    def _share(self, params: LoraTrainerParams, total: int) -> Share:
        context, base = self.context, self.context.payload.base
        return Share(
            base=base,
            path=context.base_path(base),
            cache=context.cache,
            params=params,
            material=self.material.to(torch.device("cpu")),
            total=total,
            seed=context.seed,
            threads=context.threads,
        )

    def _as_begun(self) -> tuple[LoraTrainerParams, bool]:
        """The parameters, with the measures that an earlier attempt took; and whether they are settled by it."""
        checkpoint = self.context.latest_checkpoint()
        if checkpoint is None or self.asked.fit_memory == "ask":
            return self.asked, False
        begun = checkpoint.state["identity"]
        return self.asked.model_copy(update={name: begun[name] for name in MEMORY_MEASURES}), True

    def _estimator(self) -> Estimator:
        return Estimator(self.family, self._largest(), self.machine, self.context.cache / "diffusers" / "memory")

    def _largest(self) -> Batch:
        """One view of the bucket with the largest pictures."""
        bucket = max(self.material.buckets, key=lambda bucket: bucket.moments[0].numel())
        return self.material.batch([Pick(bucket.entries[0], flipped=False, variant=0)])


def prepare(context: TrainContext) -> Preparation:
    """Open the base and encode the dataset.

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
    scaled = machine.accelerator.scaler is not None
    check_size(params.gpus, params.accumulate, machine.device, scaled=scaled)
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
    return Preparation(context, params, machine, family, *_encode(context, params, items, machine, family))


def _encode(
    context: TrainContext, params: LoraTrainerParams, items: Sequence[DatasetItem], machine: Machine, family: Family
) -> tuple[Material, Material | None, SamplePlan | None]:
    """Pictures to learn from, held-out ones, and what is drawn on the way; the encoders are gone afterwards."""
    sides = params.resolutions or (context.payload.base.resolution,)
    entries = plan_entries(items, sides, family.size_multiple, params)
    for line in describe_plan(entries, params.batch_size):
        context.log(line)
    if params.prior_pictures:
        prior = prior_items(context, family, sides[-1], params, machine.device)
        entries += [
            replace(entry, weight=params.prior_weight)
            for entry in plan_entries(prior, sides[-1:], family.size_multiple, params)
        ]
    how: dict[str, Any] = {"embed": not params.text_encoder, "device": machine.device}
    material = prepare_material(context, family, entries, params, **how)
    held_out = None
    if params.validation_every:
        kept = plan_entries(context.dataset.held_out_items(), sides[-1:], family.size_multiple, params)
        held_out = prepare_material(context, family, kept, params, **how, training=False) if kept else None
    samples = plan_samples(context, family, items, params, machine.device)
    family.forget_encoders(keep=family.adaptable_encoders if params.text_encoder else ())
    if machine.device.type != "cpu":
        torch.cuda.empty_cache() if machine.device.type == "cuda" else torch.mps.empty_cache()
    return material, held_out, samples


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
    if params.mask == "file":
        _tell_masks(context, items)
    untriggered = [item for item in items if item.caption and trigger and trigger.lower() not in item.caption.lower()]
    if untriggered and not params.insert_trigger:
        context.log(
            f"{len(untriggered)} of {len(items)} captions do not say the trigger word {trigger}, "
            f"such as that of {Path(untriggered[0].file).name}: {untriggered[0].caption[:80]!r}"
        )
    return items


def _tell_masks(context: TrainContext, items: Sequence[DatasetItem]) -> None:
    """Say which pictures have no mask.

    Raises:
        UsageError: None has one.
    """
    bare = [Path(item.file).name for item in items if not item.mask]
    if len(bare) == len(items):
        raise UsageError(
            "No picture of the dataset has a mask.",
            hint="Lay masks beside the pictures (frame.mask.png for frame.png), add them again and freeze, or set mask to none or alpha.",
        )
    if bare:
        context.log(
            f"{len(bare)} of {len(items)} pictures have no mask and are learnt as a whole: {', '.join(bare[:10])}."
        )
