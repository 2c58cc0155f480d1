"""How the terminal program shall look, read before its first frame: ``[tui]`` of the user's ``config.toml``, under the environment.

Standard library and :mod:`assetforge.paths` only. :class:`assetforge.config.TuiConfig` is the same in full, with every value checked; a test holds them together.
"""

import json
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from assetforge.paths import user_config_file

__all__ = ["IMAGES", "Preferences", "read_preferences"]

IMAGES = ("auto", "tgp", "sixel", "halfcell", "off")
"""How pictures can be drawn."""

_PREFIX = "ASSETFORGE_TUI__"
_TRUE, _FALSE = {"1", "true", "yes", "on", "t", "y"}, {"0", "false", "no", "off", "f", "n"}


@dataclass(frozen=True, slots=True)
class Preferences:
    """What the user wants of the terminal program.

    Attributes:
        theme: Name of a theme, which need not exist.
        images: How pictures are drawn, one of :data:`IMAGES`.
        motion: Let things move where something really moves.
        gallery: Show assets as pictures at first.
        keys: Other keys by the name of an action, several with commas between them.
        jump_keys: Keys of jump mode, the handiest first.
        problem: What could not be used, as a sentence for people; the default stands in its place.
    """

    theme: str = "safelight"
    images: str = "auto"
    motion: bool = True
    gallery: bool = True
    keys: Mapping[str, str] = field(default_factory=dict)
    jump_keys: str = "asdfghjklqwertyuiopzxcvbnm"
    problem: str = ""


def read_preferences() -> Preferences:
    """What the user wants now; whatever is wrong is told in ``problem``, and nothing is raised."""
    path = user_config_file()
    problems: list[str] = []
    values = _from_environment(problems)
    try:
        section = tomllib.loads(path.read_text(encoding="utf-8")).get("tui", {})
    except FileNotFoundError:
        section = {}
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        problems.append(f"{path} cannot be read: {reason}.")
        section = {}
    if not isinstance(section, dict):
        problems.append(f"{path}: tui is no section.")
        section = {}
    for name, value in section.items():
        if name not in _READERS:
            problems.append(f"{path}: there is no setting 'tui.{name}'.")
            continue
        try:
            read = _READERS[name](value)
        except ValueError as error:
            problems.append(f"{path}: 'tui.{name}' cannot be {value!r}: {error}.")
            continue
        if name == "keys":
            read |= values.get("keys", {})
            values["keys"] = read
        else:
            values.setdefault(name, read)
    return Preferences(**values, problem=" ".join(problems))


def _from_environment(problems: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for variable, text in os.environ.items():
        name = variable.upper().removeprefix(_PREFIX).lower()
        if not variable.upper().startswith(_PREFIX) or name not in _READERS:
            continue
        try:
            values[name] = _READERS[name](json.loads(text) if name == "keys" else text)
        except ValueError as error:
            problems.append(f"The variable {variable} cannot be {text!r}: {error}.")
    return values


def _bool(value: object) -> bool:
    text = str(value).lower() if isinstance(value, bool | int | float | str) else ""
    if text in _TRUE | _FALSE:
        return text in _TRUE
    raise ValueError("it must be true or false")


def _text(value: object) -> str:
    if isinstance(value, str) and value:
        return value
    raise ValueError("it must be text")


def _images(value: object) -> str:
    if isinstance(value, str) and value in IMAGES:
        return value
    raise ValueError(f"it must be one of {', '.join(IMAGES)}")


def _jump_keys(value: object) -> str:
    if isinstance(value, str) and value.isalnum() and 2 <= len(value) == len(set(value)):
        return value
    raise ValueError("it must be at least two letters or digits, each of them once")


def _keys(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError("it must be a section of keys by action")  # noqa: TRY004 - what a file says, not a type of ours
    flat: dict[str, str] = {}
    for name, one in value.items():
        # `film.train = "t"` without quotes is a table in TOML; here it is one name.
        if isinstance(one, dict):
            flat |= {f"{name}.{rest}": keys for rest, keys in _keys(one).items()}
        elif isinstance(one, str):
            flat[name] = one
        else:
            raise ValueError('keys are text, such as "t,f5"')  # noqa: TRY004
    return flat


_READERS: dict[str, Callable[[object], Any]] = {
    "theme": _text,
    "images": _images,
    "motion": _bool,
    "gallery": _bool,
    "keys": _keys,
    "jump_keys": _jump_keys,
}
