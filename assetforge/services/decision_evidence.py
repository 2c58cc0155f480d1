"""What decisions over versions keep as evidence: what was compared, what the verdict was, who looked at what, and what the votes said."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from sqlmodel import Session

from assetforge.db.models import Asset, Version
from assetforge.db.models_jobs import Comparison
from assetforge.domain.canonical import digest
from assetforge.domain.names import version_address
from assetforge.errors import CheckFailedError, StorageError
from assetforge.services.projects import Project
from assetforge.services.reviews import ReviewStatus, review_status
from assetforge.services.versions import row_id

__all__ = ["UNSEEN", "Looking", "evidence_of", "looked"]

UNSEEN = "decided without looking"

Looking: TypeAlias = Literal["required", "skipped"]
"""Whether whoever decides has to have opened the worst cells; ``skipped`` says in words that nobody has to, and the evidence tells when nobody did."""


def evidence_of(session: Session, asset: Asset, comparison: Comparison | None) -> dict[str, Any]:
    """What a comparison says, as something that cannot be changed afterwards without notice; empty without one. Summaries of older films may lack a verdict."""
    if comparison is None:
        return {}
    baseline = session.get(Version, comparison.baseline_id) if comparison.baseline_id is not None else None
    verdict: Mapping[str, Any] = comparison.summary.get("verdict") or {}
    primary: Mapping[str, Any] = next(iter(verdict.get("metrics", ())), {})
    kept = ("name", "title", "outcome", "effect", "interval", "margin", "prompts", "phrase")
    return {
        "comparison": comparison.id,
        "summary_digest": digest(comparison.summary),
        "baseline": version_address(asset.name, baseline.number) if baseline else "",
        "sentence": comparison.summary.get("sentence", ""),
        "scores": comparison.scores,
        "outcome": verdict.get("outcome", ""),
        "headline": verdict.get("headline", ""),
        "primary": {key: primary.get(key) for key in kept} if primary else {},
        "guards": {one["name"]: one["outcome"] for one in verdict.get("guards", ())},
        "not_measured": list(verdict.get("not_measured", ())),
    }


def looked(project: Project, name: str, comparison: Comparison, review: Looking) -> dict[str, Any]:
    """Which of the worst cells the acting person opened, for how long, and what the votes say; that one did not look only where one did not.

    Args:
        project: The film.
        name: Address of the version.
        comparison: What the decision rests on.
        review: Whether looking is required.

    Raises:
        CheckFailedError: Some were not opened although that is required.
    """
    try:
        status = review_status(project, row_id(comparison.id))
    except StorageError:
        if review == "required":
            raise
        # Who decides without looking may do so because the scores cannot be read any more.
        return {"unseen": UNSEEN}
    if status.missing and review == "required":
        cells = ", ".join(map(str, status.missing))
        raise CheckFailedError(
            f"{status.actor} opened {len(status.worst) - len(status.missing)} of the {len(status.worst)} worst pictures of {name}; still to be seen: cells {cells} of comparison {status.comparison}.",
            hint=f"`assetforge review {name}` shows them; votes from the report, taken in by `assetforge review import FILE`, count as well; --unseen decides without looking.",
        )
    return {
        "worst": [one.shown.cell for one in status.worst],
        "opened": _opened(status),
        "votes": status.poll.as_json() if status.poll.people else None,
        **({"unseen": UNSEEN} if status.missing else {}),
    }


def _opened(status: ReviewStatus) -> dict[str, float]:
    """Seconds that the acting person had each of the worst cells open."""
    return {str(one.shown.cell): one.opened[status.actor] for one in status.worst if status.actor in one.opened}
