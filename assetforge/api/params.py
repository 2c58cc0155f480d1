"""One declaration of parameters, three renderings: CLI options, TUI form, JSON Schema.

A plugin subclasses :class:`Params` and declares fields with :func:`param`. Values arrive validated; unknown keys are errors.

A parameter may say when it has a say at all (``only_if``) and that it never changes the result (``affects_result=False``). The identity of a training leaves
out whatever cannot have changed it, and forms show it greyed; the JSON Schema has both as ``x-only-if`` and ``x-affects-result``.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

__all__ = ["Params", "influential", "param", "relevant"]

_ONLY_IF = "x-only-if"
_AFFECTS_RESULT = "x-affects-result"
_NOT = "not "


class Params(BaseModel):
    """Base of every plugin's parameter model. Immutable; unknown keys are refused.

    Raises:
        TypeError: At the definition of a subclass: a condition names no other parameter or a value that it cannot have, or conditions go in a circle.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Check the conditions where they are written, not when somebody trains."""
        super().__pydantic_init_subclass__(**kwargs)
        for name in cls.model_fields:
            _check(cls, name, ())


def param(
    default: Any,
    help: str,
    *,
    unit: str = "",
    group: str = "",
    advanced: bool = False,
    only_if: str | Sequence[str] = (),
    affects_result: bool = True,
    **bounds: Any,
) -> Any:
    """Declare one parameter.

    Args:
        default: The value used when nobody sets it; ``...`` makes it required.
        help: One sentence for the CLI help and the TUI form.
        unit: What a number counts, such as ``steps`` or ``px``.
        group: Heading under which the TUI form shows the field.
        advanced: Hidden until the user asks for everything.
        only_if: When the parameter has a say; otherwise its value changes nothing. One condition on another parameter, or several that must all hold:
            ``"text_encoder"`` (it is on: not false, 0, empty or null), ``"not steps"`` (it is off), ``"optimizer=adamw|adamw8bit"`` (it has one of these
            values), ``"not mask=none"`` (it has another). A parameter that has no say itself counts as off. Leave the condition away when in doubt: a training
            too many is better than a result that belongs to other values.
        affects_result: False for what changes how a job runs and never what comes out, such as how often checkpoints are written.
        **bounds: Passed to :func:`pydantic.Field`: ``ge``, ``gt``, ``le``, ``lt``, ``pattern`` ...
    """
    extra: dict[str, Any] = {"unit": unit, "group": group, "advanced": advanced}
    if only_if:
        extra[_ONLY_IF] = [only_if] if isinstance(only_if, str) else list(only_if)
    if not affects_result:
        extra[_AFFECTS_RESULT] = False
    return Field(default, description=help, json_schema_extra=extra, **bounds)


def relevant(model: type[Params], values: Mapping[str, Any]) -> frozenset[str]:
    """The parameters whose conditions hold.

    Args:
        model: The parameters.
        values: As JSON has them; what is missing counts with its default.
    """
    known: dict[str, bool] = {}
    return frozenset(name for name in model.model_fields if _is_relevant(model, values, name, known))


def influential(params: Params) -> dict[str, Any]:
    """What can have changed the result: relevant parameters that affect it, dumped in JSON mode with defaults filled in."""
    model, values = type(params), params.model_dump(mode="json")
    names = relevant(model, values)
    return {
        name: value
        for name, value in values.items()
        if name in names and _extra(model.model_fields[name]).get(_AFFECTS_RESULT, True)
    }


class _Condition(NamedTuple):
    """``wanted`` lists the values that fulfil it; ``None`` asks whether the other parameter is on."""

    other: str
    negated: bool
    wanted: tuple[str, ...] | None


def _conditions(field: FieldInfo) -> list[_Condition]:
    conditions = []
    for text in _extra(field).get(_ONLY_IF, ()):
        negated = text.startswith(_NOT)
        other, equals, wanted = text.removeprefix(_NOT).partition("=")
        conditions.append(_Condition(other.strip(), negated, tuple(wanted.split("|")) if equals else None))
    return conditions


def _extra(field: FieldInfo) -> dict[str, Any]:
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}


def _is_relevant(model: type[Params], values: Mapping[str, Any], name: str, known: dict[str, bool]) -> bool:
    if name not in known:
        known[name] = all(_holds(model, values, one, known) for one in _conditions(model.model_fields[name]))
    return known[name]


def _holds(model: type[Params], values: Mapping[str, Any], condition: _Condition, known: dict[str, bool]) -> bool:
    if not _is_relevant(model, values, condition.other, known):
        return condition.negated
    value = values.get(condition.other, model.model_fields[condition.other].default)
    fulfilled = bool(value) if condition.wanted is None else _text(value) in condition.wanted
    return fulfilled != condition.negated


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check(model: type[Params], name: str, above: tuple[str, ...]) -> None:
    if name in above:
        raise TypeError(f"{model.__name__}: the conditions of {' and '.join(above)} go in a circle.")
    for condition in _conditions(model.model_fields[name]):
        if condition.other not in model.model_fields:
            raise TypeError(f"{model.__name__}.{name} depends on {condition.other!r}, which is no parameter.")
        annotation = model.model_fields[condition.other].annotation
        if condition.wanted is not None and get_origin(annotation) is Literal:
            possible = {_text(value) for value in get_args(annotation)}
            for value in condition.wanted:
                if value not in possible:
                    raise TypeError(f"{model.__name__}.{name} depends on {condition.other}={value}, which cannot be.")
        _check(model, condition.other, (*above, name))
