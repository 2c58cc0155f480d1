"""When the garbage collector works: little while keys come, and thoroughly while nobody waits for anything.

A full sweep looks at every object that may be part of a cycle, and nothing is drawn meanwhile. What is loaded for good is therefore taken out of its sight once, sweeps are
rarer than Python's own, and one is made early whenever the keyboard rests. That is only possible because hardly anything here has to be swept up: what pages leave behind
goes at once, when the last reference to it goes.
"""

import gc
import time
from collections.abc import Iterable, Sequence

from textual.app import App
from textual.events import Event, InputEvent
from textual.strip import Strip

__all__ = ["Sweeping"]

_THRESHOLDS = (5_000, 10, 10)
"""A full sweep after half a million objects more: 40 MB if all of them were in cycles, of which paging makes one in a hundred."""

_QUIET_S = 2.0
_LOOK_S = 1.0


class Sweeping(App[None]):
    """An app in which garbage is collected when nobody waits."""

    def __init__(self) -> None:
        super().__init__()
        _let_strips_go()
        self._touched = 0.0
        self._sweeps = False

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
            self.set_interval(_LOOK_S, self.sweep_when_quiet)

    def sweep_when_quiet(self) -> bool:
        """Collect garbage when no key came for a while and something may have gathered; says whether it was done."""
        if time.monotonic() - self._touched < _QUIET_S or not gc.get_count()[2]:
            return False
        gc.collect()
        return True


def _let_strips_go() -> None:
    """Have lines that need not be divided not keep themselves.

    Textual asks every line of every frame where it is to be divided. One that is shown whole is its own answer, which it then keeps, and is garbage that only a full sweep
    finds: a hundred lines a page, each with seven caches. That was nine tenths of all garbage.
    """
    divide = Strip.divide
    if getattr(divide, "lets_go", False):
        return

    def divided(strip: Strip, cuts: Iterable[int]) -> Sequence[Strip]:
        wanted = [cut for cut in cuts if cut <= strip.cell_length]
        return [strip] if wanted == [strip.cell_length] else divide(strip, wanted)

    divided.lets_go = True  # type: ignore[attr-defined]
    Strip.divide = divided  # type: ignore[assignment,method-assign]
