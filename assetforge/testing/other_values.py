"""Other values for parameters that say they change nothing, to try out whether that is true."""

from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError

from assetforge.api.params import Params, influential

__all__ = ["other_values"]


def other_values(params: Params) -> dict[str, Any]:
    """Another valid value for every number, switch and choice that cannot influence the result.

    Args:
        params: What a run has; which parameters have a say depends on it. They still have none with the other values.
    """
    values = params.model_dump(mode="json")
    matters = influential(params)
    found: dict[str, Any] = {}
    for name in (name for name in values if name not in matters):
        for candidate in _candidates(type(params), name, values[name]):
            try:
                changed = type(params).model_validate({**values, **found, name: candidate})
            except ValidationError:
                continue
            if influential(changed) == matters:
                found[name] = candidate
                break
    return found


def _candidates(model: type[Params], name: str, value: Any) -> list[Any]:
    annotation = model.model_fields[name].annotation
    if get_origin(annotation) is Literal:
        return [choice for choice in get_args(annotation) if choice != value]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [other for other in (1, 2, value + 1, value - 1) if other != value]
    if isinstance(value, float):
        return [other for other in (value / 2, value * 2, value + 0.1) if other != value]
    return []
