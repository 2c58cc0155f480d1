"""Settings one by one: what each is, where its value comes from, and changing it in the film's ``project.toml`` or the user's ``config.toml``.

    set_setting("retrain.quiet_minutes", "20 min", "film", project).sentence
    'retrain.quiet_minutes is 20 min now, was 10 min, in /films/night-harbour/project.toml.'

Nothing is written that the models of :mod:`assetforge.config` and :mod:`assetforge.services.project_config` would not read again, and comments in the files stay.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError, create_model
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from assetforge.config import UserConfig
from assetforge.domain.form_field import FormCheck, FormField
from assetforge.errors import ConfigError, NotFoundError, UsageError
from assetforge.paths import ProjectPaths, user_config_file
from assetforge.services.param_fields import checker_of, described, sentences
from assetforge.services.project_config import ProjectConfig, checked_config, config_error
from assetforge.services.projects import Project
from assetforge.services.settings_schema import (
    FILM_SECTION,
    HIDDEN,
    SettingSlot,
    Where,
    entry_field,
    find_slot,
    read_setting,
    setting_slots,
)
from assetforge.services.toml_file import MISSING, change_values, parse_toml, read_text, value_at

__all__ = [
    "FILM_SECTION",
    "Film",
    "SettingChange",
    "SettingInfo",
    "SettingsFile",
    "Where",
    "change_settings",
    "describe_settings",
    "find_setting",
    "section_checker",
    "set_setting",
    "settings_files",
    "unset_setting",
]

Film = Project | ProjectPaths
"""An opened film, or just its folder: settings can be mended where nothing else of a film works."""

_PREFIX = "ASSETFORGE_"
_NEW_FILE = "# Your own settings of assetforge, for all films. `assetforge settings list` shows what there is.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingInfo:
    """One setting.

    Attributes:
        key: Dotted key, such as ``retrain.quiet_minutes``.
        section: Its section; :data:`FILM_SECTION` outside all of them.
        section_title: What people call the section.
        section_help: What the section is about.
        field: Its title, help, kind, choices, default and range; named like the last part of the key.
        value: What counts now; of a secret only whether there is one.
        source: Where that comes from.
        variable: The variable of the environment that says it, or could.
        film_value: What the film's file says; ``None`` when nothing.
        user_value: What the user's file says; ``None`` when nothing.
        places: Where it may be written.
        problem: What is wrong with what stands in a file or in the environment; empty otherwise.
    """

    key: str
    section: str
    section_title: str
    section_help: str
    field: FormField
    value: Any
    source: Literal["default", "user", "film", "environment"]
    variable: str
    film_value: Any
    user_value: Any
    places: tuple[Where, ...]
    problem: str = ""

    @property
    def title(self) -> str:
        """What people read."""
        return self.field.title

    @property
    def description(self) -> str:
        """A sentence or two."""
        return self.field.help

    @property
    def kind(self) -> str:
        """What it holds; see :data:`assetforge.domain.form_field.FieldKind`."""
        return self.field.kind

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values it may have, where they can be counted."""
        return self.field.choices

    @property
    def default(self) -> Any:
        """What counts when nobody says otherwise."""
        return self.field.default


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """A file of settings.

    Attributes:
        where: Whose it is.
        path: The file.
        exists: Whether it is there.
        problems: What is wrong in it, one sentence each.
    """

    where: Where
    path: Path
    exists: bool
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingChange:
    """What a change did.

    Attributes:
        key: The setting.
        where: Whose file was written.
        path: The file.
        before: What the file said; ``None`` when nothing.
        after: What it says now; ``None`` when nothing.
        sentence: The same for people, with a word when something stronger keeps it from counting.
    """

    key: str
    where: Where
    path: Path
    before: Any
    after: Any
    sentence: str


@dataclass(frozen=True, slots=True)
class _Layer:
    """What one source says, weakest first in a list of them."""

    source: Literal["user", "film", "environment"]
    values: Mapping[str, Any]


