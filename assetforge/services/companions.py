"""What an asset is worn beside while it is judged: other assets of the film, each by the version that its name means now.

Found once for a plan and written into it, so that a version and its baseline wear the very same files. A block that finds nobody is left out, and the plan says why:
a film begins with one asset, and its suite should not have to wait for the second.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlmodel import Session, col, select

from assetforge.api.job import Companion
from assetforge.db.models import Alias, Asset, Version
from assetforge.domain.names import version_address
from assetforge.domain.suite import BlockDefinition, SuiteDefinition, cast_types
from assetforge.errors import NotFoundError, UsageError
from assetforge.services.assets import AssetInfo
from assetforge.services.projects import Project
from assetforge.services.reviews import APPROVED
from assetforge.services.versions import find_version

__all__ = ["MOST_COMPANIONS", "Company", "find_company"]

MOST_COMPANIONS = 4
"""How many assets of the cast stand beside an asset in one block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """What is worn beside an asset in the blocks of a suite.

    Attributes:
        worn: By block: the companions, which take turns over its prompts.
        left_out: By block that found nobody: why.
    """

    worn: Mapping[str, tuple[Companion, ...]] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)


def find_company(project: Project, suite: SuiteDefinition, asset: AssetInfo) -> Company:
    """Find what is worn beside an asset in the blocks of a suite that ask for it."""
    worn: dict[str, tuple[Companion, ...]] = {}
    left_out: dict[str, str] = {}
    with project.read() as session:
        for block in suite.blocks:
            if not block.beside:
                continue
            try:
                worn[block.name] = _companions(session, block, suite.family, asset)
            except (NotFoundError, UsageError) as error:
                left_out[block.name] = str(error)
    return Company(worn=worn, left_out=left_out)


def _companions(session: Session, block: BlockDefinition, family: str, asset: AssetInfo) -> tuple[Companion, ...]:
    types = cast_types(block.beside)
    rows = [_named(session, block.beside, family, asset)] if types is None else _cast(session, types, family, asset)
    return tuple(
        Companion(
            name=version_address(other.name, version.number),
            sha256=version.weights,
            strength=block.beside_strength,
            trigger=other.trigger,
            class_word=other.class_word or other.type,
        )
        for other, version in rows
    )


def _named(session: Session, address: str, family: str, asset: AssetInfo) -> tuple[Asset, Version]:
    other, version = find_version(session, address)
    if other.id == asset.id:
        raise UsageError(f"{address} is {asset.name} itself.")
    if version.family != family:
        raise UsageError(f"{address} is for {version.family} models, and the suite is for {family}.")
    return other, version


def _cast(session: Session, types: tuple[str, ...], family: str, asset: AssetInfo) -> list[tuple[Asset, Version]]:
    """The approved versions of other assets, in the order of the types that were named, else those of the asset's own type first."""
    approved = (
        select(Asset, Version)
        .join(Alias, col(Alias.asset_id) == Asset.id)
        .join(Version, col(Version.id) == Alias.version_id)
        .where(Alias.name == APPROVED, Asset.id != asset.id, Version.family == family, col(Asset.archived_at).is_(None))
        .order_by(col(Asset.name))
    )
    rows = [(other, version) for other, version in session.exec(approved).all() if not types or other.type in types]
    if not rows:
        of_types = f" of the types {', '.join(types)}" if types else ""
        raise NotFoundError(f"No other asset{of_types} has an approved version for {family} models.")
    preferred = types or (asset.type,)
    rows.sort(key=lambda row: preferred.index(row[0].type) if row[0].type in preferred else len(preferred))
    return rows[:MOST_COMPANIONS]
