"""Characters, props and styles: add, find, change."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, select

from assetforge.db.columns import utc_now
from assetforge.db.models import Asset
from assetforge.domain.names import check_name
from assetforge.durable import storage_error
from assetforge.errors import NotFoundError, PluginError, UsageError
from assetforge.extension.registry import get_registry
from assetforge.services.activity import current_actor, record
from assetforge.services.metric_choices import check_primary, chosen_primary
from assetforge.services.projects import Project

__all__ = ["AssetInfo", "add_asset", "find_asset", "get_asset", "list_assets", "set_asset"]

_FORBIDDEN_IN_WORDS = set(',{}()[]:<>"\n\r\t')
"""Characters that captions, prompt templates and other tools' prompt syntax give a meaning to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetInfo:
    """An asset as services and interfaces see it.

    Attributes:
        id: Row id.
        name: Name.
        type: Asset type, such as ``character``.
        trigger: Word that calls the LoRA.
        class_word: What it is, in captions and prompts.
        description: For people.
        recipe: Recipe it is trained by; empty follows the project and the asset type.
        suite: Suite it is rendered through; empty follows the asset type.
        settings: Further values.
        references: Its inbox folder.
        created_at: When it was added, in UTC.
        archived: It is no longer worked on.
    """

    id: int
    name: str
    type: str
    trigger: str
    class_word: str
    description: str
    recipe: str
    suite: str
    settings: Mapping[str, Any]
    references: Path
    created_at: datetime
    archived: bool


def add_asset(
    project: Project,
    name: str,
    type: str,
    *,
    trigger: str = "",
    class_word: str = "",
    description: str = "",
    recipe: str = "",
    suite: str = "",
    settings: Mapping[str, Any] | None = None,
) -> AssetInfo:
    """Add an asset to the film and make its inbox folder.

    Args:
        project: The film.
        name: ``[a-z0-9][a-z0-9-]*``, unique in the film.
        type: A registered asset type, such as ``character``.
        trigger: Word that calls the LoRA; by default the name without hyphens.
        class_word: What it is, such as ``woman``; by default the word of the type.
        description: For people.
        recipe: Recipe it is trained by; empty follows the project and the type.
        suite: Suite it is rendered through; empty follows the type.
        settings: Further values that JSON can hold.

    Raises:
        UsageError: The name is taken or cannot be used, or a word cannot stand in a prompt.
        NotFoundError: There is no such asset type.
        StorageError: The inbox folder cannot be made.
    """
    check_name(name, what="asset")
    spec = get_registry().asset_type(type).spec
    asset = Asset(
        name=name,
        type=spec.name,
        trigger=_check_word(trigger, "trigger") or name.replace("-", ""),
        class_word=_check_word(class_word, "class word") or spec.class_word,
        description=description,
        recipe=recipe,
        suite=suite,
        settings=dict(settings or {}),
    )
    try:
        with project.write() as session:
            session.add(asset)
            session.flush()
            record(session, current_actor(), "added", name, type=spec.name)
    except IntegrityError as error:
        raise UsageError(
            f"There is an asset named {name!r} in {project.name} already.",
            hint=f"`assetforge asset show {name}` shows it; choose another name.",
        ) from error
    info = _info(project, asset)
    try:
        info.references.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, info.references, "made") from error
    return info


def get_asset(project: Project, name: str) -> AssetInfo:
    """The asset of that name, archived or not.

    Raises:
        NotFoundError: There is none; the message proposes close names.
    """
    with project.read() as session:
        return _info(project, find_asset(session, name))


def find_asset(session: Session, name: str) -> Asset:
    """The row of the asset of that name, for services that already hold a session.

    Raises:
        NotFoundError: There is none; the message proposes close names.
    """
    asset = session.exec(select(Asset).where(Asset.name == name)).first()
    if asset is None:
        names = session.exec(select(Asset.name).order_by(Asset.name)).all()
        close = difflib.get_close_matches(name, names, n=1)
        hint = (
            f"Did you mean {close[0]!r}?"
            if close
            else "Add it with `assetforge asset add`."
            if not names
            else f"There are: {', '.join(names[:8])}."
        )
        raise NotFoundError(f"There is no asset named {name!r}.", hint=hint)
    return asset


