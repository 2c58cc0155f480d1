"""Files become references: real folders, real bad files, several processes, killed processes."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from sqlmodel import col, func, select

from assetforge.db.models import CaptionEdit, Image, Reference
from assetforge.errors import NotFoundError, StorageError, UsageError
from assetforge.services import intake_watch
from assetforge.services.assets import add_asset
from assetforge.services.captions import caption_history, set_caption
from assetforge.services.ingest import add_references
from assetforge.services.projects import Project
from assetforge.services.references import exclude_reference, get_reference, list_references, restore_reference
from assetforge.store import intake
from assetforge.store.thumbs import ThumbStore

MakePng = Callable[..., Path]


@pytest.fixture
def mara(project: Project) -> str:
    add_asset(project, "mara", "character")
    return "mara"


def make_folder(folder: Path, make_png: MakePng, count: int, first: int = 0) -> Path:
    for seed in range(first, first + count):
        make_png(folder / f"frame-{seed:03d}.png", seed=seed)
    return folder


def whole(project: Project) -> None:
    """Every reference has its image row, its blob with the right bytes, and its thumbnail."""
    with project.read() as session:
        hashes = session.exec(select(Reference.sha256)).all()
        assert set(hashes) <= set(session.exec(select(Image.sha256)).all())
    assert hashes
    for sha256 in hashes:
        assert project.blobs.verify(sha256)
        assert ThumbStore(project.paths.thumbs).path(sha256).stat().st_size > 0


def test_a_folder_with_bad_files_in_the_middle(project: Project, mara: str, make_png: MakePng, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "in", make_png, 6)
    good = (folder / "frame-001.png").read_bytes()
    (folder / "frame-002a.png").write_bytes(good[: len(good) // 2])
    (folder / "frame-002b.jpg").write_bytes(b"")
    (folder / "frame-002c.jpg").write_text("not a picture")
    (folder / "frame-002d.jpg").write_bytes((folder / "frame-004.png").read_bytes())
    (folder / "really-a-png.dat").write_bytes(make_png(tmp_path / "x.png", seed=77).read_bytes())
    (folder / "deep" / "er").mkdir(parents=True)
    make_png(folder / "deep" / "er" / "one.png", seed=50)
    make_png(folder / ".hidden.png", seed=51)
    make_png(folder / ".trash" / "old.png", seed=52)
    make_png(folder / "copying.png.part", seed=53)
    (folder / "notes.md").write_text("nothing")
    before = {path: (path.stat().st_mtime_ns, path.stat().st_mode) for path in folder.rglob("*") if path.is_file()}

    report = add_references(project, mara, [folder])

    assert [one.path.name for one in report.added][:3] == ["one.png", "frame-000.png", "frame-001.png"]
    assert len(report.added) == 8
    assert {one.path.name: one.code for one in report.refused} == {
        "frame-002a.png": "truncated",
        "frame-002b.jpg": "empty",
        "frame-002c.jpg": "not-an-image",
    }
    assert [one.path.name for one in report.duplicates] == ["frame-004.png"]
    assert {(one.path.name, one.format) for one in report.renamed} == {
        ("frame-002d.jpg", "PNG"),
        ("really-a-png.dat", "PNG"),
    }
    assert report.skipped == 1
    assert report.decoded == 9
    assert {path: (path.stat().st_mtime_ns, path.stat().st_mode) for path in before} == before
    whole(project)

    again = add_references(project, mara, [folder])
    assert (len(again.added), len(again.duplicates), again.decoded) == (0, 9, 0)
    flat = add_references(project, mara, [folder], recursive=False)
    assert len(flat.duplicates) == 8


def test_the_inbox_is_the_default(project: Project, mara: str, make_png: MakePng) -> None:
    make_folder(project.root / "characters" / "mara" / "references", make_png, 3)
    assert len(add_references(project, mara).added) == 3


def test_awkward_names(project: Project, mara: str, make_png: MakePng, tmp_path: Path) -> None:
    names = [b"[1] best {x}.png", b"two\nlines.png", b"caf\xe9.png", "日本.png".encode(), b"-rf.png", b"%s $HOME.png"]
    for seed, name in enumerate(names):
        source = make_png(tmp_path / "x.png", seed=seed)
        target = tmp_path / "in" / os.fsdecode(name)
        target.parent.mkdir(exist_ok=True)
        source.rename(target)
        target.with_suffix(".txt").write_text(f"caption {seed}")
    for workers in (0, 2):
        report = add_references(project, mara, [tmp_path / "in"], workers=workers)
        assert len(report.added) + len(report.duplicates) == len(names)
        assert not report.refused
    shown = {item.file_name: item.caption for item in list_references(project, mara).items}
    assert shown["caf\\xe9.png"] == "caption 2"
    assert shown["two\nlines.png"] == "caption 1"


def test_named_things_that_are_no_pictures(project: Project, mara: str, tmp_path: Path, make_png: MakePng) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    good = make_png(tmp_path / "good.png")
    report = add_references(project, mara, [tmp_path / "missing.png", tmp_path / "pipe.png", good, good])
    assert [one.code for one in report.refused] == ["missing", "not-a-file"]
    assert (len(report.added), len(report.duplicates)) == (1, 0)


def test_a_file_that_changes_while_it_is_read_is_refused(
    project: Project, tmp_path: Path, make_png: MakePng, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_png(tmp_path / "a.png")
    real, calls = os.fstat, []

    def growing(descriptor: int) -> os.stat_result:
        if calls:
            with path.open("ab") as file:
                file.write(b"more")
        calls.append(descriptor)
        return real(descriptor)

    monkeypatch.setattr(intake.os, "fstat", growing)
    taken = intake.take_in([path], project.blobs, ThumbStore(project.paths.thumbs), frozenset())
    assert [one.code for one in taken.files] == ["changing"]


def test_a_full_disk_ends_the_batch_with_one_sentence(
    project: Project, mara: str, tmp_path: Path, make_png: MakePng
) -> None:
    folder = make_folder(tmp_path / "in", make_png, 3)
    project.blobs.root.mkdir(exist_ok=True)
    incoming = project.blobs.incoming
    if incoming.exists():
        incoming.rmdir()
    incoming.write_text("in the way")
    with pytest.raises(StorageError):
        add_references(project, mara, [folder])
    incoming.unlink()
    assert len(add_references(project, mara, [folder]).added) == 3


def test_captions_follow_the_sidecar_until_a_hand_takes_over(
    project: Project, mara: str, tmp_path: Path, make_png: MakePng
) -> None:
    picture = make_png(tmp_path / "in" / "a.png")
    sidecar = picture.with_suffix(".txt")
    sidecar.write_text("a woman\nin the rain \n")
    address = add_references(project, mara, [picture]).added[0].address
    assert get_reference(project, address).caption == "a woman in the rain"
    sidecar.write_text("a woman in the snow")
    assert add_references(project, mara, [picture]).captions == 1
    assert [one.text for one in caption_history(project, address)] == ["a woman in the snow", "a woman in the rain"]
    assert add_references(project, mara, [picture]).captions == 0
    assert set_caption(project, address, "mara waits").source == "hand"
    sidecar.write_text("something else")
    report = add_references(project, mara, [picture])
    assert (report.captions, report.captions_kept) == (0, [address])
    assert get_reference(project, address).caption == "mara waits"
    assert len(caption_history(project, address)) == 3
    set_caption(project, address, "mara waits")
    assert len(caption_history(project, address)) == 3


def test_one_picture_in_two_assets_is_decoded_once(
    project: Project, mara: str, tmp_path: Path, make_png: MakePng
) -> None:
    add_asset(project, "lamp", "prop")
    picture = make_png(tmp_path / "a.png")
    assert add_references(project, mara, [picture]).decoded == 1
    other = add_references(project, "lamp", [picture])
    assert (len(other.added), other.decoded) == (1, 0)


def test_near_duplicates_are_told_and_grouped(project: Project, mara: str, tmp_path: Path, make_png: MakePng) -> None:
    first = make_png(tmp_path / "a.png", seed=1, size=(400, 300))
    add_references(project, mara, [first, make_png(tmp_path / "z.png", seed=9)])
    with Pillow.open(first) as picture:
        picture.resize((200, 150)).save(tmp_path / "b.jpg", quality=60)
    report = add_references(project, mara, [tmp_path / "b.jpg"])
    assert len(report.near_duplicates) == 1
    assert report.near_duplicates[0].bits <= 8
    groups = {item.file_name: item.near_group for item in list_references(project, mara).items}
    assert groups["a.png"] == groups["b.jpg"] is not None
    assert groups["z.png"] is None


def test_exclude_restore_and_addresses(project: Project, mara: str, tmp_path: Path, make_png: MakePng) -> None:
    added = add_references(project, mara, [make_folder(tmp_path / "in", make_png, 20)]).added
    address = added[0].address
    with pytest.raises(UsageError):
        exclude_reference(project, address, "  ")
    assert exclude_reference(project, address, "too dark").excluded_reason == "too dark"
    assert list_references(project, mara).total == 19
    assert list_references(project, mara, state="excluded").items[0].address == address
    again = add_references(project, mara, [added[0].path])
    assert again.duplicates[0].state == "excluded"
    assert restore_reference(project, address).state == "active"
    with pytest.raises(NotFoundError):
        get_reference(project, "mara/ref/0000000000")
    seen, after = [], ""
    while True:
        page = list_references(project, mara, limit=7, after=after)
        seen += [item.sha256 for item in page.items]
        after = page.next
        if not after:
            break
    assert seen == sorted(one.sha256 for one in added)


def test_an_ambiguous_address_lists_what_it_could_be(project: Project, mara: str) -> None:
    with project.write() as session:
        for tail in "ab":
            sha256 = "abcd" + tail * 60
            session.add(Image(sha256=sha256, size=1, format="PNG", mode="RGB", width=1, height=1, phash=0, sharpness=0))
            session.add(Reference(asset_id=1, sha256=sha256))
    with pytest.raises(UsageError, match="several") as caught:
        get_reference(project, "mara/ref/abcd")
    assert "mara/ref/abcdaaaa" in caught.value.hint
    assert get_reference(project, "mara/ref/abcdb").sha256 == "abcd" + "b" * 60


KILLS = b"\x89PNG\r\n\x1a\nKILL"
HANGS = b"\x89PNG\r\n\x1a\nHANG"
DECODER = f"""
import os, signal, sys, threading, time
from pathlib import Path
from assetforge.services.ingest import add_references
from assetforge.services.intake_pool import IntakePool
from assetforge.services.projects import open_project
from assetforge.store import intake
from assetforge.store.thumbs import ThumbStore

