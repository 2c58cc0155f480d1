"""Tables of references, datasets, runs and versions.

No ``from __future__ import annotations`` here: SQLModel resolves annotations at class creation. Table models validate nothing on assignment, so services
check values before they get here, and CHECK constraints hold the line.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from assetforge.db.columns import one_of, utc_now
from assetforge.domain.states import REFERENCE_STATES, RUN_STATES, SPLITS, VERSION_STAGES

__all__ = [
    "Activity",
    "Alias",
    "AliasMove",
    "Asset",
    "BaseModelRecord",
    "CaptionEdit",
    "DatasetItemRow",
    "DatasetVersion",
    "Image",
    "Meta",
    "Publication",
    "Reference",
    "Run",
    "Version",
]


class Meta(SQLModel, table=True):
    """Facts about the film itself: ``project_id`` (a UUID), ``name``, ``place`` (where it lies), ``jobs_id`` (in copies)."""

    __tablename__ = "meta"

    key: str = Field(primary_key=True)
    value: str


class Asset(SQLModel, table=True):
    """A character, prop or style."""

    __tablename__ = "asset"

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    type: str = Field(index=True)
    trigger: str = ""
    class_word: str = ""
    description: str = ""
    recipe: str = ""
    suite: str = ""
    settings: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False, server_default="{}"))
    created_at: datetime = Field(default_factory=utc_now)
    archived_at: datetime | None = None


class Image(SQLModel, table=True):
    """What one full decode of a file said; shared by every reference with the same bytes.

    ``phash`` is a 64-bit DCT hash stored as a signed integer; ``sharpness`` is the best-region Laplacian variance of the 8-bit luma, unbounded above.
    """

    __tablename__ = "image"
    __table_args__ = (Index("ix_image_figures", "sha256", "width", "height", "sharpness", "brightness", "format"),)

    sha256: str = Field(primary_key=True)
    size: int
    format: str
    mode: str
    width: int
    height: int
    orientation: int = 1
    bits: int = 8
    has_alpha: bool = False
    has_profile: bool = False
    phash: int = Field(sa_column=Column(BigInteger, nullable=False))
    sharpness: float
    brightness: float = 0.0
    created_at: datetime = Field(default_factory=utc_now)


class Reference(SQLModel, table=True):
    """A picture of an asset. Identity is (asset, bytes), never a path. ``excluded_by`` is ``watch`` when its file went away, empty for a person."""

    __tablename__ = "reference"
    __table_args__ = (
        UniqueConstraint("asset_id", "sha256"),
        one_of("state", REFERENCE_STATES),
        one_of("split", [*SPLITS, ""]),
        Index("ix_reference_asset_state", "asset_id", "state", "sha256"),
        Index("ix_reference_asset_touched", "asset_id", "state", "updated_at", "split", "near_group"),
        Index("ix_reference_file_name", "file_name"),
        Index("ix_reference_without_caption", "asset_id", sqlite_where=text("caption = '' AND state = 'active'")),
        Index("ix_reference_without_rights", "asset_id", sqlite_where=text("rights = '' AND state = 'active'")),
    )

    id: int | None = Field(default=None, primary_key=True)
    asset_id: int = Field(foreign_key="asset.id")
    sha256: str = Field(foreign_key="image.sha256", index=True)
    state: str = "active"
    excluded_reason: str = ""
    excluded_by: str = Field(default="", sa_column_kwargs={"server_default": ""})
    file_name: str = ""
    origin: str = ""
    rights: str = ""
    caption: str = ""
    caption_source: str = ""
    crop: str = ""
    mask: str = Field(default="", sa_column_kwargs={"server_default": ""})
    repeats: int = 1
    split: str = ""
    near_group: int | None = None
    added_at: datetime = Field(default_factory=utc_now)
    updated_at: datetime = Field(default_factory=utc_now)


class CaptionEdit(SQLModel, table=True):
    """History of a reference's caption; the newest row equals the reference's own caption."""

    __tablename__ = "caption_edit"

    id: int | None = Field(default=None, primary_key=True)
    reference_id: int = Field(foreign_key="reference.id", index=True)
    text: str
    source: str
    author: str
    at: datetime = Field(default_factory=utc_now)


class DatasetVersion(SQLModel, table=True):
    """An immutable list of references with caption, crop, repeats and split."""

    __tablename__ = "dataset_version"
    __table_args__ = (UniqueConstraint("asset_id", "number"),)

    id: int | None = Field(default=None, primary_key=True)
    asset_id: int = Field(foreign_key="asset.id")
    number: int
    tree_hash: str = Field(index=True)
    parent_id: int | None = Field(default=None, foreign_key="dataset_version.id")
    train_count: int
    held_out_count: int
    note: str = ""
    created_by: str = ""
    created_at: datetime = Field(default_factory=utc_now)


class DatasetItemRow(SQLModel, table=True):
    """One line of a dataset version. ``crop`` is ``left,top,right,bottom`` in pixels after orientation, ``mask`` a blob; both may be empty."""

    __tablename__ = "dataset_item"
    __table_args__ = (one_of("split", SPLITS), {"sqlite_with_rowid": False})

    dataset_id: int = Field(foreign_key="dataset_version.id", primary_key=True)
    sha256: str = Field(foreign_key="image.sha256", primary_key=True)
    caption: str
    crop: str
    mask: str = Field(default="", sa_column_kwargs={"server_default": ""})
    repeats: int
    split: str


class BaseModelRecord(SQLModel, table=True):
    """A base model that runs of this film used."""

    __tablename__ = "base_model"

    id: int | None = Field(default=None, primary_key=True)
    name: str
    family: str
    digest: str = Field(unique=True)
    path: str
    config: str = Field(default="", sa_column_kwargs={"server_default": ""})
    resolution: int
    licence: str = ""
    registered_at: datetime = Field(default_factory=utc_now)


class Run(SQLModel, table=True):
    """One execution of a recipe on a dataset version."""

    __tablename__ = "run"
    __table_args__ = (one_of("state", RUN_STATES), Index("ix_run_recipe_key", "recipe_key"))

    id: int | None = Field(default=None, primary_key=True)
    asset_id: int = Field(foreign_key="asset.id", index=True)
    dataset_id: int = Field(foreign_key="dataset_version.id")
    base_model_id: int = Field(foreign_key="base_model.id")
    recipe: str
    trainer: str
    trainer_version: str
    plugin: str
    plugin_version: str
    params: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    recipe_key: str
    seed: int
    state: str = Field(default="queued", index=True)
    cause: str = "by hand"
    requested_by: str = ""
    error: str = ""
    metrics: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False, server_default="{}"))
    engine: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False, server_default="{}"))
    created_at: datetime = Field(default_factory=utc_now)
    started_at: datetime | None = None
    finished_at: datetime | None = None


class Version(SQLModel, table=True):
    """One LoRA, immutable but for its stage. ``weights`` and ``diffusers`` are blob hashes of the two exported forms."""

    __tablename__ = "version"
    __table_args__ = (
        UniqueConstraint("asset_id", "number"),
        one_of("stage", VERSION_STAGES),
        Index("uq_version_run_step", "run_id", "step", unique=True, sqlite_where=text("run_id IS NOT NULL")),
    )

    id: int | None = Field(default=None, primary_key=True)
    asset_id: int = Field(foreign_key="asset.id")
    number: int
    run_id: int | None = Field(default=None, foreign_key="run.id")
    parent_id: int | None = Field(default=None, foreign_key="version.id")
    family: str
    stage: str = "candidate"
    weights: str
    diffusers: str = ""
    tensor_hash: str = Field(default="", index=True)
    step: int = 0
    origin: str = ""
    note: str = ""
    created_at: datetime = Field(default_factory=utc_now)


class Alias(SQLModel, table=True):
    """A movable name of a version. ``latest`` is computed, never stored."""

    __tablename__ = "alias"
    __table_args__ = (UniqueConstraint("asset_id", "name"),)

    id: int | None = Field(default=None, primary_key=True)
    asset_id: int = Field(foreign_key="asset.id")
    name: str
    version_id: int = Field(foreign_key="version.id")


class AliasMove(SQLModel, table=True):
    """Every move of an alias and every review, with its evidence. Append-only."""

    __tablename__ = "alias_move"

    id: int | None = Field(default=None, primary_key=True)
    asset_id: int = Field(foreign_key="asset.id", index=True)
    name: str
    from_version_id: int | None = Field(default=None, foreign_key="version.id")
    to_version_id: int | None = Field(default=None, foreign_key="version.id")
    actor: str
    why: str
    evidence: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False, server_default="{}"))
    at: datetime = Field(default_factory=utc_now)


class Publication(SQLModel, table=True):
    """A version written to ``loras/`` under a readable name; ``path`` is relative to the film."""

    __tablename__ = "publication"

    id: int | None = Field(default=None, primary_key=True)
    version_id: int = Field(foreign_key="version.id", index=True)
    path: str
    sha256: str
    actor: str = ""
    at: datetime = Field(default_factory=utc_now)


class Activity(SQLModel, table=True):
    """What happened to the film, for people. Append-only."""

    __tablename__ = "activity"

    id: int | None = Field(default=None, primary_key=True)
    at: datetime = Field(default_factory=utc_now, index=True)
    actor: str
    verb: str
    subject: str
    detail: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False, server_default="{}"))
