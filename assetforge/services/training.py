"""Training: a dataset version and a recipe become a run, and its result becomes a version."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlmodel import Session, col, select

from assetforge.api.events import RunFinished, VersionCreated
from assetforge.api.job import (
    DatasetItem,
    EngineRef,
    JobSpec,
    Resources,
    Result,
    TrainingDataset,
    TrainPayload,
)
from assetforge.api.params import influential
from assetforge.api.specs import TrainerSpec
from assetforge.db.models import Asset, BaseModelRecord, DatasetItemRow, DatasetVersion, Image, Reference, Run, Version
from assetforge.db.models_jobs import Job
from assetforge.db.queue_rows import enqueue
from assetforge.domain.bundle import BundlePlan, InputFile
from assetforge.domain.captions import training_caption
from assetforge.domain.crop import parse_crop
from assetforge.domain.names import dataset_address, version_address
from assetforge.domain.recipe_key import recipe_key
from assetforge.domain.states import OPEN_JOB_STATES
from assetforge.errors import JobError, StorageError, UsageError
from assetforge.extension.registry import get_registry
from assetforge.extension.required import check_required
from assetforge.services import activity
from assetforge.services.assets import AssetInfo, get_asset
from assetforge.services.base_models import base_ref, record_base, recorded_base
from assetforge.services.datasets import DatasetInfo, get_dataset
from assetforge.services.projects import Project
from assetforge.services.recipes import Recipe, resolve_recipe
from assetforge.services.registration import register_weights
from assetforge.services.results import verify_outputs
from assetforge.services.versions import VersionInfo, resolve_version
from assetforge.store.model_digest import HashProgress

__all__ = [
    "TrainingRequest",
    "close_job",
    "plan_job",
    "register_result",
    "request_training",
    "starting_version",
    "trained_already",
    "training_key",
]

_START = "inputs/start.safetensors"
_ATTEMPTS = 8
"""How often a run that can resume is started again after it was killed; each time it loses only what came after its last checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRequest:
    """What became of a wish to train.

    Attributes:
        asset: Asset name.
        dataset: Address of the dataset version.
        recipe: Name of the recipe.
        recipe_key: Identity of what would be trained.
        run: The run; an older one when it was reused.
        job: The job to wait for; ``None`` when nothing has to run.
        reused: Address of the version that is the answer already; empty otherwise.
        joined: A run of the same key was queued or running already.
    """

    asset: str
    dataset: str
    recipe: str
    recipe_key: str
    run: int
    job: int | None
    reused: str = ""
    joined: bool = False


def request_training(
    project: Project,
    asset_name: str,
    *,
    recipe: str = "",
    overrides: Mapping[str, Any] | None = None,
    base: str = "",
    dataset: str = "",
    seed: int = 0,
    executor: str = "",
    priority: int = 0,
    again: bool = False,
    cause: str = "by hand",
    start_from: str = "",
    hashing: HashProgress | None = None,
) -> TrainingRequest:
    """Queue a run, unless the same dataset, recipe, trainer and base were trained already.

    Args:
        project: The film.
        asset_name: What to train.
        recipe: Preset; by default the asset's.
        overrides: Parameters that differ from the preset.
        base: Base model; by default the preset's or the film's.
        dataset: Dataset address; by default the asset's newest.
        seed: Seed of all randomness.
        executor: Where to run; by default the film's.
        priority: Higher goes first.
        again: Train even though the same key has a version.
        cause: Why, for the record.
        start_from: Version whose weights training goes on from; by default it begins from nothing.
        hashing: Hears about files of the base model that have to be hashed first.

    Raises:
        NotFoundError: There is no dataset version, recipe, trainer or base model of that name.
        UsageError: The dataset has nothing to train on, or the parameters do not fit.
        PluginError: A plugin that the film requires does not work here.
    """
    check_required(get_registry(), project.config.plugins.required)
    asset = get_asset(project, asset_name)
    frozen = get_dataset(project, dataset or asset_name)
    if frozen.train_count == 0:
        raise UsageError(
            f"{frozen.address} has no references to train on.",
            hint="Add references with `assetforge ref add`, then freeze again.",
        )
    chosen = resolve_recipe(project, asset, name=recipe, overrides=overrides, base=base, hashing=hashing)
    where = executor or project.config.defaults.executor
    get_registry().executor(where)
    start = starting_version(project, start_from, chosen) if start_from else None
    key = training_key(asset, frozen.tree_hash, chosen, seed, start.weights if start else "")
    with project.write() as session:
        if not again:
            found = trained_already(session, asset, frozen.address, chosen.name, key)
            if found:
                return found
        run = _new_run(session, asset, frozen, chosen, key, seed, cause)
        session.add(run)
        session.flush()
        job = enqueue(
            session,
            kind="train",
            subject=asset.name,
            payload={"run": run.id, **({"start": start.weights, "start_from": start.address} if start else {})},
            run_id=run.id,
            executor=where,
            priority=priority,
            dedupe_key=f"train:{key}:{run.id}",
            max_attempts=_attempts(chosen.trainer.spec),
        )
        activity.record(
            session,
            activity.current_actor(),
            "queued",
            f"run {run.id}",
            asset=asset.name,
            dataset=frozen.address,
            recipe=chosen.name,
            cause=cause,
        )
        return TrainingRequest(
            asset=asset.name, dataset=frozen.address, recipe=chosen.name, recipe_key=key, run=_id(run.id), job=job
        )


