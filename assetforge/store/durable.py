"""The store's view of :mod:`assetforge.durable`."""

from assetforge.durable import (
    clone,
    locked,
    storage_error,
    sync_files,
    sync_folder,
    temporary_beside,
    write_atomic,
)

__all__ = ["clone", "locked", "storage_error", "sync_files", "sync_folder", "temporary_beside", "write_atomic"]
