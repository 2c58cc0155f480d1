"""``project.toml``: the hand-editable part of a film. Reading is strict, writing keeps comments and layout."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from assetforge.domain.names import check_name
from assetforge.durable import write_atomic
from assetforge.errors import ConfigError, UsageError
from assetforge.paths import user_config_file
from assetforge.services.toml_file import change_values, parse_toml, read_text

__all__ = [
    "ApprovalConfig",
    "BudgetConfig",
    "GcConfig",
    "IngestConfig",
    "PluginsConfig",
    "ProjectConfig",
    "ProjectDefaults",
    "QueueConfig",
    "RegressionConfig",
    "RetrainConfig",
    "WatchConfig",
    "WatchRootConfig",
    "checked_config",
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

# Folders that are watched: the references folder of every asset, and those named here.
[watch]
# mode = "auto"              # or "events", "polling"
# settle_seconds = 2.0
# scan_minutes = 5.0
# min_side = 0               # smaller pictures wait for a decision
# [[watch.roots]]
# asset = "mara"
# path = "/mnt/art/mara"

# When an asset is trained again after its references changed.
[retrain]
# mode = "ask"               # "off", "ask", or "auto"
# quiet_minutes = 10
# min_new = 3
# hours = "20:00-08:00"      # local time; empty is always
# [retrain.assets.mara]      # what is different for one asset
# mode = "auto"

# What automatic runs may cost; what is not named has no limit.
[budget]
# runs_per_day = 8
# hours_per_day = 10

# How the queue treats this machine.
[queue]
# min_free_gb = 2.0
# stuck_minutes = 60

# How versions are judged: whether an inconclusive verdict has more prompts rendered by itself, and up to how many pictures of a version.
[regression]
# extend = true
# max_renders = 400
# [regression.metric_params."clip-image"]
# batch_size = 4

# What an approval takes: how many of the worst pictures whoever decides has to open, and whether a version is approved without anybody
# ("never", or "when it passes": its verdict against the approved version is a pass, and every guard rail is clear).
[approval]
# worst_cells = 4
# automatic = "never"

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


class WatchRootConfig(_Section):
    """A folder outside the film that is watched for an asset.

    Attributes:
        asset: Whose references its pictures become.
        path: The folder, absolute or relative to the film.
        mode: How it is watched.
    """

    asset: str
    path: str
    mode: Literal["auto", "events", "polling"] = "auto"


class WatchConfig(_Section):
    """How folders are watched.

    Attributes:
        mode: ``events`` from the system, ``polling``, or ``auto``: polling on network filesystems.
        settle_seconds: How long size and time of a file must stay the same before it is read.
        network_settle_seconds: The same on network filesystems.
        scan_minutes: Between two full looks at every folder, whatever events said.
        poll_seconds: Between two looks at a folder that is polled.
        min_side: Pictures with a shorter side below this, in pixels, wait for a decision.
        near_duplicates: ``take`` them, or ``ask``: they wait for a decision.
        roots: Further folders.
    """

    mode: Literal["auto", "events", "polling"] = "auto"
    settle_seconds: float = Field(default=2.0, ge=0.05)
    network_settle_seconds: float = Field(default=10.0, ge=0.05)
    scan_minutes: float = Field(default=5.0, gt=0.0)
    poll_seconds: float = Field(default=5.0, ge=0.05)
    min_side: int = Field(default=0, ge=0)
    near_duplicates: Literal["take", "ask"] = "take"
    roots: tuple[WatchRootConfig, ...] = ()


class RetrainOverride(_Section):
    """What is different for one asset; see :class:`RetrainConfig`."""

    mode: Literal["off", "ask", "auto"] | None = None
    quiet_minutes: float | None = Field(default=None, ge=0.0)
    min_references: int | None = Field(default=None, ge=1)
    min_new: int | None = Field(default=None, ge=0)
    min_changed: int | None = Field(default=None, ge=0)
    min_removed: int | None = Field(default=None, ge=0)
    cooldown_minutes: float | None = Field(default=None, ge=0.0)
    hours: str | None = None
    require_rights: bool | None = None
    warm_start: bool | None = None
    recipe: str | None = None
    then: tuple[Literal["render", "compare"], ...] | None = None


class RetrainConfig(_Section):
    """When an asset is trained again.

    Attributes:
        mode: ``off``: never by itself; ``ask``: a person says yes; ``auto``: by itself.
        quiet_minutes: How long nothing may have changed.
        min_references: Fewest references to train on at all.
        min_new: Fewest new pictures that are a reason; pictures that look like others count once. 0 makes new pictures no reason.
        min_changed: Fewest changed ones (caption, crop, mask, repeats, split); 0 makes changes no reason.
        min_removed: Fewest removed ones; 0 makes removals no reason.
        cooldown_minutes: From the end of a run to the next one of the asset.
        hours: Hours of the day, local time, such as ``20:00-08:00`` or ``12:00-13:00, 20:00-08:00``; empty is always.
        require_rights: References without a word about rights keep it from training.
        warm_start: Go on from the newest version instead of from scratch.
        recipe: Preset of automatic runs; empty is the asset's own.
        then: What follows a run.
        assets: What is different for single assets, by name.
    """

    mode: Literal["off", "ask", "auto"] = "ask"
    quiet_minutes: float = Field(default=10.0, ge=0.0)
    min_references: int = Field(default=5, ge=1)
    min_new: int = Field(default=3, ge=0)
    min_changed: int = Field(default=3, ge=0)
    min_removed: int = Field(default=1, ge=0)
    cooldown_minutes: float = Field(default=60.0, ge=0.0)
    hours: str = ""
    require_rights: bool = False
    warm_start: bool = False
    recipe: str = ""
    then: tuple[Literal["render", "compare"], ...] = ("render", "compare")
    assets: dict[str, RetrainOverride] = Field(default_factory=dict)

    def of(self, asset: str) -> "RetrainConfig":
        """What counts for one asset."""
        own = self.assets.get(asset)
        return self.model_copy(update=own.model_dump(exclude_none=True)) if own else self


class BudgetConfig(_Section):
    """What automatic runs of the film may cost; ``None`` is no limit.

    Attributes:
        runs_per_day: Runs in a calendar day, local time.
        hours_per_day: Hours of running in a calendar day.
        runs_per_film: Runs, ever.
        hours_per_film: Hours, ever.
    """

    runs_per_day: int | None = Field(default=None, ge=0)
    hours_per_day: float | None = Field(default=None, ge=0.0)
    runs_per_film: int | None = Field(default=None, ge=0)
    hours_per_film: float | None = Field(default=None, ge=0.0)


class QueueConfig(_Section):
    """How the queue treats this machine.

    Attributes:
        min_free_gb: Free space, in GB of 10^9 bytes, below which no job starts; at half of it, running ones save and stop.
        stuck_minutes: A job that says nothing for so long is ended and tried again; 0 waits for ever.
    """

    min_free_gb: float = Field(default=2.0, ge=0.0)
    stuck_minutes: float = Field(default=60.0, ge=0.0)


class RegressionConfig(_Section):
    """How versions are judged.

    Attributes:
        extend: Render the suite's reserve of prompts when a verdict is inconclusive.
        max_renders: Pictures of one version beyond which the reserve stays unused, however open the verdict is.
        metric_params: Parameters of metrics that differ from their defaults, by name of the metric; the setting ``metric_params`` of an asset goes before them.
    """

    extend: bool = True
    max_renders: int = Field(default=400, ge=1)
    metric_params: dict[str, dict[str, Any]] = Field(default_factory=dict)


class ApprovalConfig(_Section):
    """What an approval takes. It is the film's own word: no setting of a user or of the environment changes it.

    Attributes:
        worst_cells: How many of the worst cells of a comparison whoever decides has to open.
        automatic: ``never``, or ``when it passes``; see :mod:`assetforge.services.auto_approval`.
    """

    worst_cells: int = Field(default=4, ge=1)
    automatic: Literal["never", "when it passes"] = "never"


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
        watch: How folders are watched.
        retrain: When assets are trained again.
        budget: What automatic runs may cost.
        queue: How the queue treats this machine.
        regression: How versions are judged.
        approval: What an approval takes.
        plugins: Required plugins.
    """

    name: str
    title: str = ""
    defaults: ProjectDefaults = ProjectDefaults()
    ingest: IngestConfig = IngestConfig()
    gc: GcConfig = GcConfig()
    watch: WatchConfig = WatchConfig()
    retrain: RetrainConfig = RetrainConfig()
    budget: BudgetConfig = BudgetConfig()
    queue: QueueConfig = QueueConfig()
    regression: RegressionConfig = RegressionConfig()
    approval: ApprovalConfig = ApprovalConfig()
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
    return checked_config(read_text(path), path)


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
    checked_config(text, path)
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
    folder = path.parent / ".assetforge"
    return change_values(
        path,
        {tuple(key.split(".")): value},
        lambda text: checked_config(text, path),
        lock=(folder if folder.is_dir() else path.parent) / "config.lock",
    )


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
        if location == ["notify"]:
            return ConfigError(
                f"{path}: notifications cannot be set in a film{more}: whoever opens it would run its commands.",
                hint=f"Move [notify] to your own settings, {user_config_file()}.",
            )
        if location == ["tui"]:
            return ConfigError(
                f"{path}: how the terminal program looks is each user's own choice, and not the film's{more}.",
                hint=f"Move [tui] to your own settings, {user_config_file()}.",
            )
        if location == ["approval"]:
            return ConfigError(
                f"{path}: what an approval takes is the word of a film and not of a user{more}.",
                hint="Write [approval] into the project.toml of the film.",
            )
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


def checked_config(text: str, path: Path) -> ProjectConfig:
    """What the text of a ``project.toml`` says.

    Raises:
        ConfigError: It is no TOML, or holds an unknown key or a wrong value; the message names file and key.
    """
    try:
        return ProjectConfig.model_validate(parse_toml(text, path))
    except ValidationError as error:
        raise config_error(path, ProjectConfig, error) from error
