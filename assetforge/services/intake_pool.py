"""Taking many files in at once, in processes that may die without taking the batch with them."""

import gc
import multiprocessing
import os
import sys
import threading
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from assetforge.store.blobs import BlobStore
from assetforge.store.intake import TakenChunk, crashed, take_in
from assetforge.store.thumbs import ThumbStore

__all__ = ["IntakePool", "usable_cores"]

_CHUNK = 48
_LAST_CHUNK = 8
_WINDOW = 3
_SMALL_FILES = 16
_SMALL_BYTES = 64 << 20


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class _Stores:
    blobs: BlobStore
    thumbs: ThumbStore
    known: frozenset[str]


_stores: _Stores | None = None


def _start(stores: _Stores) -> None:
    global _stores
    _stores = stores
    # What the parent had made is not garbage of ours: looking through it again and again would cost time, and copies of its memory.
    gc.freeze()


def _work(paths: Sequence[Path]) -> TakenChunk:
    if _stores is None:
        raise RuntimeError("the worker was not started by its initializer")
    return take_in(paths, _stores.blobs, _stores.thumbs, _stores.known)


class IntakePool:
    """Takes files in, in order, with as many processes as are worth it.

    Args:
        blobs: Where bytes go.
        thumbs: Where thumbnails go.
        known: Hashes that need not be decoded again.
        workers: Processes; 0 chooses: none for a small batch, else one a core and two more.
    """

    def __init__(self, blobs: BlobStore, thumbs: ThumbStore, known: Collection[str], *, workers: int = 0) -> None:
        self._stores = _Stores(blobs, thumbs, frozenset(known))
        self._workers = workers

    def run(self, files: Sequence[Path]) -> Iterator[TakenChunk]:
        """What became of the files, chunk by chunk, in their order."""
        if self._workers == 0 and _is_small(files):
            yield take_in(files, self._stores.blobs, self._stores.thumbs, self._stores.known)
            return
        # Two more than there are cores: while they wait for the disk, others decode.
        workers = self._workers or usable_cores() + 2
        waiting = deque(_chunks(files, workers))
        workers = min(workers, len(waiting))
        while waiting:
            yield from self._run_until_broken(waiting, workers)

    def _run_until_broken(self, waiting: deque[list[Path]], workers: int) -> Iterator[TakenChunk]:
        """Work through ``waiting``; when a process dies, what was under way is repeated file by file, so that the culprit is known."""
        under_way: deque[tuple[list[Path], Future[TakenChunk]]] = deque()
        with self._executor(workers) as executor:
            while waiting or under_way:
                try:
                    while waiting and len(under_way) < workers * _WINDOW:
                        under_way.append((waiting[0], executor.submit(_work, waiting[0])))
                        waiting.popleft()
                    yield under_way[0][1].result()
                    under_way.popleft()
                except BrokenProcessPool:
                    break
        again: deque[TakenChunk | Path] = deque()
        for chunk, future in under_way:
            if future.done() and not future.cancelled() and future.exception() is None:
                again.append(future.result())
            else:
                again.extend(chunk)
        yield from self._one_by_one(again)

    def _one_by_one(self, remaining: deque[TakenChunk | Path]) -> Iterator[TakenChunk]:
        """What is done already as it is, and every other file in a process that it has for itself."""
        while remaining:
            with self._executor(1) as executor:
                try:
                    while remaining:
                        one = remaining[0]
                        yield one if isinstance(one, TakenChunk) else executor.submit(_work, [one]).result()
                        remaining.popleft()
                except BrokenProcessPool:
                    culprit = remaining.popleft()
                    yield culprit if isinstance(culprit, TakenChunk) else TakenChunk(files=(crashed(culprit),))

    @contextmanager
    def _executor(self, workers: int) -> Iterator[ProcessPoolExecutor]:
        context = multiprocessing.get_context(_start_method())
        if context.get_start_method() == "forkserver":
            context.set_forkserver_preload(["assetforge.services.intake_pool"])
        executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(self._stores,))
        try:
            yield executor
        finally:
            executor.shutdown(wait=True, cancel_futures=True)


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
