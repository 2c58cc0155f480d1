"""Runs ``python -m assetforge`` with a heart in its event loop: ``python tui_probe.py OUT [arguments]``. Used by ``bench_tui.py``.

Every 10 ms the loop notes how much later than asked it came round, and whatever exceeds ``SLOW_S`` is written down with the moment; ``OUT`` is replaced twice a second. With
``TUI_PROFILE`` set to a file, the main thread is profiled (``cProfile``), and with ``TUI_TASKS`` SIGUSR1 writes the stacks of all tasks to that file.
"""

import asyncio
import cProfile
import gc
import json
import os
import runpy
import signal
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

BEAT_S, SLOW_S, SAVE_S = 0.01, 0.05, 0.5


class Sweeps:
    """How long the garbage collector held everything up, by generation."""

    def __init__(self) -> None:
        self.most = [0.0, 0.0, 0.0]
        self.count = [0, 0, 0]
        self._begun = 0.0
        gc.callbacks.append(self._note)

    def _note(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._begun = time.perf_counter()
        else:
            generation = info["generation"]
            self.count[generation] += 1
            self.most[generation] = max(self.most[generation], time.perf_counter() - self._begun)


async def beat(out: Path) -> None:
    """Note how late the loop is, for as long as it runs."""
    sweeps = Sweeps()
    worst, beats, slow, saved = 0.0, 0, [], time.monotonic()
    while True:
        before = time.perf_counter()
        await asyncio.sleep(BEAT_S)
        late = time.perf_counter() - before - BEAT_S
        beats += 1
        worst = max(worst, late)
        if late > SLOW_S and len(slow) < 2000:
            slow.append([round(time.time(), 3), round(late, 4)])
        if time.monotonic() - saved > SAVE_S:
            saved = time.monotonic()
            swept = {"most_s": sweeps.most, "count": sweeps.count}
            _replace(out, {"beats": beats, "worst_s": worst, "slow": slow, "garbage": swept})


def _replace(out: Path, document: dict[str, Any]) -> None:
    temporary = out.with_suffix(".tmp")
    temporary.write_text(json.dumps(document), encoding="utf-8")
    temporary.replace(out)


def _write_tasks(path: Path) -> None:
    with path.open("a", encoding="utf-8") as stream:
        for task in asyncio.all_tasks():
            stream.write(f"== {task.get_name()} {task.get_coro()}\n")
            task.print_stack(file=stream)


def main() -> None:
    """Put the heart into whatever loop is run first, then run the program."""
    out = Path(sys.argv[1])
    run = asyncio.Runner.run

    def run_with_heart(self: asyncio.Runner, coroutine: Coroutine[Any, Any, Any], **kwargs: Any) -> Any:
        async def both() -> Any:
            loop = asyncio.get_running_loop()
            if tasks := os.environ.get("TUI_TASKS"):
                loop.add_signal_handler(signal.SIGUSR1, _write_tasks, Path(tasks))
            heart = loop.create_task(beat(out), name="heart")
            try:
                return await coroutine
            finally:
                heart.cancel()

        return run(self, both(), **kwargs)

    asyncio.Runner.run = run_with_heart  # type: ignore[method-assign]
    sys.argv = ["assetforge", *sys.argv[2:]]
    if profile := os.environ.get("TUI_PROFILE"):
        profiler = cProfile.Profile()
        profiler.enable()
        try:
            runpy.run_module("assetforge", run_name="__main__", alter_sys=True)
        finally:
            profiler.disable()
            profiler.dump_stats(profile)
    else:
        runpy.run_module("assetforge", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
