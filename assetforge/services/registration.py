"""LoRA files of a run become versions: the last one when the run ends, those that it kept on the way when somebody asks."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError
from sqlmodel import Session, col, func, select

from assetforge.api.events import VersionCreated
from assetforge.api.job import Result, WeightsOutput
from assetforge.db.models import Asset, BaseModelRecord, Run, Version
from assetforge.db.models_jobs import Job
from assetforge.domain.names import version_address
from assetforge.durable import storage_error
from assetforge.errors import JobError, NotFoundError, StorageError
from assetforge.services import activity
from assetforge.services.projects import Project
from assetforge.services.results import store_output, verify_outputs
from assetforge.services.versions import standing
from assetforge.store.weights import read_tensor_table, stamp

__all__ = ["KeptWeights", "kept_weights", "register_kept", "register_weights"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptWeights:
    """Weights of a run that are still there.

    Attributes:
        step: Steps that they were trained for.
        final: They are those of the end.
        version: Address of the version that they are; empty when they are none yet.
        size: Bytes of the file.
    """

    step: int
    final: bool
    version: str
    size: int


def kept_weights(project: Project, number: int) -> list[KeptWeights]:
    """The weights of a run, fewest steps first.

    Raises:
        NotFoundError: There is no such run, or its folder is gone.
        JobError: The run has not ended well.
    """
    result, workdir = _result(project, number)
    with project.read() as session:
        asset = session.get_one(Asset, session.get_one(Run, number).asset_id)
        versions = session.exec(select(Version).where(Version.run_id == number)).all()
    addresses = {version.step: version_address(asset.name, version.number) for version in versions}
    return [
        KeptWeights(
            step=weights.step,
            final=weights.final,
            version=addresses.get(weights.step, ""),
            size=(workdir / weights.kohya).stat().st_size,
        )
        for weights in sorted(result.weights, key=lambda weights: weights.step)
        if (workdir / weights.kohya).is_file()
    ]


def register_kept(project: Project, number: int, step: int) -> str:
    """Make a version, a candidate like any other, of weights that a run kept on the way; returns its address, also when it is one already.

    Raises:
        NotFoundError: There is no such run, it kept nothing at that step, or its folder is gone.
        JobError: The run has not ended well, or the file is not what the run wrote.
    """
    result, workdir = _result(project, number)
    chosen = next((weights for weights in result.weights if weights.step == step), None)
    if chosen is None:
        steps = ", ".join(str(weights.step) for weights in result.weights)
        raise NotFoundError(
            f"Run {number} kept no weights at step {step}.",
            hint=f"It has those of step {steps}; keep_every keeps more.",
        )
    if not (workdir / chosen.kohya).is_file():
        raise _cleaned_up(number)
    own = {chosen.kohya, chosen.diffusers}
    outputs = tuple(output for output in result.outputs if output.path in own)
    verify_outputs(result.model_copy(update={"weights": (chosen,), "outputs": outputs}), workdir)
    with project.read() as session:
        run = session.get_one(Run, number)
    address = register_weights(project, run, chosen, workdir, actor=activity.current_actor())
    if address:
        event = VersionCreated(
            project=project.root, at=datetime.now(UTC), actor=activity.current_actor(), version=address
        )
        activity.publish(project, event)
        return address
    return next(weights.version for weights in kept_weights(project, number) if weights.step == step)


def _result(project: Project, number: int) -> tuple[Result, Path]:
    with project.read() as session:
        run = session.get(Run, number)
        job = session.exec(select(Job).where(Job.run_id == number)).first()
    if run is None or job is None or job.id is None:
        raise NotFoundError(f"There is no run {number}.", hint="`assetforge run list` shows what there is.")
    if run.state != "succeeded":
        raise JobError(
            f"Run {number} is {run.state}; weights can be taken from a run that has ended well.",
            hint="See `assetforge run show`.",
        )
    workdir = project.paths.job(job.id)
    try:
        return Result.read(workdir / "result.json"), workdir
    except FileNotFoundError as error:
        raise _cleaned_up(number) from error
    except ValidationError as error:
        raise JobError(f"{workdir / 'result.json'} is damaged.", hint="Train again.") from error


def _cleaned_up(number: int) -> NotFoundError:
    return NotFoundError(
        f"The folder of run {number} has been cleaned up, and what it kept on the way with it.",
        hint="Versions that were made of it are still there; `assetforge version list` shows them.",
    )


def register_weights(
    project: Project, run: Run, weights: WeightsOutput, workdir: Path, *, actor: str = "supervisor"
) -> str:
    """Store one LoRA under the next number; returns its address, or an empty string when it is registered already."""
    read_tensor_table(workdir / weights.kohya)
    with project.read() as session:
        asset = session.get_one(Asset, run.asset_id)
        base = session.get_one(BaseModelRecord, run.base_model_id)
    while True:
        with project.read() as session:
            if (
                session.exec(select(Version.id).where(Version.run_id == run.id, Version.step == weights.step)).first()
                is not None
            ):
                return ""
            number = _next_number(session, asset)
            parent = session.exec(
                select(Version).where(Version.asset_id == asset.id, standing()).order_by(col(Version.number).desc())
            ).first()
        address = version_address(asset.name, number)
        stamped = {"ss_output_name": f"{asset.name}-v{number:03d}", "assetforge.version": address}
        if parent is not None:
            stamped["assetforge.parent"] = version_address(asset.name, parent.number)
        main = _stamped_blob(project, workdir / weights.kohya, stamped)
        other = _stamped_blob(project, workdir / weights.diffusers, stamped) if weights.diffusers else ""
        with project.write() as session:
            if _next_number(session, asset) != number:
                continue
            session.add(
                Version(
                    asset_id=_id(asset.id),
                    number=number,
                    run_id=run.id,
                    parent_id=parent.id if parent else None,
                    family=base.family,
                    weights=main,
                    diffusers=other,
                    tensor_hash=weights.tensor_hash,
                    step=weights.step,
                )
            )
            activity.record(session, actor, "created", address, run=run.id)
        return address


def _stamped_blob(project: Project, source: Path, metadata: Mapping[str, str]) -> str:
    try:
        with tempfile.TemporaryDirectory(dir=project.paths.private, prefix=".tmp-") as folder:
            target = Path(folder) / source.name
            stamp(source, target, metadata)
            return store_output(project, target)
    except OSError as error:
        raise storage_error(error, project.paths.private, "written") from error


def _next_number(session: Session, asset: Asset) -> int:
    return (session.exec(select(func.max(Version.number)).where(Version.asset_id == asset.id)).one() or 0) + 1


def _id(value: int | None) -> int:
    if value is None:
        raise StorageError("The database gave a row no id.")
    return value