def describe_settings(project: Film | None = None) -> list[SettingInfo]:
    """Every setting, section by section; what is wrong in a file is told with the setting it concerns, and nothing is raised.

    Args:
        project: The film; ``None`` leaves out what only films have.
    """
    layers = [_Layer("user", _raw("user", project)[0])]
    if project is not None:
        layers.append(_Layer("film", _raw("film", project)[0]))
    layers.append(_Layer("environment", _environment()[0]))
    return [_info(slot, layers) for slot in setting_slots() if project is not None or "user" in slot.places]


def find_setting(key: str, infos: Sequence[SettingInfo]) -> SettingInfo:
    """One of the settings that :func:`describe_settings` gave.

    Raises:
        NotFoundError: There is none of that key, or only films have it and none is open.
    """
    slot, _ = find_slot(key)
    for info in infos:
        if info.key == slot.key:
            return info
    raise NotFoundError(f"Only films have the setting {key!r}, and none is open.", hint="Name one with --project.")


def settings_files(project: Film | None = None) -> list[SettingsFile]:
    """The files that settings are read from, with what is wrong in them, and at last the environment's faults with those of the user's file.

    Args:
        project: The film, if one is open.
    """
    places: tuple[Where, ...] = ("user",) if project is None else ("film", "user")
    files = []
    for where in places:
        path = _path(where, project)
        _, problems = _raw(where, project)
        extra = _environment()[1] if where == "user" else ()
        files.append(SettingsFile(where, path, path.exists(), (*problems, *extra)))
    return files


def section_checker(section: str) -> Callable[[Mapping[str, Any]], FormCheck]:
    """A function that says what is wrong with the values of a section, by name.

    Raises:
        NotFoundError: There is no such section.
    """
    models = {slot.section: slot.model for slot in setting_slots()}
    if section not in models:
        raise NotFoundError(f"There is no section {section!r} of settings.", hint=f"There are {', '.join(models)}.")
    check = checker_of(models[section])
    if section != FILM_SECTION:
        return check
    return lambda values: check({"name": "film", **values})


def set_setting(
    key: str, value: Any, where: Where | Literal[""] = "", project: Film | None = None, *, expected: Any = MISSING
) -> SettingChange:
    """Change one setting.

    Args:
        key: Dotted key; entries of tables too, such as ``defaults.recipe.character`` or ``retrain.assets.mara.mode``.
        value: The value, or how people write it, such as ``"20 min"``, ``"yes"`` or ``"render, compare"``; ``None`` is :func:`unset_setting`.
        where: Whose file; empty is the film's where there is a film that may say it, else the user's.
        project: The film.
        expected: What the file said when whoever decided looked (``None``: nothing); by default whatever it says now.

    Raises:
        NotFoundError: There is no such setting.
        UsageError: The value does not fit, or does not belong into that file; nothing is written.
        ConfigError: The file is broken; it is untouched.
        BusyError: The file was changed meanwhile; it is untouched.
        StorageError: The file cannot be written.
    """
    seen = None if expected is MISSING else {key: expected}
    return change_settings({key: value}, where, project, expected=seen)[0]


def unset_setting(
    key: str, where: Where | Literal[""] = "", project: Film | None = None, *, expected: Any = MISSING
) -> SettingChange:
    """Remove a setting from a file, so that a weaker source or the default counts; see :func:`set_setting`."""
    return set_setting(key, None, where, project, expected=expected)


