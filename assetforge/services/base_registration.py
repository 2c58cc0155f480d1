"""Giving base models names: for all films of this user, with what cannot be read from their files."""

import difflib
from dataclasses import dataclass

from assetforge.domain.model_family import FAMILIES
from assetforge.domain.names import check_name
from assetforge.errors import AssetForgeError, NotFoundError, UsageError
from assetforge.extension.registry import get_registry
from assetforge.services.base_entries import RegisteredBase, drop_entry, entry_paths, put_entry, read_entries
from assetforge.services.base_inspection import inspect_base
from assetforge.services.base_models import BaseModel, base_of_entry, locate_base
from assetforge.store.model_digest import HashProgress, model_digest
from assetforge.store.model_places import find_place

__all__ = ["KnownBase", "known_bases", "register_base", "unregister_base"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownBase:
    """A registered base model as it is listed: nothing of it was opened or hashed.

    Attributes:
        name: Registered name.
        family: Model family.
        resolution: Native resolution in pixels.
        licence: Licence of the weights; empty when nobody said.
        source: Path or hub id; empty for a plugin's that is not there.
        config: Path or hub id of the folder that completes a single file.
        registered_by: ``you``, or the distribution of a plugin.
        digest: What it hashed to when it was registered; empty for a plugin's.
        problem: Why it cannot be used now; empty when its files are there.
    """

    name: str
    family: str
    resolution: int
    licence: str = ""
    source: str = ""
    config: str = ""
    registered_by: str
    digest: str = ""
    problem: str = ""


def register_base(
    name: str,
    source: str,
    *,
    config: str = "",
    family: str = "",
    licence: str = "",
    resolution: int | None = None,
    replaces: bool = False,
    progress: HashProgress | None = None,
) -> BaseModel:
    """Give a base model on this machine a name. Its files stay where they are.

    Args:
        name: What it shall be called; the same files may be registered again to correct what is said about them.
        source: Path of a diffusers folder or of a single safetensors file, or a hub id in the local cache, which is pinned to its commit.
        config: For a single file: path or hub id of the diffusers folder that completes it.
        family: Model family; by default found out.
        licence: Licence of the weights; by default what was said before, or what the model card says.
        resolution: Native resolution in pixels; by default found out.
        replaces: The name may have meant other files before.
        progress: Hears about files that have to be hashed.

    Raises:
        NotFoundError: There are no such files here.
        UsageError: The name is taken or cannot be used, or the files are no model that can be trained on.
        StorageError: The registration cannot be written.
    """
    _check_words(name, family, resolution)
    place = find_place(source)
    completed = find_place(config) if config else None
    folder = completed.path if completed else None
    found = inspect_base(place.path, config=folder, family=family, resolution=resolution)
    digest = model_digest(place.path, folder, progress=progress)
    before = read_entries().get(name)
    if before is not None and before.digest != digest and not replaces:
        raise UsageError(
            f"The base model {name!r} is registered already, with other files ({before.source}).",
            hint="Choose another name, or let it mean these from now on with --replace.",
        )
    kept = before.licence if before is not None and before.digest == digest else ""
    entry = RegisteredBase(
        source=place.source,
        config=completed.source if completed else "",
        family=found.family,
        digest=digest,
        resolution=found.resolution,
        licence=licence or kept or found.licence,
    )
    put_entry(name, entry)
    return base_of_entry(name, entry, place.path, folder)


def unregister_base(name: str) -> None:
    """Forget the name of a base model. Its files, and what films recorded about it, stay.

    Raises:
        NotFoundError: The user registered none of that name.
        StorageError: The registration cannot be written.
    """
    owner = _plugin_of(name)
    if owner and name not in read_entries():
        raise NotFoundError(
            f"The base model {name!r} was not registered by you; it comes with {owner}.",
            hint="Disable or uninstall the plugin to be rid of it.",
        )
    drop_entry(name)


def known_bases(family: str = "") -> list[KnownBase]:
    """The registered models of a family, or all: the user's by name, then those of plugins."""
    entries = read_entries()
    listed = [_of_user(name, entry) for name, entry in sorted(entries.items())]
    listed += [_of_plugin(entry.spec.name) for entry in get_registry().base_models() if entry.spec.name not in entries]
    return [known for known in listed if not family or known.family == family]


def _of_user(name: str, entry: RegisteredBase) -> KnownBase:
    problem = ""
    try:
        entry_paths(entry)
    except AssetForgeError as error:
        problem = error.message
    return KnownBase(name=name, registered_by="you", problem=problem, **entry.model_dump())


def _of_plugin(name: str) -> KnownBase:
    registered = get_registry().base_model(name)
    source, problem = "", ""
    try:
        source = str(locate_base(name))
    except AssetForgeError as error:
        problem = error.message
    return KnownBase(
        name=name,
        family=registered.spec.family,
        resolution=registered.spec.resolution,
        licence=registered.spec.licence,
        source=source,
        registered_by=registered.plugin,
        problem=problem,
    )


def _check_words(name: str, family: str, resolution: int | None) -> None:
    check_name(name, what="base model")
    owner = _plugin_of(name)
    if owner:
        raise UsageError(f"The name {name!r} is taken by a base model of {owner}.", hint="Choose another one.")
    known = _families()
    if family and family not in known:
        close = difflib.get_close_matches(family, known, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"Known are: {', '.join(known)}."
        raise UsageError(f"There is no model family {family!r}.", hint=hint)
    if resolution is not None and resolution < 1:
        raise UsageError(f"A picture cannot have {resolution} pixels a side.", hint="Correct --resolution.")


def _plugin_of(name: str) -> str:
    return next((entry.plugin for entry in get_registry().base_models() if entry.spec.name == name), "")


def _families() -> list[str]:
    """Families that can be named: those that are recognised, and those that plugins train or render."""
    registry = get_registry()
    given = [family for entry in registry.trainers() for family in entry.spec.families]
    given += [family for entry in registry.renderers() for family in entry.spec.families]
    return list(dict.fromkeys([*FAMILIES, *given]))
