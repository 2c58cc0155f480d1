"""Sweeps: a small grid of training parameters, one run for each combination, with one seed for all.

A sweep keeps nothing of its own. Its runs say in their cause what they belong to, and a run is known by its recipe key: the same sweep again finds the runs that it has,
joins those that are under way, and trains what is missing.
"""

import re
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from sqlmodel import Session, col, select

from assetforge.api.params import influential
from assetforge.db.models import BaseModelRecord, Run, Version
from assetforge.db.models_jobs import Job
from assetforge.domain.names import version_address
from assetforge.domain.recipe_key import recipe_key
from assetforge.domain.states import OPEN_JOB_STATES
from assetforge.errors import UsageError
from assetforge.services.assets import AssetInfo, get_asset
from assetforge.services.datasets import DatasetInfo, get_dataset
from assetforge.services.projects import Project
from assetforge.services.ranking import check_measurable
from assetforge.services.recipes import Recipe, resolve_recipe
from assetforge.services.training import request_training
from assetforge.store.model_digest import HashProgress

__all__ = ["MOST_RUNS", "PlannedRun", "SweepPlan", "SweepRun", "plan_sweep", "request_sweep", "sweep_runs"]

MOST_RUNS = 16
"""Runs that a sweep may have unless more are asked for in words."""

