"""Is everything that assetforge stands on in order: program, disk, plugins, GPU, film."""

import importlib.metadata
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from assetforge import __version__
from assetforge.db.migrate import HEAD, revision_of
from assetforge.errors import AssetForgeError, ConfigError
from assetforge.extension.registry import get_registry
from assetforge.paths import ProjectPaths, projects_dir, user_config_file
from assetforge.services.project_config import read_config
from assetforge.services.soundness import check_database
from assetforge.store.filesystems import filesystem_of, is_networked

__all__ = ["Check", "examine"]

Verdict = Literal["ok", "note", "warning", "fault"]

_GIB = 1 << 30
_WARN_BELOW, _FAULT_BELOW = 10 * _GIB, _GIB // 2
_LIBRARIES = (
    "sqlmodel",
    "sqlalchemy",
    "alembic",
    "pydantic",
    "pillow",
    "safetensors",
    "torch",
    "diffusers",
    "transformers",
    "peft",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What.
        verdict: ``ok``; ``note`` is worth knowing; ``warning`` may hurt later; ``fault`` must be put right.
        detail: What was found.
        hint: What to do.
    """

    name: str
    verdict: Verdict
    detail: str
    hint: str = ""


def examine(root: Path | None = None) -> list[Check]:
    """Look at everything.

    Args:
        root: The film to look at as well; it is not opened, so that a damaged one can be looked at.
    """
    checks = [*_program(), _settings(), *_place("films", projects_dir()), *_plugins(), _gpu()]
    return [*checks, *(_film(root) if root else ())]


def _program() -> Iterator[Check]:
    yield Check(name="assetforge", verdict="ok", detail=f"{__version__}, database revision {HEAD}")
    yield Check(
        name="python", verdict="ok", detail=f"{platform.python_version()} in {sys.prefix} on {platform.platform()}"
    )
    old = sqlite3.sqlite_version_info < (3, 35, 0)
    yield Check(
        name="sqlite",
        verdict="fault" if old else "ok",
        detail=sqlite3.sqlite_version,
        hint="assetforge needs SQLite 3.35 or newer; install a newer Python." if old else "",
    )
    found = {name: _version(name) for name in _LIBRARIES}
    yield Check(
        name="libraries",
        verdict="ok",
        detail=", ".join(f"{name} {version}" for name, version in found.items() if version),
    )


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _settings() -> Check:
    from assetforge.config import load_settings

    try:
        load_settings()
    except ConfigError as error:
        return Check(name="settings", verdict="fault", detail=error.message, hint=error.hint)
    path = user_config_file()
    return Check(name="settings", verdict="ok", detail=str(path) if path.exists() else f"none of your own ({path})")


def _place(name: str, folder: Path) -> Iterator[Check]:
    """Can be written, has space, and is on a disk that SQLite's locks work on."""
    there = next((path for path in (folder, *folder.parents) if path.exists()), Path("/"))
    try:
        with tempfile.TemporaryFile(dir=there):
            yield Check(name=f"{name} folder", verdict="ok", detail=str(folder))
    except OSError as error:
        yield Check(
            name=f"{name} folder",
            verdict="fault",
            detail=f"{folder} cannot be written: {error.strerror}",
            hint="Check its permissions, or set ASSETFORGE_PROJECTS.",
        )
    kind = filesystem_of(there)
    networked = is_networked(kind)
    yield Check(
        name=f"{name} disk",
        verdict="warning" if networked else "ok",
        detail=kind or "of an unknown kind",
        hint="The database of a film can be damaged on a network or FUSE disk when several programs use it; keep films on a local disk."
        if networked
        else "",
    )
    free = shutil.disk_usage(there).free
    yield Check(
        name=f"{name} space",
        verdict="fault" if free < _FAULT_BELOW else "warning" if free < _WARN_BELOW else "ok",
        detail=f"{free / _GIB:.1f} GiB free",
        hint="Free some space; `assetforge gc` may help." if free < _WARN_BELOW else "",
    )


def _plugins() -> Iterator[Check]:
    registry = get_registry()
    active = [plugin.candidate.name for plugin in registry.plugins if plugin.state == "active"]
    yield Check(name="plugins", verdict="ok", detail=", ".join(active) or "none")
    for failure in registry.failures:
        verdict: Verdict = "note" if failure.stage == "trust" else "fault"
        yield Check(
            name=f"plugin {failure.name}",
            verdict=verdict,
            detail=f"{failure.stage}: {failure.reason}",
            hint=f"`assetforge plugin show {failure.name}` says more.",
        )


def _gpu() -> Check:
    """Asked of the driver's own tool: a broken CUDA installation must not break the question."""
    program = shutil.which("nvidia-smi")
    if program:
        try:
            done = subprocess.run(
                [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"],
                capture_output=True,
                text=True,
                timeout=10,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return Check(
                name="gpu", verdict="warning", detail=f"nvidia-smi does not answer: {error}", hint="Restart the driver."
            )
        if done.returncode == 0 and done.stdout.strip():
            return Check(
                name="gpu", verdict="ok", detail="; ".join(line.strip() for line in done.stdout.strip().splitlines())
            )
        return Check(
            name="gpu",
            verdict="warning",
            detail=f"nvidia-smi finds none: {(done.stderr or done.stdout).strip()[:200]}",
            hint="Check the driver.",
        )
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return Check(name="gpu", verdict="ok", detail="Apple silicon (MPS)")
    return Check(name="gpu", verdict="note", detail="none: training runs on the CPU, which is enough for the demo only")


def _film(root: Path) -> Iterator[Check]:
    paths = ProjectPaths(root)
    try:
        config = read_config(paths.config)
    except ConfigError as error:
        yield Check(name="project.toml", verdict="fault", detail=error.message, hint=error.hint)
    else:
        yield Check(name="project.toml", verdict="ok", detail=f"{config.name} in {root}")
        yield from _required(config.plugins.required)
    yield from _place("film", paths.private)
    try:
        revision = revision_of(paths.database)
    except AssetForgeError as error:
        yield Check(name="database", verdict="fault", detail=error.message, hint=error.hint)
        return
    if not revision:
        yield Check(
            name="database",
            verdict="fault",
            detail=f"{paths.database} is missing or empty",
            hint="Restore a backup with `assetforge restore`.",
        )
        return
    try:
        faults = check_database(paths.database)
    except AssetForgeError as error:
        yield Check(name="database", verdict="fault", detail=error.message, hint=error.hint)
        return
    yield from (
        Check(
            name="database",
            verdict="fault",
            detail=f"{fault.subject}: {fault.detail}",
            hint="Restore a backup with `assetforge restore`.",
        )
        for fault in faults[:5]
    )
    if not faults:
        yield Check(
            name="database",
            verdict="ok",
            detail=f"revision {revision}, {paths.database.stat().st_size / (1 << 20):.1f} MiB",
        )


def _required(required: tuple[str, ...]) -> Iterator[Check]:
    plugins = get_registry().plugins
    there = {
        name
        for plugin in plugins
        if plugin.state == "active"
        for name in (plugin.candidate.name, plugin.candidate.distribution)
    }
    for name in required:
        if name not in there:
            yield Check(
                name=f"plugin {name}",
                verdict="fault",
                detail="this film needs it, and it is not installed or does not work",
                hint=f"Install it, or remove it from project.toml: pip install {name}",
            )
