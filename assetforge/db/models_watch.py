"""Tables of watched folders: the folders, and what was last made of every file in them.

No ``from __future__ import annotations`` here: SQLModel resolves annotations at class creation.
"""

from datetime import datetime

from sqlalchemy import BigInteger, Column, Index, LargeBinary, UniqueConstraint
from sqlmodel import Field, SQLModel

from assetforge.db.columns import one_of, utc_now
from assetforge.domain.states import WATCH_ROOT_STATES, WATCHED_FILE_STATES

__all__ = ["WatchRoot", "WatchedFile"]


class WatchRoot(SQLModel, table=True):
    """A folder that is watched for an asset, and how that goes. ``path`` is relative to the film when it lies inside it."""

    __tablename__ = "watch_root"
    __table_args__ = (UniqueConstraint("asset_id", "path"), one_of("state", WATCH_ROOT_STATES))

    id: int | None = Field(default=None, primary_key=True)
    asset_id: int = Field(foreign_key="asset.id", index=True)
    path: str
    mode: str = "events"
    state: str = "ok"
    problem: str = ""
    filesystem: str = ""
    folds_names: bool = False
    identity: str = ""
    files: int = 0
    events: int = 0
    missed: int = 0
    scans: int = 0
    last_scan_at: datetime | None = None
    last_scan_s: float = 0.0
    updated_at: datetime = Field(default_factory=utc_now)


class WatchedFile(SQLModel, table=True):
    """A file of a watched folder as it was when it was last read. ``path`` is its raw name below the folder; ``sha256`` is empty when it could not be read."""

    __tablename__ = "watched_file"
    __table_args__ = (
        UniqueConstraint("root_id", "path"),
        one_of("state", WATCHED_FILE_STATES),
        Index("ix_watched_file_state", "state", "root_id"),
    )

    id: int | None = Field(default=None, primary_key=True)
    root_id: int = Field(foreign_key="watch_root.id")
    path: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    size: int = Field(sa_column=Column(BigInteger, nullable=False))
    mtime_ns: int = Field(sa_column=Column(BigInteger, nullable=False))
    ctime_ns: int = Field(sa_column=Column(BigInteger, nullable=False))
    state: str
    sha256: str = Field(default="", index=True)
    code: str = ""
    message: str = ""
    hint: str = ""
    at: datetime = Field(default_factory=utc_now)
