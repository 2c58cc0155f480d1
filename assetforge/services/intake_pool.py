"""Taking files in, in processes that may die or hang without taking the batch with them."""

import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path

from assetforge.services.intake_watch import Board, Place, Watch
from assetforge.store.blobs import BlobStore
from assetforge.store.intake import TakenChunk, crashed, take_in, too_slow
from assetforge.store.thumbs import ThumbStore

__all__ = ["IntakePool", "usable_cores", "warm_up"]

_PRELOADED = ["assetforge.services.intake_pool"]
_CHUNK = 48
_LAST_CHUNK = 8
_WINDOW = 3
_SMALL_FILES = 16
_SMALL_BYTES = 64 << 20
_ORPHAN_S = 0.5


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class _Stores:
    blobs: BlobStore
    thumbs: ThumbStore
    known: frozenset[str]


_stores: _Stores | None = None
_note: Callable[[int, int], None] | None = None


def _start(stores: _Stores, board: Board) -> None:
    global _stores, _note
    _stores, _note = stores, board.enter()
    # Whoever started us may have said to end gently; in the middle of a decoder nothing would ever hear that.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    # What the parent had made is not garbage of ours: looking through it again and again would cost time, and copies of its memory.
    gc.freeze()


def _end_with_parent(starter: int) -> None:
    """End when the process is gone that we work for: killed, it could tell nobody, and what it had locked would stay locked for as long as we wait.

    Where a server forks us, that one waits for us in turn; where our parent does, our brothers hold the other end of what tells of its end. So both are asked.
    """
    parent = multiprocessing.parent_process()
    while os.getppid() == starter and parent is not None and parent.is_alive():
        parent.join(_ORPHAN_S)
    os._exit(1)


def _work(chunk: int, paths: Sequence[Path]) -> TakenChunk:
    stores, note = _stores, _note
    if stores is None or note is None:
        raise RuntimeError("the worker was not started by its initializer")
    return take_in(paths, stores.blobs, stores.thumbs, stores.known, at=lambda place: note(chunk, place))


@dataclass(frozen=True, slots=True)
class _UnderWay:
    number: int
    files: list[Path]
    future: Future[TakenChunk]

    def outcome(self) -> TakenChunk | None:
        """What became of it; ``None`` when its process died before it was done."""
        done = self.future.done() and not self.future.cancelled() and self.future.exception() is None
        return self.future.result() if done else None


class IntakePool:
    """Takes files in, in order, with as many processes as are worth it.

    Args:
        blobs: Where bytes go.
        thumbs: Where thumbnails go.
        known: Hashes that need not be decoded again.
        limit_s: Longest time for reading and decoding one file, in seconds.
        workers: Processes; 0 chooses: one for a small batch, else one a core and two more.
    """

    def __init__(
        self, blobs: BlobStore, thumbs: ThumbStore, known: Collection[str], *, limit_s: float, workers: int = 0
    ) -> None:
        self._stores = _Stores(blobs, thumbs, frozenset(known))
        self._limit_s = limit_s
        self._workers = workers

    def run(self, files: Sequence[Path]) -> Iterator[TakenChunk]:
        """What became of the files, chunk by chunk, in their order."""
        # Two more than there are cores: while they wait for the disk, others decode.
        workers = self._workers or (1 if _is_small(files) else usable_cores() + 2)
        waiting: deque[list[Path] | TakenChunk] = deque(_chunks(files, workers))
        while waiting:
            yield from self._run_until_broken(waiting, min(workers, len(waiting)))

    def _run_until_broken(self, waiting: deque[list[Path] | TakenChunk], workers: int) -> Iterator[TakenChunk]:
        """Work through ``waiting`` until a process dies.

        When it was ended over a file that took too long, the rest waits again; otherwise what was under way is repeated file by file, so that the culprit is known.
        """
        under_way: deque[_UnderWay] = deque()
        with self._executor(workers) as (executor, watch):
            number = 0
            while waiting or under_way:
                try:
                    while waiting and len(under_way) < workers * _WINDOW:
                        number += 1
                        under_way.append(_submit(executor, number, waiting[0]))
                        waiting.popleft()
                    chunk = _awaited(under_way[0].future, watch)
                except BrokenProcessPool:
                    break
                under_way.popleft()
                if chunk.failure is not None:
                    _let_finish(under_way, watch)
                yield chunk
        if watch.slow:
            waiting.extendleft(reversed([part for one in under_way for part in self._without_slow(one, watch.slow)]))
            return
        again: deque[TakenChunk | Path] = deque()
        for one in under_way:
            outcome = one.outcome()
            again.extend(one.files if outcome is None else [outcome])
        yield from self._one_by_one(again)

    def _without_slow(self, one: _UnderWay, slow: Collection[Place]) -> Iterator[list[Path] | TakenChunk]:
        """A chunk that was under way, as what is left to do of it: files that took too long are refused, and stand between those before and after them."""
        outcome = one.outcome()
        if outcome is not None:
            yield outcome
            return
        start = 0
        for index, path in enumerate(one.files):
            if Place(one.number, index) in slow:
                if one.files[start:index]:
                    yield one.files[start:index]
                yield TakenChunk(files=(too_slow(path, self._limit_s),))
                start = index + 1
        if one.files[start:]:
            yield one.files[start:]

    def _one_by_one(self, remaining: deque[TakenChunk | Path]) -> Iterator[TakenChunk]:
        """What is done already as it is, and every other file in a process that it has for itself."""
        while remaining:
            with self._executor(1) as (executor, watch):
                try:
                    while remaining:
                        one = remaining[0]
                        if isinstance(one, Path):
                            one = _awaited(executor.submit(_work, 0, [one]), watch)
                        yield one
                        remaining.popleft()
                except BrokenProcessPool:
                    culprit = remaining.popleft()
                    if isinstance(culprit, TakenChunk):
                        yield culprit
                    else:
                        refused = too_slow(culprit, self._limit_s) if watch.slow else crashed(culprit)
                        yield TakenChunk(files=(refused,))

    @contextmanager
    def _executor(self, workers: int) -> Iterator[tuple[ProcessPoolExecutor, Watch]]:
        context = multiprocessing.get_context(_start_method())
        if context.get_start_method() == "forkserver":
            context.set_forkserver_preload(_PRELOADED)
        board = Board(context, workers)
        watch = Watch(board, self._limit_s)
        executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(self._stores, board))
        try:
            yield executor, watch
        except BaseException:
            # Nobody wants the results any more, and the next file may be one that hangs.
            _kill_all(executor)
            raise
        finally:
            executor.shutdown(wait=True, cancel_futures=True)


