"""Captions and their history."""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from assetforge.db.columns import utc_now
from assetforge.db.models import CaptionEdit, Reference
from assetforge.domain.names import reference_address
from assetforge.services.activity import current_actor, record
from assetforge.services.projects import Project
from assetforge.services.references import find_reference
from assetforge.store.sidecar import clean_caption

__all__ = ["BY_HAND", "CaptionRevision", "caption_history", "set_caption", "write_caption"]

BY_HAND = "hand"
"""Source of captions that a person wrote; nothing automatic replaces them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionRevision:
    """One state of a caption.

    Attributes:
        text: The caption.
        source: ``hand``, ``sidecar``, or the name of a captioner.
        author: Who.
        at: When, in UTC.
    """

    text: str
    source: str
    author: str
    at: datetime


def set_caption(project: Project, address: str, text: str, *, source: str = BY_HAND) -> CaptionRevision:
    """Give a reference another caption; the old one stays in its history. The same caption again changes nothing.

    Args:
        project: The film.
        address: Such as ``mara/ref/3f9a1c``.
        text: The caption, without the trigger; made into one line. Empty takes the caption away.
        source: Who wrote it: ``hand``, or the name of a captioner.

    Raises:
        UsageError: The address is malformed or fits several references.
        NotFoundError: There is no such reference.
    """
    with project.write() as session:
        asset, reference = find_reference(session, address)
        edit = write_caption(session, reference, clean_caption(text), source)
        if edit is not None:
            subject = reference_address(asset.name, reference.sha256)
            # The edit is named so that it can be undone like a bulk change, see assetforge.services.caption_undo.
            record(
                session, edit.author, "captioned", subject, source=source, asset=asset.name, edits=[edit.id, edit.id]
            )
            return _revision(edit)
    return caption_history(project, address)[0]


def write_caption(session: Session, reference: Reference, text: str, source: str) -> CaptionEdit | None:
    """Change the caption of a row and note it; ``None`` when text and source were that already.

    Args:
        session: A write session.
        reference: The row.
        text: A clean caption, see :func:`~assetforge.store.sidecar.clean_caption`.
        source: Who wrote it.
    """
    if (reference.caption, reference.caption_source) == (text, source):
        return None
    reference.caption, reference.caption_source, reference.updated_at = text, source, utc_now()
    edit = CaptionEdit(reference_id=reference.id or 0, text=text, source=source, author=current_actor())
    session.add(reference)
    session.add(edit)
    session.flush()
    return edit


def caption_history(project: Project, address: str) -> list[CaptionRevision]:
    """Every caption a reference had, newest first; empty when it never had one.

    Raises:
        UsageError: The address is malformed or fits several references.
        NotFoundError: There is no such reference.
    """
    with project.read() as session:
        _, reference = find_reference(session, address)
        query = select(CaptionEdit).where(CaptionEdit.reference_id == reference.id).order_by(col(CaptionEdit.id).desc())
        return [_revision(edit) for edit in session.exec(query)]


def _revision(edit: CaptionEdit) -> CaptionRevision:
    return CaptionRevision(text=edit.text, source=edit.source, author=edit.author, at=edit.at)
