"""The plugin surface of assetforge: everything a plugin author may import, and nothing else.

Imports only the standard library, pluggy and pydantic. Additive changes keep :data:`API_VERSION`.
"""

from assetforge.api.context import Checkpoint, JobContext, Stopped, TrainContext
from assetforge.api.hookspecs import API_VERSION, ENTRY_POINT_GROUP, HookSpecs, hookimpl
from assetforge.api.params import Params, param

__all__ = [
    "API_VERSION",
    "ENTRY_POINT_GROUP",
    "Checkpoint",
    "HookSpecs",
    "JobContext",
    "Params",
    "Stopped",
    "TrainContext",
    "hookimpl",
    "param",
]
