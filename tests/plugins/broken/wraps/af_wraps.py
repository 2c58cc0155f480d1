"""A plugin that wants to change what other plugins say."""

from assetforge.api import hookimpl


@hookimpl(wrapper=True)
def register_trainers():
    yield
    return []
