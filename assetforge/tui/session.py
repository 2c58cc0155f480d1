"""The open film as the TUI holds it: a reader for what screens show, and threads in which services work. The screen never waits for either."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from assetforge.paths import ProjectPaths

if TYPE_CHECKING:
    from assetforge.db.browse.reader import Reader
    from assetforge.services.projects import Project

__all__ = ["FilmSession", "in_thread"]

P = ParamSpec("P")
T = TypeVar("T")

_AT_ONCE = 6
"""Threads; a call that finds all of them busy waits. Each thread that ever was costs memory that the allocator keeps for threads."""


class _Threads:
    """At most so many threads, which take calls in their order; none keeps the program alive."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._begun = self._idle = 0
        self._calls: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()

    def take(self, call: Callable[[], None]) -> None:
        """Have a call made, which must not raise."""
        with self._changed:
            self._calls.append(call)
            if len(self._calls) > self._idle and self._begun < self._most:
                self._begun += 1
                threading.Thread(target=self._work, name=f"calls-{self._begun}", daemon=True).start()
            else:
                self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                self._changed.wait_for(lambda: self._calls)
                self._idle -= 1
                call = self._calls.popleft()
            call()
            # What it was called with is not kept until the next call.
            del call


_THREADS = _Threads(_AT_ONCE)


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in a thread that does not keep the program alive, and wait for what it gives without blocking the screen.

    While :data:`_AT_ONCE` calls are under way others wait for their turn; one that nobody waits for any more by then is not made.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    _THREADS.take(partial(_make, loop, future, copy_context(), partial(function, *args, **kwargs)))
    try:
        return await future
    finally:
        # An error knows this place, and this place would know the error.
        del future


def _make(
    loop: asyncio.AbstractEventLoop, future: "asyncio.Future[T]", context: Context, function: Callable[[], T]
) -> None:
    if future.cancelled():
        return
    try:
        result = context.run(function)
    except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
        _deliver(loop, future, future.set_exception, error)
    else:
        _deliver(loop, future, future.set_result, result)
    finally:
        del future, function


def _deliver(
    loop: asyncio.AbstractEventLoop, future: "asyncio.Future[T]", set_it: Callable[[Any], None], value: object
) -> None:
    def deliver() -> None:
        if not future.done():
            set_it(value)

    # The program may have ended meanwhile; nobody waits then.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(deliver)


class FilmSession:
    """One open film.

    Args:
        root: The film's folder.

    Attributes:
        root: The film's folder.
        paths: Where everything of the film is.
        reader: For lists; open from :meth:`open` on.
        project: The film as services take it; ``None`` until the first service is called.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths = ProjectPaths(root)
        self.project: Project | None = None
        self._reader: Reader | None = None
        self._closed = False
        self._opening = threading.Lock()

    @property
    def reader(self) -> "Reader":
        """The connection that lists are read from.

        Raises:
            RuntimeError: The film is not open yet.
        """
        if self._reader is None:
            raise RuntimeError("the film is not open yet")
        return self._reader

    @property
    def is_open(self) -> bool:
        """Whether lists can be read."""
        return self._reader is not None

    async def open(self) -> None:
        """Open the film for reading, and bring its database up to date first where that is needed.

        Raises:
            AssetForgeError: It cannot be opened; the message says why.
        """
        self._reader = await in_thread(self._open_reader)

    def _open_reader(self) -> "Reader":
        from assetforge.db.browse.reader import Reader
        from assetforge.errors import AssetForgeError

        try:
            return Reader(self.paths.database)
        except AssetForgeError:
            # An older database is brought up to date by the services; what is really wrong they say better.
            self._open_project()
            return Reader(self.paths.database)

    def _open_project(self) -> "Project":
        with self._opening:
            if self.project is None:
                from assetforge.services.projects import open_project

                project = open_project(self.root)
                if project.paths.plugins.is_dir():
                    from assetforge.extension.film_plugins import add_film_plugins
                    from assetforge.extension.registry import get_registry

                    add_film_plugins(get_registry(), project.root)
                self.project = project
            return self.project

    async def run(self, function: "Callable[Concatenate[Project, P], T]", *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a service with the film in a thread.

        Raises:
            AssetForgeError: As the service says.
            asyncio.CancelledError: It failed after the film was closed; nobody waits for it then.
        """

        def work() -> T:
            return function(self._open_project(), *args, **kwargs)

        return await self.call(work)

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call something that needs no film, or only the reader, in a thread; else as :meth:`run`."""
        try:
            return await in_thread(function, *args, **kwargs)
        except Exception:
            if self._closed:
                raise asyncio.CancelledError from None
            raise

    def close(self) -> None:
        """Close the film; what services still do goes on to its end or ends with the program."""
        self._closed = True
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if self.project is not None:
            self.project.close()
            self.project = None
