"""What people decide about versions: approve, reject, name, publish. Every decision is kept with who, when, why and on what evidence.

Approving a version moves the alias ``approved`` to it and sets its stage. The version that was approved before keeps its stage: somebody did approve it, shots
may be pinned to it, and the log tells when it stopped being the current one. ``retired`` is only ever set on purpose.
"""

import hashlib
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlmodel import Session, col, select

from assetforge.api.events import AliasMoved, VersionReviewed
from assetforge.db.models import Alias, AliasMove, Asset, Publication, Version
from assetforge.db.models_jobs import Comparison
from assetforge.domain.canonical import digest
from assetforge.domain.names import LATEST, check_name, version_address
from assetforge.errors import StorageError, UsageError
from assetforge.services import activity
from assetforge.services.assets import find_asset
from assetforge.services.projects import Project
from assetforge.services.versions import find_version, row_id

__all__ = ["APPROVED", "AliasEntry", "Published", "Review", "alias_log", "approve", "publish", "reject", "set_alias"]

APPROVED = "approved"
REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What a person decided.

    Attributes:
        version: Address of the version.
        stage: Its stage now.
        previous: Address that the alias named before; empty when none.
        why: The reason.
        actor: Who.
        evidence: What was known: comparison id, digest of its summary, baseline, one sentence; empty when it was never compared.
    """

    version: str
    stage: str
    previous: str
    why: str
    actor: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasEntry:
    """One line of the log of names and reviews.

    Attributes:
        at: When, in UTC.
        asset: Name of the asset.
        name: Alias that moved; ``rejected`` for a rejection, which moves nothing.
        previous: Address it named before; empty when none.
        version: Address it names since.
        actor: Who.
        why: The reason.
        evidence: See :class:`Review`.
    """

    at: datetime
    asset: str
    name: str
    previous: str
    version: str
    actor: str
    why: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A published file.

    Attributes:
        version: Address of the version.
        path: The file.
        sha256: Hash of its bytes.
        written: ``False`` when the same file was there already.
    """

    version: str
    path: Path
    sha256: str
    written: bool


def approve(project: Project, address: str, *, why: str) -> Review:
    """Make a version the approved one of its asset.

    Args:
        project: The film.
        address: Which version.
        why: The reason, for those who come later.

    Raises:
        UsageError: No reason was given.
        NotFoundError: There is no such version.
    """
    reason = _reason(why)
    actor = activity.current_actor()
    with project.write() as session:
        asset, version = find_version(session, address)
        evidence = _evidence(session, asset, version)
        previous = _move(session, asset, version, APPROVED, actor, reason, evidence)
        version.stage = APPROVED
        name = version_address(asset.name, version.number)
        activity.record(session, actor, "approved", name, why=reason, previous=previous)
    now = datetime.now(UTC)
    activity.publish(
        project, VersionReviewed(project=project.root, at=now, actor=actor, version=name, stage=APPROVED, why=reason)
    )
    activity.publish(
        project,
        AliasMoved(
            project=project.root, at=now, actor=actor, alias=f"{asset.name}@{APPROVED}", version=name, previous=previous
        ),
    )
    return Review(version=name, stage=APPROVED, previous=previous, why=reason, actor=actor, evidence=evidence)


def reject(project: Project, address: str, *, why: str) -> Review:
    """Say no to a version.

    Raises:
        UsageError: No reason was given, or it is the approved version: approve the one that takes its place first.
        NotFoundError: There is no such version.
    """
    reason = _reason(why)
    actor = activity.current_actor()
    with project.write() as session:
        asset, version = find_version(session, address)
        name = version_address(asset.name, version.number)
        current = session.exec(select(Alias).where(Alias.asset_id == asset.id, Alias.name == APPROVED)).first()
        if current is not None and current.version_id == version.id:
            raise UsageError(
                f"{name} is the approved version of {asset.name}.",
                hint="Approve the version that takes its place first, then reject this one.",
            )
        evidence = _evidence(session, asset, version)
        version.stage = REJECTED
        session.add(
            AliasMove(
                asset_id=row_id(asset.id),
                name=REJECTED,
                from_version_id=None,
                to_version_id=version.id,
                actor=actor,
                why=reason,
                evidence=dict(evidence),
            )
        )
        activity.record(session, actor, "rejected", name, why=reason)
    activity.publish(
        project,
        VersionReviewed(
            project=project.root, at=datetime.now(UTC), actor=actor, version=name, stage=REJECTED, why=reason
        ),
    )
    return Review(version=name, stage=REJECTED, previous="", why=reason, actor=actor, evidence=evidence)


def set_alias(project: Project, alias: str, address: str, *, why: str = "") -> AliasEntry:
    """Point an alias such as ``mara@hero`` at a version of the same asset.

    Raises:
        UsageError: The alias is ``latest`` or ``approved``, or the version is of another asset.
        NotFoundError: There is no such version.
    """
    asset_name, separator, name = alias.partition("@")
    if not separator:
        raise UsageError(f"{alias!r} does not name an alias.", hint="Write it as ASSET@NAME, such as mara@hero.")
    check_name(name, what="alias")
    if name == LATEST:
        raise UsageError("'latest' always names the newest version and cannot be moved.", hint="Choose another name.")
    if name in (APPROVED, REJECTED):
        raise UsageError(
            f"{name!r} is what a review decides.",
            hint="Use `assetforge approve` or `assetforge reject`, with a reason.",
        )
    actor = activity.current_actor()
    with project.write() as session:
        asset, version = find_version(session, address)
        target = version_address(asset.name, version.number)
        if asset.name != asset_name:
            raise UsageError(
                f"{alias} cannot name {target}, a version of another asset.", hint=f"Choose a version of {asset_name}."
            )
        evidence = _evidence(session, asset, version)
        previous = _move(session, asset, version, name, actor, why.strip(), evidence)
        activity.record(session, actor, "moved", alias, version=target, previous=previous, why=why.strip())
    now = datetime.now(UTC)
    activity.publish(
        project, AliasMoved(project=project.root, at=now, actor=actor, alias=alias, version=target, previous=previous)
    )
    return AliasEntry(
        at=now,
        asset=asset.name,
        name=name,
        previous=previous,
        version=target,
        actor=actor,
        why=why.strip(),
        evidence=evidence,
    )


