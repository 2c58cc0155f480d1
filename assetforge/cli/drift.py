"""``assetforge drift``."""

from typing import Annotated

from cyclopts import Parameter

from assetforge.cli.exit_codes import ExitCode
from assetforge.cli.output import emit, plain, say, table
from assetforge.cli.session import opened_project
from assetforge.cli.waiting import wait_with_progress
from assetforge.errors import JobError
from assetforge.services.drift import (
    DriftInfo,
    DriftRequest,
    drift_checks,
    list_drift_checks,
    request_drift_checks,
)

__all__ = ["drift"]


def drift(
    *versions: str,
    all_: Annotated[bool, Parameter(name="--all", negative=())] = False,
    pictures: int = 8,
    priority: int = 0,
    log: Annotated[bool, Parameter(negative=())] = False,
    wait: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Make a few pictures again and say what changed: engine, driver, base file or LoRA; exit code 1 when something did.

    Args:
        versions: Addresses, such as mara/v2 or mara@approved; by default every approved version that was ever rendered.
        all_: Every version that was ever rendered, unless it is rejected or retired.
        pictures: At most so many for each version, those of the bare base included.
        priority: Higher goes first.
        log: Make nothing; show the checks that there were, newest first.
        wait: Wait until it is done.
    """
    with opened_project() as project:
        if log:
            checks = [check for one in versions or ("",) for check in list_drift_checks(project, one)]
            request = DriftRequest(checks=tuple(checks), skipped=())
        else:
            request = request_drift_checks(project, versions, everything=all_, pictures=pictures, priority=priority)
        if wait and not log:
            for job in dict.fromkeys(job for check in request.checks for job in check.jobs):
                wait_with_progress(project, job, f"job {job}  drift")
            settled = drift_checks(project, [check.id for check in request.checks])
            request = DriftRequest(checks=tuple(settled), skipped=request.skipped)
    drifted = [check for check in request.checks if check.drifted]
    failed = [check for check in request.checks if check.outcome == "failed"]
    emit(
        "drift",
        {"checks": request.checks, "skipped": dict(request.skipped), "drifted": [check.version for check in drifted]},
        lambda: _print(request),
    )
    if log:
        return ExitCode.OK
    if failed and not drifted:
        raise JobError(failed[0].statement, hint="`assetforge jobs list` shows the render jobs.")
    if any(check.jobs for check in request.checks):
        say("`assetforge work` runs the queue, `assetforge drift --log` shows what came of it; --wait does both.")
    return ExitCode.NO if drifted else ExitCode.OK


def _print(request: DriftRequest) -> None:
    rows = [(check.version, check.outcome, check.pictures, check.actor, check.at) for check in request.checks]
    table(
        ("version", "drift", "pictures", "asked by", "asked for"), rows, empty="No approved version was ever rendered."
    )
    for check in request.checks:
        if check.statement:
            plain(f"{_MARKS.get(check.outcome, '▲')} {_line(check)}")
    for version, reason in request.skipped:
        plain(f"  {version} was left out: {reason}")


_MARKS = {"same": "●", "failed": "✕"}


def _line(check: DriftInfo) -> str:
    text = check.statement if check.version in check.statement else f"{check.version}: {check.statement}"
    return text.replace("\n", " ")
