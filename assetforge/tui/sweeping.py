"""When the garbage collector works: little while keys come, and thoroughly while nobody waits for anything.

A full sweep looks at every object that may be part of a cycle, and nothing is drawn meanwhile. What is loaded for good is therefore taken out of its sight once, sweeps are
rarer than Python's own, and one is made early whenever the keyboard rests. That is only possible because hardly anything here has to be swept up: what pages leave behind
goes at once, when the last reference to it goes.
"""

import gc
import math
import time
from collections.abc import Callable
from functools import cache

from textual.app import App
from textual.events import Event, InputEvent

from assetforge.tui.letting_go import let_go

__all__ = ["Sweeping"]

_THRESHOLDS = (5_000, 10, 1_000)
"""Small sweeps are Python's, full ones are ours."""

_QUIET_S = 2.0

_LEFT_S = 6.0
"""A screen that was left is garbage, 5 MB of it, once the last of its clocks would have rung; then a full sweep is made also while keys come."""

_FULL = 4
"""And after so many sweeps of what is not new any more."""

_LOOK_S = 1.0


class Sweeping(App[None]):
    """An app in which garbage is collected when nobody waits."""

    def __init__(self) -> None:
        super().__init__()
        let_go()
        self._touched = 0.0
        self._sweeps = False
        self._depth, self._sweep_at = 0, math.inf

    def on_ready(self) -> None:
        """The program stands, and what began without a collector has one."""
        gc.enable()

    async def on_event(self, event: Event) -> None:
        """Note when somebody does something."""
        if isinstance(event, InputEvent):
            self._touched = time.monotonic()
        await super().on_event(event)

    def begin_sweeping(self) -> None:
        """Once all is loaded that stays for good: never look at it again, and from now on sweep in quiet moments. Later calls do nothing."""
        if not self._sweeps:
            self._sweeps = True
            # Without a sweep before, which would be the longest of all: there are a few thousand objects of garbage now.
            gc.freeze()
            gc.set_threshold(*_THRESHOLDS)
            self.set_interval(_LOOK_S, self.sweep_when_due)

    def sweep_when_due(self) -> bool:
        """Collect garbage when no key came for a while and something may have gathered, or when much has; says whether it was done."""
        now, depth = time.monotonic(), len(self.screen_stack)
        if depth < self._depth:
            self._sweep_at = now + _LEFT_S
        self._depth = depth
        gathered = gc.get_count()[2]
        quiet = now - self._touched >= _QUIET_S
        if now < self._sweep_at and not (gathered and (quiet or gathered >= _FULL)):
            return False
        if now >= self._sweep_at:
            self._sweep_at = math.inf
        gc.collect()
        give_back()
        return True


def give_back() -> None:
    """Let the system have the memory that is free: the C library keeps what lies between pieces in use, some megabytes; does nothing where it has no such call."""
    if (trim := _trim()) is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    import ctypes

    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
    return trim
