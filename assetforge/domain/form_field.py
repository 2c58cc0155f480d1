"""One field of a form: what it is called, which values it takes, and how a value is written and read.

Standard library only, so that forms need none of what the fields were made from; :mod:`assetforge.services.param_fields` makes them.
"""

import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["FieldKind", "FormCheck", "FormField"]

FieldKind = Literal["bool", "int", "float", "text", "choice", "list", "duration", "table", "secret"]

_YES, _NO = {"yes", "true", "on", "1", "y"}, {"no", "false", "off", "0", "n"}
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "days": 86400.0}
_DURATION = re.compile(r"(?P<count>\d+(?:[.,]\d+)?)\s*(?P<unit>[a-z]*)", re.IGNORECASE)
_UNITS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), "s"),
    **dict.fromkeys(("m", "min", "minute", "minutes"), "min"),
    **dict.fromkeys(("h", "hour", "hours"), "h"),
    **dict.fromkeys(("d", "day", "days"), "days"),
}


@dataclass(frozen=True, slots=True)
class FormCheck:
    """What is wrong with the values of a whole form.

    Attributes:
        errors: Sentences by field; what concerns no single one stands under the empty name.
        idle: Fields that have no say now.
    """

    errors: Mapping[str, str] = field(default_factory=dict)
    idle: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class FormField:
    """One field.

    Attributes:
        name: Its key.
        title: What people read.
        help: A sentence or two.
        kind: What it holds; ``duration`` is a number of ``unit``, ``table`` and entries of it are written as TOML, ``secret`` is never shown.
        default: What counts when nobody says otherwise.
        choices: Values of a ``choice``, and those that a ``list`` may hold where it may not hold others.
        item: What a ``list`` holds.
        minimum: Smallest number.
        maximum: Largest number.
        open_minimum: The smallest number is not allowed itself.
        open_maximum: The largest is not.
        unit: What a number counts.
        group: Heading.
        advanced: Hidden until somebody asks for everything.
        optional: May be left empty, which is ``None``.
        required: Has no default.
        affects_result: False for what changes how something runs and never what comes out.
    """

    name: str
    title: str
    help: str = ""
    kind: FieldKind = "text"
    default: Any = None
    choices: tuple[Any, ...] = ()
    item: Literal["int", "float", "text"] = "text"
    minimum: float | None = None
    maximum: float | None = None
    open_minimum: bool = False
    open_maximum: bool = False
    unit: str = ""
    group: str = ""
    advanced: bool = False
    optional: bool = False
    required: bool = False
    affects_result: bool = True

    @property
    def numeric(self) -> bool:
        """Whether it holds a number."""
        return self.kind in ("int", "float", "duration")

    @property
    def range(self) -> str:
        """Which numbers it takes, such as ``1 to 256``; empty for everything else."""
        low = None if self.minimum is None else _number(self.minimum)
        high = None if self.maximum is None else _number(self.maximum)
        if low is None:
            return "" if high is None else f"{'below' if self.open_maximum else 'at most'} {high}"
        if high is None:
            return f"{'above' if self.open_minimum else 'from'} {low}"
        return f"{'above ' if self.open_minimum else ''}{low} to {'below ' if self.open_maximum else ''}{high}"

    def show(self, value: Any) -> str:
        """A value as people read and write it; :meth:`read` takes it back."""
        if value is None:
            return ""
        if self.kind == "bool":
            return "yes" if value else "no"
        if self.numeric and isinstance(value, int | float) and not isinstance(value, bool):
            return _number(value)
        if self.kind == "list" and isinstance(value, Sequence) and not isinstance(value, str):
            parts = [_number(one) if isinstance(one, int | float) else str(one) for one in value]
            return ", ".join(parts) if _simple(parts) else _toml(value)
        if self.kind == "table":
            return _toml(value)
        return str(value)

    def read(self, text: str) -> Any:
        """A value from what people wrote.

        Raises:
            ValueError: It does not fit; the message says what would, such as ``must be 1 to 256``.
        """
        words = text.strip()
        if not words and self.optional:
            return None
        match self.kind:
            case "bool":
                return _bool(words)
            case "int" | "float" | "duration":
                return self._in_range(self._number(words))
            case "choice":
                return self._choice(words)
            case "list":
                return self._list(words)
            case "table":
                return _table(words)
        return text

    def same(self, one: Any, other: Any) -> bool:
        """Whether two values are one and the same for this field."""
        if self.kind == "list":
            return list(one or ()) == list(other or ())
        if self.kind == "table":
            return (one or None) == (other or None)
        return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)

    def _number(self, words: str) -> int | float:
        if self.kind == "duration":
            return _duration(words, self.unit)
        try:
            plain = words.replace("_", "").replace(" ", "")
            if self.kind == "int":
                number = float(plain)
                if number != int(number):
                    raise ValueError
                return int(plain) if plain.lstrip("+-").isdigit() else int(number)
            return float(plain)
        except (ValueError, OverflowError):
            raise ValueError("must be a whole number" if self.kind == "int" else "must be a number") from None

    def _in_range(self, value: float) -> int | float:
        low, high = self.minimum, self.maximum
        below = low is not None and (value <= low if self.open_minimum else value < low)
        above = high is not None and (value >= high if self.open_maximum else value > high)
        if not math.isfinite(value):
            raise ValueError("must be a number")
        if below or above:
            raise ValueError(f"must be {self.range.replace('from', 'at least')}")
        return value

    def _choice(self, words: str) -> Any:
        for choice in self.choices:
            if str(choice) == words:
                return choice
        raise ValueError(f"must be {_either(self.choices)}")

    def _list(self, words: str) -> list[Any]:
        parts = _table(words) if words.startswith("[") else [part.strip() for part in words.split(",") if part.strip()]
        if not isinstance(parts, list):
            raise ValueError("must be a list, such as: one, two")  # noqa: TRY004 - what was written, not its type
        if self.item != "text":
            one = FormField(name=self.name, title=self.title, kind=self.item)
            return [one.read(str(part)) for part in parts]
        known = [str(choice) for choice in self.choices]
        for part in parts:
            if known and part not in known:
                raise ValueError(f"cannot hold {part!r}; it may hold {', '.join(known)}")
        return parts


