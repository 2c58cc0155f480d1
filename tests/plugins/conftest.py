"""Real plugins on disk, put on the path one by one."""

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from assetforge.extension.manager import LoadedPlugin
from assetforge.extension.registry import Registry, load_registry, reset_registry

HERE = Path(__file__).parent


@pytest.fixture
def with_plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Registry]]:
    """A function that loads a fresh registry with the builtin plugin and the named ones of ``broken/`` and ``good/``."""
    before = set(sys.modules)
    finders = list(sys.meta_path)

    def load(*names: str) -> Registry:
        for name in names:
            folder = next(HERE / kind / name for kind in ("broken", "good") if (HERE / kind / name).is_dir())
            monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setenv("ASSETFORGE_PLUGINS", ",".join(name.replace("_", "-") for name in names) or "none")
        return load_registry()

    yield load
    sys.meta_path[:] = finders
    for name in set(sys.modules) - before:
        if name.startswith("af_"):
            del sys.modules[name]
    reset_registry()


@pytest.fixture
def utc_now():
    """The present, in UTC."""
    return datetime.now(UTC)


@pytest.fixture
def find() -> Callable[[Registry, str], LoadedPlugin]:
    """A function that gives the plugin of that name, whatever became of it."""

    def by_name(registry: Registry, name: str) -> LoadedPlugin:
        return next(plugin for plugin in registry.plugins if plugin.candidate.name == name)

    return by_name