def _attempts(trainer: TrainerSpec) -> int:
    """How often a training is started. The queue may allow more later: what goes into the bundle stays, or its checkpoints would count for nothing."""
    return _ATTEMPTS if trainer.resumable else 1


def plan_job(project: Project, job_id: int) -> BundlePlan:
    """The bundle of a train job: dataset file, pictures by hash, and everything the trainer must know.

    Raises:
        JobError: The job or its run is gone.
    """
    with project.read() as session:
        job, run = _job_and_run(session, job_id)
        asset = session.get_one(Asset, run.asset_id)
        version = session.get_one(DatasetVersion, run.dataset_id)
        base = session.get_one(BaseModelRecord, run.base_model_id)
        items = _training_items(session, version, asset)
    trainer = get_registry().trainer(run.trainer)
    start = str(job.payload.get("start", ""))
    address = dataset_address(asset.name, version.number)
    dataset = TrainingDataset(address=address, tree_hash=version.tree_hash, items=tuple(items))
    payload = TrainPayload(
        asset=asset.name,
        asset_type=asset.type,
        trigger=asset.trigger,
        class_word=asset.class_word,
        recipe=run.recipe,
        recipe_key=run.recipe_key,
        base=base_ref(recorded_base(base)),
        output_name=f"{asset.name}-run{run.id:04d}",
        metadata={
            "assetforge.project": project.name,
            "assetforge.project_id": project.id,
            "assetforge.asset": asset.name,
            "assetforge.run": str(run.id),
            "assetforge.dataset": address,
            "assetforge.dataset_tree": version.tree_hash,
            "assetforge.recipe": run.recipe,
            "assetforge.recipe_key": run.recipe_key,
            "assetforge.base_digest": base.digest,
            **({"assetforge.started_from": str(job.payload["start_from"])} if start else {}),
        },
        warm_start=_START if start else "",
    )
    spec = JobSpec(
        project=project.id,
        job=job_id,
        run=run.id,
        kind="train",
        engine=EngineRef(
            kind="trainer",
            name=run.trainer,
            version=trainer.spec.version,
            plugin=trainer.plugin,
            plugin_version=trainer.plugin_version,
            load=trainer.spec.load,
        ),
        params=run.params,
        seed=run.seed,
        resources=Resources(device=job.device, gpus=_gpus(run.params)),
        max_attempts=_attempts(trainer.spec),
        payload=payload.model_dump(mode="json"),
        outputs=("outputs/*.safetensors",),
    )
    pictures = {item.file: InputFile(path=item.file, sha256=item.sha256) for item in items}
    pictures |= {item.mask: InputFile(path=item.mask, sha256=item.mask_sha256) for item in items if item.mask}
    if start:
        pictures[_START] = InputFile(path=_START, sha256=start)
    return BundlePlan(
        spec=spec, inputs=(InputFile(path=payload.dataset, data=dataset.model_dump_json().encode()), *pictures.values())
    )


def register_result(project: Project, job_id: int, result: Result, workdir: Path) -> None:
    """Make versions of what a train job produced. May be called again for the same result; the second time changes nothing.

    Raises:
        JobError: An output is missing or is not what the result says.
    """
    verify_outputs(result, workdir)
    with project.read() as session:
        _job, run = _job_and_run(session, job_id)
        asset = session.get_one(Asset, run.asset_id)
    final = [weights for weights in result.weights if weights.final]
    if not final:
        raise JobError(
            f"Run {run.id} says it is done, and it made no final weights.",
            hint="The trainer is at fault; see `assetforge run logs`.",
        )
    created = [address for weights in final if (address := register_weights(project, run, weights, workdir))]
    with project.write() as session:
        row = session.get_one(Run, run.id)
        row.metrics, row.engine = dict(result.metrics), dict(result.engine)
        first_time = row.state != "succeeded"
        row.state, row.finished_at, row.error = "succeeded", datetime.now(UTC), ""
    now = datetime.now(UTC)
    for address in created:
        activity.publish(project, VersionCreated(project=project.root, at=now, actor="supervisor", version=address))
    if first_time:
        activity.publish(
            project,
            RunFinished(
                project=project.root, at=now, actor="supervisor", run=_id(run.id), asset=asset.name, state="succeeded"
            ),
        )


def close_job(project: Project, job_id: int, state: str, error: str) -> None:
    """Write down that a run failed, was cancelled or was lost."""
    with project.write() as session:
        _job, run = _job_and_run(session, job_id)
        asset = session.get_one(Asset, run.asset_id)
        run.state, run.error, run.finished_at = state, error, datetime.now(UTC)
        activity.record(session, "supervisor", state, f"run {run.id}", asset=asset.name, error=error)
    activity.publish(
        project,
        RunFinished(
            project=project.root,
            at=datetime.now(UTC),
            actor="supervisor",
            run=_id(run.id),
            asset=asset.name,
            state=state,
            error=error,
        ),
    )