real = intake.inspect_image

def inspect(data, **rest):
    if data == {KILLS!r}:
        os.kill(os.getpid(), signal.SIGKILL)
    if data == {HANGS!r}:
        # In C, with the interpreter's lock held: no signal handler and no other thread ever runs.
        sum(range(10**16))
    return real(data, **rest)

intake.inspect_image = inspect
"""
"""The worker processes import the script by its path, or are forked after it ran, and there replace the decoder for two files."""


def run_script(tmp_path: Path, code: str, *arguments: object, limit_s: float = 60.0) -> str:
    (tmp_path / "script.py").write_text(f"{DECODER}\nif __name__ == '__main__':\n{textwrap.indent(code, '    ')}")
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "ASSETFORGE_INGEST__SECONDS_PER_FILE": str(limit_s)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


ADD_AND_TELL = """
if len(sys.argv) > 4:
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
with open_project(Path(sys.argv[1])) as project:
    report = add_references(project, "mara", [Path(sys.argv[2])], workers=int(sys.argv[3]))
print(len(report.added), [(one.path.name, one.code) for one in report.refused])
"""


def test_a_file_that_kills_its_decoder_is_named(project: Project, mara: str, tmp_path: Path, make_png: MakePng) -> None:
    folder = make_folder(tmp_path / "in", make_png, 40)
    (folder / "frame-017x.png").write_bytes(KILLS)
    said = run_script(tmp_path, ADD_AND_TELL, project.root, folder, 2)
    assert said == "40 [('frame-017x.png', 'decoder-crash')]"
    whole(project)


@pytest.mark.slow
def test_files_that_hang_their_decoder_are_named_and_the_rest_goes_on(
    project: Project, mara: str, tmp_path: Path, make_png: MakePng
) -> None:
    folder = make_folder(tmp_path / "in", make_png, 60)
    bad = {"frame-000a.png": HANGS, "frame-017a.png": HANGS, "frame-017b.png": HANGS, "frame-044a.png": KILLS}
    for name, data in bad.items():
        (folder / name).write_bytes(data)
    said = run_script(tmp_path, ADD_AND_TELL, project.root, folder, 3, limit_s=2)
    codes = [(name, "too-slow" if data == HANGS else "decoder-crash") for name, data in bad.items()]
    assert said == f"60 {codes}"
    names = [item.file_name for item in sorted(list_references(project, mara).items, key=lambda item: item.id)]
    assert names == sorted(names)
    whole(project)


@pytest.mark.parametrize("threads", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_single_file_has_a_time_limit_too(
    project: Project, mara: str, tmp_path: Path, make_png: MakePng, threads: bool
) -> None:
    folder = make_folder(tmp_path / "in", make_png, 2)
    (folder / "frame-000a.png").write_bytes(HANGS)
    said = run_script(tmp_path, ADD_AND_TELL, project.root, folder, 0, *["threads"] * threads, limit_s=2)
    assert said == "2 [('frame-000a.png', 'too-slow')]"


def test_whoever_gives_up_does_not_wait_for_a_file_that_hangs(
    project: Project, mara: str, tmp_path: Path, make_png: MakePng
) -> None:
    folder = make_folder(tmp_path / "in", make_png, 8)
    (folder / "frame-999.png").write_bytes(HANGS)
    code = """
