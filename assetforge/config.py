"""Settings, from the strongest to the weakest: flag, environment, film (``project.toml``), user (``config.toml``), default.

    ASSETFORGE_DEFAULTS__EXECUTOR=ssh-box assetforge train mara

Files may hold only what is known here; an unknown key is an error that names the key which was probably meant.
"""

import tomllib
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from assetforge.builtin.notify.settings import NotifyConfig
from assetforge.errors import ConfigError
from assetforge.paths import user_config_file
from assetforge.services.project_config import (
    BudgetConfig,
    GcConfig,
    IngestConfig,
    ProjectConfig,
    ProjectDefaults,
    QueueConfig,
    RegressionConfig,
    RetrainConfig,
    WatchConfig,
    config_error,
)

__all__ = ["Settings", "TuiConfig", "UserConfig", "load_settings", "load_tui_settings"]

_PREFIX = "ASSETFORGE_"
_SECTIONS = {"defaults", "ingest", "gc", "watch", "retrain", "budget", "queue", "regression"}


class TuiConfig(BaseModel):
    """How the terminal program looks and which keys it takes.

    :mod:`assetforge.tui.preferences` reads the same before anything else is there.

    Attributes:
        theme: Name of a theme; ``safelight`` and ``daylight`` are our own, dark and light.
        images: How pictures are drawn: ``auto`` asks the terminal, ``tgp`` is the protocol of kitty, ``halfcell`` works everywhere, ``off`` shows none.
        motion: Let things move where something really moves, such as a run.
        gallery: Show assets as pictures at first; otherwise as a table.
        keys: Other keys for actions, by the name of the action: ``film.train = "t,f5"``.
        jump_keys: Keys that jump mode puts on what can be jumped to, the handiest first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    theme: str = Field(default="safelight", min_length=1)
    images: Literal["auto", "tgp", "sixel", "halfcell", "off"] = "auto"
    motion: bool = True
    gallery: bool = True
    keys: dict[str, str] = Field(default_factory=dict)
    jump_keys: str = "asdfghjklqwertyuiopzxcvbnm"

    @field_validator("keys", mode="before")
    @classmethod
    def _dots_belong_to_the_name(cls, value: object) -> object:
        """``film.train = "t"`` without quotes is a table in TOML; here it is one name."""
        if not isinstance(value, dict):
            return value
        flat: dict[str, Any] = {}
        for name, one in value.items():
            inner = cls._dots_belong_to_the_name(one)
            flat |= {f"{name}.{rest}": keys for rest, keys in inner.items()} if isinstance(inner, dict) else {name: one}
        return flat

    @field_validator("jump_keys")
    @classmethod
    def _keys_differ(cls, value: str) -> str:
        if len(set(value)) < len(value) or len(value) < 2 or not value.isalnum():
            raise ValueError("it must be at least two letters or digits, each of them once")
        return value


class UserConfig(BaseModel):
    """The user's ``config.toml``.

    Attributes:
        defaults: What is used when nothing more specific says otherwise.
        ingest: How files are taken in.
        gc: How long things stay that nothing needs any more.
        watch: How folders are watched.
        retrain: When assets are trained again.
        budget: What automatic runs may cost.
        queue: How the queue treats this machine.
        regression: How versions are judged.
        notify: What the user is told, and how; read by :mod:`assetforge.builtin.notify.settings`, and never from a film.
        tui: How the terminal program looks and which keys it takes; never from a film.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    defaults: ProjectDefaults = ProjectDefaults()
    ingest: IngestConfig = IngestConfig()
    gc: GcConfig = GcConfig()
    watch: WatchConfig = WatchConfig()
    retrain: RetrainConfig = RetrainConfig()
    budget: BudgetConfig = BudgetConfig()
    queue: QueueConfig = QueueConfig()
    regression: RegressionConfig = RegressionConfig()
    notify: NotifyConfig = NotifyConfig()
    tui: TuiConfig = TuiConfig()


class Settings(BaseSettings):
    """What counts, after all sources were laid over each other.

    Attributes:
        defaults: What is used when nothing more specific says otherwise.
        ingest: How files are taken in.
        gc: How long things stay that nothing needs any more.
        watch: How folders are watched.
        retrain: When assets are trained again.
        budget: What automatic runs may cost.
        queue: How the queue treats this machine.
        regression: How versions are judged.
    """

    model_config = SettingsConfigDict(env_prefix=_PREFIX, env_nested_delimiter="__", frozen=True, extra="ignore")

    defaults: ProjectDefaults = ProjectDefaults()
    ingest: IngestConfig = IngestConfig()
    gc: GcConfig = GcConfig()
    watch: WatchConfig = WatchConfig()
    retrain: RetrainConfig = RetrainConfig()
    budget: BudgetConfig = BudgetConfig()
    queue: QueueConfig = QueueConfig()
    regression: RegressionConfig = RegressionConfig()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - signature of pydantic-settings
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The order of sources; the film and the user's file arrive as one value each, checked already."""
        given = dict(init_settings())
        film, user = given.pop("film", {}), given.pop("user", {})
        layers = (given, None, film, user)
        return tuple(env_settings if layer is None else InitSettingsSource(settings_cls, layer) for layer in layers)


def load_settings(project: ProjectConfig | None = None, **flags: Any) -> Settings:
    """The settings that count now.

    Args:
        project: The film's own values.
        flags: Values from the command line by dotted key with ``__`` for the dot, such as ``gc__grace_hours=2``; ``None`` says nothing.

    Raises:
        ConfigError: The user's file or a variable of the environment cannot be used; the message names it.
    """
    film = project.model_dump(exclude_unset=True, include=_SECTIONS) if project else {}
    given: dict[str, Any] = {}
    for key, value in flags.items():
        section, _, name = key.partition("__")
        if value is not None:
            given.setdefault(section, {})[name] = value
    user = _user_values()
    try:
        return Settings(**given, film=film, user=user)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = "__".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"The setting {key.replace('__', '.')} cannot be {first['input']!r}: {first['msg']}.",
            hint=f"Look at the command line and the variable {_PREFIX}{key.upper()}.",
        ) from error


def load_tui_settings() -> TuiConfig:
    """How the terminal program looks now: the user's file, under the environment.

    Raises:
        ConfigError: The file or a variable cannot be used.
    """
    user = _user_values().get("tui", {})
    try:
        return _TuiSources(tui=user).tui
    except (SettingsError, ValidationError) as error:
        first = error.errors(include_url=False)[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise ConfigError(
            f"A variable {_PREFIX}TUI__... cannot be used: {first}.", hint="Correct it, or remove it."
        ) from error


class _TuiSources(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=_PREFIX, env_nested_delimiter="__", frozen=True, extra="ignore")

    tui: TuiConfig = TuiConfig()

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


def _user_values() -> dict[str, Any]:
    path = user_config_file()
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        return UserConfig.model_validate(values).model_dump(exclude_unset=True)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.", hint="Check its permissions.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}.", hint="Correct that line.") from error
    except ValidationError as error:
        raise config_error(path, UserConfig, error) from error
