"""``assetforge run``: what was trained and how it went."""

import dataclasses
import time
from typing import Annotated

from cyclopts import App, Parameter

from assetforge.cli.output import emit, facts, plain, say, table
from assetforge.cli.session import opened_project
from assetforge.errors import UsageError
from assetforge.jobs.control import follow_log
from assetforge.jobs.live import LiveRun, LiveUpdate
from assetforge.jobs.run_control import (
    cancel_run,
    hurry_run,
    resume_run,
    run_job,
    set_run_priority,
    stop_reason,
    stop_run,
)
from assetforge.jobs.supervisor import wait_for_job
from assetforge.services.registration import kept_weights, register_kept
from assetforge.services.runs import get_run, list_runs

__all__ = ["app"]

app = App(name="run", help="Runs: what was trained, on what, and how it went.", help_format="plaintext")


@app.command(name="list")
def list_(*, asset: str = "", state: str = "", limit: int = 50) -> None:
    """List runs, newest first.

    Args:
        asset: Only of this asset.
        state: Only in this state: queued, staging, running, collecting, succeeded, failed, cancelled or lost.
        limit: At most so many.
    """
    with opened_project() as project:
        runs = list_runs(project, asset=asset, state=state, limit=limit)
    rows = [
        (
            run.id,
            run.state,
            run.asset,
            run.dataset,
            run.recipe,
            ", ".join(run.versions),
            run.created_at,
            f"{run.requested_by}: {run.cause}",
            run.error.split("\n")[0],
        )
        for run in runs
    ]
    emit(
        "run-list",
        {"runs": runs},
        lambda: table(
            ("run", "state", "asset", "dataset", "recipe", "versions", "asked for", "by", "error"),
            rows,
            empty="No run yet.",
        ),
    )


@app.command
def show(number: int) -> None:
    """Show a run with everything that went into it.

    Args:
        number: Number of the run.
    """
    with opened_project() as project:
        run = get_run(project, number)

    def text() -> None:
        facts(
            {
                "run": run.id,
                "state": run.state,
                "asset": run.asset,
                "dataset": run.dataset,
                "recipe": run.recipe,
                "base": run.base,
                "trainer": run.trainer,
                "seed": run.seed,
                "recipe key": run.recipe_key,
                "asked for": run.created_at,
                "by": run.requested_by,
                "cause": run.cause,
                "ended": run.finished_at,
                "attempts": run.attempt,
                "versions": ", ".join(run.versions),
                "error": run.error,
            }
        )
        table(("figure", "value"), sorted(run.metrics.items()), empty="")
        table(("parameter", "value"), [(key, str(value)) for key, value in run.params.items()])

    emit("run-show", {"run": run}, text)


@app.command
def logs(number: int, *, follow: Annotated[bool, Parameter(name=["--follow", "-f"], negative=())] = False) -> None:
    """Print what a run said.

    Args:
        number: Number of the run.
        follow: Go on until the run ends.
    """
    with opened_project() as project:
        for line in follow_log(project, run_job(project, number), follow=follow):
            plain(line)


@app.command
def weights(number: int) -> None:
    """List the weights that a run has: the last ones, and those that keep_every kept on the way.

    Args:
        number: Number of the run.
    """
    with opened_project() as project:
        kept = kept_weights(project, number)
    rows = [(one.step, "the last" if one.final else "kept", one.version, f"{one.size / 2**20:.1f} MiB") for one in kept]
    emit(
        "run-weights",
        {"run": number, "weights": kept},
        lambda: table(("step", "kind", "version", "size"), rows, empty="No weights."),
    )


@app.command
def register(number: int, *, step: int) -> None:
    """Make a version of weights that a run kept on the way; it is a candidate like any other.

    Args:
        number: Number of the run.
        step: After how many steps they were kept.
    """
    with opened_project() as project:
        version = register_kept(project, number, step)
    emit("run-register", {"run": number, "step": step, "version": version}, lambda: plain(f"That is {version}."))