def starting_version(project: Project, address: str, recipe: Recipe) -> VersionInfo:
    """The version that a training goes on from.

    Raises:
        NotFoundError: There is no such version.
        UsageError: It belongs on another family of models.
    """
    version = resolve_version(project, address)
    if version.family != recipe.base.family:
        raise UsageError(
            f"{version.address} is for {version.family} models, and {recipe.base.name} is a {recipe.base.family} model.",
            hint="Start from a version of the same family, or from nothing.",
        )
    return version


def _gpus(params: Mapping[str, Any]) -> int:
    """Trainers that can share a step among several GPUs have a parameter of this name."""
    wanted = params.get("gpus", 1)
    return wanted if isinstance(wanted, int) and wanted > 1 else 1


def training_key(asset: AssetInfo, tree_hash: str, recipe: Recipe, seed: int, start: str) -> str:
    """Identity of a training.

    Args:
        asset: What is trained.
        tree_hash: Of the dataset version.
        recipe: How.
        seed: Seed of all randomness.
        start: Hash of the weights that it goes on from; empty when it begins from nothing.
    """
    return recipe_key(
        dataset_tree=tree_hash,
        trainer=recipe.trainer.spec.name,
        trainer_version=recipe.trainer.spec.version,
        params=influential(recipe.params),
        base_digest=recipe.base.digest,
        trigger=asset.trigger,
        class_word=asset.class_word,
        seed=seed,
        warm_start=start,
    )


def trained_already(session: Session, asset: AssetInfo, dataset: str, recipe: str, key: str) -> TrainingRequest | None:
    """An answer that exists: a version of the same key, or a run of it that is on its way.

    Args:
        session: Any session.
        asset: What is trained.
        dataset: Address of the dataset version, for the answer.
        recipe: Name of the recipe, for the answer.
        key: See :func:`training_key`.
    """
    done = session.exec(
        select(Run, Version)
        .join(Version, col(Version.run_id) == Run.id)
        .where(Run.recipe_key == key, Run.asset_id == asset.id)
        .order_by(col(Version.number))
    ).first()
    about: Mapping[str, Any] = {
        "asset": asset.name,
        "dataset": dataset,
        "recipe": recipe,
        "recipe_key": key,
    }
    if done:
        run, version = done
        return TrainingRequest(**about, run=_id(run.id), job=None, reused=version_address(asset.name, version.number))
    open_run = session.exec(
        select(Run, Job)
        .join(Job, col(Job.run_id) == Run.id)
        .where(Run.recipe_key == key, Run.asset_id == asset.id, col(Job.state).in_(OPEN_JOB_STATES))
    ).first()
    if open_run:
        run, job = open_run
        return TrainingRequest(**about, run=_id(run.id), job=_id(job.id), joined=True)
    return None


def _new_run(
    session: Session, asset: AssetInfo, dataset: DatasetInfo, recipe: Recipe, key: str, seed: int, cause: str
) -> Run:
    return Run(
        asset_id=asset.id,
        dataset_id=dataset.id,
        base_model_id=record_base(session, recipe.base),
        recipe=recipe.name,
        trainer=recipe.trainer.spec.name,
        trainer_version=recipe.trainer.spec.version,
        plugin=recipe.trainer.plugin,
        plugin_version=recipe.trainer.plugin_version,
        params=recipe.params.model_dump(mode="json"),
        recipe_key=key,
        seed=seed,
        cause=cause,
        requested_by=activity.current_actor(),
    )


def _training_items(session: Session, version: DatasetVersion, asset: Asset) -> list[DatasetItem]:
    rows = session.exec(
        select(DatasetItemRow, Image, Reference.file_name)
        .join(Image, col(Image.sha256) == DatasetItemRow.sha256)
        .join(
            Reference, (col(Reference.sha256) == DatasetItemRow.sha256) & (col(Reference.asset_id) == version.asset_id)
        )
        .where(DatasetItemRow.dataset_id == version.id)
        .order_by(col(DatasetItemRow.sha256))
    ).all()
    return [
        DatasetItem(
            file=f"inputs/images/{row.sha256}{_suffix(image.format)}",
            sha256=row.sha256,
            caption=training_caption(row.caption, trigger=asset.trigger, class_word=asset.class_word),
            width=image.width,
            height=image.height,
            crop=parse_crop(row.crop),
            repeats=row.repeats,
            split=row.split,
            mask=f"inputs/masks/{row.mask}.png" if row.mask else "",
            mask_sha256=row.mask,
        )
        for row, image, _name in rows
    ]


def _suffix(image_format: str) -> str:
    return "." + image_format.lower()


def _job_and_run(session: Session, job_id: int) -> tuple[Job, Run]:
    job = session.get(Job, job_id)
    run = session.get(Run, job.run_id) if job and job.run_id else None
    if job is None or run is None:
        raise JobError(f"Job {job_id} names no run any more.", hint="`assetforge jobs list` shows what there is.")
    return job, run


def _id(value: int | None) -> int:
    if value is None:
        raise StorageError("The database gave a row no id.")
    return value
