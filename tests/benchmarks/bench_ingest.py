"""How fast references are added, beside a bare loop that only hashes files and makes thumbnails.

1,000 JPEGs of 3 megapixels are made on the fly. The bare loop reads and hashes each file and makes its thumbnail with the fastest library installed, on all
cores; it keeps nothing. Ours is `add_references` end to end, process start included: full decode check, hash, perceptual hash, sharpness, thumbnail file,
blob (synced to disk), rows. Both are measured in turn, in one run. Required: at least 0.8 of the bare loop's throughput, and every file decoded once.
"""

import hashlib
import io
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from assetforge.services.assets import add_asset
from assetforge.services.ingest import add_references
from assetforge.services.intake_pool import usable_cores
from assetforge.services.projects import create_project

FILES = int(os.environ.get("BENCH_FILES", "1000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
SIZE = (2048, 1536)
LIMIT = 0.8
SIDE = 256


def with_pillow(data: bytes) -> bytes:
    """Pillow, decoding at an eighth of the size."""
    picture = Image.open(io.BytesIO(data))
    picture.draft("RGB", (SIDE, SIDE * SIZE[1] // SIZE[0]))
    picture.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def with_simplejpeg(data: bytes) -> bytes:
    """libjpeg-turbo without anything around it."""
    import simplejpeg

    height = SIDE * SIZE[1] // SIZE[0]
    pixels = simplejpeg.decode_jpeg(data, "RGB", fastdct=True, fastupsample=True, min_width=SIDE, min_height=height)
    return bytes(simplejpeg.encode_jpeg(pixels, quality=85))


def with_opencv(data: bytes) -> bytes:
    """OpenCV, decoding at an eighth of the size."""
    import cv2

    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_COLOR_8)
    return bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 85])[1])


def with_vips(data: bytes) -> bytes:
    """libvips, whose thumbnails shrink while loading."""
    import pyvips

    return bytes(pyvips.Image.thumbnail_buffer(data, SIDE).jpegsave_buffer(Q=85))


LIBRARIES: dict[str, Callable[[bytes], bytes]] = {
    "pillow": with_pillow,
    "simplejpeg": with_simplejpeg,
    "opencv": with_opencv,
    "pyvips": with_vips,
}


def make_pictures(folder: Path) -> list[Path]:
    """JPEGs with texture at all scales, of about 1 MB each."""
    rng = np.random.default_rng(7)
    textures = []
    for _ in range(6):
        sheet = np.zeros((SIZE[1], SIZE[0], 3), np.float32)
        for side, weight in ((8, 60), (32, 40), (128, 30), (512, 20)):
            noise = rng.integers(0, 255, (side * SIZE[1] // SIZE[0], side, 3), dtype=np.uint8)
            sheet += np.asarray(Image.fromarray(noise).resize(SIZE, Image.Resampling.BICUBIC), np.float32) * (
                weight / 255
            )
        sheet += rng.normal(0, 6, (*sheet.shape[:2], 1)).astype(np.float32)
        textures.append(np.clip(sheet + 30, 0, 255).astype(np.uint8))
    files = []
    for index in range(FILES):
        shift = rng.integers(0, SIZE[1], 2)
        pixels = np.roll(textures[index % len(textures)], shift, axis=(0, 1))
        files.append(folder / f"{index:04d}.jpg")
        Image.fromarray(pixels[:, ::-1] if index % 2 else pixels).save(files[-1], quality=90)
    return files


def fastest(files: list[Path]) -> str:
    """Name of the library that makes thumbnails fastest here; the libraries take turns, so that a noisy moment meets all of them."""
    installed = {}
    for name, thumbnail in LIBRARIES.items():
        try:
            thumbnail(files[0].read_bytes())
        except ImportError:
            continue
        installed[name] = thumbnail
    taken: dict[str, list[float]] = {name: [] for name in installed}
    for file in files[:60]:
        data = file.read_bytes()
        for name, thumbnail in installed.items():
            start = time.perf_counter()
            thumbnail(data)
            taken[name].append(time.perf_counter() - start)
    times = {name: statistics.median(seconds) for name, seconds in taken.items()}
    print(f"seconds per thumbnail: {times}", file=sys.stderr)
    return min(times, key=lambda name: times[name])


def bare_step(job: tuple[str, str]) -> tuple[str, int]:
    """What the bare loop does with one file."""
    path, library = job
    data = Path(path).read_bytes()
    return hashlib.sha256(data).hexdigest(), len(LIBRARIES[library](data))


def bare(files: list[Path], library: str) -> float:
    """Seconds of the bare loop."""
    start = time.perf_counter()
    with multiprocessing.get_context("fork").Pool(usable_cores()) as pool:
        done = pool.map(bare_step, [(str(file), library) for file in files], chunksize=8)
    assert len(done) == len(files)
    return time.perf_counter() - start


def ours(folder: Path, film: Path) -> tuple[float, int]:
    """Seconds of adding the folder to a fresh film, and how often a picture was decoded."""
    with create_project("film", folder=film) as project:
        add_asset(project, "mara", "character")
        start = time.perf_counter()
        report = add_references(project, "mara", [folder])
        seconds = time.perf_counter() - start
    assert len(report.added) == FILES, (len(report.added), report.refused[:3])
    return seconds, report.decoded


def main() -> int:
    """Measure in turn, so that a noisy neighbour meets both alike."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        os.environ["ASSETFORGE_HOME"] = str(root / "home")
        (root / "pictures").mkdir()
        files = make_pictures(root / "pictures")
        library = fastest(files)
        # One round unmeasured: it fills the file cache with the pictures, and loads what is loaded late.
        bare(files, library)
        ours(root / "pictures", root / "film-to-warm-up")
        plain, full, decoded = [], [], set()
        for number in range(ROUNDS):
            plain.append(bare(files, library))
            seconds, count = ours(root / "pictures", root / f"film-{number}")
            full.append(seconds)
            decoded.add(count)
            print(f"round {number}: bare {plain[-1]:.2f} s, ours {full[-1]:.2f} s", file=sys.stderr)
    ratio = statistics.median(plain) / statistics.median(full)
    ok = ratio >= LIMIT and decoded == {FILES}
    figures = {
        "name": "ingest",
        "figure": round(ratio, 3),
        "unit": "of the bare loop's throughput",
        "limit": LIMIT,
        "ok": ok,
        "files": FILES,
        "decoded": sorted(decoded),
        "files_per_s": round(FILES / statistics.median(full), 1),
        "bare_files_per_s": round(FILES / statistics.median(plain), 1),
        "bare_library": library,
        "cores": usable_cores(),
    }
    print(json.dumps(figures))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
