"""A plugin whose entry point names a class instead of an instance."""

from assetforge.api import hookimpl


class Plugin:
    @hookimpl
    def register_trainers(self):
        return []
