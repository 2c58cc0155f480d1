"""What a comparison would take before anybody asks for it: pictures that are missing, and about how long they took before."""

from dataclasses import dataclass

from sqlmodel import Session, col, func, select

from assetforge.config import load_settings
from assetforge.db.models_jobs import Evaluation, Render
from assetforge.domain.names import version_address
from assetforge.domain.states import OPEN_JOB_STATES
from assetforge.services.comparison import compared_sides
from assetforge.services.projects import Project
from assetforge.services.render_plans import PlannedPass, RenderChoices, plan_passes
from assetforge.services.suites import second_look_fits

__all__ = ["ComparisonCost", "comparison_cost"]

_RECENT = 200
"""Pictures whose times say how long the next ones take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonCost:
    """What a comparison would take.

    Attributes:
        version: Address of the version under test.
        baseline: Address of the baseline; empty for the bare base alone.
        suite: Name of the suite.
        pictures: Pictures that have to be rendered.
        there: Pictures that are there already or are being rendered.
        reserve: At most how many more when the verdict is left open; 0 when there is no second look.
        seconds: About how long the pictures take, by those that the same renderer made of late; ``None`` without any.
        has_quick: Whether there is a quick size of the suite to take instead.
    """

    version: str
    baseline: str
    suite: str
    pictures: int
    there: int
    reserve: int
    seconds: float | None
    has_quick: bool


def comparison_cost(
    project: Project, new: str, base: str = "", *, suite: str = "", quick: bool = False
) -> ComparisonCost:
    """What :func:`assetforge.services.comparison.request_comparison` would queue. Nothing is written.

    Args:
        project: The film.
        new: The version under test.
        base: The baseline; chosen as there when it is left out.
        suite: Name of the suite; by default the asset's.
        quick: Only the quick size of the suite.

    Raises:
        NotFoundError: No such version or suite, or nothing renders it.
        UsageError: The two do not fit together, or something does not fit.
    """
    with project.read() as session:
        asset, version, baseline = compared_sides(session, new, base)
        addresses = [version_address(asset.name, one.number) for one in (version, baseline) if one is not None]
    choices = RenderChoices(executor=project.config.defaults.executor)
    _asset, chosen, passes = plan_passes(
        project, addresses, suite=suite, quick=quick, with_control=True, choices=choices
    )
    unique = {one.digest: one for one in passes}
    with project.read() as session:
        there = {one for one in unique if _is_there(session, one)}
        seconds = _seconds(session, passes[0])
    missing = sum(len(one.plan["cells"]) for key, one in unique.items() if key not in there)
    looks_twice = baseline is not None and second_look_fits(
        load_settings(project.config).regression, chosen.cells, chosen.reserve
    )
    return ComparisonCost(
        version=addresses[0],
        baseline=addresses[1] if baseline is not None else "",
        suite=chosen.name,
        pictures=missing,
        there=sum(len(one.plan["cells"]) for key, one in unique.items() if key in there),
        reserve=chosen.reserve * len(unique) if looks_twice else 0,
        seconds=None if seconds is None else seconds * missing,
        has_quick=not quick and chosen.quick > 0,
    )


def _is_there(session: Session, plan_digest: str) -> bool:
    # Evaluations that were asked for anew carry a number behind the digest; ";" is the character after ":".
    same = select(Evaluation.state).where(
        Evaluation.plan_digest >= plan_digest, Evaluation.plan_digest < f"{plan_digest};"
    )
    state = session.exec(same.order_by(col(Evaluation.id).desc())).first()
    return state in (*OPEN_JOB_STATES, "succeeded")


def _seconds(session: Session, one: PlannedPass) -> float | None:
    """Mean time of a picture of late, by the same renderer."""
    recent = (
        select(Render.seconds)
        .join(Evaluation, col(Evaluation.id) == Render.evaluation_id)
        .where(Evaluation.renderer == one.renderer.spec.name, Render.seconds > 0)
        .order_by(col(Render.id).desc())
        .limit(_RECENT)
        .subquery()
    )
    found = session.exec(select(func.avg(recent.c.seconds))).first()
    return float(found) if found else None
