"""Which plugins there are: names and versions, without importing any of them.

Installed plugins are entry points of the group ``assetforge.plugins``; they are trusted by being installed. A film's own ``plugins/`` folder is
only listed here; whether it may run is decided in :mod:`assetforge.extension.film_plugins`.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from assetforge import __version__
from assetforge.api import ENTRY_POINT_GROUP

__all__ = ["BUILTIN", "HOST_DISTRIBUTION", "Candidate", "installed_plugins", "selected_names"]

HOST_DISTRIBUTION = "assetforge-film"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A plugin that could be loaded.

    Attributes:
        name: Name of the entry point, or of the file in a film's ``plugins/`` folder; what ``plugin disable`` takes.
        distribution: The installed distribution that ships it, or ``film`` for a plugin inside a film.
        version: Version of the distribution; for a film's plugin the first twelve digits of its content hash.
        target: ``"package.module"`` or ``"package.module:attribute"``.
        source: Where it comes from.
        path: File or folder of a film's plugin.
        content_hash: SHA-256 over a film plugin's files; empty for installed ones.
    """

    name: str
    distribution: str
    version: str
    target: str
    source: Literal["builtin", "installed", "film"] = "installed"
    path: Path | None = None
    content_hash: str = ""

    @property
    def owner(self) -> str:
        """The plugin as messages name it."""
        return f"{self.name} ({self.distribution} {self.version})"


BUILTIN = Candidate(
    name="builtin",
    distribution=HOST_DISTRIBUTION,
    version=__version__,
    target="assetforge.builtin.plugin",
    source="builtin",
)
"""What assetforge itself brings, on the same hooks as everybody else; cannot be disabled."""


def installed_plugins() -> list[Candidate]:
    """The builtin plugin, then every installed one by name. Reads distribution metadata; imports no plugin."""
    found = [
        Candidate(name=point.name, distribution=dist.name, version=dist.version, target=point.value)
        for point in metadata.entry_points(group=ENTRY_POINT_GROUP)
        if (dist := point.dist) is not None and point.value != BUILTIN.target
    ]
    return [BUILTIN, *sorted(found, key=lambda candidate: (candidate.name, candidate.distribution))]


def selected_names() -> Sequence[str] | None:
    """The plugins that ``ASSETFORGE_PLUGINS`` restricts this process to; ``None`` when it is not set, empty for ``none``."""
    value = os.environ.get("ASSETFORGE_PLUGINS", "").strip()
    if not value:
        return None
    if value == "none":
        return ()
    return tuple(name.strip() for name in value.split(",") if name.strip())
