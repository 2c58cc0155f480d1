"""LoRA versions: finding them by address, their whole lineage, and taking in files that were trained elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, and_, or_
from sqlmodel import Session, col, func, select

from assetforge.db.models import Alias, Asset, BaseModelRecord, DatasetVersion, Publication, Run, Version
from assetforge.db.models_jobs import Evaluation, Suite
from assetforge.domain.names import LATEST, VersionAddress, dataset_address, parse_version, version_address
from assetforge.errors import NotFoundError, StorageError, UsageError
from assetforge.services import activity
from assetforge.services.assets import find_asset
from assetforge.services.projects import Project
from assetforge.store.weights import read_metadata, read_tensor_table, tensor_hash

__all__ = [
    "CALIBRATION",
    "EvaluationFacts",
    "PublicationFacts",
    "VersionDetail",
    "VersionInfo",
    "find_version",
    "import_version",
    "list_versions",
    "resolve_version",
    "row_id",
    "show_version",
    "standing",
    "version_info",
]

CALIBRATION = "calibration of "
"""How the cause of a run begins that was made to measure what training again changes."""

_FAMILY_BY_KOHYA = {
    "sd_v1": "sd15",
    "sd_v2": "sd2",
    "sdxl": "sdxl",
    "sd3": "sd3",
    "flux_2": "flux2",
    "flux2": "flux2",
    "flux": "flux1",
    "qwen_image": "qwen-image",
    "z_image": "z-image",
    "zimage": "z-image",
    "wan": "wan",
}
_LORA_KEYS = ("lora_down", "lora_up", "lora_a", "lora_b", "lora.down", "lora.up", "hada_w", "lokr_w")
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionInfo:
    """A version in a list.

    Attributes:
        id: Row id.
        address: Such as ``mara/v2``.
        asset: Name of the asset.
        asset_id: Row id of the asset.
        number: Number within the asset, from 1.
        stage: candidate, approved, rejected or retired.
        aliases: Names that point at it now, ``latest`` included.
        family: Model family.
        base: Name of the base model that it was trained on; empty when it was imported.
        run: Run that made it; ``None`` when it was imported.
        dataset: Address of the dataset version it learned from; empty when unknown.
        recipe: Name of the recipe; empty when unknown.
        step: Training step.
        weights: Hash of the file.
        tensor_hash: Hash of the tensor bytes.
        origin: Name of the imported file; empty when it was trained here.
        note: What somebody wrote about it.
        created_at: When, in UTC.
    """

    id: int
    address: str
    asset: str
    asset_id: int
    number: int
    stage: str
    aliases: tuple[str, ...]
    family: str
    base: str
    run: int | None
    dataset: str
    recipe: str
    step: int
    weights: str
    tensor_hash: str
    origin: str
    note: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationFacts:
    """One evaluation of a version.

    Attributes:
        id: Row id.
        suite: Name of the suite.
        state: State.
        cells: How many pictures its plan has.
        renderer: Name of the renderer.
        created_at: When it was asked for.
    """

    id: int
    suite: str
    state: str
    cells: int
    renderer: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicationFacts:
    """One published copy.

    Attributes:
        path: Relative to the film.
        actor: Who.
        at: When.
    """

    path: str
    actor: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionDetail:
    """A version with everything it came from and everything that was done with it.

    Attributes:
        version: The version.
        parent: Address of the version before it; empty when there is none.
        base: Name of the base model; empty when unknown.
        base_digest: Its digest.
        dataset_tree: Tree hash of the dataset version.
        trainer: Trainer, its version and its plugin, such as ``diffusers-lora 1 (assetforge-diffusers 0.1.0)``.
        params: Training parameters.
        seed: Training seed.
        recipe_key: Identity of the training.
        metrics: Final figures of the run.
        engine: What trained it.
        metadata: Metadata of the safetensors file.
        tensors: How many tensors it holds.
        size: Bytes.
        evaluations: Newest first.
        publications: Newest first.
    """

    version: VersionInfo
    parent: str
    base: str
    base_digest: str
    dataset_tree: str
    trainer: str
    params: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    recipe_key: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    engine: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    tensors: int = 0
    size: int = 0
    evaluations: tuple[EvaluationFacts, ...] = ()
    publications: tuple[PublicationFacts, ...] = ()


def row_id(value: int | None) -> int:
    """The id of a row that is in the database.

    Raises:
        StorageError: It has none.
    """
    if value is None:
        raise StorageError("The database gave a row no id.", hint="Run `assetforge fsck`.")
    return value


def standing() -> ColumnElement[bool]:
    """Of versions: they belong to the line of their asset, so that they may be its latest or a baseline.

    Those that are retired do not, and neither do those that were made for calibration, unless somebody approved one.
    """
    measured = select(Run.id).where(col(Run.cause).startswith(CALIBRATION))
    stage, run = col(Version.stage), col(Version.run_id)
    return and_(stage != "retired", or_(stage == "approved", run.is_(None), run.not_in(measured)))


def find_version(session: Session, address: str | VersionAddress) -> tuple[Asset, Version]:
    """The rows that an address names: ``mara/v2``, ``mara@approved``, ``mara@latest``.

    Raises:
        UsageError: It is not an address.
        NotFoundError: It names nothing.
    """
    wanted = parse_version(address) if isinstance(address, str) else address
    asset = find_asset(session, wanted.asset)
    of_asset = select(Version).where(Version.asset_id == asset.id)
    if wanted.number is not None:
        found = session.exec(of_asset.where(Version.number == wanted.number)).first()
    elif wanted.alias == LATEST:
        found = session.exec(of_asset.where(standing()).order_by(col(Version.number).desc())).first()
    else:
        found = session.exec(
            of_asset.join(Alias, col(Alias.version_id) == Version.id).where(Alias.name == wanted.alias)
        ).first()
    if found is None:
        raise NotFoundError(
            f"There is no version {wanted}.", hint=f"`assetforge version list {asset.name}` shows what there is."
        )
    return asset, found


def resolve_version(project: Project, address: str) -> VersionInfo:
    """The version that an address names.

    Raises:
        UsageError: It is not an address.
        NotFoundError: It names nothing.
    """
    with project.read() as session:
        asset, version = find_version(session, address)
        return version_info(session, asset, version)


def version_info(session: Session, asset: Asset, version: Version) -> VersionInfo:
    """The version as lists show it."""
    return _infos(session, [(asset, version)])[0]


def list_versions(project: Project, asset: str = "") -> list[VersionInfo]:
    """All versions of an asset or of the film, by asset name, newest first.

    Raises:
        NotFoundError: There is no asset of that name.
    """
    with project.read() as session:
        query = select(Asset, Version).join(Version, col(Version.asset_id) == Asset.id)
        if asset:
            find_asset(session, asset)
            query = query.where(Asset.name == asset)
        rows = session.exec(query.order_by(col(Asset.name), col(Version.number).desc())).all()
        return _infos(session, list(rows))


def _infos(session: Session, rows: Sequence[tuple[Asset, Version]]) -> list[VersionInfo]:
    asset_ids = {row_id(asset.id) for asset, _ in rows}
    names: dict[int, list[str]] = {}
    for alias in session.exec(select(Alias).where(col(Alias.asset_id).in_(asset_ids)).order_by(col(Alias.name))).all():
        names.setdefault(alias.version_id, []).append(alias.name)
    newest_numbers = (
        select(Version.asset_id, func.max(Version.number))
        .where(col(Version.asset_id).in_(asset_ids), standing())
        .group_by(col(Version.asset_id))
    )
    newest: dict[int, int] = {asset_id: number for asset_id, number in session.exec(newest_numbers).all()}  # noqa: C416 - rows are not pairs for mypy
    run_ids = {version.run_id for _, version in rows if version.run_id is not None}
    runs = session.exec(
        select(Run, DatasetVersion, BaseModelRecord.name)
        .join(DatasetVersion, col(DatasetVersion.id) == Run.dataset_id)
        .join(BaseModelRecord, col(BaseModelRecord.id) == Run.base_model_id)
        .where(col(Run.id).in_(run_ids))
    ).all()
    by_run = {run.id: (run, dataset, base) for run, dataset, base in runs}
    infos = []
    for asset, version in rows:
        run, dataset, base = by_run.get(version.run_id, (None, None, ""))
        aliases = list(names.get(row_id(version.id), []))
        if newest.get(row_id(asset.id)) == version.number:
            aliases.append(LATEST)
        infos.append(
            VersionInfo(
                id=row_id(version.id),
                address=version_address(asset.name, version.number),
                asset=asset.name,
                asset_id=row_id(asset.id),
                number=version.number,
                stage=version.stage,
                aliases=tuple(aliases),
                family=version.family,
                base=base,
                run=version.run_id,
                dataset=dataset_address(asset.name, dataset.number) if dataset else "",
                recipe=run.recipe if run else "",
                step=version.step,
                weights=version.weights,
                tensor_hash=version.tensor_hash,
                origin=version.origin,
                note=version.note,
                created_at=version.created_at,
            )
        )
    return infos


def show_version(project: Project, address: str) -> VersionDetail:
    """A version with its whole lineage.

    Raises:
        UsageError: It is not an address.
        NotFoundError: It names nothing.
        StorageError: Its file is missing from the store.
    """
    with project.read() as session:
        asset, version = find_version(session, address)
        info = version_info(session, asset, version)
        run = session.get(Run, version.run_id) if version.run_id is not None else None
        dataset = session.get(DatasetVersion, run.dataset_id) if run else None
        base = session.get(BaseModelRecord, run.base_model_id) if run else None
        parent = session.get(Version, version.parent_id) if version.parent_id is not None else None
        evaluations = _evaluations(session, row_id(version.id))
        published = session.exec(
            select(Publication).where(Publication.version_id == version.id).order_by(col(Publication.id).desc())
        ).all()
    path = project.blobs.path(version.weights)
    if not path.is_file():
        raise StorageError(
            f"The file of {info.address} is missing from the store ({path}).",
            hint="Run `assetforge fsck`, or restore a backup.",
        )
    return VersionDetail(
        version=info,
        parent=version_address(asset.name, parent.number) if parent else "",
        base=base.name if base else "",
        base_digest=base.digest if base else "",
        dataset_tree=dataset.tree_hash if dataset else "",
        trainer=f"{run.trainer} {run.trainer_version} ({run.plugin} {run.plugin_version})" if run else "",
        params=run.params if run else {},
        seed=run.seed if run else None,
        recipe_key=run.recipe_key if run else "",
        metrics=run.metrics if run else {},
        engine=run.engine if run else {},
        metadata=read_metadata(path),
        tensors=len(read_tensor_table(path)),
        size=path.stat().st_size,
        evaluations=evaluations,
        publications=tuple(PublicationFacts(path=row.path, actor=row.actor, at=row.at) for row in published),
    )


def _evaluations(session: Session, version_id: int) -> tuple[EvaluationFacts, ...]:
    rows = session.exec(
        select(Evaluation, Suite)
        .join(Suite, col(Suite.id) == Evaluation.suite_id)
        .where(Evaluation.version_id == version_id)
        .order_by(col(Evaluation.id).desc())
    ).all()
    return tuple(
        EvaluationFacts(
            id=row_id(row.id),
            suite=suite.name,
            state=row.state,
            cells=len(row.plan.get("cells", ())),
            renderer=row.renderer,
            created_at=row.created_at,
        )
        for row, suite in rows
    )


def import_version(
    project: Project, asset: str, file: Path, *, family: str = "", note: str = ""
) -> tuple[VersionInfo, bool]:
    """Take in a LoRA that was trained elsewhere as the asset's next version. The file is kept byte for byte, metadata included.

    Args:
        project: The film.
        asset: Which asset it belongs to.
        file: A safetensors file.
        family: Model family, such as ``sd15``; by default read from the file's metadata.
        note: What to remember about it.

    Returns:
        The version, and whether it is new: a file with the same tensors is not taken in twice for one asset.

    Raises:
        NotFoundError: There is no such asset or file.
        UsageError: It is a pickle, damaged, not a LoRA, or its model family cannot be told.
    """
    table, metadata = _inspect(file)
    if not any(marker in name.lower() for name in table for marker in _LORA_KEYS):
        sample = ", ".join(sorted(table)[:3]) or "none at all"
        raise UsageError(
            f"{file} is not a LoRA: none of its tensors is a low-rank factor (it holds {sample}).",
            hint="Import the LoRA file, not the checkpoint.",
        )
    chosen_family = family or _family(metadata)
    if not chosen_family:
        raise UsageError(
            f"{file} does not say which model family it is for.", hint="Name it with --family, such as --family sd15."
        )
    identity = tensor_hash(file)
    weights, _size = project.blobs.put_file(file)
    with project.write() as session:
        row = find_asset(session, asset)
        known = session.exec(select(Version).where(Version.asset_id == row.id, Version.tensor_hash == identity)).first()
        if known is not None:
            return version_info(session, row, known), False
        number = (session.exec(select(func.max(Version.number)).where(Version.asset_id == row.id)).one() or 0) + 1
        version = Version(
            asset_id=row_id(row.id),
            number=number,
            family=chosen_family,
            weights=weights,
            tensor_hash=identity,
            origin=file.name,
            note=note,
            step=_step(metadata),
        )
        session.add(version)
        session.flush()
        activity.record(
            session,
            activity.current_actor(),
            "imported",
            version_address(asset, number),
            file=file.name,
            tensor_hash=identity,
        )
        return version_info(session, row, version), True


def _inspect(file: Path) -> tuple[dict[str, tuple[str, tuple[int, ...]]], dict[str, str]]:
    if not file.is_file():
        raise NotFoundError(f"There is no file {file}.")
    with file.open("rb") as stream:
        start = stream.read(4)
    if start.startswith((_ZIP, _PICKLE)):
        raise UsageError(
            f"{file} is a pickle, and loading one runs whatever code is in it.",
            hint="Only safetensors are taken in: convert it where you trust it.",
        )
    return read_tensor_table(file), read_metadata(file)


def _family(metadata: Mapping[str, str]) -> str:
    stated = metadata.get("ss_base_model_version", "").lower()
    return next((family for prefix, family in _FAMILY_BY_KOHYA.items() if stated.startswith(prefix)), "")


def _step(metadata: Mapping[str, str]) -> int:
    text = metadata.get("ss_steps", "")
    return int(text) if text.isdecimal() else 0
