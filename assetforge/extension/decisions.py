"""What the user decided about plugins: which are disabled, and which of a film's own plugins may run.

Kept per user, never in the film, in ``plugins.json`` of the user's data folder: opening somebody's film must not bring its own permission.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from assetforge.durable import locked, write_atomic
from assetforge.errors import ConfigError
from assetforge.paths import user_data_dir

__all__ = ["Decisions", "Trust", "change_decisions", "decisions_file", "read_decisions"]


def decisions_file() -> Path:
    """Where the decisions are kept."""
    return user_data_dir() / "plugins.json"


@dataclass(frozen=True, slots=True)
class Trust:
    """Permission for one content of one path.

    Attributes:
        content_hash: SHA-256 over the plugin's files; any change asks again.
        at: When it was given, ISO 8601 in UTC.
    """

    content_hash: str
    at: str


@dataclass(slots=True)
class Decisions:
    """The decisions of one user.

    Attributes:
        disabled: Names of plugins that are not loaded.
        trusted: Absolute path of a film's plugin to what was trusted there.
    """

    disabled: set[str] = field(default_factory=set)
    trusted: dict[str, Trust] = field(default_factory=dict)

    def trust(self, path: Path, content_hash: str) -> None:
        """Record that this content of this path may run."""
        self.trusted[str(path.resolve())] = Trust(content_hash, datetime.now(UTC).isoformat(timespec="seconds"))

    def trusts(self, path: Path, content_hash: str) -> bool:
        """Whether exactly this content of this path may run."""
        given = self.trusted.get(str(path.resolve()))
        return given is not None and given.content_hash == content_hash


def read_decisions() -> Decisions:
    """Read the decisions; none when the file does not exist yet.

    Raises:
        ConfigError: The file is damaged. Nothing is guessed, since a guess could run what the user disabled.
    """
    file = decisions_file()
    try:
        data: dict[str, Any] = json.loads(file.read_text("utf-8"))
        trusted = {path: Trust(entry["content_hash"], entry["at"]) for path, entry in data.get("trusted", {}).items()}
        return Decisions(disabled=set(data.get("disabled", ())), trusted=trusted)
    except FileNotFoundError:
        return Decisions()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"The plugin decisions in {file} cannot be read ({error}).",
            hint="Repair the file, or delete it to decide anew.",
        ) from error


@contextmanager
def change_decisions() -> Iterator[Decisions]:
    """Read the decisions, let the caller change them, and replace the file in one step; other processes wait.

    Raises:
        ConfigError: The file is damaged; it is left as it is.
        StorageError: The file cannot be written.
    """
    file = decisions_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    with locked(file.with_suffix(".lock")):
        decisions = read_decisions()
        yield decisions
        trusted = {path: asdict(given) for path, given in sorted(decisions.trusted.items())}
        document = {"disabled": sorted(decisions.disabled), "trusted": trusted}
        write_atomic(file, json.dumps(document, indent=2).encode())
