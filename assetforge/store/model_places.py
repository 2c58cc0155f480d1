"""Where a model lies that is named by a path or by a hub id."""

from dataclasses import dataclass
from pathlib import Path

from assetforge.errors import NotFoundError
from assetforge.store.hub_cache import find_snapshot, is_hub_id

__all__ = ["ModelPlace", "find_place", "is_place"]

_FILES = (".safetensors", ".ckpt", ".bin", ".pt", ".pth")


@dataclass(frozen=True, slots=True)
class ModelPlace:
    """Files of a model on this machine.

    Attributes:
        path: A folder or a file, absolute.
        name: What it is called: the last part of its path, or the hub id.
        source: What names these files for good: the path, or the hub id with its commit.
    """

    path: Path
    name: str
    source: str


def is_place(text: str) -> bool:
    """Whether ``text`` is written like a path or a hub id, and not like a registered name."""
    return "/" in text or text.startswith(("~", ".")) or text.endswith(_FILES)


def find_place(text: str) -> ModelPlace:
    """The files that a path means, or else a hub id.

    Raises:
        NotFoundError: There is neither on this machine.
    """
    path = Path(text).expanduser()
    if path.exists():
        # The last part of a file's path may be a link into a cache, whose target has no telling name.
        path = path.resolve() if path.is_dir() else path.parent.resolve() / path.name
        return ModelPlace(path, path.name, str(path))
    if is_hub_id(text):
        snapshot = find_snapshot(text)
        return ModelPlace(snapshot.path.resolve(), text, snapshot.pinned)
    raise NotFoundError(f"There is no file or folder {path}.", hint="Check the path; a hub id is written org/name.")
