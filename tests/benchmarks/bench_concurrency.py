"""Several processes write to one film at once: no lock error, nothing lost.

First two processes add references and freeze after every few files, over folders that overlap; then four processes write 500 captions each, 2,000 in all.
Required: no process fails, and everything that was written is there.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from sqlmodel import func, select

from assetforge.db.models import CaptionEdit
from assetforge.services.assets import add_asset
from assetforge.services.datasets import dataset_lines, freeze, list_datasets
from assetforge.services.projects import Project, create_project, open_project
from assetforge.services.references import list_references

PICTURES = 120
SHARED = 40
WRITERS = 4
WRITES = 2_000


def make_pictures(folder: Path, first: int, count: int) -> None:
    """Small textured pictures, different for every number."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        coarse = np.random.default_rng(number).integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Pillow.fromarray(coarse).resize((96, 96), Pillow.Resampling.BICUBIC).save(folder / f"{number:04d}.png")


def add_and_freeze(root: Path, folder: Path) -> None:
    """What each of the two adding processes does."""
    from assetforge.services.ingest import add_references

    files = sorted(folder.iterdir())
    with open_project(root) as project:
        for start in range(0, len(files), 10):
            add_references(project, "mara", files[start : start + 10])
            freeze(project, "mara")


def write_captions(root: Path, writer: int) -> None:
    """What each of the four writing processes does."""
    from assetforge.services.captions import set_caption

    with open_project(root) as project:
        addresses = [f"mara/ref/{one.sha256}" for one in list_references(project, "mara", limit=1000).items]
        for number in range(WRITES // WRITERS):
            set_caption(project, addresses[number % len(addresses)], f"writer {writer} number {number}")


def run_all(jobs: list[list[str]]) -> list[str]:
    """Run processes of this script at once; returns what failing ones said."""
    running = [
        subprocess.Popen([sys.executable, __file__, *job], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for job in jobs
    ]
    said = [(process.communicate()[0], process.returncode) for process in running]
    return [text[-2000:] for text, code in said if code != 0]


def check(project: Project) -> list[str]:
    """What is missing or wrong after the adding processes."""
    wrong = []
    everything = list_references(project, "mara", limit=1000)
    if everything.total != 2 * PICTURES - SHARED:
        wrong.append(f"{everything.total} references instead of {2 * PICTURES - SHARED}")
    wrong += [f"blob {one.sha256} is missing" for one in everything.items if not project.blobs.verify(one.sha256)]
    numbers = [one.number for one in list_datasets(project, "mara")]
    if numbers != list(range(len(numbers), 0, -1)):
        wrong.append(f"dataset numbers {numbers}")
    freeze(project, "mara")
    if {line.sha256 for line in dataset_lines(project, "mara")} != {one.sha256 for one in everything.items}:
        wrong.append("the newest dataset does not hold every reference")
    return wrong


def main() -> int:
    """Run both scenarios."""
    if len(sys.argv) == 4:
        action = {"add": lambda: add_and_freeze(Path(sys.argv[2]), Path(sys.argv[3]))}
        action["write"] = lambda: write_captions(Path(sys.argv[2]), int(sys.argv[3]))
        action[sys.argv[1]]()
        return 0
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        os.environ["ASSETFORGE_HOME"] = str(root / "home")
        make_pictures(root / "one", 0, PICTURES)
        make_pictures(root / "two", PICTURES - SHARED, PICTURES)
        film = root / "film"
        with create_project("film", folder=film) as project:
            add_asset(project, "mara", "character")
            failures = run_all([["add", str(film), str(root / "one")], ["add", str(film), str(root / "two")]])
            failures += check(project)
            start = time.perf_counter()
            failures += run_all([["write", str(film), str(writer)] for writer in range(WRITERS)])
            seconds = time.perf_counter() - start
            with project.read() as session:
                written = session.exec(select(func.count()).select_from(CaptionEdit)).one()
            datasets = len(list_datasets(project, "mara"))
    ok = not failures and written == WRITES
    for failure in failures:
        print(failure, file=sys.stderr)
    figures = {
        "name": "concurrency",
        "figure": written,
        "unit": "of 2,000 writes kept",
        "limit": WRITES,
        "ok": ok,
        "failures": len(failures),
        "writers": WRITERS,
        "writes_per_s": round(WRITES / seconds, 1),
        "datasets_frozen": datasets,
    }
    print(json.dumps(figures))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
