"""Reading again what a screen shows, as often as it is asked for, without ever reading twice at once."""

from collections.abc import Awaitable, Callable

__all__ = ["Rereading"]


class Rereading:
    """Reads one time after the other: whoever asks during a reading gets one more after it, however often it was asked.

    What was written while something was being read is so never missed, and a film in which much happens is still shown.

    Args:
        read: Reads and shows what was read.
    """

    def __init__(self, read: Callable[[], Awaitable[None]]) -> None:
        self._read = read
        self._under_way = False
        self._again = False

    async def __call__(self) -> None:
        """Read now, or once more when what is being read is there."""
        self._again = True
        if self._under_way:
            return
        self._under_way = True
        try:
            while self._again:
                self._again = False
                await self._read()
        finally:
            self._under_way = False

    # A worker that is given this instead of a coroutine leaves none behind when it is cancelled before it began.
    read = __call__
