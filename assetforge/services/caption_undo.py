"""Changes of captions, undone and redone: those of many captions as a whole, those of one alike. It all stands in the film, so it works after a restart too.

History is only ever added to: undoing writes the captions of before as new entries. A caption that somebody changed since keeps what it says now.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlmodel import Session, col, func, select

from assetforge.db.models import Activity, Asset
from assetforge.domain.names import reference_address
from assetforge.errors import NotFoundError, UsageError
from assetforge.services.activity import current_actor, record
from assetforge.services.assets import find_asset
from assetforge.services.caption_edits import RECAPTIONED, CaptionPair, Rewritten, write_captions
from assetforge.services.projects import Project

__all__ = ["CaptionChangeInfo", "Undone", "caption_changes", "redo_captions", "undo_captions"]

_ONE, _UNDID, _REDID = "captioned", "undid", "redid"
_BEFORE = "FROM caption_edit b WHERE b.reference_id = e.reference_id AND b.id < e.id ORDER BY b.id DESC LIMIT 1"
_EDITS = f"""
    SELECT e.reference_id, e.text, e.source, coalesce((SELECT b.text {_BEFORE}), ''), coalesce((SELECT b.source {_BEFORE}), ''),
        r.caption, r.sha256, r.file_name
    FROM caption_edit e JOIN reference r ON r.id = e.reference_id
    WHERE e.id BETWEEN ? AND ? AND r.asset_id = ? ORDER BY r.sha256
