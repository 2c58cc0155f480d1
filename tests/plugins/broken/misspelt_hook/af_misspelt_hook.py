"""A plugin with a hook that does not exist."""

from assetforge.api import hookimpl


@hookimpl
def register_trainer():
    return []
