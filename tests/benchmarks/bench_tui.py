"""The TUI as people meet it: the real program on a real pseudo-terminal, on the big film of ``big_film.py``.

    python tests/benchmarks/bench_tui.py [--film FOLDER] [--only start,pages,search,live] [--minutes 10] [--out FILE]

Without ``--film`` (or ``BIG_FILM``) the film is made first, in a folder that is removed afterwards: a minute and a half and 1.3 GB. Live running takes half a minute unless
``--minutes`` says otherwise. A frame is complete when the last byte of its synchronised output was read, so the terminal's own drawing is not in any figure.
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import psutil

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tui"))

from terminal import Screen, Terminal  # noqa: E402 - a module of the tests, found through the path above

SIZE = (120, 40)
STARTS, PAGES, SEARCHES = 15, 200, 9
QUIET_S, SAMPLE_S, LONGEST_PRESS_S = 0.12, 0.1, 2.0
TURN = 40
EMPTY = "from textual.app import App\nApp().run()"
LIMITS = {
    "first frame": 450.0,
    "first frame against an empty app": 2.0,
    "screen filled": 1000.0,
    "page down, gallery": 60.0,
    "page down, table": 60.0,
    "filter or sort": 200.0,
    "memory": 160.0,
    "slowest key while live": 150.0,
    "slowest turn of the loop while live": 150.0,
    "memory growth while live": 8.0,
}
UNITS = {"first frame against an empty app": "times", "memory": "MB", "memory growth while live": "MB an hour"}


def main() -> int:
    """Measure, print one JSON line per figure, and leave with 1 when one is missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--film", type=Path, default=os.environ.get("BIG_FILM"))
    parser.add_argument("--only", default="start,pages,search,live")
    parser.add_argument("--minutes", type=float, default=0.5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--quick", action="store_true", help="a third of everything, for a look")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-tui-") as folder:
        film = Path(wanted.film or Path(folder) / "film")
        if not (film / "big-film.json").is_file():
            subprocess.run([sys.executable, str(HERE / "big_film.py"), str(film)], check=True, stdout=sys.stderr)
        bench = Bench(film, Path(folder), quick=wanted.quick)
        for part in wanted.only.split(","):
            print(f"{part} ...", file=sys.stderr, flush=True)
            {
                "start": bench.start,
                "pages": bench.pages,
                "search": bench.search,
                "live": lambda: bench.live(wanted.minutes * 60),
            }[part]()
    figures = bench.figures()
    for figure in figures:
        print(json.dumps(figure))
    row = "; ".join(f"{one['name']} {one['figure']:g} {one['unit']} (≤ {one['limit']:g})" for one in figures)
    print(f"| the TUI on the big film, 120 x 40 | {row} | `tests/benchmarks/bench_tui.py` |")
    if wanted.out:
        document = {"figures": figures, "detail": bench.detail, "load": os.getloadavg(), "cores": os.cpu_count()}
        wanted.out.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return 0 if all(one["ok"] for one in figures) else 1


