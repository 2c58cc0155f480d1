"""One declaration of parameters, three renderings: CLI options, TUI form, JSON Schema.

A plugin subclasses :class:`Params` and declares fields with :func:`param`. Values arrive validated; unknown keys are errors.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Params", "param"]


class Params(BaseModel):
    """Base of every plugin's parameter model. Immutable; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def param(
    default: Any,
    help: str,
    *,
    unit: str = "",
    group: str = "",
    advanced: bool = False,
    **bounds: Any,
) -> Any:
    """Declare one parameter.

    Args:
        default: The value used when nobody sets it; ``...`` makes it required.
        help: One sentence for the CLI help and the TUI form.
        unit: What a number counts, such as ``steps`` or ``px``.
        group: Heading under which the TUI form shows the field.
        advanced: Hidden until the user asks for everything.
        **bounds: Passed to :func:`pydantic.Field`: ``ge``, ``gt``, ``le``, ``lt``, ``pattern`` ...
    """
    return Field(
        default, description=help, json_schema_extra={"unit": unit, "group": group, "advanced": advanced}, **bounds
    )
