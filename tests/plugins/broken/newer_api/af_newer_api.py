"""A plugin for an assetforge that does not exist yet."""

from assetforge.api import hookimpl

requires_api = 99


@hookimpl
def register_trainers():
    return []
