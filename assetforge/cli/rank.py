"""``assetforge rank``."""

from typing import Annotated, Any

from cyclopts import Parameter

from assetforge.cli.exit_codes import ExitCode
from assetforge.cli.output import emit, plain, say, table
from assetforge.cli.session import opened_project
from assetforge.cli.waiting import wait_with_progress
from assetforge.errors import UsageError
from assetforge.services.projects import Project
from assetforge.services.ranking import (
    RankingRequest,
    RankingTable,
    checkpoint_versions,
    ranking,
    ranking_jobs,
    request_ranking,
)

__all__ = ["finish_ranking", "print_ranking", "rank", "ranking_document"]


def rank(
    *versions: str,
    run: int = 0,
    against: str = "",
    suite: str = "",
    quick: Annotated[bool, Parameter(negative=())] = False,
    base_model: str = "",
    renderer: str = "",
    on: str = "",
    device: str = "auto",
    priority: int = 0,
    wait: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Rank versions by how much they look like the asset, and say which of them cannot be told apart; picking one is left to you.

    Args:
        versions: The candidates, such as mara/v3 mara/v4.
        run: All weights of this run instead; those that keep_every kept on the way become candidates.
        against: What all are compared with; by default the approved version, else the one with the most steps.
        suite: Suite; by default the asset's own, or the first that fits.
        quick: Only the quick size of the suite.
        base_model: Base model, for imported versions.
        renderer: Renderer; by default one of the plugin that trained.
        on: Executor to run on.
        device: auto, cpu, cuda or mps.
        priority: Higher goes first.
        wait: Wait until it is done.
    """
    if bool(versions) == bool(run):
        raise UsageError("Name versions, or a run with --run.", hint="Such as `assetforge rank --run 4`.")
    with opened_project() as project:
        request = request_ranking(
            project,
            versions or checkpoint_versions(project, run),
            against,
            suite=suite,
            quick=quick,
            base_model=base_model,
            renderer=renderer,
            executor=on,
            device=device,
            priority=priority,
        )
        found = finish_ranking(project, request, wait=wait)
        jobs = ranking_jobs(project, request)
    emit("rank", ranking_document(request, found, jobs), lambda: print_ranking(request, found))
    if found is None:
        say("`assetforge work` runs the queue; run the same command again for the ranking, or use --wait.")
    return ExitCode.OK


def finish_ranking(project: Project, request: RankingRequest, *, wait: bool) -> RankingTable | None:
    """The table, after waiting for it when that is wished; ``None`` while its comparisons are under way.

    Raises:
        JobError: A comparison failed.
    """
    while jobs := ranking_jobs(project, request):
        if not wait:
            return None
        wait_with_progress(project, jobs[0], f"job {jobs[0]}  ranking {request.asset}")
    return ranking(project, request)


def ranking_document(request: RankingRequest, found: RankingTable | None, jobs: tuple[int, ...]) -> dict[str, Any]:
    """The ranking for ``--json``."""
    return {
        "asset": request.asset,
        "candidates": request.candidates,
        "reference": request.reference,
        "comparisons": dict(request.comparisons),
        "jobs": jobs,
        "suite": found.suite if found else "",
        "metric": found.metric if found else "",
        "ranking": found.ranking.as_json() if found else None,
    }


def print_ranking(request: RankingRequest, found: RankingTable | None) -> None:
    """The ranking for people."""
    if found is None:
        plain(f"{len(request.candidates)} candidates of {request.asset} against {request.reference}: under way.")
        return
    result = found.ranking
    plain(f"{found.metric} of {found.asset} over {found.suite}, against {result.reference}.")
    rows = [
        (
            row.place,
            "●" if row.beside_best else "",
            row.name,
            found.steps.get(row.name),
            row.score,
            row.effect,
            f"{row.interval.low:.3f} to {row.interval.high:.3f}" if row.interval else "",
            row.p_better,
            row.p_worse,
            row.claim,
        )
        for row in result.rows
    ]
    columns = ("place", "", "version", "steps", "score", "change", "interval", "p better", "p worse", "says")
    table(columns, rows)
    plain(
        f"{result.comparisons} comparisons with {result.reference} and {result.pairs} among the candidates are accounted for: "
        f"in each of the two, even one wrong claim has a chance of {result.alpha:.0%} at most. ● cannot be told apart from the best one."
    )
    for note in result.notes:
        plain(f"▲ {note}")
    plain("")
    plain(result.sentence)
    if result.suggestion:
        plain(f"Look at them, then pick one with: assetforge approve {result.suggestion} --why ...")
