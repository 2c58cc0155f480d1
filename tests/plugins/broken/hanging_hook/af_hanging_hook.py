"""A plugin whose hook never returns."""

import threading

from assetforge.api import hookimpl


@hookimpl
def register_metrics():
    threading.Event().wait()
    return []
