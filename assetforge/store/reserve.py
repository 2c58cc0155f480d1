"""Some space that a film holds, so that on a full disk there is room to clean up: even reading a database takes a little."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from assetforge.durable import temporary_beside

__all__ = ["RESERVED_BYTES", "hold_reserve", "reserve_released"]

RESERVED_BYTES = 1 << 20
_NAME = "reserve"
_SPARE_BYTES = 4 * RESERVED_BYTES


def hold_reserve(private: Path, *, spare_bytes: int = _SPARE_BYTES) -> None:
    """Take the space, unless the film has it; where that is not possible, the film goes without.

    Args:
        private: Private folder of the film.
        spare_bytes: How much others must still have before it is taken.
    """
    place = private / _NAME
    if place.exists():
        return
    with suppress(OSError):
        if shutil.disk_usage(private).free < spare_bytes:
            return
    with suppress(OSError), temporary_beside(place) as (descriptor, temporary):
        # Neither zeros nor a hole: filesystems that compress would give no space back for them.
        if os.write(descriptor, os.urandom(RESERVED_BYTES)) == RESERVED_BYTES:
            temporary.replace(place)


@contextmanager
def reserve_released(private: Path) -> Iterator[None]:
    """On a disk that is nearly full, give the space to whatever is done in the block; afterwards it is taken again, if there is as much."""
    with suppress(OSError):
        if shutil.disk_usage(private).free < _SPARE_BYTES:
            (private / _NAME).unlink()
    try:
        yield
    finally:
        hold_reserve(private, spare_bytes=0)
