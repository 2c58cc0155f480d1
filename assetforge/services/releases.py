"""What people decide about versions: approve, reject, name, publish. Every decision is kept with who, when, why and on what evidence.

Approving a version moves the alias ``approved`` to it and sets its stage. The version that was approved before keeps its stage: somebody did approve it, shots
may be pinned to it, and the log tells when it stopped being the current one. ``retired`` is only ever set on purpose, as for versions that were made to measure
what training again changes (:mod:`assetforge.services.calibration`).

Whoever decides over a version that was compared has opened the worst cells of that comparison, or says in words to decide without looking; the evidence says which.
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
from assetforge.domain.names import LATEST, check_name, version_address
from assetforge.errors import CheckFailedError, StorageError, UsageError
from assetforge.services import activity
from assetforge.services.assets import find_asset
from assetforge.services.decision_evidence import UNSEEN, Looking, evidence_of, looked
from assetforge.services.projects import Project
from assetforge.services.reviews import APPROVED, deciding_comparison
from assetforge.services.versions import find_version, row_id

__all__ = [
    "APPROVED",
    "REJECTED",
    "AliasEntry",
    "Published",
    "Review",
    "alias_log",
    "announce",
    "approve",
    "make_approved",
    "publish",
    "reject",
    "set_alias",
]

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
        evidence: What was known: the comparison, its verdict, what the person opened, the votes; ``unseen`` and ``anyway`` where they were said. Empty when nothing was.
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


def approve(project: Project, address: str, *, why: str, review: Looking = "required", anyway: bool = False) -> Review:
    """Make a version the approved one of its asset.

    Args:
        project: The film.
        address: Which version.
        why: The reason, for those who come later.
        review: ``required``: the acting person has opened the worst cells of the comparison that the decision rests on. ``skipped``: to decide without looking.
        anyway: Approve also against a verdict of ``regressed``.

    Raises:
        UsageError: No reason was given.
        NotFoundError: There is no such version.
        CheckFailedError: The worst cells were not opened, there is no comparison to look at, or the verdict is ``regressed``.
    """
    reason = _reason(why)
    actor = activity.current_actor()
    with project.read() as session:
        asset, version = find_version(session, address)
        name = version_address(asset.name, version.number)
        found = deciding_comparison(session, asset, version)
        evidence = evidence_of(session, asset, found)
    if found is None and review == "required":
        raise CheckFailedError(
            f"No comparison of {name} is finished, so nobody has seen what it can do.",
            hint=f"`assetforge compare {name} --wait` compares it with the approved version, a first one with the bare base; --unseen decides without looking.",
        )
    evidence |= looked(project, name, found, review) if found is not None else {"unseen": UNSEEN}
    if evidence.get("outcome") == "regressed":
        if not anyway:
            raise CheckFailedError(
                f"The verdict speaks against {name}: {evidence['headline']}.",
                hint="Reject it, or add --anyway to approve it against the verdict; that is kept with the approval.",
            )
        evidence["anyway"] = "approved against the verdict"
    with project.write() as session:
        decided = make_approved(session, name, actor=actor, why=reason, evidence=evidence)
    announce(project, decided)
    return decided


def make_approved(session: Session, address: str, *, actor: str, why: str, evidence: Mapping[str, Any]) -> Review:
    """Move the alias ``approved`` and the stage of a version; nothing is asked. Call :func:`announce` when it is committed.

    Args:
        session: A write session.
        address: Which version.
        actor: Who decided.
        why: The reason.
        evidence: What was known.

    Raises:
        NotFoundError: There is no such version.
    """
    asset, version = find_version(session, address)
    name = version_address(asset.name, version.number)
    previous = _move(session, asset, version, APPROVED, actor, why, evidence)
    version.stage = APPROVED
    session.add(version)
    activity.record(session, actor, "approved", name, why=why, previous=previous)
    return Review(version=name, stage=APPROVED, previous=previous, why=why, actor=actor, evidence=evidence)


def announce(project: Project, review: Review) -> None:
    """Tell the plugins of a review that is committed."""
    now = datetime.now(UTC)
    activity.publish(
        project,
        VersionReviewed(
            project=project.root,
            at=now,
            actor=review.actor,
            version=review.version,
            stage=review.stage,
            why=review.why,
        ),
    )
    if review.stage == APPROVED:
        alias = f"{review.version.partition('/')[0]}@{APPROVED}"
        activity.publish(
            project,
            AliasMoved(
                project=project.root,
                at=now,
                actor=review.actor,
                alias=alias,
                version=review.version,
                previous=review.previous,
            ),
        )


def reject(project: Project, address: str, *, why: str, review: Looking = "required") -> Review:
    """Say no to a version. One that was never compared, since it cannot be rendered or is plainly wrong, can be rejected as it is.

    Args:
        project: The film.
        address: Which version.
        why: The reason.
        review: See :func:`approve`.

    Raises:
        UsageError: No reason was given, or it is the approved version: approve the one that takes its place first.
        NotFoundError: There is no such version.
        CheckFailedError: It was compared, and the worst cells were not opened.
    """
    reason = _reason(why)
    actor = activity.current_actor()
    with project.read() as session:
        asset, version = find_version(session, address)
        name = version_address(asset.name, version.number)
        found = deciding_comparison(session, asset, version)
        evidence = evidence_of(session, asset, found)
        _check_not_current(session, asset, version)
    if found is not None:
        evidence |= looked(project, name, found, review)
    with project.write() as session:
        asset, version = find_version(session, name)
        _check_not_current(session, asset, version)
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
    decided = Review(version=name, stage=REJECTED, previous="", why=reason, actor=actor, evidence=evidence)
    announce(project, decided)
    return decided


def _check_not_current(session: Session, asset: Asset, version: Version) -> None:
    current = session.exec(select(Alias).where(Alias.asset_id == asset.id, Alias.name == APPROVED)).first()
    if current is not None and current.version_id == version.id:
        raise UsageError(
            f"{version_address(asset.name, version.number)} is the approved version of {asset.name}.",
            hint="Approve the version that takes its place first, then reject this one.",
        )


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
        raise UsageError(
            "'latest' always names the newest version that is not retired and cannot be moved.",
            hint="Choose another name.",
        )
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
        evidence = evidence_of(session, asset, deciding_comparison(session, asset, version))
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


def _reason(why: str) -> str:
    reason = why.strip()
    if not reason:
        raise UsageError(
            "A review needs a reason.", hint='Give it with --why "...": it is what people will ask for in a year.'
        )
    return reason