class Bench:
    """The measurements, and what came of them.

    Args:
        film: Folder of the big film.
        folder: For everything else; gone afterwards.
        quick: Measure a third as often.
    """

    def __init__(self, film: Path, folder: Path, *, quick: bool = False) -> None:
        self.film, self.folder = film, folder
        self.starts, self.presses, self.searches = (
            count // 3 if quick else count for count in (STARTS, PAGES, SEARCHES)
        )
        self.facts: dict[str, Any] = json.loads((film / "big-film.json").read_text(encoding="utf-8"))
        self.found: dict[str, float] = {}
        self.detail: dict[str, Any] = {}
        self.peak = 0.0

    def figures(self) -> list[dict[str, Any]]:
        """What was measured, against its limit."""
        if self.peak:
            self.found["memory"] = self.peak
        return [
            {
                "name": name,
                "figure": round(self.found[name], 2),
                "unit": UNITS.get(name, "ms"),
                "limit": limit,
                "ok": self.found[name] <= limit,
            }
            for name, limit in LIMITS.items()
            if name in self.found
        ]

    @contextmanager
    def program(self, *, probe: Path | None = None) -> Iterator[Terminal]:
        """The program with the film, with a home of its own, its memory watched."""
        home = Path(tempfile.mkdtemp(prefix="home-", dir=self.folder))
        env = {"ASSETFORGE_HOME": str(home), "ASSETFORGE_PROJECTS": str(home), "ASSETFORGE_ACTOR": "bench"}
        begin = ["-m", "assetforge"] if probe is None else [str(HERE / "tui_probe.py"), str(probe)]
        with (
            Terminal([sys.executable, *begin, "--project", str(self.film)], SIZE, env) as terminal,
            Memory(terminal.pid) as memory,
        ):
            terminal.memory = memory  # type: ignore[attr-defined]
            yield terminal
            self.peak = max(self.peak, memory.peak)
            terminal.send("ctrl+q")
            terminal.wait_exit(15.0)

    def start(self) -> None:
        """Start an empty Textual app and the program in turn."""
        names = self._first_screenful()
        times: dict[str, list[float]] = {"empty": [], "first paint": [], "first text": [], "names": [], "filled": []}
        for _ in range(self.starts):
            with Terminal([sys.executable, "-c", EMPTY], SIZE) as terminal:
                times["empty"].append(terminal.wait_for(lambda screen: screen.written > 0) - terminal.started)
                terminal.send("ctrl+q")
                terminal.wait_exit()
            with self.program() as terminal:
                times["first paint"].append(terminal.wait_for(lambda screen: screen.written > 0) - terminal.started)
                times["first text"].append(
                    terminal.wait_for(lambda screen: bool(screen.text.strip())) - terminal.started
                )
                times["names"].append(terminal.wait_for(lambda screen: _shows(screen, names)) - terminal.started)
                # The last frame of the beginning: pictures and the card at the side are there.
                times["filled"].append(self._filled(terminal) - terminal.started)
        self.detail["start"] = {name: _spread(values) for name, values in times.items()}
        first = statistics.median(times["first text"])
        self.found["first frame"] = first * 1000
        self.found["first frame against an empty app"] = first / statistics.median(times["empty"])
        self.found["screen filled"] = statistics.median(times["filled"]) * 1000

    def _first_screenful(self) -> list[str]:
        """What stands on the screen once nothing moves any more: names of assets, and how many cells pictures have."""
        with self.program() as terminal:
            self._ready(terminal)
            self._blocks = terminal.text.count("▀")
            found = [word for line in terminal.lines[2:-1] for word in line.split() if _is_name(word)]
        if len(found) < 4:
            raise RuntimeError(f"no assets on the screen:\n{terminal.text}")
        return found

    def _filled(self, terminal: Terminal) -> float:
        return terminal.wait_for(lambda screen: screen.text.count("▀") >= self._blocks * 0.98)

    def pages(self) -> None:
        """Page down through the references of the asset that has the most, in the gallery and in the table."""
        with self.program() as terminal:
            self._open_references(terminal)
            for view in ("gallery", "table"):
                presses = [self._press(terminal, "pagedown") for _ in range(self.presses)]
                self.detail[f"pages, {view}"] = _presses(presses)
                self.found[f"page down, {view}"] = _percentile([one["shown"] for one in presses], 0.95) * 1000
                terminal.send("v")
                terminal.settle(0.5)
            self.detail["memory after pages"] = round(terminal.memory.now(), 1)  # type: ignore[attr-defined]

    def search(self) -> None:
        """Filter and sort assets, then the references of the asset that has the most."""
        slowest: dict[str, list[float]] = {}
        with self.program() as terminal:
            self._ready(terminal)
            for number in range(self.searches):
                slowest.setdefault("sort assets", []).append(self._press(terminal, "s", quiet=0.4)["shown"])
                words = (
                    "type:prop",
                    "status:review",
                    "lamp",
                    "type:style",
                    "status:approved",
                    "old",
                    "refs:>300",
                    "mara",
                    "ilse",
                )[number]
                slowest.setdefault("filter assets", []).append(self._filter(terminal, words))
            self._open_references(terminal)
            for number in range(self.searches):
                slowest.setdefault("sort references", []).append(self._press(terminal, "s", quiet=0.4)["shown"])
                words = (
                    "rain",
                    "lamp light",
                    "kitchen",
                    "neon",
                    "split:held_out",
                    "fog",
                    "state:excluded",
                    "ferry",
                    "scarf",
                )[number]
                slowest.setdefault("filter references", []).append(self._filter(terminal, words))
        self.detail["search"] = {name: _spread(values) for name, values in slowest.items()}
        self.found["filter or sort"] = max(_percentile(values, 0.95) for values in slowest.values()) * 1000

    def live(self, seconds: float) -> None:
        """Scroll while a run writes 20 events a second: half of the time in its own screen, half in the references."""
        probe = self.folder / "probe.json"
        writer = subprocess.Popen(
            [sys.executable, str(HERE / "live_run.py"), str(self.film), "--seconds", str(seconds + 60)]
        )
        try:
            with self.program(probe=probe) as terminal:
                self._open_references(terminal)
                since, keys, gaps = time.monotonic(), list[str](), []
                while (now := time.monotonic() - since) < seconds:
                    # A list begins at its top, where some keys have nothing to do.
                    scrolling = ("pagedown", "down", "pagedown", "up", "pageup", "down")[len(keys) % TURN % 6]
                    keys.append({TURN - 1: "f4", 2 * TURN - 1: "escape"}.get(len(keys) % (2 * TURN), scrolling))
                    gaps.append(self._press(terminal, keys[-1], quiet=0.1 if keys[-1] == scrolling else 0.3))
                # Before the program ends, which is a long turn of its loop.
                heart = json.loads(probe.read_text(encoding="utf-8"))
                memory = terminal.memory  # type: ignore[attr-defined]
        finally:
            writer.send_signal(signal.SIGTERM)
            writer.wait()
        samples = [one for one in memory.samples if one[0] >= memory.samples[0][0] + now / 3]
        slowest = sorted(zip(keys, gaps, strict=True), key=lambda one: one[1]["first"], reverse=True)[:9]
        self.detail["live"] = {
            "seconds": seconds,
            "keys": _presses(gaps),
            "slowest": slowest,
            "loop": heart,
            "memory": memory.thinned(),
        }
        self.found["slowest key while live"] = max(one["first"] for one in gaps) * 1000
        self.found["slowest turn of the loop while live"] = heart["worst_s"] * 1000
        self.found["memory growth while live"] = max(0.0, _slope(samples) * 3600)

    def _ready(self, terminal: Terminal) -> None:
        """Wait until the film is open and its first assets have their pictures."""
        terminal.wait_for(lambda screen: screen.text.count("▀") > 100, 30.0)
        terminal.settle(1.0, 15.0)

    def _open_references(self, terminal: Terminal) -> None:
        self._ready(terminal)
        name = self.facts["many_references"]
        for keys in ("/", name, "enter", "enter"):
            terminal.send(keys)
            terminal.settle(0.4)
        terminal.wait_for(f"▸ {name}")
        terminal.send("1")
        terminal.settle(1.0, 15.0)

    def _filter(self, terminal: Terminal, words: str) -> float:
        """Write a filter as fast as keys come, and time from the first letter to the list that fits it; then take it away."""
        terminal.send("/")
        terminal.settle(0.2)
        took = self._press(terminal, words, quiet=0.4)["shown"]
        terminal.send("escape")
        terminal.settle(0.4)
        return took

    def _press(self, terminal: Terminal, key: str, *, quiet: float = QUIET_S) -> dict[str, float]:
        """Press a key; how long until the first frame, until the one that first shows what remains, and until nothing changes any more, in seconds."""
        before = terminal.lines
        pressed = terminal.send(key)
        with contextlib.suppress(TimeoutError):
            for frame in terminal.frames_after(pressed, quiet=quiet, timeout=LONGEST_PRESS_S):
                if frame.end - pressed > LONGEST_PRESS_S:
                    break  # a running film's screen never rests
        moments: list[tuple[float, list[str]]] = [(moment, terminal.screen.lines) for moment in terminal.updates()]
        moments = [one for one in moments if one[0] > pressed] or [(pressed, before)]
        final = _words(moments[-1][1])
        shown = next(moment for moment, lines in moments if _alike(_words(lines), final))
        return {
            "first": moments[0][0] - pressed,
            "shown": shown - pressed,
            "settled": moments[-1][0] - pressed,
            "changed": float(final != _words(before)),
        }


