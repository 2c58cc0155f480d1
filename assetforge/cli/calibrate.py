"""``assetforge calibrate``."""

from typing import Annotated, Any

from cyclopts import Parameter

from assetforge.cli.exit_codes import ExitCode
from assetforge.cli.hashing import hashing
from assetforge.cli.output import emit, plain, say, table
from assetforge.cli.session import opened_project
from assetforge.cli.waiting import wait_with_progress
from assetforge.errors import JobError
from assetforge.services.calibration import (
    Calibration,
    KnownMargin,
    NoiseTable,
    compare_repeats,
    noise_table,
    pending_jobs,
    request_calibration,
    train_jobs,
)
from assetforge.services.projects import Project

__all__ = ["calibrate"]


def calibrate(
    asset: str,
    *,
    version: str = "",
    repeats: int = 2,
    quick: Annotated[bool, Parameter(negative=())] = False,
    show: Annotated[bool, Parameter(negative=())] = False,
    on: str = "",
    device: str = "auto",
    priority: int = 0,
    wait: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Measure what training again changes: train a version anew with other seeds, compare all of them, and take the margins of later verdicts from that.

    Asking again goes on where it was. Versions that are made for it are retired: they are neither the latest one nor a baseline.

    Args:
        asset: Name of the asset.
        version: Version to train again, such as mara/v3; by default the approved one, else the newest that was trained here.
        repeats: How many trainings besides the version's own.
        quick: Only the quick size of the suite.
        show: Train and compare nothing; show what is known.
        on: Executor to run on.
        device: Device to render on: auto, cpu, cuda or mps.
        priority: Higher goes first.
        wait: Wait until it is done.
    """
    with opened_project() as project:
        if show:
            known = noise_table(project, asset, version)
            emit("calibrate-show", {"noise": known}, lambda: _print_noise(known))
            return ExitCode.OK
        with hashing("base model") as update:
            asked = request_calibration(
                project, asset, version, repeats=repeats, executor=on, priority=priority, hashing=update
            )
        say(_under_way(asked))
        training = _train(project, asked) if wait else train_jobs(project, asked)
        if not training:
            asked = compare_repeats(project, asked, quick=quick, executor=on, device=device, priority=priority)
        jobs, asked = _settle(project, asked, wait=wait)
        known = noise_table(project, asset, asked.version)
    emit("calibrate", _document(asked, (*training, *jobs), known), lambda: _print(asked, known))
    if wait:
        _check_ended_well(asked)
    elif training or jobs:
        say("`assetforge work` runs the queue; run the same command again to go on, or use --wait.")
    return ExitCode.OK


def _train(project: Project, asked: Calibration) -> tuple[int, ...]:
    for job in train_jobs(project, asked):
        wait_with_progress(project, job, f"job {job}  training {asked.version} again")
    return train_jobs(project, asked)


def _settle(project: Project, asked: Calibration, *, wait: bool) -> tuple[tuple[int, ...], Calibration]:
    """Open jobs of the comparisons, after waiting for them when that is wished, and how they stand."""
    jobs, asked = pending_jobs(project, asked)
    while wait and jobs:
        wait_with_progress(project, jobs[0], f"job {jobs[0]}  calibrating {asked.asset}")
        jobs, asked = pending_jobs(project, asked)
    return jobs, asked


def _check_ended_well(asked: Calibration) -> None:
    untrained = [one for one in asked.repeats if not one.version]
    if untrained:
        raise JobError(
            f"Run {untrained[0].run}, {asked.version} with seed {untrained[0].seed}, ended as {untrained[0].state}.",
            hint="`assetforge run list` shows why; the same command again trains it once more.",
        )
    failed = next((one for one in asked.comparisons if one.state != "succeeded"), None)
    if failed is not None:
        raise JobError(
            f"The comparison of {failed.version} and {failed.baseline} ended as {failed.state}: {failed.summary.get('error') or 'see its jobs'}",
            hint="`assetforge jobs list` shows its jobs; run the same command again to retry.",
        )


def _under_way(asked: Calibration) -> str:
    open_runs = [one for one in asked.repeats if one.job is not None]
    if not open_runs:
        return f"{asked.version}: {len(asked.repeats)} trainings with other seeds are there."
    seeds = ", ".join(str(one.seed) for one in open_runs)
    return f"{asked.version} is trained again with seed {seeds}; {len(asked.repeats) - len(open_runs)} trainings are there."


def _document(asked: Calibration, jobs: tuple[int, ...], known: NoiseTable) -> dict[str, Any]:
    return {
        "asset": asked.asset,
        "version": asked.version,
        "repeats": asked.repeats,
        "comparisons": [
            {"comparison": one.id, "version": one.version, "baseline": one.baseline, "state": one.state}
            for one in asked.comparisons
        ],
        "jobs": jobs,
        "noise": known,
    }


def _print(asked: Calibration, known: NoiseTable) -> None:
    rows = [(one.seed, one.run, one.state, one.version, "" if one.made else "was there") for one in asked.repeats]
    table(("seed", "run", "state", "version", ""), rows)
    waiting = sum(one.state == "queued" for one in asked.comparisons)
    if waiting:
        plain(f"{waiting} of {len(asked.comparisons)} comparisons are under way.")
    plain("")
    _print_noise(known)


def _print_noise(known: NoiseTable) -> None:
    plain(f"What training {known.asset} again changes, on {known.base}:")
    rows: list[tuple[Any, ...]] = [
        (
            one.margin.title,
            "guard rail" if one.margin.guard else "metric",
            one.margin.noise,
            one.margin.pairs or None,
            one.margin.declared,
            one.margin.counts,
            _source(one),
        )
        for one in known.margins
    ]
    if known.engine is not None:
        title = "the engine itself, in levels of 0 to 255"
        rows.append((title, "pictures", known.engine, known.engine_checks, None, None, "checks for drift"))
    columns = ("what", "", "noise", "pairs", "declared margin", "margin that counts", "measured on")
    table(columns, rows, empty="Nothing that is installed measures it.")
    unknown = sum(one.margin.noise is None for one in known.margins)
    if unknown:
        plain(f"{unknown} of {len(known.margins)} were never measured; their declared margins stand.")


def _source(one: KnownMargin) -> str:
    return {"own": "itself", "kin": "others of its type"}.get(one.source, "")
