"""The film's watcher inside this program: in a thread of its own, until it is stopped, the film is closed or the program ends."""

import atexit
import multiprocessing
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from weakref import WeakKeyDictionary, ref

from assetforge.errors import AssetForgeError

if TYPE_CHECKING:
    from assetforge.tui.session import FilmSession
    from assetforge.watch.watcher import Watcher

__all__ = ["FilmWatch", "film_watch"]

State = Literal["off", "starting", "watching", "stopping", "failed"]

_END_S = 1.0
"""Longest time that the end of the program waits for what the watcher is in the middle of."""

_LOOK_S = 0.2


class _Until(threading.Event):
    """Set by hand, or because the film was closed."""

    def __init__(self, is_open: Callable[[], bool]) -> None:
        super().__init__()
        self._film_is_open = is_open

    def is_set(self) -> bool:
        """Whether to stop."""
        return super().is_set() or not self._film_is_open()


class FilmWatch:
    """Watches the folders of one film, as ``assetforge watch`` does; while another process does, it stands by.

    Args:
        root: The film's folder.
        is_open: Whether the film is still open here.
        is_running: Whether the program still runs.

    Attributes:
        said: The newest sentence of its log.
        said_at: When that was, in seconds since 1970.
        problem: Why it ended by itself; empty when it did not.
    """

    def __init__(self, root: Path, is_open: Callable[[], bool], is_running: Callable[[], bool]) -> None:
        self.said, self.said_at, self.problem = "", 0.0, ""
        self._root, self._is_open, self._is_running = root, is_open, is_running
        self._stopping = _Until(is_open)
        self._thread: threading.Thread | None = None
        self._watcher: Watcher | None = None

    @property
    def state(self) -> State:
        """``starting`` lasts for as long as another process watches the film; ``stopping`` until files that are being read are done with."""
        if self._thread is None or not self._thread.is_alive():
            return "failed" if self.problem else "off"
        if self._stopping.is_set():
            return "stopping"
        # A watcher knows its folders from the moment on at which the place is its own.
        return "watching" if self._watcher is not None and self._watcher.roots else "starting"

    @property
    def is_wanted(self) -> bool:
        """It watches, or will as soon as it can."""
        return self.state in ("starting", "watching")

    def start(self) -> None:
        """Begin; nothing happens when it has begun, or has not ended yet."""
        if self._thread is not None and self._thread.is_alive():
            return
        self.said, self.problem = "", ""
        self._stopping = _Until(self._is_open)
        self._thread = threading.Thread(target=self._run, args=(self._stopping,), name="watch", daemon=True)
        self._thread.start()
        threading.Thread(target=self._see_to_the_end, args=(self._thread, self._stopping), daemon=True).start()

    def stop(self) -> None:
        """End soon; what runs goes on by itself."""
        self._stopping.set()

    def wait(self, seconds: float) -> bool:
        """Wait for its end.

        Args:
            seconds: Longest time.

        Returns:
            Whether it has ended.
        """
        if self._thread is not None:
            self._thread.join(seconds)
        return self._thread is None or not self._thread.is_alive()

    def _say(self, text: str) -> None:
        self.said, self.said_at = text, time.time()

    def _run(self, stopping: threading.Event) -> None:
        from assetforge.jobs.background import ensure_supervisor
        from assetforge.services.projects import open_project
        from assetforge.watch.autotrain import AutoTrain
        from assetforge.watch.deliver import Deliver
        from assetforge.watch.watcher import Watcher

        try:
            # A film of its own: the one of the screens is closed under way.
            with open_project(self._root) as project:
                trains = AutoTrain(project, ensure_supervisor, self._say)
                self._watcher = Watcher(project, follow_ups=(trains, Deliver(project)), say=self._say)
                self._watcher.run(stopping)
        except Exception as error:  # noqa: BLE001 - told on the screen; nobody else hears of a thread
            if self._is_running():
                self.problem = (
                    error.message if isinstance(error, AssetForgeError) else f"{type(error).__name__}: {error}"
                )
        finally:
            self._watcher = None

    def _see_to_the_end(self, thread: threading.Thread, stopping: threading.Event) -> None:
        """A program that ends would wait for every file that is being read, which can be minutes: those are read again at the next start."""
        while thread.is_alive() and not stopping.is_set():
            thread.join(_LOOK_S)
        thread.join(_END_S - _LOOK_S)
        while thread.is_alive():
            if not self._is_running():
                for process in multiprocessing.active_children():
                    process.kill()
            thread.join(_LOOK_S)


_watches: "WeakKeyDictionary[FilmSession, FilmWatch]" = WeakKeyDictionary()


def film_watch(session: "FilmSession", is_running: Callable[[], bool]) -> FilmWatch:
    """The watcher of an open film in this program, whether it watches or not; the same one at every call.

    Args:
        session: The open film.
        is_running: Whether the program still runs.
    """
    if session not in _watches:
        weak = ref(session)
        _watches[session] = FilmWatch(session.root, lambda: (one := weak()) is not None and one.is_open, is_running)
    return _watches[session]


@atexit.register
def _end() -> None:
    """Let watchers note how their folders are and give their place free."""
    watches, deadline = list(_watches.values()), time.monotonic() + _END_S
    for watch in watches:
        watch.stop()
    for watch in watches:
        watch.wait(max(0.0, deadline - time.monotonic()))
