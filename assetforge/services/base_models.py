"""Base models: found by name, path or hub id, known by digest."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlmodel import Session, select

from assetforge.api.job import BaseRef
from assetforge.db.models import BaseModelRecord
from assetforge.errors import NotFoundError, PluginError, StorageError, UsageError
from assetforge.extension.registry import Registered, get_registry, load
from assetforge.services.base_entries import RegisteredBase, entry_paths, read_entries
from assetforge.services.base_inspection import inspect_base
from assetforge.store.model_digest import HashProgress, model_digest
from assetforge.store.model_places import ModelPlace, find_place, is_place

__all__ = [
    "BaseModel",
    "base_of_entry",
    "base_ref",
    "find_base",
    "locate_base",
    "model_digest",
    "record_base",
    "recorded_base",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseModel:
    """A base model on this machine.

    Attributes:
        name: Registered name, the folder's name, or the hub id.
        family: Model family.
        path: Folder in diffusers layout, or a single safetensors file.
        digest: SHA-256 over its files, see :func:`assetforge.store.model_digest.model_digest`.
        resolution: Native resolution in pixels.
        licence: Licence of the weights.
        config: For a single file, the folder in diffusers layout that completes it.
        registered: A plugin or the user gave it its name and said what it is.
    """

    name: str
    family: str
    path: Path
    digest: str
    resolution: int
    licence: str = ""
    config: Path | None = None
    registered: bool = False


def find_base(name: str, *, progress: HashProgress | None = None) -> BaseModel:
    """A base model by what people call it.

    Args:
        name: A name that the user or a plugin registered; the path of a diffusers folder or of a registered single file; or a hub id,
            ``org/name`` or ``org/name@revision``, that lies in the local cache.
        progress: Hears about files that have to be hashed first.

    Raises:
        NotFoundError: There is no such model here.
        UsageError: It is not a model that can be trained on, or no longer what was registered.
    """
    entries = read_entries()
    if name in entries:
        return _open(name, entries[name], progress)
    if is_place(name):
        return _find_in_place(find_place(name), entries, progress)
    spec = _registered_by_plugin(name, entries).spec
    path = locate_base(name)
    return BaseModel(
        name=spec.name,
        family=spec.family,
        path=path,
        digest=model_digest(path, progress=progress),
        resolution=spec.resolution,
        licence=spec.licence,
        registered=True,
    )


def locate_base(name: str) -> Path:
    """Where a registered base model lies on this machine.

    Raises:
        NotFoundError: It is not registered, or its files are not here.
        PluginError: The plugin that registered it cannot find it.
    """
    entries = read_entries()
    if name in entries:
        return entry_paths(entries[name])[0]
    registered = _registered_by_plugin(name, entries)
    locate: Callable[[], Path] = load(registered.spec.locate)
    try:
        path = Path(locate())
    except Exception as error:
        raise PluginError(
            f"The plugin {registered.plugin} could not find its base model {name!r}: {error}",
            hint="`assetforge doctor` checks the plugins.",
        ) from error
    if not path.exists():
        raise NotFoundError(
            f"The base model {name!r} should lie in {path}, and there is nothing.",
            hint=f"Reinstall {registered.plugin}.",
        )
    return path


def base_of_entry(name: str, entry: RegisteredBase, path: Path, config: Path | None) -> BaseModel:
    """A model that the user registered, at the place where it lies."""
    return BaseModel(
        name=name,
        family=entry.family,
        path=path,
        digest=entry.digest,
        resolution=entry.resolution,
        licence=entry.licence,
        config=config,
        registered=True,
    )


def base_ref(base: BaseModel) -> BaseRef:
    """The base model as a job names it."""
    return BaseRef(
        name=base.name,
        family=base.family,
        digest=base.digest,
        path=str(base.path),
        resolution=base.resolution,
        config=str(base.config) if base.config else "",
    )


def record_base(session: Session, base: BaseModel) -> int:
    """The row id of a base model, added when it is new to the film.

    What a registration says about known files replaces what was recorded; what a bare path or hub id says does not.
    """
    row = session.exec(select(BaseModelRecord).where(BaseModelRecord.digest == base.digest)).first()
    if row is None or base.registered:
        row = row or BaseModelRecord(name="", family="", digest=base.digest, path="", resolution=0)
        row.name, row.family, row.resolution = base.name, base.family, base.resolution
        row.licence = base.licence or row.licence
    row.path, row.config = str(base.path), str(base.config) if base.config else ""
    session.add(row)
    session.flush()
    if row.id is None:
        raise StorageError("The database gave a base model no id.")
    return row.id


def recorded_base(row: BaseModelRecord) -> BaseModel:
    """The base model of a row: where it was last used, or where the user has registered the same files since.

    Nothing is hashed; the job that uses it compares the digest.
    """
    base = BaseModel(
        name=row.name,
        family=row.family,
        path=Path(row.path),
        digest=row.digest,
        resolution=row.resolution,
        licence=row.licence,
        config=Path(row.config) if row.config else None,
    )
    if base.path.exists() and (base.config is None or base.config.exists()):
        return base
    for entry in read_entries().values():
        if entry.digest == base.digest:
            try:
                path, config = entry_paths(entry)
            except NotFoundError:
                continue
            return replace(base, path=path, config=config)
    return base


def _open(name: str, entry: RegisteredBase, progress: HashProgress | None) -> BaseModel:
    path, config = entry_paths(entry)
    if model_digest(path, config, progress=progress) != entry.digest:
        with_config = f" --config {entry.config}" if entry.config else ""
        raise UsageError(
            f"The files of the base model {name!r} in {path} are not those that were registered (digest {entry.digest[:12]}).",
            hint=f"Put them back, or accept what is there: assetforge base add {name} {entry.source}{with_config} --replace",
        )
    return base_of_entry(name, entry, path, config)


def _find_in_place(
    place: ModelPlace, entries: Mapping[str, RegisteredBase], progress: HashProgress | None
) -> BaseModel:
    """The model in a place; what the user said about the same files counts more than what can be found out."""
    here = [name for name, entry in entries.items() if entry.source == place.source]
    if len({entries[name].digest for name in here}) > 1:
        raise UsageError(f"{place.name} is registered as {' and as '.join(here)}.", hint="Name one of these.")
    if here:
        return _open(here[0], entries[here[0]], progress)
    found = inspect_base(place.path)
    digest = model_digest(place.path, progress=progress)
    for name, entry in entries.items():
        if entry.digest == digest:
            return base_of_entry(name, entry, place.path, None)
    return BaseModel(
        name=place.name,
        family=found.family,
        path=place.path,
        digest=digest,
        resolution=found.resolution,
        licence=found.licence,
    )


def _registered_by_plugin(name: str, entries: Mapping[str, RegisteredBase]) -> Registered[Any]:
    try:
        return get_registry().base_model(name)
    except NotFoundError as error:
        close = difflib.get_close_matches(name, entries, n=3)
        hint = f"Did you mean {', '.join(close)}?" if close else error.hint
        raise NotFoundError(
            error.message, hint=f"{hint} A folder or a hub id can be named too; `assetforge base add` gives one a name."
        ) from error
