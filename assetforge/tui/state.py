"""What the terminal program keeps between two starts: where it was, and how lists were sorted, filtered and shown.

    state = State.load()
    state.put(film_id, "assets.sort", "name")
    state.save()

Standard library only. Nothing here is worth an error: a file that cannot be read counts as empty, and one that cannot be written stays as it is.
"""

import copy
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from assetforge.durable import locked, write_atomic
from assetforge.errors import AssetForgeError
from assetforge.paths import user_data_dir

__all__ = ["EVERYWHERE", "State", "state_file"]

EVERYWHERE = ""
"""Stands for the film where something belongs to none, such as which film was open last."""

_FORMAT = 1
_MOST_FILMS = 200


def state_file() -> Path:
    """Where it is kept."""
    return user_data_dir() / "tui-state.json"


class State:
    """Values by film and key. What this program did not change is taken from the file again when it is saved, so two programs lose nothing of each other.

    Keys that others use: ``film`` (folder of the last one, under :data:`EVERYWHERE`), ``screen``, ``sort.LIST``, ``filter.LIST``, ``view.LIST`` (``gallery`` or
    ``table``), ``tile`` and ``saved_filters``. Values are what JSON can hold.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or state_file()
        self._films: dict[str, dict[str, Any]] = {}
        self._changed: dict[str, dict[str, Any]] = {}

    @classmethod
    def load(cls, path: Path | None = None) -> Self:
        """What was kept; empty when there is nothing that can be read."""
        state = cls(path)
        state._films = _films_of(_read(state.path))
        return state

    @property
    def changed(self) -> bool:
        """Whether there is something to save."""
        return bool(self._changed)

    def get(self, film_id: str, key: str, default: Any = None) -> Any:
        """A value, as a copy; ``default`` when it was never put, or is of another type than the default."""
        value = self._films.get(film_id, {}).get(key)
        if value is None or (default is not None and type(value) is not type(default)):
            return default
        return copy.deepcopy(value)

    def put(self, film_id: str, key: str, value: Any) -> bool:
        """Keep a value; ``None`` forgets it.

        Returns:
            Whether it is another one than before, so that there is something to save.

        Raises:
            TypeError: JSON cannot hold it.
        """
        value = json.loads(json.dumps(value))
        film = self._films.setdefault(film_id, {})
        if film.get(key) == value and type(film.get(key)) is type(value):
            return False
        film[key] = value
        self._changed.setdefault(film_id, {})[key] = value
        return True

    def films(self) -> list[str]:
        """Ids of the films that something is kept of, the one that was changed last at the end."""
        return [film_id for film_id in self._films if film_id != EVERYWHERE]

    def save(self) -> bool:
        """Write what changed. The last one to change a value of a film wins; everything else in the file stays, also what a newer program wrote.

        Returns:
            Whether the file holds it now.
        """
        if not self._changed:
            return True
        with suppress(AssetForgeError, OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with locked(self.path.with_suffix(".lock")):
                document = _read(self.path)
                films = _films_of(document)
                for film_id, values in self._changed.items():
                    kept = {**films.pop(film_id, {}), **values}
                    films[film_id] = {key: value for key, value in kept.items() if value is not None}
                document = {**document, "format": document.get("format", _FORMAT), "films": _newest(films)}
                write_atomic(self.path, json.dumps(document, ensure_ascii=False, indent=1).encode(), mode=0o600)
            self._films, self._changed = films, {}
            return True
        return False


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _films_of(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    films = document.get("films")
    if not isinstance(films, dict):
        return {}
    return {film_id: dict(values) for film_id, values in films.items() if isinstance(values, dict)}


def _newest(films: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Films that were deleted long ago must not stay for ever."""
    everywhere = {EVERYWHERE: films[EVERYWHERE]} if EVERYWHERE in films else {}
    others = [item for item in films.items() if item[0] != EVERYWHERE]
    return {**everywhere, **dict(others[-_MOST_FILMS:])}