def list_assets(project: Project, *, type: str = "", archived: bool = False) -> list[AssetInfo]:
    """The assets of the film, by type and name.

    Args:
        project: The film.
        type: Only assets of this type.
        archived: Also those no longer worked on.
    """
    query = select(Asset).order_by(Asset.type, Asset.name)
    if type:
        query = query.where(Asset.type == type)
    if not archived:
        query = query.where(Asset.archived_at == None)  # noqa: E711 - SQL
    with project.read() as session:
        return [_info(project, asset) for asset in session.exec(query)]


def set_asset(
    project: Project,
    name: str,
    *,
    trigger: str | None = None,
    class_word: str | None = None,
    description: str | None = None,
    recipe: str | None = None,
    suite: str | None = None,
    settings: Mapping[str, Any] | None = None,
    archived: bool | None = None,
) -> AssetInfo:
    """Change an asset; what is ``None`` stays.

    Args:
        project: The film.
        name: The asset; its name and type never change, since files and lineage carry them.
        trigger: New trigger word. Datasets that are frozen already keep the old one.
        class_word: New class word.
        description: New description.
        recipe: New recipe; empty follows the project and the type again.
        suite: New suite; empty follows the type again.
        settings: Values to merge; a ``None`` value removes its key.
        archived: Put it aside, or take it back.

    Raises:
        NotFoundError: There is no such asset, or no such metric.
        UsageError: A word cannot stand in a prompt, the setting ``primary`` names a metric that cannot decide, or nothing was given to change.
    """
    changes: dict[str, Any] = {
        key: value
        for key, value in {
            "trigger": None if trigger is None else _check_word(trigger, "trigger"),
            "class_word": None if class_word is None else _check_word(class_word, "class word"),
            "description": description,
            "recipe": recipe,
            "suite": suite,
        }.items()
        if value is not None
    }
    if not changes and settings is None and archived is None:
        raise UsageError(
            f"Nothing was given to change on {name!r}.", hint="`assetforge asset set --help` lists what can be changed."
        )
    if changes.get("trigger") == "":
        raise UsageError(
            "The trigger word cannot be empty.", hint="Choose a short word that the base model does not know."
        )
    with project.write() as session:
        asset = find_asset(session, name)
        for key, value in changes.items():
            setattr(asset, key, value)
        if settings is not None:
            primary = chosen_primary(name, settings)
            if primary:
                check_primary(primary, name, asset.type)
            asset.settings = {key: value for key, value in {**asset.settings, **settings}.items() if value is not None}
        if archived is not None:
            asset.archived_at = utc_now() if archived else None
        session.add(asset)
        noted = {
            **changes,
            **({"settings": dict(settings)} if settings is not None else {}),
            **({"archived": archived} if archived is not None else {}),
        }
        record(session, current_actor(), "changed", name, **noted)
        session.flush()
        return _info(project, asset)


def _check_word(word: str, what: str) -> str:
    word = word.strip()
    if not word.isprintable() or _FORBIDDEN_IN_WORDS & set(word):
        raise UsageError(
            f"{word!r} cannot be a {what}.",
            hint="It stands in captions and prompts: use letters, digits, spaces and hyphens, without brackets, commas or colons.",
        )
    return word


def _info(project: Project, asset: Asset) -> AssetInfo:
    if asset.id is None:
        raise ValueError("an asset has its id only once it is flushed")
    return AssetInfo(
        id=asset.id,
        name=asset.name,
        type=asset.type,
        trigger=asset.trigger,
        class_word=asset.class_word,
        description=asset.description,
        recipe=asset.recipe,
        suite=asset.suite,
        settings=dict(asset.settings),
        references=project.paths.references(_folder_of(asset.type), asset.name),
        created_at=asset.created_at,
        archived=asset.archived_at is not None,
    )


def _folder_of(type_name: str) -> str:
    """The folder of an asset type; a film is readable without the plugin that brought the type."""
    try:
        return get_registry().asset_type(type_name).spec.folder
    except (NotFoundError, PluginError):
        return f"{type_name}s"
