"""A plugin that wants an argument that the hook does not have."""

from assetforge.api import hookimpl


@hookimpl
def register_trainers(model):
    return [model]
