"""Run code of a plugin with a time limit, and get every way in which it may end as a value."""

import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Outcome", "run_bounded"]


@dataclass(slots=True)
class Outcome:
    """How a call ended.

    Attributes:
        value: What it returned.
        error: What it raised, ``SystemExit`` and ``KeyboardInterrupt`` included.
        trace: Traceback of ``error``; for a call that hangs, where it is.
        seconds: How long it took.
        hangs: It had not ended at the limit, and is left behind in its daemon thread.
    """

    value: Any = None
    error: BaseException | None = None
    trace: str = ""
    seconds: float = 0.0
    hangs: bool = False

    @property
    def reason(self) -> str:
        """Why it failed, in one line; empty when it did not."""
        if self.hangs:
            return f"did not end within {self.seconds:.1f} s"
        if isinstance(self.error, SystemExit):
            return f"tried to exit the program ({_text(self.error.code)})"
        if self.error is not None:
            return f"{type(self.error).__name__}: {_text(self.error)}".rstrip(": ")
        return ""


def _text(value: object) -> str:
    """What a foreign object says of itself, which may go wrong too."""
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - a foreign __str__ may raise anything
        return f"<no text: its __str__ raised {type(error).__name__}>"


def run_bounded(call: Callable[[], Any], limit_s: float | None, name: str) -> Outcome:
    """Call ``call()`` in a daemon thread and wait at most ``limit_s`` seconds.

    A thread cannot be killed: a call that hangs keeps its thread, and the locks of the modules it was importing, until the process ends, but neither
    the caller nor the end of the process waits for it. ``os._exit`` and crashes in native code cannot be caught this way.

    Args:
        call: Code of a plugin.
        limit_s: Seconds to wait; ``None`` waits for ever.
        name: Name of the thread, for debuggers.
    """
    outcome = Outcome()
    ended = threading.Event()

    def work() -> None:
        try:
            outcome.value = call()
        except BaseException as error:  # noqa: BLE001 - whatever a plugin raises is a fact about the plugin
            outcome.error = error
            outcome.trace = traceback.format_exc()
        ended.set()

    thread = threading.Thread(target=work, name=name, daemon=True)
    began = time.perf_counter()
    thread.start()
    if ended.wait(limit_s):
        outcome.seconds = time.perf_counter() - began
        return outcome
    return Outcome(hangs=True, seconds=time.perf_counter() - began, trace=_where(thread))


def _where(thread: threading.Thread) -> str:
    import sys

    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - the documented way to see another thread's stack
    return "".join(traceback.format_stack(frame)) if frame else ""
