"""Ranking versions: the checkpoints of a run, or what a sweep made, by the same renders and scores as any comparison. Nothing is picked here.

Every candidate is compared with one reference: the approved version where there is one, else the candidate that was trained longest. A ranking keeps nothing of its own,
since its comparisons are kept: asking again finds them. Only their first round counts, so that all candidates are measured by the same pictures.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlmodel import select

from assetforge.config import load_settings
from assetforge.db.models import Alias
from assetforge.domain.ranking import Candidate, Ranking, rank
from assetforge.domain.suite import BLEED_PREFIX, CORE_PREFIX
from assetforge.errors import JobError, NotFoundError, TryAgainError, UsageError
from assetforge.services.assets import find_asset
from assetforge.services.comparison import ComparisonInfo, get_comparison, read_scores, request_comparison
from assetforge.services.comparison_plan import (
    asset_metrics,
    metrics_for_base,
    primary_metric,
    ready_metrics,
)
from assetforge.services.projects import Project
from assetforge.services.registration import kept_weights, register_kept
from assetforge.services.releases import APPROVED
from assetforge.services.rendering import request_renders
from assetforge.services.runs import get_run
from assetforge.services.versions import VersionInfo, resolve_version
from assetforge.store.weights import read_tensor_table

__all__ = [
    "RankingRequest",
    "RankingTable",
    "check_measurable",
    "checkpoint_versions",
    "ranking",
    "ranking_jobs",
    "request_ranking",
]

_DIFFERENT = (
    "The versions are judged by different held-out references; only their differences to {reference} are compared."
)
_WEAK = "{title} shows that something changed and is not fit to say what is better; look at the pictures all the more."


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingRequest:
    """A ranking that was asked for.

    Attributes:
        asset: Name of the asset.
        candidates: Addresses, in the order they were named.
        reference: Address that all are compared with; it may be a candidate.
        comparisons: Row id of the comparison of each candidate but the reference.
    """

    asset: str
    candidates: tuple[str, ...]
    reference: str
    comparisons: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingTable:
    """A finished ranking.

    Attributes:
        asset: Name of the asset.
        suite: Name of the suite.
        metric: Title of the metric that ranks.
        ranking: The table.
        steps: Steps that each version was trained for.
        runs: Run that each version came from; those that were imported are left out.
    """

    asset: str
    suite: str
    metric: str
    ranking: Ranking
    steps: Mapping[str, int]
    runs: Mapping[str, int]


def checkpoint_versions(project: Project, run: int) -> list[str]:
    """All weights of a run as versions, fewest steps first; those that are none yet become candidates.

    Of a run whose folder was cleaned up there are the versions that were made of it.

    Raises:
        NotFoundError: There is no such run, or nothing is left of it.
        JobError: The run has not ended well.
    """
    try:
        kept = kept_weights(project, run)
    except NotFoundError:
        known = [resolve_version(project, one) for one in get_run(project, run).versions]
        if not known:
            raise
        return [one.address for one in sorted(known, key=lambda one: one.step)]
    return [one.version or register_kept(project, run, one.step) for one in kept]


def check_measurable(project: Project, asset: str, base: str = "") -> None:
    """See to it that there is a metric to rank by, before anything is trained or rendered for it.

    Args:
        project: The film.
        asset: Name of the asset.
        base: Name of the base model that is rendered on, when it is known.

    Raises:
        NotFoundError: There is no such asset, or a metric it names.
        UsageError: No metric that can run here speaks for its identity.
    """
    with project.read() as session:
        row = find_asset(session, asset)
    metrics = asset_metrics(row, load_settings(project.config).regression)
    ready, unready = ready_metrics(metrics_for_base(metrics, base) if base else metrics)
    if primary_metric(ready):
        return
    needs = "; ".join(f"{one['title']}: {one['needs']}" for one in unready)
    choice = next((one["title"] for one in unready if one.get("chosen")), "")
    why = (
        f"{choice}, which was chosen to decide, cannot run here"
        if choice
        else f"no metric that can run here knows what a {row.type} looks like"
    )
    raise UsageError(
        f"There is nothing to rank versions of {asset} by: {why}.",
        hint=f"Not ready: {needs}"
        if needs
        else "assetforge-vision brings such metrics; `assetforge plugin list` shows what there is.",
    )


def request_ranking(
    project: Project,
    versions: Sequence[str],
    baseline: str = "",
    *,
    suite: str = "",
    quick: bool = False,
    base_model: str = "",
    renderer: str = "",
    executor: str = "",
    device: str = "auto",
    priority: int = 0,
) -> RankingRequest:
    """Have versions ranked; what was rendered or scored already is not done again.

    Args:
        project: The film.
        versions: The candidates, of one asset.
        baseline: What they are compared with; by default the approved version, else the candidate with the most steps.
        suite: Name of the suite; by default the asset's.
        quick: Only the quick size of the suite.
        base_model: Base model for imported versions.
        renderer: Name of the renderer.
        executor: Where; by default the film's.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        priority: Higher goes first.

    Raises:
        NotFoundError: No such version, suite, renderer or executor.
        UsageError: There are fewer than two different versions, they are of different assets, or nothing can measure them.
    """
    infos = _distinct([resolve_version(project, one) for one in versions])
    if not infos:
        raise UsageError("A ranking needs versions.", hint="Name them, or a run with --run.")
    asset = infos[0].asset
    reference = _reference(project, infos, baseline)
    stranger = next((one.address for one in (*infos, reference) if one.asset != asset), "")
    if stranger:
        raise UsageError(f"{stranger} is not a version of {asset}.", hint="Rank versions of one asset at a time.")
    others = [one.address for one in infos if one.id != reference.id]
    if not others:
        raise UsageError(
            f"{reference.address} alone cannot be ranked.", hint="Name further versions, or a reference with --against."
        )
    check_measurable(project, asset)
    about: dict[str, Any] = {
        "suite": suite,
        "quick": quick,
        "renderer": renderer,
        "executor": executor,
        "device": device,
        "priority": priority,
    }
    # All of them in one job, so that the base is loaded once; the comparisons find these renders.
    request_renders(project, [reference.address, *others], base=base_model, **about)
    asked = [
        (one, request_comparison(project, one, reference.address, base_model=base_model, second_look=False, **about))
        for one in others
    ]
    return RankingRequest(
        asset=asset,
        candidates=tuple(one.address for one in infos),
        reference=reference.address,
        comparisons={one: _first_round(project, info) for one, info in asked},
    )


def ranking_jobs(project: Project, request: RankingRequest) -> tuple[int, ...]:
    """Jobs that a ranking still waits for; renders are followed by scores, so ask again until there is none."""
    waiting = (get_comparison(project, one) for one in request.comparisons.values())
    return tuple(dict.fromkeys(job for info in waiting if info.state == "queued" for job in info.jobs))


def ranking(project: Project, request: RankingRequest, *, alpha: float = 0.05) -> RankingTable:
    """The table of a ranking whose comparisons are finished.

    Args:
        project: The film.
        request: What was asked for.
        alpha: Chance of even one wrong claim, see :mod:`assetforge.domain.ranking`.

    Raises:
        TryAgainError: A comparison is not finished.
        JobError: A comparison failed.
        UsageError: Nothing measured likeness.
    """
    infos = {name: get_comparison(project, one) for name, one in request.comparisons.items()}
    for name, info in infos.items():
        if info.state == "queued":
            raise TryAgainError(
                f"The comparison of {name} is not finished.", hint="`assetforge work` runs the queue; --wait waits."
            )
        if info.state != "succeeded":
            raise JobError(
                f"The comparison of {name} ended as {info.state}: {info.summary.get('error') or 'see its jobs'}",
                hint="Ask for the ranking again to retry.",
            )
    first = next(iter(infos.values()))
    primary = first.summary["primary"]
    if not primary:
        raise UsageError(
            "Identity was not measured, so there is nothing to rank by.",
            hint="`assetforge compare` says what is missing.",
        )
    versions = {one: resolve_version(project, one) for one in {*request.candidates, request.reference}}
    candidates, reference, alike = _candidates(project, request, infos, versions, primary)
    chosen = [one for one in (*candidates, reference) if one.name in request.candidates]
    steps = {name: info.step for name, info in versions.items()}
    table = rank(
        sorted(chosen, key=lambda one: request.candidates.index(one.name)),
        reference,
        alpha=alpha,
        effort=_effort([one.effort for one in chosen]),
    )
    metric = next(one for one in first.summary["metrics"] if one["name"] == primary)
    notes = [] if alike else [_DIFFERENT.format(reference=request.reference)]
    for name, info in infos.items():
        suspects = _guards(info.summary, "suspect")
        notes += [f"{name} is suspect: {', '.join(suspects)}."] if suspects else []
    if not metric["gates"]:
        notes.append(_WEAK.format(title=metric["title"]))
    table = replace(table, notes=(*table.notes, *notes))
    return RankingTable(
        asset=request.asset,
        suite=first.suite,
        metric=metric["title"],
        ranking=table,
        steps=steps,
        runs={name: info.run for name, info in versions.items() if info.run is not None},
    )


def _distinct(infos: Sequence[VersionInfo]) -> list[VersionInfo]:
    return list({info.id: info for info in infos}.values())


def _reference(project: Project, infos: Sequence[VersionInfo], baseline: str) -> VersionInfo:
    if baseline:
        return resolve_version(project, baseline)
    with project.read() as session:
        approved = session.exec(
            select(Alias.id).where(Alias.name == APPROVED, Alias.asset_id == infos[0].asset_id)
        ).first()
    if approved is not None:
        return resolve_version(project, f"{infos[0].asset}@{APPROVED}")
    return max(infos, key=lambda info: (info.step, -infos.index(info)))


def _first_round(project: Project, info: ComparisonInfo) -> int:
    while info.extends is not None:
        info = get_comparison(project, info.extends)
    return info.id


_Cells = dict[tuple[str, str, float], dict[int, dict[str, float | None]]]


def _candidates(
    project: Project,
    request: RankingRequest,
    infos: Mapping[str, ComparisonInfo],
    versions: Mapping[str, VersionInfo],
    primary: str,
) -> tuple[list[Candidate], Candidate, bool]:
    """The candidates but the reference, the reference, and whether all were judged by the same references."""
    scores = {name: read_scores(project, info.id) for name, info in infos.items()}
    judged_by = {repr(sorted(one["references"]["items"])) for one in scores.values()}
    tables = {name: _cells(one["cells"], primary) for name, one in scores.items()}
    prompts = [(key, tuple(seeds)) for key, seeds in next(iter(tables.values())).items()]
    for name, table in tables.items():
        if [(key, tuple(seeds)) for key, seeds in table.items()] != prompts:
            raise UsageError(
                f"{name} was compared by other pictures than {next(iter(tables))}.", hint="Name the suite with --suite."
            )

    def grid(table: _Cells, side: str) -> list[list[float | None]]:
        return [[table[key][seed][side] for seed in seeds] for key, seeds in prompts]

    base = grid(next(iter(tables.values())), "baseline")
    reference = Candidate(name=request.reference, scores=base, effort=_costs(project, versions[request.reference]))
    found = []
    for name, table in tables.items():
        values = grid(table, "new")
        if len(judged_by) > 1:
            values = _moved(values, grid(table, "baseline"), base)
        vetoes = _guards(infos[name].summary, "veto")
        found.append(Candidate(name=name, scores=values, effort=_costs(project, versions[name]), vetoes=vetoes))
    return found, reference, len(judged_by) == 1


def _cells(cells: Sequence[Mapping[str, Any]], primary: str) -> _Cells:
    """Similarities by prompt and seed of the cells that ask whether the asset looks right, as verdicts choose them."""
    worn = [cell for cell in cells if cell["strength"] != 0]
    core = [cell for cell in worn if cell["block"].startswith(CORE_PREFIX)] or [
        cell for cell in worn if not cell["block"].startswith(BLEED_PREFIX) and cell["strength"] == 1.0
    ]
    found: _Cells = {}
    for cell in core:
        sides = cell["embeddings"].get(primary, {}).get("similarity", {})
        row = found.setdefault((cell["block"], cell["prompt"], cell["strength"]), {})
        row[cell["seed"]] = {side: sides.get(side) for side in ("new", "baseline")}
    return found


def _moved(
    values: list[list[float | None]], own: list[list[float | None]], common: list[list[float | None]]
) -> list[list[float | None]]:
    """Scores as if everything had been judged by the first candidate's references: the difference to the reference is what is comparable."""

    def moved(value: float | None, before: float | None, there: float | None) -> float | None:
        return None if value is None or before is None or there is None else value - before + there

    return [[moved(*cell) for cell in zip(*rows, strict=True)] for rows in zip(values, own, common, strict=True)]


def _guards(summary: Mapping[str, Any], outcome: str) -> tuple[str, ...]:
    """Titles of the guard rails with an outcome; comparisons of earlier days have no verdict."""
    guards = (summary.get("verdict") or {}).get("guards", ())
    return tuple(guard["title"] for guard in guards if guard["outcome"] == outcome)


def _costs(project: Project, version: VersionInfo) -> tuple[float, ...]:
    """Parameters, then steps."""
    path = project.blobs.path(version.weights)
    if not path.is_file():
        raise NotFoundError(f"The file of {version.address} is missing from the store.", hint="Run `assetforge fsck`.")
    parameters = sum(math.prod(shape) for _dtype, shape in read_tensor_table(path).values())
    return float(parameters), float(version.step)


def _effort(costs: Sequence[tuple[float, ...]]) -> str:
    """What the cheapest one is called."""
    sizes, steps = ({cost[at] for cost in costs} for at in (0, 1))
    if len(sizes) > 1:
        return "smallest"
    return "earliest" if len(steps) > 1 else ""
