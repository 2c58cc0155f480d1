"""``assetforge approve`` and ``assetforge reject``."""

from typing import Annotated

from cyclopts import Parameter

from assetforge.cli.output import emit, plain, say
from assetforge.cli.session import opened_project
from assetforge.services.releases import Review
from assetforge.services.releases import approve as approve_version
from assetforge.services.releases import reject as reject_version

__all__ = ["approve", "reject"]

Why = Annotated[str, Parameter(name=["--why", "-m"])]


def approve(version: str, *, why: Why) -> None:
    """Make a version the approved one of its asset; the reason and the newest comparison are kept with it.

    Args:
        version: Address, such as mara/v2 or mara@latest.
        why: The reason.
    """
    with opened_project() as project:
        review = approve_version(project, version, why=why)
    if not review.evidence:
        say(f"{review.version} was never compared; `assetforge compare {review.version}` would have shown it.")
    before = f", after {review.previous}" if review.previous and review.previous != review.version else ""
    _tell("approve", review, f"● {review.version} is approved{before}.")


def reject(version: str, *, why: Why) -> None:
    """Say no to a version; it stays, and cannot be published.

    Args:
        version: Address, such as mara/v2.
        why: The reason.
    """
    with opened_project() as project:
        review = reject_version(project, version, why=why)
    _tell("reject", review, f"✕ {review.version} is rejected.")


def _tell(verb: str, review: Review, sentence: str) -> None:
    emit(
        verb,
        {
            "version": review.version,
            "stage": review.stage,
            "previous": review.previous,
            "why": review.why,
            "actor": review.actor,
            "evidence": review.evidence,
        },
        lambda: plain(sentence),
    )
