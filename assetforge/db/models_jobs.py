"""Tables of the queue and of regression: jobs, suites, evaluations, renders, comparisons.

No ``from __future__ import annotations`` here: SQLModel resolves annotations at class creation.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from assetforge.db.columns import one_of, utc_now
from assetforge.domain.states import JOB_KINDS, JOB_STATES

__all__ = ["Comparison", "Engine", "Evaluation", "Job", "JobAttempt", "Render", "Suite"]


class Job(SQLModel, table=True):
    """A row of the queue. Times are epoch seconds, so that leases compare in SQL.

    ``payload`` is what the service that queued it wants done; the supervisor turns it into a bundle. ``owner`` and ``attempt`` are the fence: a supervisor may
    change a claimed row only ``WHERE owner = ? AND attempt = ?``.
    """

    __tablename__ = "job"
    __table_args__ = (
        one_of("state", JOB_STATES),
        one_of("kind", JOB_KINDS),
        Index("ix_job_queue", "state", "priority", "id"),
        Index("ix_job_finished_at", "finished_at"),
        Index(
            "uq_job_dedupe_key_open",
            "dedupe_key",
            unique=True,
            sqlite_where=text("dedupe_key != '' AND state IN ('queued','staging','running','collecting')"),
        ),
    )

    id: int | None = Field(default=None, primary_key=True)
    kind: str
    state: str = "queued"
    subject: str = ""
    run_id: int | None = Field(default=None, foreign_key="run.id", index=True)
    payload: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    priority: int = 0
    executor: str = "local"
    device: str = "auto"
    attempt: int = 0
    max_attempts: int = 3
    owner: str = ""
    lease_until: float = 0.0
    not_before: float = 0.0
    cancel_requested: bool = False
    bundle_id: str = ""
    slot: str = ""
    handle: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False, server_default="{}"))
    dedupe_key: str = ""
    requested_by: str = ""
    error: str = ""
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None


class JobAttempt(SQLModel, table=True):
    """One try of a job; written before it is submitted."""

    __tablename__ = "job_attempt"
    __table_args__ = (UniqueConstraint("job_id", "number"),)

    id: int | None = Field(default=None, primary_key=True)
    job_id: int = Field(foreign_key="job.id")
    number: int
    executor: str
    slot: str = ""
    handle: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False, server_default="{}"))
    outcome: str = ""
    error: str = ""
    started_at: float
    finished_at: float | None = None


class Suite(SQLModel, table=True):
    """A sample plan, immutable by digest; a changed suite of the same name is a new row."""

    __tablename__ = "suite"
    __table_args__ = (UniqueConstraint("name", "digest"),)

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(index=True)
    digest: str
    definition: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    created_at: datetime = Field(default_factory=utc_now)


class Engine(SQLModel, table=True):
    """What rendered: versions, device, dtype, sampler."""

    __tablename__ = "engine"

    id: int | None = Field(default=None, primary_key=True)
    digest: str = Field(unique=True)
    record: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))


class Evaluation(SQLModel, table=True):
    """One version (or the bare base) through one suite, from an immutable plan."""

    __tablename__ = "evaluation"
    __table_args__ = (one_of("state", JOB_STATES), UniqueConstraint("plan_digest"))

    id: int | None = Field(default=None, primary_key=True)
    asset_id: int = Field(foreign_key="asset.id", index=True)
    version_id: int | None = Field(default=None, foreign_key="version.id", index=True)
    suite_id: int = Field(foreign_key="suite.id")
    base_model_id: int = Field(foreign_key="base_model.id")
    renderer: str
    plan_digest: str
    plan: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    state: str = "queued"
    job_id: int | None = Field(default=None, foreign_key="job.id", index=True)
    engine_id: int | None = Field(default=None, foreign_key="engine.id")
    created_at: datetime = Field(default_factory=utc_now)
    finished_at: datetime | None = None


class Render(SQLModel, table=True):
    """The picture that an evaluation made for a cell."""

    __tablename__ = "render"
    __table_args__ = (UniqueConstraint("evaluation_id", "cell_index"),)

    id: int | None = Field(default=None, primary_key=True)
    evaluation_id: int = Field(foreign_key="evaluation.id")
    cell_index: int
    block: str
    prompt: str
    seed: int
    strength: float
    sha256: str = Field(index=True)
    seconds: float = 0.0


class Comparison(SQLModel, table=True):
    """A version against a baseline version, cell by cell. ``summary`` is what approvals keep as evidence.

    ``extends_id`` is the inconclusive comparison that this one adds the suite's reserve of prompts to; its figures are those of both together.
    """

    __tablename__ = "comparison"

    id: int | None = Field(default=None, primary_key=True)
    asset_id: int = Field(foreign_key="asset.id", index=True)
    version_id: int = Field(foreign_key="version.id", index=True)
    baseline_id: int | None = Field(default=None, foreign_key="version.id")
    evaluation_id: int = Field(foreign_key="evaluation.id")
    baseline_evaluation_id: int | None = Field(default=None, foreign_key="evaluation.id")
    control_evaluation_id: int | None = Field(default=None, foreign_key="evaluation.id")
    job_id: int | None = Field(default=None, foreign_key="job.id")
    state: str = "queued"
    summary: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False, server_default="{}"))
    scores: str = ""
    report: str = ""
    extends_id: int | None = Field(default=None, foreign_key="comparison.id", index=True, unique=True)
    created_at: datetime = Field(default_factory=utc_now)
