"""Regression suites: those of plugins, and the film's own from TOML files."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlmodel import Session, col, select

from assetforge.api.job import Cell, Companion
from assetforge.api.specs import BaseModelSpec
from assetforge.db.columns import utc_now
from assetforge.db.models_jobs import Suite
from assetforge.domain.suite import SuiteDefinition, expand
from assetforge.errors import NotFoundError, PluginError, UsageError
from assetforge.extension.registry import get_registry
from assetforge.services import activity
from assetforge.services.assets import AssetInfo
from assetforge.services.own_prompts import own_prompts
from assetforge.services.project_config import RegressionConfig
from assetforge.services.projects import Project
from assetforge.services.versions import row_id

__all__ = [
    "FILM",
    "SuiteInfo",
    "add_suite",
    "choose_suite",
    "default_suite",
    "get_suite",
    "list_suites",
    "second_look_fits",
    "store_suite",
    "stored_suite",
    "suite_cells",
]

FILM = "film"
"""Source of suites that were added from a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteInfo:
    """A suite that can be rendered.

    Attributes:
        definition: What is rendered.
        source: ``film``, or the plugin's distribution.
        digest: Identity of what is rendered.
        cells: How many pictures one version needs.
        controls: How many pictures the bare base needs.
        quick: How many pictures one version needs in the quick size; 0 when there is none.
        reserve: How many more when a verdict is left open.
    """

    definition: SuiteDefinition
    source: str
    digest: str
    cells: int
    controls: int
    quick: int
    reserve: int

    @property
    def name(self) -> str:
        """Its name."""
        return self.definition.name


def list_suites(project: Project) -> list[SuiteInfo]:
    """The film's own suites, then those of plugins that have no own suite of their name in the way.

    Raises:
        PluginError: A plugin registered a suite that breaks the rules.
    """
    own = _own_suites(project)
    return [
        *own.values(),
        *(_of_plugin(entry.spec.name) for entry in get_registry().suites() if entry.spec.name not in own),
    ]


def get_suite(project: Project, name: str) -> SuiteInfo:
    """The suite of that name; the film's own goes before a plugin's.

    Raises:
        NotFoundError: There is none.
        PluginError: A plugin registered it, and it breaks the rules.
    """
    own = _own_suites(project)
    if name in own:
        return own[name]
    return _of_plugin(name)


def default_suite(project: Project, asset: AssetInfo, family: str = "", base: str = "") -> SuiteInfo:
    """The suite of an asset: its own choice, else the first that fits its type and the model family (any, when none is named).

    The film's suites go before those of plugins; among these, the ones of the plugin that brings the base model know best what it can draw.

    Args:
        project: The film.
        asset: The asset.
        family: Model family of what is rendered.
        base: Name of the base model of what is rendered; empty when it is not known.

    Raises:
        NotFoundError: None fits.
        UsageError: The asset's own choice is for another family.
    """
    if asset.suite:
        chosen = get_suite(project, asset.suite)
        _check_family(chosen, family, asset.name)
        return chosen
    fitting = [
        suite
        for suite in list_suites(project)
        if family in ("", suite.definition.family) and asset.type in suite.definition.asset_types
    ]
    if not fitting:
        raise NotFoundError(
            f"No suite fits {asset.name}, a {asset.type}{f' on {family}' if family else ''}.",
            hint="`assetforge suite list` shows all; name one with --suite, or add one with `assetforge suite add FILE`.",
        )
    brought = next((entry.plugin for entry in get_registry().every(BaseModelSpec) if entry.spec.name == base), "")
    return min(fitting, key=lambda suite: suite.source not in (FILM, brought))


def choose_suite(
    project: Project, asset: AssetInfo, family: str, name: str = "", *, base: str = "", quick: bool = False
) -> SuiteInfo:
    """The named suite, or the asset's default; whole and with the asset's own prompts, or in its quick size.

    Args:
        project: The film.
        asset: The asset.
        family: Model family of what is rendered.
        name: Name of the suite; empty takes the default.
        base: Name of the base model, for the default.
        quick: Its quick size.

    Raises:
        NotFoundError: There is no such suite, or none fits.
        UsageError: It is for another model family, or has no quick size, or the asset's own prompts cannot be used.
    """
    chosen = get_suite(project, name) if name else default_suite(project, asset, family, base)
    _check_family(chosen, family, asset.name)
    if not quick:
        own = own_prompts(asset.name, asset.settings)
        # Never kept as a suite of the film: there it would be the current one of its name, for all assets.
        return (
            _info(chosen.definition.with_own(own), f"own prompts of {asset.name}, {chosen.source}") if own else chosen
        )
    try:
        return _info(chosen.definition.quick(), f"quick size, {chosen.source}")
    except ValueError as error:
        raise UsageError(
            f"The suite {chosen.name} has no quick size.",
            hint="Render all of it, or say `quick = 6` in its core blocks.",
        ) from error


