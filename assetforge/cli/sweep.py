"""``assetforge sweep``."""

import json
from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import Parameter

from assetforge.cli.exit_codes import ExitCode
from assetforge.cli.hashing import hashing
from assetforge.cli.output import emit, plain, say, table
from assetforge.cli.rank import finish_ranking, print_ranking, ranking_document
from assetforge.cli.session import opened_project
from assetforge.cli.waiting import wait_with_progress
from assetforge.errors import JobError, UsageError
from assetforge.services.projects import Project
from assetforge.services.ranking import RankingRequest, RankingTable, ranking_jobs, request_ranking
from assetforge.services.recipes import parse_overrides
from assetforge.services.sweeps import SweepPlan, SweepRun, plan_sweep, request_sweep, sweep_runs

__all__ = ["sweep"]


def sweep(
    asset: str,
    *,
    grid: Annotated[tuple[str, ...], Parameter(negative=())],
    set_: Annotated[tuple[str, ...], Parameter(name="--set", negative=())] = (),
    recipe: str = "",
    base: str = "",
    dataset: str = "",
    seed: int = 0,
    against: str = "",
    suite: str = "",
    quick: Annotated[bool, Parameter(negative=())] = False,
    on: str = "",
    device: str = "auto",
    priority: int = 0,
    many: Annotated[bool, Parameter(negative=())] = False,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    wait: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Train every combination of a small grid of parameters and rank what comes of it; picking one is left to you.

    The same sweep again goes on where it was: what was trained is not trained again.

    Args:
        asset: Name of the asset.
        grid: A parameter with its values, such as --grid rank=4,8; may be repeated.
        set_: Change a parameter of the recipe in every run, such as --set steps=800; may be repeated.
        recipe: Preset; by default the asset's own, the film's, or the first that fits.
        base: Name of a base model, a diffusers folder, or a hub id in the local cache.
        dataset: Dataset version such as mara/d3; by default the newest.
        seed: Seed of every run.
        against: What all are compared with; by default the approved version, else the one with the most steps.
        suite: Suite to rank by; by default the asset's own, or the first that fits.
        quick: Only the quick size of the suite.
        on: Executor to run on.
        device: Device to render on: auto, cpu, cuda or mps.
        priority: Higher goes first.
        many: Allow more than 16 runs.
        dry_run: Only say what would be trained and how long it would take.
        wait: Wait until it is trained and ranked.
    """
    with opened_project() as project:
        with hashing("base model") as update:
            plan = plan_sweep(
                project,
                asset,
                parse_grid(grid),
                overrides=parse_overrides(set_),
                recipe=recipe,
                base=base,
                dataset=dataset,
                seed=seed,
                many=many,
                hashing=update,
            )
        if dry_run:
            emit("sweep", _document(plan, [], None, None, ()), lambda: _print_plan(plan))
            return ExitCode.OK
        say(_cost(plan))
        runs = request_sweep(project, plan, base=base, executor=on, priority=priority)
        if wait:
            runs = _wait(project, plan, runs)
        trained = [one.version for one in runs if one.version]
        request = None
        if len(trained) > 1 and not any(one.job for one in runs):
            request = request_ranking(
                project,
                trained,
                against,
                suite=suite,
                quick=quick,
                executor=on,
                device=device,
                priority=priority,
            )
        found = finish_ranking(project, request, wait=wait) if request else None
        jobs = ranking_jobs(project, request) if request else ()
    emit("sweep", _document(plan, runs, request, found, jobs), lambda: _print(plan, runs, request, found))
    if wait and request is None:
        raise JobError(
            f"Of sweep {plan.number} only {len(trained)} of {len(runs)} runs ended well, so there is nothing to rank.",
            hint="`assetforge run list` shows why; the same sweep again trains what is missing.",
        )
    if found is None:
        say("`assetforge work` runs the queue; run the same command again to go on, or use --wait.")
    return ExitCode.OK


def parse_grid(pairs: Sequence[str]) -> dict[str, list[Any]]:
    """``["rank=4,8", "learning_rate=1e-3,5e-4"]`` as lists of values: JSON where it is JSON, text otherwise.

    Raises:
        UsageError: A pair has no ``=`` or no value, or a name or a value stands twice.
    """
    found: dict[str, list[Any]] = {}
    for pair in pairs:
        name, separator, text = pair.partition("=")
        name, parts = name.strip(), [part.strip() for part in text.split(",")]
        if not separator or not all(parts):
            raise UsageError(f"--grid takes NAME=VALUE,VALUE, and {pair!r} is none.")
        values = [_value(part) for part in parts]
        if name in found or len({repr(value) for value in values}) != len(values):
            raise UsageError(f"--grid {pair} names something twice.")
        found[name] = values
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _wait(project: Project, plan: SweepPlan, runs: Sequence[SweepRun]) -> list[SweepRun]:
    for place, one in enumerate(runs, start=1):
        if one.job is not None:
            wait_with_progress(project, one.job, f"run {one.run}  {place} of {len(runs)}  {one.label}")
    return sweep_runs(project, plan)


def _cost(plan: SweepPlan) -> str:
    if not plan.missing:
        return f"Sweep {plan.number}: all {len(plan.runs)} runs are there or under way."
    new = f"Sweep {plan.number}: {plan.missing} of {len(plan.runs)} runs have to be trained"
    if plan.hours is None:
        return f"{new}; how long that takes is not known, since nothing was trained on {plan.base} yet."
    return f"{new}; by earlier runs that takes about {_hours(plan.hours)} on the device."


def _hours(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 1 else f"{max(1, round(hours * 60))} minutes"


def _document(
    plan: SweepPlan,
    runs: Sequence[SweepRun],
    request: RankingRequest | None,
    found: RankingTable | None,
    jobs: tuple[int, ...],
) -> dict[str, Any]:
    return {
        "sweep": plan.number,
        "plan": plan,
        "missing": plan.missing,
        "runs": list(runs),
        "ranked": ranking_document(request, found, jobs) if request else None,
    }


def _print_plan(plan: SweepPlan) -> None:
    rows = [
        (one.label, one.run, one.version, "" if one.version or one.hours is None else _hours(one.hours))
        for one in plan.runs
    ]
    table(("combination", "run", "version", "would take"), rows)
    plain(_cost(plan))


def _print(
    plan: SweepPlan, runs: Sequence[SweepRun], request: RankingRequest | None, found: RankingTable | None
) -> None:
    rows = [(one.run, one.label, one.state, one.version, "reused" if one.reused else "") for one in runs]
    table(("run", "combination", "state", "version", ""), rows)
    plain("")
    if request is None:
        plain(f"Sweep {plan.number} is under way; it is ranked when its runs have ended.")
    else:
        print_ranking(request, found)
