"""What the keys of the watch screen do to files that wait: each is asked for anew, since somebody else may have decided meanwhile."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assetforge.services.projects import Project
    from assetforge.services.quarantine import Quarantined

__all__ = ["Decided", "accept_training", "asset_names", "discard_files", "keep_files", "move_files", "retry_files"]

Decided = tuple[int, "list[Quarantined]"]
"""How many files were dealt with, and those that still wait."""


def _still_waiting(project: "Project", numbers: Sequence[int]) -> "list[Quarantined]":
    """Those that somebody else has not decided about meanwhile."""
    from assetforge.services.quarantine import list_quarantine

    return [one for one in list_quarantine(project) if one.id in set(numbers)]


def keep_files(project: "Project", numbers: Sequence[int]) -> Decided:
    """Take files in that the film's rules hold back."""
    from assetforge.services.quarantine import keep

    files = _still_waiting(project, numbers)
    left = keep(project, files)
    return len(files) - len(left), left


def retry_files(project: "Project", numbers: Sequence[int]) -> Decided:
    """Read files again."""
    from assetforge.services.quarantine import retry

    files = _still_waiting(project, numbers)
    left = retry(project, files)
    return len(files) - len(left), left


def discard_files(project: "Project", numbers: Sequence[int]) -> Decided:
    """Pass files over."""
    from assetforge.services.quarantine import discard

    files = _still_waiting(project, numbers)
    discard(project, files)
    return len(files), []


def move_files(project: "Project", numbers: Sequence[int], asset: str) -> Decided:
    """Take files in as references of another asset."""
    from assetforge.services.quarantine import move_to

    files = _still_waiting(project, numbers)
    refused = {one.path for one in move_to(project, files, asset).refused}
    left = [one for one in files if one.path in refused]
    return len(files) - len(left), left


def asset_names(project: "Project") -> list[tuple[str, str]]:
    """Name and type of every asset."""
    from assetforge.services.assets import list_assets

    return [(one.name, one.type) for one in list_assets(project)]


def accept_training(project: "Project", asset: str) -> str:
    """Train an asset again as its rules propose; gives the sentence to tell."""
    from assetforge.jobs.background import ensure_supervisor
    from assetforge.services.retraining import retrain

    request, because = retrain(project, asset)
    if request.job is not None:
        ensure_supervisor(project)
    what = f"{request.reused} is that already" if request.reused else f"run {request.run} is queued"
    return f"{asset}: {what}, on {request.dataset}: {because}."