def _kill_all(executor: ProcessPoolExecutor) -> None:
    """End all processes, those that have only just begun too: one that is killed may take the lock of the queue with it, and the others would wait for that for ever."""
    for process in list((executor._processes or {}).values()):  # noqa: SLF001 - its own way to do this comes with Python 3.14
        process.kill()


def warm_up() -> None:
    """Start now what processes are forked from where there are several threads, so that the first file need not wait for it."""
    if sys.platform != "win32":
        multiprocessing.get_context("forkserver").set_forkserver_preload(_PRELOADED)
        forkserver.ensure_running()


def _submit(executor: ProcessPoolExecutor, number: int, chunk: list[Path] | TakenChunk) -> _UnderWay:
    if isinstance(chunk, TakenChunk):
        done: Future[TakenChunk] = Future()
        done.set_result(chunk)
        return _UnderWay(number, [], done)
    return _UnderWay(number, chunk, executor.submit(_work, number, chunk))


def _awaited(future: Future[TakenChunk], watch: Watch) -> TakenChunk:
    """What becomes of a chunk; looks after the processes while it takes time.

    Raises:
        BrokenProcessPool: A process died, or was ended because its file took too long.
    """
    while not wait([future], watch.tick_s).done:
        watch.look()
    return future.result()


def _let_finish(under_way: Collection[_UnderWay], watch: Watch) -> None:
    """The batch ends here; processes that are in the middle of their files take away what they have half-written."""
    for one in under_way:
        if not one.future.cancel():
            with suppress(BrokenProcessPool):
                _awaited(one.future, watch)


def _chunks(files: Sequence[Path], workers: int) -> Iterator[list[Path]]:
    """Ever smaller towards the end, so that the processes finish together."""
    start = 0
    while start < len(files):
        size = min(_CHUNK, max(_LAST_CHUNK, (len(files) - start) // (2 * workers)))
        yield list(files[start : start + size])
        start += size


def _start_method() -> str:
    """Forking at once costs nothing, and is safe only while there is one thread (a command; not the TUI). Otherwise a server forks that was started early."""
    if sys.platform == "linux" and threading.active_count() == 1:
        return "fork"
    return "spawn" if sys.platform == "win32" else "forkserver"


def _is_small(files: Sequence[Path]) -> bool:
    if len(files) > _SMALL_FILES:
        return False
    total = 0
    for file in files:
        try:
            total += file.stat().st_size
        except OSError:
            # Taking it in will say what is wrong with it.
            continue
    return total <= _SMALL_BYTES