def change_settings(
    changes: Mapping[str, Any],
    where: Where | Literal[""] = "",
    project: Film | None = None,
    *,
    expected: Mapping[str, Any] | None = None,
) -> list[SettingChange]:
    """Change several settings of one file in one step, or none; see :func:`set_setting`.

    Args:
        changes: Values by key; ``None`` removes.
        where: Whose file; empty is decided by the first key.
        project: The film.
        expected: What the file said at keys when whoever decided looked.
    """
    slots = {key: find_slot(key) for key in changes}
    place = where or _usual_place(next(iter(slots.values()))[0], project)
    for slot, _ in slots.values():
        _may_be_written(slot, place, project)
    read = {key: _checked_value(key, *slots[key], value) for key, value in changes.items()}
    path = _path(place, project)
    raw, _ = _raw(place, project)
    paths = {key: _in_file(raw, slot, rest) for key, (slot, rest) in slots.items()}
    wanted = {paths[key]: value for key, value in read.items()}
    seen = {paths[key]: MISSING if value is None else value for key, value in (expected or {}).items() if key in paths}
    before = {key: _known(value_at(raw, paths[key])) for key in changes}
    if place == "user":
        _make_folder(path)
    change_values(
        path,
        wanted,
        lambda text: _checked(text, path, place),
        lock=_lock(place, path),
        expected=seen,
        new=_NEW_FILE if place == "user" else None,
    )
    infos = {info.key: info for info in describe_settings(project)}
    return [
        SettingChange(
            key=key,
            where=place,
            path=path,
            before=_public(slots[key][0], before[key]),
            after=_public(slots[key][0], wanted[paths[key]]),
            sentence=_sentence(key, before[key], wanted[paths[key]], path, place, infos.get(slots[key][0].key)),
        )
        for key in changes
    ]


def _in_file(raw: Mapping[str, Any], slot: SettingSlot, rest: tuple[str, ...]) -> tuple[str, ...]:
    """Where a file has it: ``film.train = "t"`` below ``[tui.keys]`` is a table in TOML."""
    nested = tuple(part for one in rest for part in one.split("."))
    return (*slot.parts, *(rest if value_at(raw, (*slot.parts, *nested)) is MISSING else nested))


def _usual_place(slot: SettingSlot, project: Film | None) -> Where:
    return "film" if "film" in slot.places and (project is not None or slot.places == ("film",)) else "user"


def _may_be_written(slot: SettingSlot, place: Where, project: Film | None) -> None:
    if place not in slot.places:
        whose = "the film's own" if slot.places == ("film",) else "each user's own"
        raise UsageError(
            f"The setting {slot.key!r} is {whose} and cannot stand in the file of the {place}.",
            hint=f"Write it with --where {slot.places[0]}.",
        )
    if place == "film" and project is None:
        raise UsageError(
            f"No film is open for the setting {slot.key!r}.", hint="Name one with --project, or write it for the user."
        )


def _checked_value(key: str, slot: SettingSlot, rest: tuple[str, ...], value: Any) -> Any:
    """What is to be written for a key.

    Raises:
        UsageError: It does not fit.
    """
    read = None if value is None else read_setting(key, slot, rest, value)
    if read is None:
        return None
    if not rest:
        wrong = _understood(slot, read)[1]
        if wrong:
            raise UsageError(f"The setting {key} cannot be {wrong}", hint=slot.field.help)
    # Whole numbers stay whole in the file.
    return int(read) if isinstance(read, float) and read.is_integer() else read


def _path(where: Where, project: Film | None) -> Path:
    if where == "user":
        return user_config_file()
    if project is None:
        raise UsageError("No film is open.", hint="Name one with --project.")
    return project.config if isinstance(project, ProjectPaths) else project.paths.config


def _lock(where: Where, path: Path) -> Path:
    private = path.parent / ".assetforge"
    return (private if where == "film" and private.is_dir() else path.parent) / "config.lock"


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path.parent} cannot be made: {error.strerror}.", hint="Check its permissions.") from error


def _checked(text: str, path: Path, where: Where) -> None:
    if where == "film":
        checked_config(text, path)
        return
    try:
        UserConfig.model_validate(parse_toml(text, path))
    except ValidationError as error:
        raise config_error(path, UserConfig, error) from error


def _raw(where: Where, project: Film | None) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What a file says as it stands, and what is wrong with it as a whole: unreadable, no TOML, or unknown keys."""
    path = _path(where, project)
    if where == "user" and not path.exists():
        return {}, ()
    try:
        text = read_text(path)
        values = parse_toml(text, path)
    except ConfigError as error:
        return {}, (str(error),)
    try:
        _checked(text, path, where)
    except ConfigError as error:
        return values, (str(error),)
    return values, ()


def _environment() -> tuple[dict[str, Any], tuple[str, ...]]:
    """What variables say. One that cannot even be taken apart leaves all out."""
    try:
        return EnvSettingsSource(_environment_model())(), ()
    except SettingsError as error:
        return {}, (f"A variable {_PREFIX}... cannot be read: {error}. Lists and tables are written as JSON.",)


@cache
def _environment_model() -> type[BaseSettings]:
    """All sections of the user's file, read from variables by the rules of :class:`assetforge.config.Settings`."""
    sections: dict[str, Any] = {name: (info.annotation, info.default) for name, info in UserConfig.model_fields.items()}
    return create_model("_Variables", __base__=_Variables, **sections)