_CAUSE = re.compile(r"sweep (\d+): ")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """One combination.

    Attributes:
        label: Such as ``rank=4 learning_rate=0.001``.
        overrides: Parameters that differ from the recipe.
        recipe_key: Identity of what is trained.
        version: Address of the version that is the answer already; empty otherwise.
        run: Run of the same key that is there or under way; ``None`` when it has to be trained.
        hours: Estimated hours on the device; ``None`` when nothing is known, 0 when nothing has to run.
    """

    label: str
    overrides: Mapping[str, Any]
    recipe_key: str
    version: str
    run: int | None
    hours: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPlan:
    """What a sweep would do.

    Attributes:
        number: Number of the sweep; an earlier one's when it goes on with that.
        asset: Name of the asset.
        dataset: Address of the dataset version.
        recipe: Name of the recipe.
        base: Name of the base model.
        seed: Seed of every run.
        runs: The combinations, the last parameter changing fastest.
        hours: Estimated hours on the device in all; ``None`` when nothing is known.
    """

    number: int
    asset: str
    dataset: str
    recipe: str
    base: str
    seed: int
    runs: tuple[PlannedRun, ...]
    hours: float | None

    @property
    def missing(self) -> int:
        """Runs that have to be trained."""
        return sum(one.run is None for one in self.runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRun:
    """One combination that was asked for.

    Attributes:
        label: The combination.
        run: Its run.
        state: State of the run.
        job: Job to wait for; ``None`` when it has ended.
        version: Address of its last weights; empty until they are there.
        reused: They were there before.
    """

    label: str
    run: int
    state: str
    job: int | None
    version: str
    reused: bool


def plan_sweep(
    project: Project,
    asset_name: str,
    grid: Mapping[str, Sequence[Any]],
    *,
    overrides: Mapping[str, Any] | None = None,
    recipe: str = "",
    base: str = "",
    dataset: str = "",
    seed: int = 0,
    many: bool = False,
    hashing: HashProgress | None = None,
) -> SweepPlan:
    """What a sweep would train; changes nothing.

    Args:
        project: The film.
        asset_name: What to train.
        grid: Values of each parameter; every combination is one run.
        overrides: Parameters that differ from the recipe in every run.
        recipe: Preset; by default the asset's.
        base: Base model; by default the preset's or the film's.
        dataset: Dataset address; by default the asset's newest.
        seed: Seed of every run, so that what differs is the grid.
        many: More than :data:`MOST_RUNS` runs are wanted.
        hashing: Hears about files of the base model that have to be hashed first.

    Raises:
        NotFoundError: There is no such asset, dataset version, recipe, trainer or base model.
        UsageError: The grid is empty or too large, a parameter does not fit, or nothing could rank the results.
    """
    _check_grid(grid, overrides or {}, many=many)
    asset, frozen = get_asset(project, asset_name), get_dataset(project, dataset or asset_name)
    if frozen.held_out_count == 0:
        raise UsageError(
            f"{frozen.address} holds no reference out of training, so that nothing could rank what is trained on it.",
            hint="Freeze a dataset with a held-out split.",
        )
    given = [
        ({**(overrides or {}), **dict(zip(grid, values, strict=True))}, values) for values in product(*grid.values())
    ]
    recipes = [
        (
            " ".join(f"{name}={value}" for name, value in zip(grid, values, strict=True)),
            chosen,
            resolve_recipe(project, asset, name=recipe, overrides=chosen, base=base, hashing=hashing),
        )
        for chosen, values in given
    ]
    first = recipes[0][2]
    check_measurable(project, asset.name, first.base.name)
    runs: dict[str, PlannedRun] = {}
    with project.read() as session:
        for label, chosen, resolved in recipes:
            planned = _planned(session, asset, frozen, resolved, seed, label, chosen)
            # A parameter that has no say beside the others makes no run of its own.
            runs.setdefault(planned.recipe_key, planned)
        number = _number(session, list(runs))
    hours = [one.hours for one in runs.values()]
    return SweepPlan(
        number=number,
        asset=asset.name,
        dataset=frozen.address,
        recipe=first.name,
        base=first.base.name,
        seed=seed,
        runs=tuple(runs.values()),
        hours=None if None in hours else sum(one for one in hours if one is not None),
    )


def request_sweep(
    project: Project,
    plan: SweepPlan,
    *,
    base: str = "",
    executor: str = "",
    priority: int = 0,
) -> list[SweepRun]:
    """Queue what a sweep lacks; runs that are there or under way are taken as they are.

    Args:
        project: The film.
        plan: What to train.
        base: Base model, as the plan was made with.
        executor: Where; by default the film's.
        priority: Higher goes first.

    Raises:
        UsageError: The dataset has nothing to train on.
        PluginError: A plugin that the film requires does not work here.
    """
    for one in plan.runs:
        request_training(
            project,
            plan.asset,
            recipe=plan.recipe,
            overrides=one.overrides,
            base=base,
            dataset=plan.dataset,
            seed=plan.seed,
            executor=executor,
            priority=priority,
            cause=f"sweep {plan.number}: {one.label}",
        )
    return sweep_runs(project, plan)


def sweep_runs(project: Project, plan: SweepPlan) -> list[SweepRun]:
    """How far the runs of a sweep are, in the order of the plan; combinations that were never asked for are left out."""
    before = {one.recipe_key for one in plan.runs if one.version}
    found = []
    with project.read() as session:
        asset_id = get_asset(project, plan.asset).id
        for one in plan.runs:
            run = _newest(session, asset_id, one.recipe_key)
            if run is None:
                continue
            job = session.exec(select(Job.id).where(Job.run_id == run.id, col(Job.state).in_(OPEN_JOB_STATES))).first()
            found.append(
                SweepRun(
                    label=one.label,
                    run=run.id or 0,
                    state=run.state,
                    job=job,
                    version=_last_version(session, plan.asset, run),
                    reused=one.recipe_key in before,
                )
            )
    return found


def _check_grid(grid: Mapping[str, Sequence[Any]], overrides: Mapping[str, Any], *, many: bool) -> None:
    if not grid or not all(grid.values()):
        raise UsageError("A sweep needs parameters with values.", hint="Such as --grid rank=4,8.")
    twice = next((name for name in grid if name in overrides), "")
    if twice:
        raise UsageError(f"{twice} is given once for all runs, and as a part of the grid.", hint="Leave out one.")
    count = 1
    for values in grid.values():
        count *= len(values)
    if count > MOST_RUNS and not many:
        raise UsageError(
            f"That are {count} runs, and a sweep has {MOST_RUNS} at most.", hint="Make the grid smaller, or add --many."
        )


def _planned(
    session: Session,
    asset: AssetInfo,
    dataset: DatasetInfo,
    recipe: Recipe,
    seed: int,
    label: str,
    overrides: Mapping[str, Any],
) -> PlannedRun:
    key = recipe_key(
        dataset_tree=dataset.tree_hash,
        trainer=recipe.trainer.spec.name,
        trainer_version=recipe.trainer.spec.version,
        params=influential(recipe.params),
        base_digest=recipe.base.digest,
        trigger=asset.trigger,
        class_word=asset.class_word,
        seed=seed,
    )
    run = _newest(session, asset.id, key)
    version = _last_version(session, asset.name, run) if run is not None else ""
    there = run is not None and (bool(version) or run.state in OPEN_JOB_STATES)
    return PlannedRun(
        label=label,
        overrides=dict(overrides),
        recipe_key=key,
        version=version,
        run=run.id if run is not None and there else None,
        hours=0.0 if version else _hours(session, recipe),
    )


def _newest(session: Session, asset_id: int, key: str) -> Run | None:
    """The run of a key that matters: one that has a version, else the newest."""
    runs = session.exec(
        select(Run).where(Run.asset_id == asset_id, Run.recipe_key == key).order_by(col(Run.id).desc())
    ).all()
    return next((run for run in runs if run.state == "succeeded"), runs[0] if runs else None)


def _last_version(session: Session, asset: str, run: Run) -> str:
    """The version of a run's last weights; what it kept on the way are versions as well, of fewer steps."""
    found = session.exec(select(Version).where(Version.run_id == run.id).order_by(col(Version.step).desc())).first()
    return version_address(asset, found.number) if found is not None and run.state == "succeeded" else ""


def _hours(session: Session, recipe: Recipe) -> float | None:
    """How long a run will probably take, from earlier ones of its trainer on its base: by steps where both state them, else as long as these."""
    rows = session.exec(
        select(Run)
        .join(BaseModelRecord, col(BaseModelRecord.id) == Run.base_model_id)
        .where(
            Run.trainer == recipe.trainer.spec.name,
            BaseModelRecord.digest == recipe.base.digest,
            Run.state == "succeeded",
            col(Run.started_at).is_not(None),
            col(Run.finished_at).is_not(None),
        )
    ).all()
    wanted = _steps(recipe.params.model_dump(mode="json"))
    known = []
    for run in rows:
        if run.started_at is not None and run.finished_at is not None:
            took, steps = (run.finished_at - run.started_at).total_seconds() / 3600, _steps(run.params)
            known.append(took * wanted / steps if wanted and steps else took)
    return statistics.median(known) if known else None


def _steps(params: Mapping[str, Any]) -> int:
    steps = params.get("steps", 0)
    return steps if isinstance(steps, int) else 0


def _number(session: Session, keys: Sequence[str]) -> int:
    """The sweep that most of these runs belong to, else the next one."""
    every = session.exec(select(Run.cause, Run.recipe_key).where(col(Run.cause).startswith("sweep "))).all()
    numbers = [(int(match.group(1)), key) for cause, key in every if (match := _CAUSE.match(cause))]
    own = Counter(number for number, key in numbers if key in keys)
    if own:
        return own.most_common(1)[0][0]
    return max((number for number, _ in numbers), default=0) + 1