def alias_log(project: Project, asset: str = "", name: str = "") -> list[AliasEntry]:
    """Every move and every review, newest first, of one asset or the whole film, of one alias or all.

    Raises:
        NotFoundError: There is no such asset.
    """
    with project.read() as session:
        if asset:
            find_asset(session, asset)
        query = (
            select(AliasMove, Asset).join(Asset, col(Asset.id) == AliasMove.asset_id).order_by(col(AliasMove.id).desc())
        )
        if asset:
            query = query.where(Asset.name == asset)
        if name:
            query = query.where(AliasMove.name == name)
        rows = session.exec(query).all()
        numbers = {version.id: version.number for version in session.exec(select(Version)).all()}
    return [
        AliasEntry(
            at=move.at,
            asset=row.name,
            name=move.name,
            previous=version_address(row.name, numbers[move.from_version_id])
            if move.from_version_id is not None
            else "",
            version=version_address(row.name, numbers[move.to_version_id]) if move.to_version_id is not None else "",
            actor=move.actor,
            why=move.why,
            evidence=move.evidence,
        )
        for move, row in rows
    ]


def publish(project: Project, address: str) -> Published:
    """Write a version to ``loras/<asset>/<asset>-v002.safetensors``, where other tools find it. A file that is there is never overwritten.

    Raises:
        NotFoundError: There is no such version.
        UsageError: It was rejected, or a different file has that name.
        StorageError: The disk is full, or the version's bytes are damaged.
    """
    with project.read() as session:
        asset, version = find_version(session, address)
    name = version_address(asset.name, version.number)
    if version.stage == REJECTED:
        raise UsageError(f"{name} was rejected.", hint="Approve it first if that was a mistake.")
    target = project.paths.loras / asset.name / f"{asset.name}-v{version.number:03d}.safetensors"
    written = _write_once(project, version.weights, target)
    relative = target.relative_to(project.root).as_posix()
    actor = activity.current_actor()
    with project.write() as session:
        known = session.exec(
            select(Publication.id).where(Publication.version_id == version.id, Publication.path == relative)
        ).first()
        if written or known is None:
            session.add(Publication(version_id=row_id(version.id), path=relative, sha256=version.weights, actor=actor))
            activity.record(session, actor, "published", name, path=relative)
    return Published(version=name, path=target, sha256=version.weights, written=written)


def _write_once(project: Project, sha256: str, target: Path) -> bool:
    """Whether the file had to be written; it appears whole or not at all, and only where nothing was."""
    if not target.exists():
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
        try:
            project.blobs.copy_out(sha256, temporary)
            _rename_new(temporary, target)
        except FileExistsError:
            return _same_or_refuse(sha256, target)
        finally:
            temporary.unlink(missing_ok=True)
        return True
    return _same_or_refuse(sha256, target)


def _rename_new(temporary: Path, target: Path) -> None:
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:
        # Some filesystems know no hard links; there the check and the rename are two steps.
        if target.exists():
            raise FileExistsError(target) from None
        temporary.rename(target)


def _same_or_refuse(sha256: str, target: Path) -> bool:
    try:
        with target.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(
            f"{target} is in the way and cannot be read: {error.strerror or error}.",
            hint="Move it away and publish again.",
        ) from error
    if found != sha256:
        raise UsageError(
            f"{target} exists and is another file; it was left alone.",
            hint="Move it away or rename it, then publish again.",
        )
    return False


def _move(
    session: Session, asset: Asset, version: Version, name: str, actor: str, why: str, evidence: Mapping[str, Any]
) -> str:
    """Point an alias at a version and log it; returns the address it named before."""
    alias = session.exec(select(Alias).where(Alias.asset_id == asset.id, Alias.name == name)).first()
    before = session.get_one(Version, alias.version_id) if alias is not None else None
    if alias is None:
        alias = Alias(asset_id=row_id(asset.id), name=name, version_id=row_id(version.id))
    alias.version_id = row_id(version.id)
    session.add(alias)
    session.add(
        AliasMove(
            asset_id=row_id(asset.id),
            name=name,
            from_version_id=before.id if before else None,
            to_version_id=version.id,
            actor=actor,
            why=why,
            evidence=dict(evidence),
        )
    )
    return version_address(asset.name, before.number) if before else ""


def _evidence(session: Session, asset: Asset, version: Version) -> dict[str, Any]:
    """The newest finished comparison of a version, as something that cannot be changed afterwards without notice."""
    found = session.exec(
        select(Comparison)
        .where(Comparison.version_id == version.id, Comparison.state == "succeeded")
        .order_by(col(Comparison.id).desc())
    ).first()
    if found is None:
        return {}
    baseline = session.get(Version, found.baseline_id) if found.baseline_id is not None else None
    return {
        "comparison": found.id,
        "summary_digest": digest(found.summary),
        "baseline": version_address(asset.name, baseline.number) if baseline else "",
        "sentence": found.summary.get("sentence", ""),
        "scores": found.scores,
    }


def _reason(why: str) -> str:
    reason = why.strip()
    if not reason:
        raise UsageError(
            "A review needs a reason.", hint='Give it with --why "...": it is what people will ask for in a year.'
        )
    return reason
