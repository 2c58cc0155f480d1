"""Plugins that travel inside a film (its ``plugins/`` folder): off by default, since opening somebody's film must not execute code.

A plugin is a file ``plugins/NAME.py`` or a folder ``plugins/NAME/`` with ``__init__.py``. It runs after the user trusted exactly its contents at exactly
its path; any change asks again. Every source file is compared with the trusted contents in the moment it is compiled, compiled files that lie beside
it are never read, and links are never followed. Such a plugin may register everything but trainers, renderers and metrics: those run in jobs, on
machines where the film's folder is not.
"""

import hashlib
import importlib
import importlib.util
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from assetforge.errors import NotFoundError, PluginError
from assetforge.extension.decisions import change_decisions, read_decisions
from assetforge.extension.discovery import Candidate, selected_names
from assetforge.extension.manager import LoadedPlugin
from assetforge.extension.registry import Registry
from assetforge.paths import ProjectPaths

__all__ = ["add_film_plugins", "find_film_plugins", "trust_film_plugin"]

_ADDING = threading.RLock()


def find_film_plugins(root: Path) -> list[Candidate]:
    """The plugins inside a film, by name. Reads and hashes their files; runs nothing.

    Args:
        root: Folder of the film.
    """
    folder = ProjectPaths(root.resolve()).plugins
    if not folder.is_dir():
        return []
    return [_candidate(path) for path in sorted(folder.iterdir()) if _is_plugin(path)]


def trust_film_plugin(root: Path, name: str, *, revoke: bool = False) -> Candidate:
    """Record that the plugin may run as it is now, or that it may no longer.

    Raises:
        NotFoundError: The film has no such plugin.
        ConfigError: The user's decisions cannot be read.
    """
    plugins = {candidate.name: candidate for candidate in find_film_plugins(root)}
    if name not in plugins:
        known = ", ".join(plugins) or "none"
        raise NotFoundError(f"The film in {root} has no plugin {name!r} of its own.", hint=f"Its plugins: {known}.")
    candidate = plugins[name]
    path = str(candidate.path)
    with change_decisions() as decisions:
        if revoke:
            decisions.trusted.pop(path, None)
        else:
            decisions.trust(Path(path), candidate.content_hash)
    return candidate


def add_film_plugins(registry: Registry, root: Path) -> None:
    """Load the trusted plugins of a film into ``registry``; name the others as untrusted. Films that were added already are left alone.

    Raises:
        ConfigError: The user's decisions cannot be read.
        PluginError: A plugin failed and ``ASSETFORGE_STRICT_PLUGINS=1``.
    """
    # Several threads of one program open a film, and each takes a plugin for a new one until the first has loaded it.
    with _ADDING:
        _add(registry, root)


def _add(registry: Registry, root: Path) -> None:
    known = {plugin.candidate.path for plugin in registry.plugins}
    found = [candidate for candidate in find_film_plugins(root) if candidate.path not in known]
    if not found:
        return
    decisions, selected = read_decisions(), selected_names()
    names = {plugin.candidate.name for plugin in registry.plugins}
    for candidate in found:
        if candidate.name in decisions.disabled:
            registry.add(LoadedPlugin(candidate, state="disabled"))
        elif selected is not None and candidate.name not in selected:
            registry.add(LoadedPlugin(candidate, state="skipped"))
        elif candidate.path is None or not decisions.trusts(candidate.path, candidate.content_hash):
            changed = str(candidate.path) in decisions.trusted
            reason = "changed since it was trusted" if changed else "not trusted"
            registry.add(LoadedPlugin(candidate, state="untrusted"))
            registry.fail(
                candidate,
                "trust",
                f"{reason}, so it was not run; read it, then: assetforge plugin trust {candidate.name}",
            )
        elif candidate.name in names:
            registry.add(LoadedPlugin(candidate, state="quarantined"))
            registry.fail(candidate, "discover", f"another plugin is named {candidate.name!r}; rename {candidate.path}")
        else:
            registry.load(candidate, importer=partial(_import_trusted, candidate))


def _is_plugin(path: Path) -> bool:
    if not path.stem.isidentifier() or path.name.startswith("_"):
        return False
    return path.suffix == ".py" if not path.is_dir() else (path / "__init__.py").exists()


def _candidate(path: Path) -> Candidate:
    digest = hashlib.sha256()
    for name, sha256 in sorted(_manifest(path).items()):
        digest.update(f"{sha256} {Path(name).relative_to(path.parent).as_posix()}\n".encode())
    content_hash = digest.hexdigest()
    return Candidate(
        name=path.stem,
        distribution="film",
        version=content_hash[:12],
        target=path.stem,
        source="film",
        path=path,
        content_hash=content_hash,
    )


def _manifest(path: Path) -> dict[str, str]:
    """Absolute path to SHA-256 of every real file of a plugin; links and compiled files are left out, and can therefore not be imported."""
    if path.is_symlink():
        return {}
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    linked = {file for file in files if file.is_symlink()}
    return {
        str(file): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if file.is_file()
        and file not in linked
        and not linked.intersection(file.parents)
        and "__pycache__" not in file.parts
    }


def _import_trusted(candidate: Candidate) -> ModuleType:
    path = candidate.path
    if path is None or importlib.util.find_spec(candidate.target) is not None:
        raise PluginError(f"A module named {candidate.target!r} exists already.", hint=f"Rename {path}.")
    manifest = _manifest(path)
    if _candidate(path).content_hash != candidate.content_hash or not manifest:
        raise PluginError(f"{path} is a link, or changed while it was being loaded.")
    finder = _TrustedFinder(candidate.target, path.parent, manifest)
    sys.meta_path.insert(0, finder)
    try:
        return importlib.import_module(candidate.target)
    except BaseException:
        sys.meta_path.remove(finder)
        raise


class _TrustedFinder(MetaPathFinder):
    """Finds the modules of one trusted plugin, sources only."""

    def __init__(self, name: str, folder: Path, manifest: Mapping[str, str]) -> None:
        self._name = name
        self._folder = str(folder)
        self._manifest = manifest

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See :meth:`importlib.abc.MetaPathFinder.find_spec`."""
        if fullname.partition(".")[0] != self._name:
            return None
        for folder in path or [self._folder]:
            finder = FileFinder(folder, (self._loader, [".py"]))  # type: ignore[arg-type]  # any callable that makes a loader will do
            spec = finder.find_spec(fullname, target)
            if spec is not None:
                return spec
        return None

    def _loader(self, fullname: str, path: str) -> "_TrustedLoader":
        return _TrustedLoader(fullname, path, self._manifest)


class _TrustedLoader(SourceFileLoader):
    """Compiles a source file whose contents are the trusted ones, and reads no compiled file."""

    def __init__(self, fullname: str, path: str, manifest: Mapping[str, str]) -> None:
        super().__init__(fullname, path)
        self._manifest = manifest

    def get_code(self, fullname: str) -> CodeType | None:
        """See :meth:`importlib.abc.InspectLoader.get_code`."""
        path = self.get_filename(fullname)
        source = self.get_data(path)
        if self._manifest.get(path) != hashlib.sha256(source).hexdigest():
            raise ImportError(f"{path} is not what was trusted", name=fullname, path=path)
        code: CodeType = self.source_to_code(source, path)
        return code