with open_project(Path(sys.argv[1])) as project:
    pool = IntakePool(project.blobs, ThumbStore(project.paths.thumbs), (), limit_s=600, workers=2)
    chunks = pool.run(sorted(Path(sys.argv[2]).iterdir()))
    print(len(next(chunks).files))
    chunks.close()
"""
    assert run_script(tmp_path, code, project.root, folder) == "8"


def test_time_is_counted_only_while_somebody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(intake_watch.time, "monotonic", lambda: now[0])
    board = intake_watch.Board(multiprocessing.get_context("spawn"), 2)
    watch = intake_watch.Watch(board, 10.0)
    note = board.enter()

    def look(after: float) -> set[tuple[int, int]]:
        now[0] += after
        watch.look()
        return watch.slow

    note(3, 5)
    assert board.under_way() == {os.getpid(): (3, 4)}
    # Somebody else was busy, or everything was stopped, for an hour.
    assert not look(1)
    assert not look(3600)
    for _ in range(6):
        assert not look(1)
    note(3, 6)
    for _ in range(10):
        assert not look(1)
    note(3, 0)
    assert not look(1)
    note(4, 1)
    for _ in range(10):
        assert not look(1)
    assert look(1) == {(4, 0)}


ADD = """
import sys
from pathlib import Path
from assetforge.services.ingest import add_references
from assetforge.services.projects import open_project
if __name__ == "__main__":
    with open_project(Path(sys.argv[1])) as project:
        add_references(project, "mara", [Path(sys.argv[2])])
