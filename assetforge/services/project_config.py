"""``project.toml``: the hand-editable part of a film. Reading is strict, writing keeps comments and layout."""

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from assetforge.domain.names import check_name
from assetforge.durable import locked, write_atomic
from assetforge.errors import ConfigError, UsageError

__all__ = [
    "IngestConfig",
    "PluginsConfig",
    "ProjectConfig",
    "ProjectDefaults",
    "config_error",
    "read_config",
    "set_value",
    "write_new_config",
]

_NEW = """\
# The film {name}. Edit this file by hand as you like; assetforge keeps your comments.

# Short name; addresses and file names use it.
name = "{name}"
# What people read.
title = ""

# What is used when nothing more specific says otherwise. Values here go before those of the user's own settings.
[defaults]
# Base model that recipes train on when they name none; `assetforge plugin list` shows which there are.
# base = "toybox"
# Where jobs run: "local", or an executor of a plugin.
# executor = "local"

# Training recipe for assets of a type that name none of their own, such as
# character = "character-sdxl"
[defaults.recipe]

# How files are taken in.
[ingest]
# seconds_per_file = 60

# How long things stay that nothing needs any more.
[gc]
# grace_hours = 24
# trash_days = 7
# failed_jobs_days = 14

[plugins]
# Plugins that this film cannot do without; `assetforge doctor` names the ones that are missing.
required = []
"""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ProjectDefaults(_Section):
    """What is used when nothing more specific says otherwise.

    Attributes:
        base: Name of the base model; empty leaves it to the recipe or the user's settings.
        executor: Name of the executor.
        recipe: Name of the recipe per asset type.
    """

    base: str = ""
    executor: str = "local"
    recipe: dict[str, str] = Field(default_factory=dict)


class IngestConfig(_Section):
    """How files are taken in.

    Attributes:
        seconds_per_file: Longest time that reading and decoding one picture may take, in seconds.
    """

    seconds_per_file: float = Field(default=60.0, gt=0.0)


class GcConfig(_Section):
    """How long things stay that nothing needs any more.

    Attributes:
        grace_hours: Hours before anything is moved to the trash, at least 1: a row for it may be about to be written.
        trash_days: Days in the trash.
        failed_jobs_days: Days that the folders of jobs stay that did not succeed and could be resumed.
        cache_days: Days that derived tensors stay unused.
        backups: Copies of the database from before migrations.
    """

    grace_hours: float = Field(default=24.0, ge=1.0)
    trash_days: float = Field(default=7.0, ge=0.0)
    failed_jobs_days: float = Field(default=14.0, ge=0.0)
    cache_days: float = Field(default=30.0, ge=0.0)
    backups: int = Field(default=5, ge=1)


class PluginsConfig(_Section):
    """Plugins of the film.

    Attributes:
        required: Distributions that must be installed.
    """

    required: tuple[str, ...] = ()


class ProjectConfig(_Section):
    """All of ``project.toml``.

    Attributes:
        name: Short name.
        title: What people read.
        defaults: Fallbacks.
        ingest: How files are taken in.
        gc: How long things stay.
        plugins: Required plugins.
    """

    name: str
    title: str = ""
    defaults: ProjectDefaults = ProjectDefaults()
    ingest: IngestConfig = IngestConfig()
    gc: GcConfig = GcConfig()
    plugins: PluginsConfig = PluginsConfig()

    @field_validator("name")
    @classmethod
    def _name_is_usable(cls, value: str) -> str:
        try:
            return check_name(value, what="project")
        except UsageError as error:
            raise ValueError(str(error)) from error


def read_config(path: Path) -> ProjectConfig:
    """Read ``project.toml``.

    Raises:
        ConfigError: The file is missing or no TOML, or holds an unknown key or a wrong value; the message names file and key.
    """
    return _validated(_text(path), path)


def write_new_config(path: Path, *, name: str, title: str = "") -> None:
    """Write a commented ``project.toml`` for a new film.

    Raises:
        ConfigError: The values cannot be used.
        StorageError: The file cannot be written.
    """
    import tomlkit

    document = tomlkit.parse(_NEW.format(name=name))
    document["title"] = title or name
    text = tomlkit.dumps(document)
    _validated(text, path)
    write_atomic(path, text.encode())


def set_value(path: Path, key: str, value: Any) -> ProjectConfig:
    """Change one value, keeping comments and layout; ``None`` removes it.

    Args:
        path: The ``project.toml``.
        key: Dotted key, such as ``defaults.base`` or ``defaults.recipe.character``.
        value: What TOML can hold.

    Returns:
        The configuration with the change.

    Raises:
        ConfigError: The key is unknown or the value does not fit; the file is untouched then.
        StorageError: The file cannot be written.
    """
    import tomlkit
    from tomlkit.items import Table

    folder = path.parent / ".assetforge"
    with locked((folder if folder.is_dir() else path.parent) / "config.lock"):
        document = tomlkit.parse(_text(path))
        table: Any = document
        *sections, last = key.split(".")
        for section in sections:
            if section not in table:
                table[section] = tomlkit.table()
            table = table[section]
            if not isinstance(table, Table):
                raise ConfigError(f"{path}: {section} in {key!r} is a value, not a section.", hint="Correct the key.")
        if value is None:
            table.pop(last, None)
        else:
            table[last] = value
        text = tomlkit.dumps(document)
        config = _validated(text, path)
        write_atomic(path, text.encode())
    return config


def config_error(path: Path, model: type[BaseModel], error: ValidationError) -> ConfigError:
    """Say in one sentence what is wrong in a settings file: the file, the dotted key, and the key that was probably meant.

    Args:
        path: The file.
        model: What the file was validated against.
        error: What pydantic said; its first problem is reported.
    """
    problems = error.errors(include_url=False)
    first = problems[0]
    location = [str(part) for part in first["loc"]]
    key = ".".join(location)
    more = f" ({len(problems) - 1} more in the file)" if len(problems) > 1 else ""
    if first["type"] == "extra_forbidden":
        known = _keys_at(model, location[:-1])
        close = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.5)
        hint = f"Did you mean {close[0]!r}?" if close else f"Known here: {', '.join(sorted(known))}."
        return ConfigError(f"{path}: there is no setting {key!r}{more}.", hint=hint)
    if first["type"] == "missing":
        return ConfigError(f"{path}: {key!r} is missing{more}.", hint="Add it.")
    reason = first["msg"].removeprefix("Value error, ").rstrip(".")
    return ConfigError(
        f"{path}: {key!r} cannot be {first['input']!r}: {reason}{more}.", hint="Correct the value in the file."
    )


def _keys_at(model: type[BaseModel], location: Sequence[str]) -> list[str]:
    for part in location:
        annotation = model.model_fields[part].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}.", hint="Restore it from a backup, or check its permissions."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start}).", hint="Save the file as UTF-8.") from error


def _validated(text: str, path: Path) -> ProjectConfig:
    try:
        return ProjectConfig.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}.", hint="Correct that line.") from error
    except ValidationError as error:
        raise config_error(path, ProjectConfig, error) from error
