"""``assetforge run``: what was trained and how it went."""

from typing import Annotated

from cyclopts import App, Parameter

from assetforge.cli.output import emit, facts, plain, table
from assetforge.cli.session import opened_project
from assetforge.errors import NotFoundError
from assetforge.jobs.control import cancel_job, follow_log, retry_job, set_priority
from assetforge.jobs.supervisor import wait_for_job
from assetforge.services.registration import kept_weights, register_kept
from assetforge.services.runs import RunInfo, get_run, list_runs

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
        run = get_run(project, number)
        for line in follow_log(project, _job(run), follow=follow):
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
        run = get_run(project, number)
        state = cancel_job(project, _job(run))
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
        job = _job(get_run(project, number))
        said = f"Stopped; `assetforge run resume {number}` goes on from its last checkpoint."
        state = cancel_job(project, job, reason=said)
        if wait and state != "cancelled":
            state = wait_for_job(project, job, lambda _event: None)
    told = {
        "cancelled": f"Run {number}: {said}",
        "succeeded": f"Run {number} had ended already.",
    }
    emit(
        "run-stop",
        {"run": number, "job": job, "state": state},
        lambda: plain(told.get(state, f"Run {number} was asked to save and stop.")),
    )


@app.command
def priority(number: int, value: Annotated[int, Parameter(allow_leading_hyphen=True)]) -> None:
    """Make a waiting run more or less urgent.

    Args:
        number: Number of the run.
        value: Higher goes first; what people ask for has 0, what a retraining policy asks for -10.
    """
    with opened_project() as project:
        job = _job(get_run(project, number))
        set_priority(project, job, value)
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
        run = get_run(project, number)
        retry_job(project, _job(run))
    emit("run-resume", {"run": number, "state": "queued"}, lambda: plain(f"Run {number} is queued again."))


def _job(run: RunInfo) -> int:
    if run.job is None:
        raise NotFoundError(
            f"Run {run.id} has no job any more.",
            hint="Its work folder was removed by gc; train again with `assetforge train`.",
        )
    return run.job