"""  # noqa: S608 - put together from constants


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionChangeInfo:
    """A change of captions that can be undone, or was.

    Attributes:
        id: Its number.
        asset: Name of the asset.
        what: In a few words.
        count: Captions that it changed.
        by: Who.
        at: When, in UTC.
        undone: It is undone now.
    """

    id: int
    asset: str
    what: str
    count: int
    by: str
    at: datetime
    undone: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """What undoing or redoing did, or would do.

    Attributes:
        change: The change that was undone or redone.
        pairs: The captions that were put back, with what they said until now.
        kept: Addresses of references whose captions were changed since, and kept.
    """

    change: CaptionChangeInfo
    pairs: tuple[CaptionPair, ...]
    kept: tuple[str, ...]


class _Edit(NamedTuple):
    reference: int
    text: str
    source: str
    text_before: str
    source_before: str
    now: str
    sha256: str
    file_name: str


def caption_changes(project: Project, asset: str, *, limit: int = 50) -> list[CaptionChangeInfo]:
    """Changes of an asset's captions that people made, newest first; those that came with files are not among them.

    Args:
        project: The film.
        asset: Name of the asset.
        limit: At most so many, at least 1.

    Raises:
        NotFoundError: There is no such asset.
        UsageError: The limit is below 1.
    """
    if limit < 1:
        raise UsageError(f"A page of {limit} changes cannot be shown.", hint="Ask for at least 1.")
    with project.read() as session:
        row = find_asset(session, asset)
        found = []
        for noted, undone in _changes(session, row):
            found.append(_info(row, noted, undone=undone))
            if len(found) == limit:
                break
        return found


def undo_captions(project: Project, asset: str, change: int | None = None, *, dry_run: bool = False) -> Undone:
    """Put back the captions that a change replaced.

    Args:
        project: The film.
        asset: Name of the asset.
        change: Number of the change; by default the newest that is not undone.
        dry_run: Say what would be put back, and write nothing.

    Raises:
        NotFoundError: There is no such asset, or no such change of it.
        UsageError: It is undone already, or there is nothing to undo.
    """
    return _turn(project, asset, change, back=True, dry_run=dry_run)


def redo_captions(project: Project, asset: str, change: int | None = None, *, dry_run: bool = False) -> Undone:
    """Make a change again that was undone.

    Args:
        project: The film.
        asset: Name of the asset.
        change: Number of the change; by default the one that was undone last, unless captions were changed since.
        dry_run: Say what would be changed, and write nothing.

    Raises:
        NotFoundError: There is no such asset, or no such change of it.
        UsageError: It is not undone, or there is nothing to redo.
    """
    return _turn(project, asset, change, back=False, dry_run=dry_run)


def _turn(project: Project, asset: str, number: int | None, *, back: bool, dry_run: bool) -> Undone:
    with project.read() if dry_run else project.write() as session:
        row = find_asset(session, asset)
        noted = _chosen(session, row, number, back=back)
        first, last = noted.detail["edits"]
        edits = [_Edit(*one) for one in session.connection().exec_driver_sql(_EDITS, (first, last, row.id))]
        captions, pairs, kept = [], [], []
        for edit in edits:
            left, put, source = (
                (edit.text, edit.text_before, edit.source_before)
                if back
                else (edit.text_before, edit.text, edit.source)
            )
            address = reference_address(row.name, edit.sha256)
            if edit.now == left and left != put:
                captions.append(Rewritten(edit.reference, put, source))
                pairs.append(
                    CaptionPair(address=address, sha256=edit.sha256, file_name=edit.file_name, before=left, after=put)
                )
            elif edit.now != put:
                kept.append(address)
        change = _info(row, noted, undone=back)
        if not dry_run:
            detail = {"change": change.what, "of": change.id, "kept": len(kept)}
            if captions:
                write_captions(session, row, captions, _UNDID if back else _REDID, **detail)
            else:
                record(
                    session, current_actor(), _UNDID if back else _REDID, row.name, **detail, asset=row.name, count=0
                )
        return Undone(change=change, pairs=tuple(pairs), kept=tuple(kept))


def _chosen(session: Session, asset: Asset, number: int | None, *, back: bool) -> Activity:
    if number is not None:
        for noted, undone in _changes(session, asset):
            if noted.id == number and undone == back:
                raise UsageError(f"Change {number} is undone already." if back else f"Change {number} is not undone.")
            if noted.id == number:
                return noted
        raise NotFoundError(
            f"{asset.name} has no change {number} of captions.",
            hint=f"`assetforge caption history {asset.name}` lists them.",
        )
    found = _to_undo(session, asset) if back else _to_redo(session, asset)
    if found is None:
        what = "undo" if back else "redo"
        raise UsageError(
            f"There is no change of {asset.name}'s captions to {what}.",
            hint=f"`assetforge caption history {asset.name}` lists them.",
        )
    return found


def _to_undo(session: Session, asset: Asset) -> Activity | None:
    return next((noted for noted, undone in _changes(session, asset) if not undone), None)


def _to_redo(session: Session, asset: Asset) -> Activity | None:
    """What was undone last and not redone, unless something was changed after that."""
    settled: set[int] = set()
    for noted in _noted(session, asset):
        if noted.verb not in (_UNDID, _REDID):
            return None
        of = int(noted.detail["of"])
        if noted.verb == _UNDID and of not in settled:
            return session.get_one(Activity, of)
        settled.add(of)
    return None


def _changes(session: Session, asset: Asset) -> Iterator[tuple[Activity, bool]]:
    """Changes, newest first, each with whether it is undone; what was done to a change stands after it, so it has been seen by then."""
    state: dict[int, bool] = {}
    for noted in _noted(session, asset):
        if noted.verb in (_UNDID, _REDID):
            state.setdefault(int(noted.detail["of"]), noted.verb == _UNDID)
        else:
            yield noted, state.get(noted.id or 0, False)


def _noted(session: Session, asset: Asset) -> Iterator[Activity]:
    query = (
        select(Activity)
        .where(
            col(Activity.verb).in_((RECAPTIONED, _ONE, _UNDID, _REDID)),
            func.json_extract(Activity.detail, "$.asset") == asset.name,
            func.coalesce(
                func.json_extract(Activity.detail, "$.edits"), func.json_extract(Activity.detail, "$.of")
            ).is_not(None),
        )
        .order_by(col(Activity.id).desc())
        .execution_options(yield_per=200)
    )
    yield from session.exec(query)


def _info(asset: Asset, noted: Activity, *, undone: bool) -> CaptionChangeInfo:
    detail: dict[str, Any] = noted.detail
    return CaptionChangeInfo(
        id=noted.id or 0,
        asset=asset.name,
        what=detail.get("change") or f"caption of {noted.subject}",
        count=int(detail.get("count", 1)),
        by=noted.actor,
        at=noted.at,
        undone=undone,
    )
