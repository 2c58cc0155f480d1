"""The base models that the user registered: ``bases.toml`` beside the user's settings, one table a model. Hand-editable; comments are kept.

[sdxl]
source = "/models/sdxl-base"
family = "sdxl"
digest = "5ad1..."
resolution = 1024
licence = "openrail++"
"""

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from assetforge.durable import locked, write_atomic
from assetforge.errors import ConfigError, NotFoundError
from assetforge.paths import user_bases_file
from assetforge.services.project_config import config_error
from assetforge.store.model_places import find_place

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

__all__ = ["RegisteredBase", "drop_entry", "entry_paths", "put_entry", "read_entries"]


class RegisteredBase(BaseModel):
    """One table of the file.

    Attributes:
        source: Absolute path of a folder or a file, or a hub id with its commit, ``org/name@commit``.
        config: For a single file: the same for the folder that completes it.
        family: Model family.
        digest: What the files hashed to when they were registered.
        resolution: Native resolution in pixels.
        licence: Licence of the weights; empty when nobody said.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    config: str = ""
    family: str
    digest: str
    resolution: int = Field(ge=1)
    licence: str = ""


def read_entries() -> dict[str, RegisteredBase]:
    """The registered models by name; none when the file does not exist yet.

    Raises:
        ConfigError: The file cannot be used; says what is wrong in it.
    """
    file = user_bases_file()
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}.", hint="Check its permissions.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not TOML: {error}.", hint="Correct that line.") from error
    return {name: _entry(file, name, table) for name, table in tables.items()}


def entry_paths(entry: RegisteredBase) -> tuple[Path, Path | None]:
    """Where a registered model lies now, and the folder that completes it.

    Raises:
        NotFoundError: One of them is not there any more.
    """
    return find_place(entry.source).path, find_place(entry.config).path if entry.config else None


def put_entry(name: str, entry: RegisteredBase) -> None:
    """Write one model into the file, in place of what had its name.

    Raises:
        ConfigError: The file cannot be used; it is untouched then.
        StorageError: The file cannot be written.
    """
    import tomlkit

    with _changed() as document:
        table = document.get(name)
        if table is None:
            table = document[name] = tomlkit.table()
        for key, value in entry.model_dump().items():
            if value == "":
                table.pop(key, None)
            else:
                table[key] = value


def drop_entry(name: str) -> None:
    """Take one model out of the file.

    Raises:
        NotFoundError: It is not in it.
        ConfigError: The file cannot be used; it is untouched then.
        StorageError: The file cannot be written.
    """
    with _changed() as document:
        if name not in document:
            raise NotFoundError(
                f"You registered no base model named {name!r}.", hint="`assetforge base list` shows what there is."
            )
        del document[name]


@contextmanager
def _changed() -> Iterator["TOMLDocument"]:
    import tomlkit

    file = user_bases_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    with locked(file.with_suffix(".lock")):
        read_entries()
        document = tomlkit.parse(file.read_text(encoding="utf-8") if file.is_file() else "")
        yield document
        write_atomic(file, tomlkit.dumps(document).encode())


def _entry(file: Path, name: str, table: object) -> RegisteredBase:
    if not isinstance(table, dict):
        raise ConfigError(f"{file}: {name!r} is a value, not a base model.", hint="Write it below a [NAME].")
    try:
        return RegisteredBase.model_validate(table)
    except ValidationError as error:
        said = config_error(file, RegisteredBase, error)
        raise ConfigError(f"{said.message} It belongs to the base model {name!r}.", hint=said.hint) from error
