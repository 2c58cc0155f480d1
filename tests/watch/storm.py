"""A storm over a folder: files arrive in every way that people's programs have, all at once, and what must be true when it is over."""

import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from sqlmodel import select

from assetforge.db.models import Activity, Asset, Image, Reference
from assetforge.db.models_watch import WatchedFile, WatchRoot
from assetforge.services.projects import Project

__all__ = ["Storm", "WatcherProcess", "watcher"]

FORMATS = (("png", "PNG"), ("jpg", "JPEG"), ("bmp", "BMP"))


def picture(number: int) -> tuple[str, bytes]:
    """A picture that no other number has, as suffix and bytes; the format goes with the number."""
    import io

    suffix, kind = FORMATS[number % len(FORMATS)]
    rng = np.random.default_rng(number)
    coarse = Pillow.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)).resize(
        (48, 36), Pillow.Resampling.BICUBIC
    )
    stream = io.BytesIO()
    coarse.save(stream, format=kind, **({"quality": 95} if kind == "JPEG" else {}))
    return suffix, stream.getvalue()


class Storm:
    """Writes pictures into folders below a root.

    Attributes:
        whole: Hashes of all pictures that were ever whole in the folder.
        writes: How many files were written, replacements included.
    """

    def __init__(self, root: Path, files: int, *, folders: int = 40, stall_s: float = 0.0) -> None:
        self.root, self.files, self.folders, self.stall_s = root, files, folders, stall_s
        self.whole: set[str] = set()
        self.writes = 0
        self._slow: list[tuple[Path, bytes, int]] = []

    def blow(self) -> None:
        """Everything, from four writers."""
        threads = [threading.Thread(target=self._write, args=(part,)) for part in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _write(self, part: int) -> None:
        # A tenth of the numbers replaces what is there; the others arrive in four ways.
        placed: list[Path] = []
        fresh = range(part, self.files, 4)
        for count, number in enumerate(fresh):
            folder = self.root / f"take {number % self.folders:02d}" / ("sub [x]" if number % 3 == 0 else "")
            folder.mkdir(parents=True, exist_ok=True)
            suffix, data = picture(number)
            target = folder / f"frame_{number:06d}.{suffix}"
            (self._copy, self._renamed_into_place, self._slowly, self._part_file)[count % 4](target, data, number)
            placed.append(target)
            if count % 10 == 9:
                self._replace(placed[count - 9], self.files + number)

    def _done(self, data: bytes) -> None:
        self.whole.add(hashlib.sha256(data).hexdigest())
        self.writes += 1

    def _copy(self, target: Path, data: bytes, number: int) -> None:
        target.write_bytes(data)
        self._done(data)

    def _renamed_into_place(self, target: Path, data: bytes, number: int) -> None:
        temporary = target.with_name(f".{target.name}.swp")
        temporary.write_bytes(data)
        temporary.replace(target)
        self._done(data)

    def _part_file(self, target: Path, data: bytes, number: int) -> None:
        temporary = target.with_name(target.name + ".part")
        with temporary.open("wb") as file:
            file.write(data[: len(data) // 2])
            file.flush()
            file.write(data[len(data) // 2 :])
        temporary.replace(target)
        self._done(data)

    def _slowly(self, target: Path, data: bytes, number: int) -> None:
        """In three pieces under its final name; some of them stall for longer than a file takes to settle."""
        stall = self.stall_s if number % 50 == 2 else 0.002
        with target.open("wb") as file:
            for start in range(0, len(data), len(data) // 3 + 1):
                file.write(data[start : start + len(data) // 3 + 1])
                file.flush()
                time.sleep(stall)
        self._done(data)

    def _replace(self, target: Path, number: int) -> None:
        """In place under the same name, with the bytes of another picture of the same format."""
        while picture_suffix(number) != target.suffix[1:]:
            number += self.files
        _, data = picture(number)
        temporary = target.with_name(f"~${target.name}")
        temporary.write_bytes(data)
        temporary.replace(target)
        self._done(data)

    def hashes(self) -> Counter[str]:
        """What lies in the folder now."""
        return Counter(hashlib.sha256(path.read_bytes()).hexdigest() for path in self.root.rglob("*") if path.is_file())

    def check(self, project: Project, asset: str) -> dict[str, int]:
        """Folder and database say the same, every file was taken in once, and no half of one ever was."""
        there = self.hashes()
        with project.read() as session:
            row = session.exec(select(Asset).where(Asset.name == asset)).one()
            references = session.exec(select(Reference).where(Reference.asset_id == row.id)).all()
            images = set(session.exec(select(Image.sha256)))
            roots = session.exec(select(WatchRoot.id).where(WatchRoot.asset_id == row.id)).all()
            files = session.exec(select(WatchedFile).where(WatchedFile.root_id.in_(roots))).all()
            added = sum(
                one.detail["added"] for one in session.exec(select(Activity).where(Activity.verb == "added references"))
            )
        active = {one.sha256 for one in references if one.state == "active"}
        assert images <= self.whole, f"{len(images - self.whole)} halves of files became pictures"
        assert active == set(there), (len(active), len(there), len(active ^ set(there)))
        taken = Counter(one.sha256 for one in files if one.state == "taken")
        assert taken == there
        assert [one for one in files if one.state == "quarantined"] == []
        assert added == len(references), "some reference was added twice, or not told"
        return {"references": len(references), "active": len(active), "writes": self.writes}


def picture_suffix(number: int) -> str:
    """The suffix of a picture's number."""
    return FORMATS[number % len(FORMATS)][0]


class WatcherProcess:
    """``assetforge watch`` in a process of its own."""

    def __init__(self, project: Project, *words: str) -> None:
        self.log = project.paths.logs / f"watch-{os.urandom(3).hex()}.log"
        self.log.parent.mkdir(exist_ok=True)
        with self.log.open("wb") as stream:
            command = [sys.executable, "-P", "-m", "assetforge", "--project", str(project.root), "watch", *words]
            self.process = subprocess.Popen(command, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def resident_mb(self) -> float:
        """Its memory, with that of its children."""
        import psutil

        mine = psutil.Process(self.process.pid)
        return sum(one.memory_info().rss for one in [mine]) / 1e6

    def stop(self) -> int:
        """End it gently; its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(60)


@contextmanager
def watcher(project: Project, *words: str):
    """A watcher for the length of a block, without training."""
    running = WatcherProcess(project, "--no-train", *words)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
        running.process.wait(30)


def wait_until_calm(project: Project, storm: Storm, asset: str, limit_s: float) -> None:
    """Wait until the folder and the database agree, or the limit has passed."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        with project.read() as session:
            rows = session.exec(select(WatchedFile.sha256).where(WatchedFile.state == "taken")).all()
        if len(rows) == sum(1 for path in storm.root.rglob("*") if path.is_file()):
            try:
                storm.check(project, asset)
            except AssertionError:
                pass
            else:
                return
        time.sleep(1.0)


def clear(root: Path) -> None:
    """Take everything away again."""
    for one in root.iterdir():
        shutil.rmtree(one) if one.is_dir() else one.unlink()
