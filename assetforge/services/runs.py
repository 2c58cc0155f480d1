"""Runs as people see them: what was trained, how far it is, what came of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from assetforge.db.models import Asset, BaseModelRecord, DatasetVersion, Run, Version
from assetforge.db.models_jobs import Job
from assetforge.domain.names import dataset_address, version_address
from assetforge.errors import NotFoundError, StorageError
from assetforge.services.projects import Project

__all__ = ["RunInfo", "get_run", "list_runs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """One run.

    Attributes:
        id: Number of the run.
        asset: Asset name.
        dataset: Address of the dataset version.
        recipe: Recipe name.
        trainer: Trainer name and version.
        base: Base model name.
        params: All parameters.
        recipe_key: Identity of what it trains.
        seed: Seed.
        state: One of the run states.
        cause: Why it was started.
        requested_by: Who started it.
        error: What went wrong.
        metrics: Final figures.
        engine: What it ran on.
        versions: Addresses of the versions it made.
        job: Row of the queue.
        attempt: Attempts so far.
        created_at: When it was asked for.
        finished_at: When it ended.
    """

    id: int
    asset: str
    dataset: str
    recipe: str
    trainer: str
    base: str
    params: dict[str, Any]
    recipe_key: str
    seed: int
    state: str
    cause: str
    requested_by: str
    error: str
    metrics: dict[str, Any]
    engine: dict[str, Any]
    versions: tuple[str, ...]
    job: int | None
    attempt: int
    created_at: datetime
    finished_at: datetime | None


def list_runs(project: Project, *, asset: str = "", state: str = "", limit: int = 50) -> list[RunInfo]:
    """Runs, newest first.

    Args:
        project: The film.
        asset: Only of this asset.
        state: Only in this state.
        limit: At most so many.
    """
    query = select(Run).join(Asset, col(Asset.id) == Run.asset_id).order_by(col(Run.id).desc()).limit(limit)
    if asset:
        query = query.where(Asset.name == asset)
    if state:
        query = query.where(Run.state == state)
    with project.read() as session:
        return [_info(session, run) for run in session.exec(query)]


def get_run(project: Project, number: int) -> RunInfo:
    """One run.

    Raises:
        NotFoundError: There is no run of that number.
    """
    with project.read() as session:
        run = session.get(Run, number)
        if run is None:
            raise NotFoundError(f"There is no run {number}.", hint="`assetforge run list` shows what there is.")
        return _info(session, run)


def _info(session: Session, run: Run) -> RunInfo:
    if run.id is None:
        raise StorageError("The database gave a run no id.")
    asset = session.get_one(Asset, run.asset_id)
    dataset = session.get_one(DatasetVersion, run.dataset_id)
    base = session.get_one(BaseModelRecord, run.base_model_id)
    job = session.exec(select(Job).where(Job.run_id == run.id)).first()
    numbers = session.exec(select(Version.number).where(Version.run_id == run.id).order_by(col(Version.number))).all()
    return RunInfo(
        id=run.id,
        asset=asset.name,
        dataset=dataset_address(asset.name, dataset.number),
        recipe=run.recipe,
        trainer=f"{run.trainer} {run.trainer_version} ({run.plugin} {run.plugin_version})",
        base=base.name,
        params=run.params,
        recipe_key=run.recipe_key,
        seed=run.seed,
        state=run.state,
        cause=run.cause,
        requested_by=run.requested_by,
        error=run.error,
        metrics=run.metrics,
        engine=run.engine,
        versions=tuple(version_address(asset.name, number) for number in numbers),
        job=job.id if job else None,
        attempt=job.attempt if job else 0,
        created_at=run.created_at,
        finished_at=run.finished_at,
    )
