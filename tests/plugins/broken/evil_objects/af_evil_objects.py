"""A plugin whose objects raise when they are looked at."""

from assetforge.api import hookimpl


class Evil:
    def __repr__(self):
        raise RuntimeError("do not look at me")


@hookimpl
def register_trainers():
    return [Evil()]
