"""``assetforge compare``."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from assetforge.cli.compare_text import print_comparison
from assetforge.cli.exit_codes import ExitCode
from assetforge.cli.output import emit, plain, say
from assetforge.cli.session import opened_project
from assetforge.cli.waiting import wait_with_progress
from assetforge.errors import JobError, NotFoundError
from assetforge.services.comparison import ComparisonInfo, get_comparison, list_comparisons, request_comparison
from assetforge.services.extension import ask_for_more
from assetforge.services.projects import Project
from assetforge.services.report import write_report
from assetforge.services.versions import resolve_version

__all__ = ["compare"]


def compare(
    new: str,
    base: str = "",
    *,
    suite: str = "",
    metric: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    report: Path | None = None,
    quick: Annotated[bool, Parameter(negative=())] = False,
    gate: Annotated[bool, Parameter(negative=())] = False,
    base_model: str = "",
    renderer: str = "",
    on: str = "",
    device: str = "auto",
    priority: int = 0,
    fresh: Annotated[bool, Parameter(negative=())] = False,
    more: Annotated[bool, Parameter(negative=())] = False,
    wait: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Compare a version with a baseline and the bare base: renders, scores, a verdict, and a report for people.

    An inconclusive verdict has more prompts rendered by itself when the suite has a reserve of them.

    Args:
        new: The version under test, such as mara/v2 or mara@latest.
        base: The baseline; by default the approved version, else the version before.
        suite: Suite; by default the asset's own, or the first that fits.
        metric: Only these metrics; by default all that fit the asset; may be repeated.
        report: Write the report to this file (.html, .md or .json) instead of into reports/.
        quick: Only the quick size of the suite.
        gate: Wait, and answer by the exit code: 0 pass, 1 regressed, 75 inconclusive or nothing to compare with.
        base_model: Base model, for imported versions.
        renderer: Renderer; by default one of the plugin that trained.
        on: Executor to run on.
        device: auto, cpu, cuda or mps.
        priority: Higher goes first.
        fresh: Render anew even what was rendered already, such as after a driver changed.
        more: Have the suite's reserve of prompts rendered for the newest comparison of these versions, whose verdict is open, also where that was not planned; then the
            figures say that the chance of a wrong claim is larger. Only --suite counts beside it.
        wait: Wait until it is done.
    """
    with opened_project() as project:
        if more:
            info = _more(project, new, base, suite)
        else:
            info = request_comparison(
                project,
                new,
                base,
                suite=suite,
                metrics=metric,
                quick=quick,
                base_model=base_model,
                renderer=renderer,
                executor=on,
                device=device,
                priority=priority,
                fresh=fresh,
            )
        if wait or gate:
            info = _finish(project, info)
        written = write_report(project, info.id, report) if info.state == "succeeded" else None
        emit("compare", _document(info, written), lambda: _print(info, written))
        if (wait or gate) and info.state != "succeeded":
            raise JobError(
                f"The comparison of {info.version} ended as {info.state}: {info.summary.get('error') or 'see its jobs'}",
                hint="`assetforge jobs list` shows its jobs; run the same command again to retry.",
            )
        if not (wait or gate) and info.jobs:
            say("`assetforge work` runs the queue; run the same command again for the report, or use --wait.")
    return _GATE[info.outcome] if gate else ExitCode.OK


_GATE = {
    "pass": ExitCode.OK,
    "regressed": ExitCode.NO,
    "inconclusive": ExitCode.TRY_AGAIN,
    # Without a baseline there is no verdict.
    "": ExitCode.TRY_AGAIN,
}


def _more(project: Project, new: str, base: str, suite: str) -> ComparisonInfo:
    baseline = resolve_version(project, base).address if base else ""
    found = next(
        (
            one
            for one in list_comparisons(project, new)
            if one.extends is None and (not base or one.baseline == baseline) and (not suite or one.suite == suite)
        ),
        None,
    )
    if found is None:
        raise NotFoundError(
            f"{new} was not compared{' with ' + base if base else ''}{' through ' + suite if suite else ''} yet.",
            hint=f"`assetforge compare {new}` does it.",
        )
    return get_comparison(project, ask_for_more(project, found.id))


def _finish(project: Project, info: ComparisonInfo) -> ComparisonInfo:
    """Wait for one job after another; new ones appear when renders are done, and when a verdict is left open."""
    while info.jobs or info.extended_by is not None:
        if info.jobs:
            job = info.jobs[0]
            wait_with_progress(project, job, f"job {job}  {info.version}")
        info = get_comparison(project, info.id if info.extended_by is None else info.extended_by)
    return info


def _document(info: ComparisonInfo, written: Path | None) -> dict[str, Any]:
    return {
        "comparison": info.id,
        "version": info.version,
        "baseline": info.baseline,
        "suite": info.suite,
        "state": info.state,
        "verdict": info.outcome,
        "jobs": info.jobs,
        "report": written,
        "summary": {key: value for key, value in info.summary.items() if key not in ("plan", "plan_digest")},
    }


def _print(info: ComparisonInfo, written: Path | None) -> None:
    if info.state != "succeeded":
        waits = f" (jobs {', '.join(map(str, info.jobs))})" if info.jobs else ""
        plain(f"{info.version} against {info.baseline or 'the bare base'}: {info.state}{waits}.")
        return
    print_comparison(info, written)