@app.command
def cancel(number: int) -> None:
    """Cancel a run; it finishes its step, commits a checkpoint and stops.

    Args:
        number: Number of the run.
    """
    with opened_project() as project:
        state = cancel_run(project, number)
    emit(
        "run-cancel",
        {"run": number, "state": state},
        lambda: plain(f"Run {number} is {state}." if state == "cancelled" else f"Run {number} was asked to stop."),
    )


@app.command
def stop(number: int, *, wait: Annotated[bool, Parameter(negative=())] = False) -> None:
    """Stop a run for now: it finishes its step, commits a checkpoint and ends as cancelled; `run resume` goes on from there.

    Args:
        number: Number of the run.
        wait: Return when it has ended.
    """
    with opened_project() as project:
        job = run_job(project, number)
        state = stop_run(project, number)
        if wait and state != "cancelled":
            state = wait_for_job(project, job, lambda _event: None)
    told = {
        "cancelled": f"Run {number}: {stop_reason(number)}",
        "succeeded": f"Run {number} had ended already.",
    }
    emit(
        "run-stop",
        {"run": number, "job": job, "state": state},
        lambda: plain(told.get(state, f"Run {number} was asked to save and stop.")),
    )


@app.command
def priority(
    number: int,
    value: Annotated[int | None, Parameter(allow_leading_hyphen=True)] = None,
    *,
    first: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Make a waiting run more or less urgent.

    Args:
        number: Number of the run.
        value: Higher goes first; what people ask for has 0, what a retraining policy asks for -10.
        first: Instead of a value: before everything else in the queue.
    """
    if (value is None) != first:
        raise UsageError("Give either a priority or --first.")
    with opened_project() as project:
        job = run_job(project, number)
        if value is None:
            value = hurry_run(project, number)
        else:
            set_run_priority(project, number, value)
    emit(
        "run-priority",
        {"run": number, "job": job, "priority": value},
        lambda: plain(f"Run {number} has priority {value}."),
    )


@app.command
def resume(number: int) -> None:
    """Put a failed, cancelled or lost run back into the queue; it goes on from its last checkpoint.

    Args:
        number: Number of the run.
    """
    with opened_project() as project:
        resume_run(project, number)
    emit("run-resume", {"run": number, "state": "queued"}, lambda: plain(f"Run {number} is queued again."))


@app.command
def progress(
    number: int,
    *,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"], negative=())] = False,
    every: float = 2.0,
) -> None:
    """Show how far a run is: step, losses, speed, memory, time left; with --json the whole curves.

    Args:
        number: Number of the run.
        follow: Print a line whenever something changed, until the run ends.
        every: Seconds between two looks, at least 0.1.
    """
    with opened_project() as project:
        live = LiveRun(project, run_job(project, number))
        update = _all_of(live)
        while follow and not update.is_over:
            if update.changed:
                say(_in_a_line(update))
            time.sleep(max(0.1, every))
            update = _all_of(live)
    document = {field.name: getattr(update, field.name) for field in dataclasses.fields(update)}
    emit("run-progress", {"run": number, "job": live.job_id, **document}, lambda: plain(_in_a_line(update)))


def _all_of(live: LiveRun) -> LiveUpdate:
    update = live.read()
    while update.more:
        update = live.read()
    return update


def _in_a_line(update: LiveUpdate) -> str:
    parts = [update.state, f"{update.step}/{update.total}" if update.total else ""]
    for title, value in (
        ("loss", update.loss.last),
        ("validation", update.validation.last),
        ("lr", update.learning_rate.last),
        ("it/s", update.it_per_s),
        ("MB", update.memory_mb),
        ("s left", update.eta_s),
    ):
        parts.append("" if value is None else f"{value:.4g} {title}")
    return "  ".join(part for part in parts if part)
