"""A plugin with commands that cannot be imported, that raise, and one that works."""

from assetforge.api import hookimpl
from assetforge.api.specs import CommandSpec


@hookimpl
def register_commands():
    return [
        CommandSpec(path=("odd", "gone"), help="Is not there.", load="a_module_that_nobody_has:run"),
        CommandSpec(path=("odd", "raises"), help="Raises.", load="af_bad_commands:raises"),
        CommandSpec(path=("odd", "deep", "double"), help="Works.", load="af_bad_commands:double"),
        CommandSpec(path=("project",), help="Wants to be another command.", load="af_bad_commands:raises"),
    ]


def raises():
    raise ValueError("no such thing")


def double(number: int, *, times: int = 2):
    """Multiply.

    Args:
        number: What.
        times: By what.
    """
    print(number * times)
