"""``assetforge activity``: what happened to the film."""

from typing import Any

from assetforge.cli.output import emit, table
from assetforge.cli.session import opened_project
from assetforge.services.activity import list_activity

__all__ = ["activity"]


def activity(about: str = "", *, by: str = "", limit: int = 50, before: int | None = None) -> None:
    """Show what happened to the film, newest first: who did it, and why.

    Args:
        about: An asset, or an address of something of it; by default everything.
        by: Only what this one did: a person, watch, or supervisor.
        limit: At most so many lines.
        before: Go on where a page ended: the number of its last line.
    """
    with opened_project() as project:
        entries = list_activity(project, about, actor=by, before=before, limit=limit)
    rows = [(one.id, one.at, one.actor, one.verb, one.subject, _words(one.detail)) for one in entries]
    columns = ("no", "at", "by", "what", "of", "details")
    emit("activity", {"entries": entries}, lambda: table(columns, rows, empty="Nothing happened yet."))


def _words(detail: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in detail.items() if value not in ("", None, [], {}))