"""


def start_adding(project: Project, folder: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", ADD, project.root, folder], start_new_session=True)


def test_two_processes_add_the_same_folder(project: Project, mara: str, tmp_path: Path, make_png: MakePng) -> None:
    folder = make_folder(tmp_path / "in", make_png, 60)
    both = [start_adding(project, folder) for _ in range(2)]
    assert [one.wait(120) for one in both] == [0, 0]
    assert list_references(project, mara).total == 60
    whole(project)


@pytest.mark.slow
def test_kill_in_mid_batch_then_add_again(project: Project, mara: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    rng = np.random.default_rng(3)
    for index in range(140):
        coarse = Pillow.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8))
        coarse.resize((300, 300), Pillow.Resampling.BICUBIC).save(folder / f"{index:03d}.png")
        (folder / f"{index:03d}.txt").write_text(f"caption {index}")
    killed_with_rows = 0
    for enough in (1, 64):
        child = start_adding(project, folder)
        deadline = time.monotonic() + 60
        while child.poll() is None and time.monotonic() < deadline:
            if list_references(project, mara, limit=1).total >= enough:
                os.killpg(child.pid, signal.SIGKILL)
                break
            time.sleep(0.002)
        child.wait()
        killed_with_rows = list_references(project, mara, limit=1).total
        whole(project)
    assert killed_with_rows > 0
    report = add_references(project, mara, [folder])
    assert len(report.added) + len(report.duplicates) == 140
    assert list_references(project, mara, limit=1).total == 140
    with project.read() as session:
        assert session.exec(select(func.count()).select_from(CaptionEdit)).one() == 140
        assert session.exec(select(func.count()).where(col(Reference.caption) == "")).one() == 0
    whole(project)


def test_a_batch_that_is_broken_off_while_its_processes_begin_ends_at_once(project, make_png, tmp_path):
    """One that is killed may hold the lock of the queue at which the others wait."""
    from assetforge.services.intake_pool import IntakePool

    files = [make_png(tmp_path / f"{seed}.png", seed=seed) for seed in range(24)]
    idle = threading.Thread(target=time.sleep, args=(60.0,), daemon=True)
    idle.start()

    def break_off():
        for _ in range(12):
            pool = IntakePool(project.blobs, ThumbStore(project.paths.thumbs), (), limit_s=60.0, workers=6)
            running = pool.run(files)
            next(running)
            running.close()

    broken = threading.Thread(target=break_off, daemon=True)
    broken.start()
    broken.join(50.0)
    assert not broken.is_alive(), "it waits for a process that waits for a dead one"