def _bool(words: str) -> bool:
    if words.lower() in _YES | _NO:
        return words.lower() in _YES
    raise ValueError("must be yes or no")


def _duration(words: str, unit: str) -> int | float:
    """``90``, ``90 s`` or ``1 h 30 min`` in units of ``unit``."""
    total, end = 0.0, 0
    for match in _DURATION.finditer(words):
        named = _UNITS.get(match["unit"].lower(), "") if match["unit"] else unit
        if words[end : match.start()].strip() or not named:
            break
        total += float(match["count"].replace(",", ".")) * _SECONDS.get(named, 1.0)
        end = match.end()
    if not words or words[end:].strip():
        raise ValueError(f"must be a length of time, such as 10 {unit or 's'}")
    amount = round(total / _SECONDS.get(unit, 1.0), 9)
    return int(amount) if amount.is_integer() else amount


def _table(words: str) -> Any:
    """A value in TOML's own notation; nothing is an empty table."""
    if not words:
        return {}
    try:
        return tomllib.loads(f"value = {words}\n")["value"]
    except tomllib.TOMLDecodeError:
        raise ValueError('must be written as TOML, such as { name = "value" }') from None


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(name)} = {_toml(one)}" for name, one in value.items() if one is not None)
        return f"{{ {inner} }}" if inner else ""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(_toml(one) for one in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _number(value) if isinstance(value, int | float) else _quoted(str(value))


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _quoted(name)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in escaped) + '"'


def _simple(parts: Sequence[str]) -> bool:
    return all(part and part == part.strip() and "," not in part and part.isprintable() for part in parts) and not (
        parts and parts[0].startswith("[")
    )


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.12g}"


def _either(choices: Sequence[Any]) -> str:
    *first, last = (str(choice) for choice in choices)
    return f"{', '.join(first)} or {last}" if first else last
