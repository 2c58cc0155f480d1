"""What earlier runs of a trainer took on a base: time per step, time besides, memory. The next run is told from them."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError
from sqlmodel import Session, col, select

from assetforge.api.params import Params
from assetforge.api.protocols import TrainingLength
from assetforge.api.specs import TrainerSpec
from assetforge.db.models import BaseModelRecord, DatasetItemRow, Run
from assetforge.db.models_jobs import Job
from assetforge.errors import AssetForgeError
from assetforge.extension.registry import load
from assetforge.services.recipes import Recipe

__all__ = ["Cost", "expected_cost", "training_length"]

_RUNS = 20
_SIZES = ("resolution", "resolutions")
"""Parameters that say how large pictures are: runs at another size say nothing about the time of a step."""

_NO_MEMORY = frozenset(
    {
        *(
            "caption_dropout",
            "checkpoint_every",
            "keep_every",
            "learning_rate",
            "lr_scheduler",
            "noise_offset",
            "sample_guidance",
            "sample_prompts",
            "sample_steps",
            "steps",
        ),
        *("text_encoder_learning_rate", "validation_every", "views", "warmup", "weight_decay"),
    }
)
"""Parameters that take no memory whatever they are; runs that differ in any other say nothing about it."""

_WHETHER = frozenset({"sample_every"})
"""Those of which it matters whether they are on, not what they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a run will probably take.

    Attributes:
        seconds: From start to end, loading included; ``None`` when no earlier run tells.
        runs: Earlier runs that it comes from.
        device: The device of these runs, as their engine named it; empty when unknown.
        memory_mb: Memory of an earlier run that differed in nothing that takes memory; ``None`` when there is none.
        memory_run: Number of that run.
    """

    seconds: float | None = None
    runs: int = 0
    device: str = ""
    memory_mb: float | None = None
    memory_run: int | None = None


@dataclass(frozen=True, slots=True)
class _Past:
    """An earlier run: seconds per step, other seconds, pictures per step where it is known."""

    per_step: float
    besides: float
    pictures: int | None


def training_length(trainer: TrainerSpec, params: Params, pictures: int) -> TrainingLength | None:
    """How long a training will be; ``None`` when its trainer does not say. Of trainers that only have a parameter ``steps`` the rest is 0.

    Args:
        trainer: The trainer.
        params: Its parameters.
        pictures: Pictures to train on, repeats counted.
    """
    if trainer.length:
        try:
            length = load(trainer.length)(params, pictures)
        except AssetForgeError:
            return None
        except Exception:  # noqa: BLE001 - a plugin that cannot tell the length can still train
            return None
        return length if isinstance(length, TrainingLength) else None
    steps = getattr(params, "steps", None)
    return TrainingLength(steps, 0, pictures) if type(steps) is int and steps > 0 else None


def expected_cost(session: Session, recipe: Recipe, executor: str, length: TrainingLength | None) -> Cost:
    """What a run will probably take, from the last finished runs of its trainer, in this version, on its base, executor and device.

    Args:
        session: Any session.
        recipe: What would run.
        executor: Where.
        length: How long it is; without it no time can be told.
    """
    rows = session.exec(
        select(Run)
        .join(BaseModelRecord, col(BaseModelRecord.id) == Run.base_model_id)
        .join(Job, col(Job.run_id) == Run.id)
        .where(
            Run.trainer == recipe.trainer.spec.name,
            Run.trainer_version == recipe.trainer.spec.version,
            BaseModelRecord.digest == recipe.base.digest,
            Run.state == "succeeded",
            Job.executor == executor,
        )
        .order_by(col(Run.id).desc())
        .limit(_RUNS)
    ).all()
    if not rows:
        return Cost()
    device = _device(rows[0])
    here = [run for run in rows if _device(run) == device]
    params = recipe.params.model_dump(mode="json")
    like = next((run for run in here if _same_memory(run.params, recipe) and _memory(run) is not None), None)
    alike = [run for run in here if all(run.params.get(name) == params.get(name) for name in _SIZES)]
    known = [past for run in alike if (past := _past(session, run, recipe.trainer.spec)) is not None]
    return Cost(
        seconds=_seconds(known, length),
        runs=len(known),
        device=device,
        memory_mb=_memory(like) if like is not None else None,
        memory_run=like.id if like is not None else None,
    )


def _seconds(known: Sequence[_Past], length: TrainingLength | None) -> float | None:
    if not known or length is None:
        return None

    def per_step(past: _Past) -> float:
        # A step over twice as many pictures takes about twice as long; where a side does not say, as long as it took.
        scaled = past.pictures and length.pictures_per_step
        return past.per_step * length.pictures_per_step / past.pictures if scaled and past.pictures else past.per_step

    return length.steps * statistics.median(map(per_step, known)) + statistics.median(past.besides for past in known)


def _past(session: Session, run: Run, trainer: TrainerSpec) -> _Past | None:
    pictures = sum(
        session.exec(
            select(DatasetItemRow.repeats).where(
                DatasetItemRow.dataset_id == run.dataset_id, DatasetItemRow.split == "train"
            )
        ).all()
    )
    try:
        length = training_length(trainer, trainer.params.model_validate(run.params), pictures)
    except ValidationError:
        length = None
    steps = _figure(run.metrics, "steps") or (length.steps if length else None)
    took = (
        (_utc(run.finished_at) - _utc(run.started_at)).total_seconds() if run.started_at and run.finished_at else None
    )
    per_step = _figure(run.metrics, "seconds_per_step") or (took / steps if took and steps else None)
    if not per_step or not steps:
        return None
    besides = max(0.0, took - per_step * steps) if took else 0.0
    return _Past(per_step, besides, length.pictures_per_step if length else None)


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _device(run: Run) -> str:
    return str(run.engine.get("device_name") or run.engine.get("device") or "")


def _memory(run: Run) -> float | None:
    return _figure(run.metrics, "memory_mb")


def _same_memory(before: Mapping[str, Any], recipe: Recipe) -> bool:
    """Whether an earlier run took the memory that this one will; parameters that its trainer did not have yet were at their defaults."""
    now, fields = recipe.params.model_dump(mode="json"), type(recipe.params).model_fields
    return all(
        _taking(name, before.get(name, fields[name].default)) == _taking(name, value)
        for name, value in now.items()
        if name not in _NO_MEMORY
    )


def _taking(name: str, value: Any) -> Any:
    plain = list(value) if isinstance(value, tuple) else value
    return bool(plain) if name in _WHETHER else plain


def _figure(metrics: Mapping[str, Any], name: str) -> float | None:
    value = metrics.get(name)
    return float(value) if isinstance(value, int | float) and value > 0 else None