def stored_suite(session: Session, suite_id: int) -> SuiteInfo:
    """A suite as it was when something was rendered by it."""
    words = dict(session.get_one(Suite, suite_id).definition)
    source = words.pop("source", "")
    return _info(SuiteDefinition.model_validate(words), source)


def suite_cells(
    suite: SuiteDefinition,
    asset: AssetInfo,
    *,
    beside: Mapping[str, Sequence[Companion]] | None = None,
    extension: bool = False,
) -> tuple[Cell, ...]:
    """The cells of a suite for one asset, or those of its reserve; when the asset names no class word, its type's stands in."""
    return expand(
        suite,
        trigger=asset.trigger,
        class_word=asset.class_word or get_registry().asset_type(asset.type).spec.class_word,
        beside=beside,
        extension=extension,
    )


def second_look_fits(rules: RegressionConfig, cells: int, reserve: int) -> bool:
    """Whether the film's budget allows a reserve of prompts beside so many pictures of a version."""
    return rules.extend and reserve > 0 and cells + reserve <= rules.max_renders


def add_suite(project: Project, file: Path) -> tuple[SuiteInfo, bool]:
    """Take in a suite from a TOML file, as it is now; later changes of the file do nothing until it is added again.

    Returns:
        The suite, and whether it is new or changed.

    Raises:
        NotFoundError: There is no such file.
        UsageError: It is not TOML, or not a suite; says where and why.
    """
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no file {file}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{file} cannot be read as TOML: {error}.") from error
    try:
        definition = SuiteDefinition.model_validate(raw)
    except ValidationError as error:
        raise UsageError(
            f"{file} is not a suite: {_first_fault(error)}", hint="docs/regression.md shows a complete one."
        ) from error
    with project.write() as session:
        before = session.exec(
            select(Suite)
            .where(Suite.name == definition.name)
            .order_by(col(Suite.created_at).desc(), col(Suite.id).desc())
        ).first()
        changed = before is None or before.definition != _stored(definition, FILM)
        store_suite(session, _info(definition, FILM), renew=changed)
        if changed:
            activity.record(
                session,
                activity.current_actor(),
                "added",
                f"suite {definition.name}",
                digest=definition.digest,
                cells=definition.cell_count,
            )
    return _info(definition, FILM), changed


def store_suite(session: Session, suite: SuiteInfo, *, renew: bool = False) -> int:
    """The row id of a suite, added when it is new to the film. Titles and asset types of a known digest follow the newest words.

    Args:
        session: A write session.
        suite: The suite.
        renew: Make it the current one of its name, also when it was there before and another one came since.
    """
    row = session.exec(select(Suite).where(Suite.name == suite.name, Suite.digest == suite.digest)).first()
    if row is None:
        row = Suite(name=suite.name, digest=suite.digest)
    elif renew:
        row.created_at = utc_now()
    row.definition = _stored(suite.definition, suite.source)
    session.add(row)
    session.flush()
    return row_id(row.id)


def _stored(definition: SuiteDefinition, source: str) -> dict[str, Any]:
    return {"source": source, **definition.model_dump(mode="json")}


def _own_suites(project: Project) -> dict[str, SuiteInfo]:
    with project.read() as session:
        rows = session.exec(select(Suite).order_by(col(Suite.name), col(Suite.created_at), col(Suite.id))).all()
    own: dict[str, SuiteInfo] = {}
    for row in rows:
        words = dict(row.definition)
        if words.pop("source", "") == FILM:
            own[row.name] = _info(SuiteDefinition.model_validate(words), FILM)
    return own


def _of_plugin(name: str) -> SuiteInfo:
    entry = get_registry().suite(name)
    try:
        return _info(SuiteDefinition.from_spec(entry.spec), entry.plugin)
    except ValidationError as error:
        raise PluginError(
            f"The suite {name!r} of {entry.plugin} {entry.plugin_version} cannot be used: {_first_fault(error)}",
            hint="Report it to the plugin's author.",
        ) from error


def _info(definition: SuiteDefinition, source: str) -> SuiteInfo:
    # Which prompts are equal does not depend on the words that fill them.
    controls = {
        (prompt, block.negative, seed, block.beside, block.beside_strength if block.beside else 0.0)
        for block in definition.blocks
        for prompt in block.prompts
        for seed in block.seeds
    }
    return SuiteInfo(
        definition=definition,
        source=source,
        digest=definition.digest,
        cells=definition.cell_count,
        controls=len(controls),
        quick=definition.quick().cell_count if any(block.quick for block in definition.blocks) else 0,
        reserve=definition.reserve_count,
    )


def _check_family(suite: SuiteInfo, family: str, asset: str) -> None:
    if family not in ("", suite.definition.family):
        raise UsageError(
            f"The suite {suite.name} is for {suite.definition.family} models, and this version of {asset} is for {family}.",
            hint="Name another one with --suite; `assetforge suite list` shows the families.",
        )


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    where = ".".join(str(part) for part in fault["loc"])
    return f"{where + ': ' if where else ''}{fault['msg'].removeprefix('Value error, ')}."
