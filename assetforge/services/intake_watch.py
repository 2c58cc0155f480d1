"""Which file each process of the intake is at, and for how long: a file that takes too long costs its process, not the batch.

The processes write into memory that all of them share, which costs less than a microsecond a file. Nobody asks a clock but the one who waits, and only while
it waits: a batch that was stopped (Ctrl-Z, a laptop that slept) has not become slow.
"""

import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.context import BaseContext
from typing import NamedTuple

__all__ = ["Board", "Place", "Watch"]

_COLUMNS = 2
_SHIFT = 16
_TICKS = 5
_LONGEST_TICK_S = 1.0


class Place(NamedTuple):
    """A file that is being read or decoded.

    Attributes:
        chunk: Number of its chunk.
        position: Its position in the chunk, from 0.
    """

    chunk: int
    position: int


class Board:
    """A row for each process, in shared memory: its id, and in one number, which is never seen half written, its chunk and file (0 between files).

    Args:
        context: What the processes are started with; the board is handed over at their start.
        rows: How many processes there can be.
    """

    def __init__(self, context: BaseContext, rows: int) -> None:
        self._cells = context.RawArray("q", rows * _COLUMNS)
        self._taken = context.Value("q", 0)

    def enter(self) -> Callable[[int, int], None]:
        """Take a row for this process.

        Returns:
            A function ``note(chunk, place)``: the number of the chunk, and the place of the file in it from 1; 0 between files.
        """
        with self._taken.get_lock():
            row = self._taken.value
            self._taken.value += 1
        cells, first = self._cells, row * _COLUMNS
        cells[first] = os.getpid()

        def note(chunk: int, place: int) -> None:
            cells[first + 1] = chunk << _SHIFT | place if place else 0

        return note

    def under_way(self) -> dict[int, Place]:
        """The file of each process that has one, by process id."""
        rows = zip(self._cells[::_COLUMNS], self._cells[1::_COLUMNS], strict=True)
        return {pid: Place(at >> _SHIFT, at % (1 << _SHIFT) - 1) for pid, at in rows if at}


class Watch:
    """Ends processes whose file takes too long.

    Args:
        board: What the processes write on.
        limit_s: Longest time for a file, in seconds; it is kept to a fifth of itself, and to a second or two.

    Attributes:
        slow: The files that took too long.
        tick_s: How often to look, in seconds.
    """

    def __init__(self, board: Board, limit_s: float) -> None:
        self.slow: set[Place] = set()
        self.tick_s = min(_LONGEST_TICK_S, limit_s / _TICKS)
        self._board = board
        self._limit_s = limit_s
        self._waited: dict[int, tuple[Place, float]] = {}
        self._looked = time.monotonic()

    def look(self) -> None:
        """Call about every ``tick_s`` seconds while nothing is heard; ends the processes that are overdue, after which their pool is broken."""
        now = time.monotonic()
        passed, self._looked = min(now - self._looked, 2 * self.tick_s), now
        waited: dict[int, tuple[Place, float]] = {}
        for pid, place in self._board.under_way().items():
            before, seconds = self._waited.get(pid, (None, 0.0))
            waited[pid] = (place, seconds + passed if before == place else 0.0)
        self._waited = waited
        overdue = {pid: place for pid, (place, seconds) in waited.items() if seconds >= self._limit_s}
        if overdue:
            self.slow.update(overdue.values())
            _kill(set(overdue))


def _kill(pids: set[int]) -> None:
    # Through what started them: an id of a process that has ended meanwhile may be somebody else's by now.
    for process in multiprocessing.active_children():
        if process.pid in pids:
            process.kill()
