"""What the user wants to be told, and how: ``[notify]`` of the user's ``config.toml``, under the environment.

ASSETFORGE_NOTIFY__WEBHOOK_SECRET=... assetforge notify test
"""

import difflib
import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from assetforge.api import events
from assetforge.errors import ConfigError
from assetforge.paths import user_config_file

__all__ = ["ENVIRONMENT_PREFIX", "EVERYTHING", "NotifyConfig", "event_name", "known_events", "load_notify_settings"]

ENVIRONMENT_PREFIX = "ASSETFORGE_NOTIFY__"

EVERYTHING = "all"
"""Stands for every event, those of plugins included."""

_USUAL = (
    "run-finished",
    "version-created",
    "comparison-ready",
    "files-quarantined",
    "retrain-proposed",
    "retrain-started",
    "watch-root-lost",
    "watch-root-back",
)


def event_name(event: type[events.Event]) -> str:
    """The name of a kind of event in settings and messages, such as ``run-finished``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", event.__name__).lower()


def known_events() -> Sequence[str]:
    """Names of the events that assetforge itself publishes."""
    classes = [getattr(events, name) for name in events.__all__]
    return [
        event_name(one)
        for one in classes
        if isinstance(one, type) and issubclass(one, events.Event) and one is not events.Event
    ]


class NotifyConfig(BaseModel):
    """What the user wants to be told, and how.

    Attributes:
        events: Names of events, such as ``run-finished``; ``all`` is every one.
        desktop: Show it on the desktop.
        command: Program and arguments, started without a shell; it gets the event as JSON on its standard input.
        webhook: Address that the event is posted to as JSON.
        webhook_secret: Signs what is posted.
        webhook_secret_file: A file that holds the secret instead.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    events: tuple[str, ...] = _USUAL
    desktop: bool = False
    command: tuple[str, ...] = ()
    webhook: str = ""
    webhook_secret: SecretStr = SecretStr("")
    webhook_secret_file: str = ""

    @property
    def channels(self) -> Sequence[str]:
        """Names of the channels that are set up."""
        given = {"desktop": self.desktop, "command": bool(self.command), "webhook": bool(self.webhook)}
        return [name for name, wanted in given.items() if wanted]

    def wants(self, event: str) -> bool:
        """Whether the user wants to be told of events of that name."""
        return event in self.events or EVERYTHING in self.events

    def secret(self) -> bytes:
        """What signs the webhook; empty when there is none.

        Raises:
            ConfigError: The file that should hold it cannot be read, or is empty.
        """
        if not self.webhook_secret_file:
            return self.webhook_secret.get_secret_value().encode()
        path = Path(self.webhook_secret_file).expanduser()
        try:
            secret = path.read_bytes().strip()
        except OSError as error:
            raise ConfigError(
                f"The webhook's secret cannot be read from {path}: {error.strerror}.",
                hint="Correct notify.webhook_secret_file in your settings.",
            ) from error
        if not secret:
            raise ConfigError(f"The webhook's secret in {path} is empty.", hint="Write the secret into that file.")
        return secret

    @field_validator("events")
    @classmethod
    def _events_exist(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = [*known_events(), EVERYTHING]
        for name in value:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                raise ValueError(
                    f"there is no event {name!r}; "
                    + (f"the nearest is {close[0]!r}" if close else f"known are {', '.join(known)}")
                )
        return value

    @field_validator("command")
    @classmethod
    def _command_can_be_started(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value and not value[0].strip():
            raise ValueError("its first word must name a program")
        if value and "/" in value[0] and not value[0].startswith(("/", "~")):
            raise ValueError("its first word must be the name of a program, or a path that begins with / or ~")
        if any("\0" in word for word in value):
            raise ValueError("a word holds a null character")
        return value

    @field_validator("webhook")
    @classmethod
    def _webhook_is_an_address(cls, value: str) -> str:
        if not value:
            return value
        try:
            parts = urlsplit(value)
            usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError as error:
            raise ValueError(f"it is no address ({error})") from error
        if not usable or not value.isprintable() or not value.isascii() or " " in value:
            raise ValueError("it must be an address such as https://chat.example.org/hooks/abc")
        if "@" in parts.netloc:
            raise ValueError("name and password do not belong in it; use webhook_secret")
        return value

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if self.webhook_secret_file and self.webhook_secret.get_secret_value():
            raise ValueError("webhook_secret and webhook_secret_file exclude each other")
        return self


class _Sources(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="ASSETFORGE_", env_nested_delimiter="__", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    notify: NotifyConfig = NotifyConfig()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - signature of pydantic-settings
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment goes before the file."""
        return env_settings, init_settings


_remembered: tuple[object, NotifyConfig] | None = None


def load_notify_settings() -> NotifyConfig:
    """What the user wants now; remembered until the file or the environment changes.

    Raises:
        ConfigError: The file or a variable cannot be used; the message names it.
    """
    global _remembered
    state = _state()
    if _remembered is None or _remembered[0] != state:
        _remembered = state, _read()
    return _remembered[1]


def _state() -> object:
    path = user_config_file()
    variables = sorted(item for item in os.environ.items() if item[0].upper().startswith(ENVIRONMENT_PREFIX))
    try:
        known = path.stat()
    except OSError:
        return path, None, variables
    return path, (known.st_mtime_ns, known.st_size, known.st_ino), variables


def _read() -> NotifyConfig:
    path = user_config_file()
    try:
        section = tomllib.loads(path.read_text(encoding="utf-8")).get("notify", {})
    except FileNotFoundError:
        section = {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.", hint="Correct it, or check its permissions.") from error
    try:
        return _Sources(notify=section).notify
    except SettingsError as error:
        raise ConfigError(
            f"A variable {ENVIRONMENT_PREFIX}... cannot be read: {error}.",
            hint='Lists are written as JSON, such as ["notify.sh", "--film"].',
        ) from error
    except ValidationError as error:
        raise _explained(path, error) from error


def _explained(path: Path, error: ValidationError) -> ConfigError:
    first: Any = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    reason = first["msg"].removeprefix("Value error, ").rstrip(".")
    variable = f"ASSETFORGE_{'__'.join(str(part) for part in first['loc'][:2]).upper()}"
    return ConfigError(f"The setting {key} cannot be used: {reason}.", hint=f"Look at {path} and at {variable}.")