class Memory:
    """Resident memory of a process and its children, looked at ten times a second; use as a context manager.

    Args:
        pid: The process.
    """

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._end = threading.Event()
        self.samples: list[tuple[float, float]] = []

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    @property
    def peak(self) -> float:
        """The most, in MB of 10^6 bytes."""
        return max((value for _, value in self.samples), default=0.0)

    def now(self) -> float:
        """What it is now, in MB."""
        processes = [self._process, *self._process.children(recursive=True)]
        return sum(process.memory_info().rss for process in processes) / 1e6

    def thinned(self, count: int = 120) -> list[tuple[float, float]]:
        """Some of the samples, over the whole time."""
        step = max(1, len(self.samples) // count)
        return [(round(at, 1), round(value, 1)) for at, value in self.samples[::step]]

    def _watch(self) -> None:
        begun = time.monotonic()
        while not self._end.wait(SAMPLE_S):
            try:
                self.samples.append((time.monotonic() - begun, self.now()))
            except psutil.NoSuchProcess:
                return


def _is_name(word: str) -> bool:
    return (
        len(word) > 3
        and word[0].isalpha()
        and all(char.isascii() and (char.isalnum() or char == "-") for char in word)
        and "-" in word
    )


def _shows(screen: Screen, names: Sequence[str]) -> bool:
    text = screen.text
    return all(name in text for name in names)


def _words(lines: Sequence[str]) -> list[str]:
    """What stands in the list: below the head, above the keys, left of the pane that shows one thing in full, without pictures, whose cells look alike here."""
    listed = (line.rpartition("│")[0] or line for line in lines[2:-1])
    return [" ".join(line.replace("▀", " ").replace("▄", " ").split()) for line in listed]


def _alike(lines: Sequence[str], final: Sequence[str]) -> bool:
    """All but two lines are the same: a line that a joined emoji has shifted keeps what once stood at its end."""
    return sum(one != other for one, other in zip(lines, final, strict=True)) <= 2


def _percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def _spread(values: Sequence[float]) -> dict[str, float]:
    shares: dict[str, Callable[[Sequence[float]], float]] = {
        "median": statistics.median,
        "p95": lambda given: _percentile(given, 0.95),
        "most": max,
        "least": min,
    }
    return {name: round(share(values) * 1000, 1) for name, share in shares.items()}


def _presses(presses: Sequence[dict[str, float]]) -> dict[str, Any]:
    document: dict[str, Any] = {name: _spread([one[name] for one in presses]) for name in ("first", "shown", "settled")}
    return {**document, "presses": len(presses), "changed": int(sum(one["changed"] for one in presses))}


def _slope(samples: Sequence[tuple[float, float]]) -> float:
    """MB a second, by least squares."""
    if len(samples) < 3:
        return 0.0
    line = statistics.linear_regression([at for at, _ in samples], [value for _, value in samples])
    return line.slope


if __name__ == "__main__":
    sys.exit(main())
