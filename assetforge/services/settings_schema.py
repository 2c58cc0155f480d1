"""Which settings there are: one slot per field of the models of the film's and of the user's file, found by dotted key."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from assetforge.config import UserConfig
from assetforge.domain.form_field import FormField
from assetforge.errors import NotFoundError, UsageError
from assetforge.services.param_fields import described, field_of
from assetforge.services.project_config import ProjectConfig

__all__ = [
    "FILM_SECTION",
    "HIDDEN",
    "SettingSlot",
    "Where",
    "entry_field",
    "find_slot",
    "read_setting",
    "setting_slots",
]

Where = Literal["film", "user"]

FILM_SECTION = "film"
"""What the settings outside all sections are called together; their keys have no dot."""

HIDDEN = "••••••••"
"""Stands for a secret."""

_PREFIX = "ASSETFORGE_"
_TITLES = {
    FILM_SECTION: "Film",
    "defaults": "Defaults",
    "ingest": "Taking in files",
    "gc": "Cleaning up",
    "watch": "Watching folders",
    "retrain": "Training again",
    "budget": "Budget",
    "queue": "Queue",
    "regression": "Judging versions",
    "approval": "Approval",
    "plugins": "Plugins",
    "notify": "Notifications",
    "tui": "This program",
}


@dataclass(frozen=True, slots=True)
class SettingSlot:
    """A setting in the models.

    Attributes:
        section: Its section; :data:`FILM_SECTION` outside all of them.
        name: Its name there.
        model: The model of the section.
        places: Whose files may say it.
    """

    section: str
    name: str
    model: type[BaseModel]
    places: tuple[Where, ...]

    @property
    def parts(self) -> tuple[str, ...]:
        """Its key, taken apart."""
        return (self.name,) if self.section == FILM_SECTION else (self.section, self.name)

    @property
    def key(self) -> str:
        """Its dotted key."""
        return ".".join(self.parts)

    @property
    def variable(self) -> str:
        """The variable of the environment that can say it; empty for what only a film says."""
        return _PREFIX + "__".join(self.parts).upper() if "user" in self.places else ""

    @property
    def section_title(self) -> str:
        """What people call the section."""
        return _TITLES.get(self.section, self.section)

    @property
    def field(self) -> FormField:
        """Title, help, kind, default and range."""
        return field_of(self.name, self.model.model_fields[self.name], help=described(self.model).get(self.name, ""))


@cache
def setting_slots() -> tuple[SettingSlot, ...]:
    """Every setting, section by section: those of films first, then what only users have."""
    film = _sections(ProjectConfig)
    user = _sections(UserConfig)
    slots = []
    for section in dict.fromkeys((*film, *user)):
        both: tuple[tuple[Where, bool], ...] = (("film", section in film), ("user", section in user))
        places: tuple[Where, ...] = tuple(place for place, known in both if known)
        model = film.get(section) or user[section]
        names = [name for name in model.model_fields if section != FILM_SECTION or name not in film]
        slots += [SettingSlot(section, name, model, places) for name in names]
    return tuple(slots)


def _sections(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    sections: dict[str, type[BaseModel]] = {}
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            sections[name] = info.annotation
        else:
            sections.setdefault(FILM_SECTION, model)
    return sections


def find_slot(key: str) -> tuple[SettingSlot, tuple[str, ...]]:
    """The setting that a key means, and what of the key lies within its value.

    Raises:
        NotFoundError: There is none.
    """
    known = {slot.key: slot for slot in setting_slots()}
    parts = key.split(".")
    for depth in (1, 2):
        slot = known.get(".".join(parts[:depth]))
        if slot is not None:
            rest = _inside(slot.model.model_fields[slot.name].annotation, parts[depth:])
            if rest is not None:
                return slot, rest
    close = difflib.get_close_matches(key, [*known, *(slot.section for slot in known.values())], n=1)
    hint = f"Did you mean {close[0]!r}?" if close else "`assetforge settings list` shows all."
    if any(slot.section == key for slot in known.values()):
        hint = f"{key!r} is a section; `assetforge settings list {key}` shows what is in it."
    raise NotFoundError(f"There is no setting {key!r}.", hint=hint)


def _inside(annotation: Any, parts: Sequence[str]) -> tuple[str, ...] | None:
    """The rest of a key within a value of that type, or ``None`` where there is nothing of the kind."""
    if not parts:
        return ()
    if get_origin(annotation) is dict:
        inner = get_args(annotation)[1]
        if inner is str:
            # Names of entries may have dots: those of actions do.
            return (".".join(parts),)
        below = _inside(inner, parts[1:])
        return None if below is None else (parts[0], *below)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and parts[0] in annotation.model_fields:
        below = _inside(annotation.model_fields[parts[0]].annotation, parts[1:])
        return None if below is None else (parts[0], *below)
    return (parts[0],) if annotation is Any and len(parts) == 1 else None


def read_setting(key: str, slot: SettingSlot, rest: tuple[str, ...], value: Any) -> Any:
    """What is to be written: text as people write it is read; see :meth:`FormField.read`.

    Raises:
        UsageError: It does not fit.
    """
    field = entry_field(slot, rest) if rest else slot.field
    if not isinstance(value, str):
        return value
    try:
        return field.read(value)
    except ValueError as error:
        if rest and field.kind == "table":
            # Parameters of plugins can be anything; what is no TOML is text.
            return value
        shown = HIDDEN if field.kind == "secret" else repr(value)
        raise UsageError(f"The setting {key} cannot be {shown}: it {error}.", hint=field.help) from error


def entry_field(slot: SettingSlot, rest: tuple[str, ...]) -> FormField:
    """An entry within the value of a setting, such as ``recipe`` of ``defaults.recipe.character``."""
    annotation: Any = slot.model.model_fields[slot.name].annotation
    for depth, part in enumerate(rest):
        if get_origin(annotation) is dict:
            annotation = get_args(annotation)[1]
        elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
            info = annotation.model_fields[part]
            if depth == len(rest) - 1:
                return field_of(part, info)
            annotation = info.annotation
    if annotation is str:
        return FormField(name=rest[-1], title=rest[-1])
    return FormField(name=rest[-1], title=rest[-1], kind="table")
