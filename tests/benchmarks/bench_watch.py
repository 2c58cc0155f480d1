"""What watching costs: a look at 50,000 files that did not change, a single file from close to row, and memory over 100,000 events.

Looking: in one process, in turn, a bare recursive ``scandir`` with a ``stat`` of every file, and the watcher's comparison with what it knows; the best of several
rounds of each, since neighbours only ever add. Loading what is known from the database is measured apart: it happens once, at the start.

A single file: the real program, a file written every few seconds, the time from its last close to its row, less the time it has to settle.

Memory: the real program over the same 50,000 files while 100,000 events happen in them (files written, renamed and removed under names that are passed over, so that
what is measured is watching and not decoding), its resident size after the first tenth of the events and at the end.

Required: at most three times the bare walk and under 0.5 s; 95 % of the files within 0.7 s after they settled; at most 150 MB, and flat: at most 10 % more at the end.
"""

import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil

FILES = int(os.environ.get("BENCH_FILES", "50000"))
EVENTS = int(os.environ.get("BENCH_EVENTS", "100000"))
SINGLES = int(os.environ.get("BENCH_SINGLES", "20"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "7"))
FOLDERS = 40
SETTLE_S = 2.0
RATIO, SECONDS, LATE_S, MEMORY_MB, GROWTH = 3.0, 0.5, 0.7, 150.0, 1.10


def walk(root: Path) -> int:
    """The bare walk."""
    count, waiting = 0, [str(root)]
    while waiting:
        with os.scandir(waiting.pop()) as listing:
            for entry in listing:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    entry.stat()
                    count += 1
    return count


def fill(project: Any, folder: Any) -> None:
    """Files, and rows that say they were taken in; their pictures are not needed here."""
    rows = []
    for number in range(FILES):
        path = folder.path / f"take {number % FOLDERS:02d}" / f"frame_{number:06d}.png"
        if number < FOLDERS:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%06d" % number)
    for path in sorted(folder.path.rglob("*.png")):
        status = path.stat()
        rows.append(
            (
                folder.root_id,
                os.fsencode(path.relative_to(folder.path)),
                status.st_size,
                status.st_mtime_ns,
                status.st_ctime_ns,
            )
        )
    with closing(sqlite3.connect(project.paths.database)) as connection, connection:
        connection.executemany(
            "INSERT INTO watched_file (root_id, path, size, mtime_ns, ctime_ns, state, sha256, code, message, hint, at)"
            " VALUES (?, ?, ?, ?, ?, 'taken', '', '', '', '', '2026-01-01 00:00:00')",
            rows,
        )


def reconcile(project: Any, folder: Any) -> dict[str, float]:
    """Seconds of the bare walk, of the comparison, and of loading what is known."""
    from assetforge.services.watch_records import known_files
    from assetforge.store.tree import FolderTree

    tree = FolderTree(folder.path)
    started = time.perf_counter()
    for path, stamp in known_files(project, folder.root_id):
        tree.note(path, stamp)
    loading = time.perf_counter() - started
    bare, ours = [], []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        assert walk(folder.path) == FILES
        bare.append(time.perf_counter() - started)
        started = time.perf_counter()
        result = tree.scan()
        ours.append(time.perf_counter() - started)
        assert result.files == FILES, result.files
        assert not result.changed, len(result.changed)
        assert not result.missing
    return {"bare_s": min(bare), "ours_s": min(ours), "ours_median_s": statistics.median(ours), "loading_s": loading}


@contextmanager
def watching(project: Any) -> Iterator[psutil.Process]:
    """The real program."""
    command = [sys.executable, "-P", "-m", "assetforge", "-q", "--project", str(project.root), "watch", "--no-train"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(60)


def singles(project: Any, inbox: Path) -> list[float]:
    """How much later than its settling time each file became a row."""
    import numpy as np
    from PIL import Image

    late = []
    with watching(project), closing(sqlite3.connect(project.paths.database)) as connection:
        time.sleep(4.0)
        for number in range(SINGLES):
            pixels = np.random.default_rng(number).integers(0, 255, (768, 512, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((512, 768)).save(inbox / f"single_{number}.jpg")
            closed = time.monotonic()
            while connection.execute("SELECT count(*) FROM reference").fetchone()[0] <= number:
                time.sleep(0.01)
                assert time.monotonic() - closed < 60.0, "the file never became a row"
            late.append(time.monotonic() - closed - SETTLE_S)
            time.sleep(0.37 * (number % 4))
    return late


def memory(project: Any, inbox: Path) -> dict[str, float]:
    """Resident size of the watcher over many events, in MB."""
    sizes: list[float] = []
    with watching(project) as process:
        time.sleep(6.0)
        start = process.memory_info().rss / 1e6
        each = EVENTS // 40
        for _ in range(10):
            for number in range(each):
                # Four events: made, written and closed, renamed, removed.
                path = inbox / f"take {number % FOLDERS:02d}" / f".new_{number}.part"
                path.write_bytes(b"x")
                other = path.with_suffix(".tmp")
                path.rename(other)
                other.unlink()
            time.sleep(3.0)
            sizes.append(process.memory_info().rss / 1e6)
    return {"start_mb": start, "first_mb": sizes[0], "last_mb": sizes[-1], "most_mb": max([start, *sizes])}


def measure(folder: Path) -> dict[str, Any]:
    """All three."""
    os.environ["ASSETFORGE_HOME"], os.environ["ASSETFORGE_PROJECTS"] = str(folder / "home"), str(folder / "films")
    from assetforge.services.assets import add_asset
    from assetforge.services.projects import create_project
    from assetforge.services.watch_records import watched_folders

    with create_project("film") as project:
        add_asset(project, "mara", "character")
        many = watched_folders(project)[0]
        fill(project, many)
        seconds = reconcile(project, many)
        used = memory(project, many.path)
        single = add_asset(project, "ilse", "character")
        late = sorted(singles(project, single.references))
    ratio = seconds["ours_s"] / seconds["bare_s"]
    p95 = late[max(0, round(0.95 * len(late)) - 1)]
    growth = used["last_mb"] / used["first_mb"]
    return {
        "name": "watch",
        "figure": round(ratio, 2),
        "unit": "times a bare walk over files that did not change",
        "limit": RATIO,
        "ok": ratio <= RATIO
        and seconds["ours_s"] < SECONDS
        and p95 <= LATE_S
        and used["most_mb"] <= MEMORY_MB
        and growth <= GROWTH,
        "files": FILES,
        **{name: round(value, 4) for name, value in seconds.items()},
        "late_p95_s": round(p95, 3),
        "late_median_s": round(statistics.median(late), 3),
        "events": EVENTS,
        **{name: round(value, 1) for name, value in used.items()},
        "growth": round(growth, 3),
    }


def main() -> int:
    """Measure and print; return the exit code."""
    with tempfile.TemporaryDirectory() as name:
        figures = measure(Path(name))
    print(json.dumps(figures))
    return 0 if figures["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
