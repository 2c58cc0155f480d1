"""Tables of what people saw and said of a comparison, and of renders that were made again to see whether they still come out the same.

No ``from __future__ import annotations`` here: SQLModel resolves annotations at class creation.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from assetforge.db.columns import one_of, utc_now
from assetforge.domain.states import DRIFT_OUTCOMES, VOTE_CHOICES

__all__ = ["CellView", "DriftCheck", "Vote"]


class CellView(SQLModel, table=True):
    """Somebody had a cell of a comparison before their eyes, at its real size; approvals ask for the worst ones."""

    __tablename__ = "cell_view"
    __table_args__ = (UniqueConstraint("comparison_id", "cell_index", "actor"),)

    id: int | None = Field(default=None, primary_key=True)
    comparison_id: int = Field(foreign_key="comparison.id")
    cell_index: int
    actor: str
    seconds: float = 0.0
    at: datetime = Field(default_factory=utc_now)


class Vote(SQLModel, table=True):
    """A blind answer: which of two pictures is better, without knowing which version made which.

    ``left`` is the side that was shown first or on the left; ``choice`` is what was liked better, as a side of the comparison. A person's newer vote on a cell counts.
    """

    __tablename__ = "vote"
    __table_args__ = (
        one_of("left_side", ("new", "baseline")),
        one_of("choice", VOTE_CHOICES),
        Index("ix_vote_comparison_cell", "comparison_id", "cell_index"),
    )

    id: int | None = Field(default=None, primary_key=True)
    comparison_id: int = Field(foreign_key="comparison.id")
    cell_index: int
    left_side: str
    choice: str
    actor: str
    seconds: float = 0.0
    note: str = ""
    at: datetime = Field(default_factory=utc_now)


class DriftCheck(SQLModel, table=True):
    """An evaluation that was rendered again, against the earlier one of the same plan. ``detail`` holds what differs: of the engine record, the files, the pixels."""

    __tablename__ = "drift_check"
    __table_args__ = (one_of("outcome", DRIFT_OUTCOMES),)

    id: int | None = Field(default=None, primary_key=True)
    version_id: int = Field(foreign_key="version.id", index=True)
    before_evaluation_id: int = Field(foreign_key="evaluation.id")
    evaluation_id: int = Field(foreign_key="evaluation.id")
    before_control_id: int | None = Field(default=None, foreign_key="evaluation.id")
    control_id: int | None = Field(default=None, foreign_key="evaluation.id")
    outcome: str = "queued"
    detail: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False, server_default="{}"))
    actor: str = ""
    at: datetime = Field(default_factory=utc_now)
