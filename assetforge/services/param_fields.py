"""Fields of forms, made from the parameters that plugins declare and from other pydantic models."""

import inspect
import re
import types
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from assetforge.domain.form_field import FieldKind, FormCheck, FormField

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic.fields import FieldInfo

__all__ = ["checker_of", "described", "field_of", "fields_of", "sentences"]

_DURATIONS = {
    **dict.fromkeys(("second", "seconds"), "s"),
    **dict.fromkeys(("minute", "minutes"), "min"),
    **dict.fromkeys(("hour", "hours"), "h"),
    **dict.fromkeys(("day", "days"), "days"),
}
_OTHER_UNITS = {"gb": "GB"}
_ACRONYMS = {"lr": "LR", "ema": "EMA", "snr": "SNR", "gpus": "GPUs", "cuda": "CUDA"}
_ROLE = re.compile(r":\w+:`~?(?:[\w.]+\.)?(\w+)`|``([^`]*)``")
_SEE = re.compile(r"[;,]? (see|read by) :mod:`[^`]*`(, and)?")
_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.*)$")


def fields_of(model: "type[BaseModel]") -> list[FormField]:
    """The fields of a params model, in the order in which it declares them."""
    about = described(model)
    return [field_of(name, info, help=about.get(name, "")) for name, info in model.model_fields.items()]


def field_of(name: str, info: "FieldInfo", *, help: str = "") -> FormField:
    """One field of a model.

    Args:
        name: Its name there.
        info: What pydantic knows of it.
        help: What it is, where the field itself does not say.
    """
    from pydantic_core import PydanticUndefined

    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    annotation, optional = _without_none(info.annotation)
    kind, choices, item = _kind_of(annotation)
    default = info.get_default(call_default_factory=True, validated_data={})
    unit = str(extra.get("unit") or "") or _unit_of(name)
    if kind in ("int", "float") and unit in _DURATIONS.values():
        kind = "duration"
    return FormField(
        name=name,
        title=_title(name),
        help=info.description or help,
        kind=kind,
        default=None if default is PydanticUndefined else _plain(default, kind),
        choices=choices,
        item=item,
        unit=unit if kind in ("int", "float", "duration", "list") else "",
        group=str(extra.get("group") or ""),
        advanced=bool(extra.get("advanced")),
        optional=optional,
        required=default is PydanticUndefined,
        affects_result=bool(extra.get("x-affects-result", True)),
        **_bounds(info),
    )


def checker_of(model: "type[BaseModel]") -> Callable[[Mapping[str, Any]], FormCheck]:
    """A function that says what is wrong with values of a model, and which of them have no say."""
    from pydantic import ValidationError

    from assetforge.api.params import Params, relevant

    def check(values: Mapping[str, Any]) -> FormCheck:
        known = {name: value for name, value in values.items() if name in model.model_fields}
        idle: frozenset[str] = frozenset()
        if issubclass(model, Params):
            idle = frozenset(model.model_fields) - relevant(model, known)
        try:
            model.model_validate(known)
        except ValidationError as error:
            return FormCheck(sentences(error), idle)
        return FormCheck(idle=idle)

    return check


def sentences(error: "ValidationError") -> dict[str, str]:
    """What pydantic found, the first thing of every field, such as ``must be less than 3``."""
    found: dict[str, str] = {}
    for one in error.errors(include_url=False, include_input=False):
        name = str(one["loc"][0]) if one["loc"] else ""
        reason = one["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ").rstrip(".")
        reason = re.sub(r"^Input should be (a valid )?", "must be ", reason).replace("Input should", "must")
        found.setdefault(name, "is needed" if one["type"] == "missing" else reason)
    return found


@cache
def described(model: "type[BaseModel]") -> dict[str, str]:
    """What the docstring of a model says about its attributes, as plain text; the first line of the docstring stands under the empty name."""
    lines = (inspect.getdoc(model) or "").splitlines()
    about = {"": lines[0] if lines else ""}
    name = ""
    for line in lines[1:]:
        match = _ATTRIBUTE.match(line)
        if match:
            name = match[1]
            about[name] = match[2]
        elif name and line.startswith(" " * 8):
            about[name] += f" {line.strip()}"
        else:
            name = ""
    return {key: _ROLE.sub(lambda found: found[1] or found[2], _SEE.sub("", text)) for key, text in about.items()}


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if get_origin(annotation) in (Union, types.UnionType):
        others = [one for one in get_args(annotation) if one is not type(None)]
        if len(others) == 1:
            return others[0], len(others) < len(get_args(annotation))
    return annotation, False


def _kind_of(annotation: Any) -> tuple[FieldKind, tuple[Any, ...], Literal["int", "float", "text"]]:
    from pydantic import SecretStr

    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return "choice", arguments, "text"
    if origin in (tuple, list, set, frozenset):
        inner, choices, _ = _kind_of(arguments[0]) if arguments else ("text", (), "text")
        if inner in ("int", "float"):
            return "list", (), "int" if inner == "int" else "float"
        return ("list" if inner in ("text", "choice") else "table"), choices, "text"
    kinds: dict[Any, FieldKind] = {bool: "bool", int: "int", float: "float", str: "text", SecretStr: "secret"}
    return kinds.get(annotation, "table"), (), "text"


def _bounds(info: "FieldInfo") -> dict[str, Any]:
    bounds: dict[str, Any] = {}
    for one in info.metadata:
        for name, key, strict in (
            ("ge", "minimum", None),
            ("gt", "minimum", "open_minimum"),
            ("le", "maximum", None),
            ("lt", "maximum", "open_maximum"),
        ):
            if getattr(one, name, None) is not None:
                bounds[key] = getattr(one, name)
                if strict:
                    bounds[strict] = True
    return bounds


def _unit_of(name: str) -> str:
    words = name.split("_")
    if len(words) == 1:
        return ""
    word = words[0] if "per" in words else words[-1]
    return _DURATIONS.get(word) or _OTHER_UNITS.get(word, "")


def _title(name: str) -> str:
    words = name.split("_")
    if _unit_of(name) and "per" not in words:
        # The unit stands behind the number.
        words.pop()
    text = " ".join(_ACRONYMS.get(word, word) for word in words)
    return text[:1].upper() + text[1:]


def _plain(value: Any, kind: FieldKind) -> Any:
    """A value as JSON has it; secrets are left out."""
    if kind == "secret":
        return ""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, tuple | list | set | frozenset):
        return [_plain(one, kind) for one in value]
    if isinstance(value, Mapping):
        return {name: _plain(one, kind) for name, one in value.items()}
    return value