class _Variables(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=_PREFIX, env_nested_delimiter="__", extra="ignore")


def _info(slot: SettingSlot, layers: Sequence[_Layer]) -> SettingInfo:
    field = slot.field
    value: Any = field.default
    source: Any = "default"
    said: dict[str, Any] = {}
    problem = ""
    for layer in layers:
        raw = value_at(layer.values, slot.parts)
        if raw is MISSING or raw == {} or (layer.source not in slot.places and layer.source != "environment"):
            continue
        said[layer.source] = raw
        one, wrong = _understood(slot, raw)
        if wrong:
            problem = f"It cannot be {wrong}"
            continue
        value = _laid_over(value, one) if isinstance(one, Mapping) and isinstance(value, Mapping) else one
        source = layer.source
    about = described(slot.model).get("", "") if slot.section != FILM_SECTION else "What the film is called."
    return SettingInfo(
        key=slot.key,
        section=slot.section,
        section_title=slot.section_title,
        section_help=about,
        field=field,
        value=_public(slot, value),
        source=source,
        variable=slot.variable,
        film_value=_public(slot, said.get("film")),
        user_value=_public(slot, said.get("user")),
        places=slot.places,
        problem=problem,
    )


def _understood(slot: SettingSlot, raw: Any) -> tuple[Any, str]:
    """A value as the model takes it, and what is wrong with it."""
    given = {slot.name: raw}
    if slot.model is ProjectConfig and slot.name != "name":
        given["name"] = "film"
    try:
        checked = slot.model.model_validate(given)
    except ValidationError as error:
        found = sentences(error)
        reason = found.get(slot.name) or found.get("", "cannot be used")
        shown = HIDDEN if slot.field.kind == "secret" else repr(raw)
        return None, f"{shown}: {f'it {reason}' if reason.startswith('must') else reason}."
    if slot.field.kind == "secret":
        return raw, ""
    return checked.model_dump(mode="json", exclude_unset=True)[slot.name], ""


def _laid_over(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(lower)
    for name, value in upper.items():
        below = merged.get(name)
        merged[name] = _laid_over(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def _known(value: Any) -> Any:
    return None if value is MISSING else value


def _public(slot: SettingSlot, value: Any) -> Any:
    return HIDDEN if slot.field.kind == "secret" and value else value


def _sentence(key: str, before: Any, after: Any, path: Path, place: Where, info: SettingInfo | None) -> str:
    """What changed, for people."""
    slot, rest = find_slot(key)
    field = slot.field if not rest else entry_field(slot, rest)

    def shown(value: Any) -> str:
        if field.kind == "secret":
            return HIDDEN
        unit = f" {field.unit}" if field.numeric and field.unit else ""
        return f"{field.show(value)}{unit}" if field.show(value) else "empty"

    if after is None:
        if before is None:
            return f"{key} was not set in {path}."
        now = f"; {_short(info)} counts now" if info is not None and not rest else ""
        return f"{key} is no longer set in {path}{now}."
    was = f", was {shown(before)}" if before is not None and not field.same(before, after) else ""
    text = f"{key} is {shown(after)} now{was}, in {path}."
    if info is not None and info.source not in (place, "default") and not rest:
        stronger = info.variable if info.source == "environment" else f"the {info.source}"
        text += f" Here {stronger} says {_short(info)}, which goes before it."
    return text


def _short(info: SettingInfo) -> str:
    shown = HIDDEN if info.field.kind == "secret" and info.value else info.field.show(info.value) or "nothing"
    return f"{shown} {info.field.unit}".strip() if info.field.numeric and info.value is not None else shown
