"""A disk that is really full, at every stage that writes: one clear sentence, nothing half-written, and work goes on when there is space."""

import errno
import hashlib
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from sqlmodel import select

from assetforge import agent
from assetforge.api.events import RunFinished
from assetforge.api.job import OutputFile, Result, WeightsOutput
from assetforge.builtin.notify import sender
from assetforge.builtin.notify.listener import hear
from assetforge.builtin.notify.outbox import Outbox
from assetforge.builtin.notify.settings import NotifyConfig
from assetforge.builtin.notify.webhook import Outcome
from assetforge.builtin.notify.wording import Notification
from assetforge.cli.app import run
from assetforge.db.migrate import HEAD, migrate, revision_of
from assetforge.db.models import Version
from assetforge.db.models_jobs import Job
from assetforge.durable import storage_error, write_atomic
from assetforge.errors import AssetForgeError, StorageError
from assetforge.extension.registry import reset_registry
from assetforge.jobs.bundle import write_bundle
from assetforge.jobs.control import get_job
from assetforge.jobs.driver import Pace
from assetforge.jobs.supervisor import Supervisor
from assetforge.services import projects, training
from assetforge.services.assets import add_asset
from assetforge.services.backups import back_up, restore, verify_backup
from assetforge.services.datasets import freeze, list_datasets
from assetforge.services.ingest import add_references
from assetforge.services.maintenance import check_project
from assetforge.services.project_config import set_value
from assetforge.services.projects import create_project, open_project
from assetforge.services.references import list_references
from assetforge.services.releases import publish
from assetforge.services.training import request_training
from assetforge.store.weights import tensor_hash
from assetforge.testing.executor_contract import end_processes, wait_until
from assetforge.watch.watcher import Watcher

KB = 1024
COARSE = (0, 4, 8, 16, 28, 40, 56, 80, 120, 180, 300, 600, 1500, 4000)
OLD = Path(__file__).parents[1] / "db" / "old"


@dataclass
class Disk:
    """A small filesystem of its own."""

    root: Path

    @property
    def free(self) -> int:
        return shutil.disk_usage(self.root).free

    def fill(self, leave_kb: int = 0) -> None:
        """Leave at most so much space."""
        self.clear()
        with (self.root / "ballast").open("wb", buffering=0) as stream:
            for size in (256 * KB, 4 * KB, KB, 1):
                while self.free > leave_kb * KB or not leave_kb:
                    chunk = min(size, self.free - leave_kb * KB) if leave_kb else size
                    try:
                        stream.write(b"x" * max(1, chunk))
                        if size < 256 * KB:
                            os.fsync(stream.fileno())
                    except OSError:
                        break

    def clear(self) -> None:
        (self.root / "ballast").unlink(missing_ok=True)


def _mount(folder: Path, kind: str) -> None:
    if kind == "tmpfs":
        command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    else:
        image = folder.with_suffix(".img")
        with image.open("wb") as stream:
            stream.truncate(40 << 20)
        # With blocks of a page, as any disk has that is not tiny; and nothing kept for root.
        subprocess.run(["mkfs.ext4", "-q", "-b", "4096", "-m", "0", str(image)], check=True, capture_output=True)
        command = ["mount", "-o", "loop", str(image), str(folder)]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(params=["tmpfs", pytest.param("ext4", marks=pytest.mark.slow)])
def disk(request, tmp_path, monkeypatch):
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        _mount(folder, request.param)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no {request.param} can be mounted here: {getattr(error, 'stderr', b'') or error}")
    monkeypatch.setenv("ASSETFORGE_PROJECTS", str(folder))
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def film(disk, monkeypatch):
    monkeypatch.setenv("ASSETFORGE_PLUGINS", "example")
    reset_registry()
    with create_project("film") as project:
        set_value(project.paths.config, "watch.settle_seconds", 0.05)
        set_value(project.paths.config, "queue.min_free_gb", 0.0)
        yield project
    reset_registry()


@pytest.fixture
def pictures(make_png, tmp_path):
    folder = tmp_path / "pictures"
    for seed in range(6):
        make_png(folder / f"{seed}.png", seed, size=(160, 120))
    (folder / "0.txt").write_text("a robot in rain")
    return folder


def sentence(error: AssetForgeError) -> None:
    """One sentence that says what happened to which file, and a hint that says what to do."""
    assert isinstance(error, StorageError), repr(error)
    assert error.message.startswith("The disk is full; "), error.message
    assert error.message.count("\n") == 0
    assert "/" in error.message
    assert "ree some space" in error.hint
    assert "OperationalError" not in str(error)


def half_written(root: Path) -> list[str]:
    """Temporary files of any of our writers."""
    names = [path.relative_to(root).as_posix() for path in root.rglob("*")]
    mark = re.compile(r"(^|/)\.(new-|tmp-)|\.partial$|\.part$|\.tmp$|blobs/\.incoming/.|\.restoring")
    return [name for name in names if mark.search(name)]


def squeeze(disk: Disk, film: Any, act: Callable[[], object], *, leaves: tuple[int, ...] = COARSE) -> int:
    """Do something with ever more space until it succeeds, and look at the film after each failure.

    Returns:
        How often it failed.
    """
    failures = 0
    for leave in leaves:
        disk.fill(leave)
        try:
            act()
        except AssetForgeError as error:
            sentence(error)
            failures += 1
        else:
            disk.clear()
            break
        assert half_written(film.root) == [], f"with {leave} KB"
        disk.clear()
        report = check_project(film, level="deep")
        assert report.problems == (), f"with {leave} KB: {report.problems}"
    else:
        act()
    assert half_written(film.root) == []
    assert check_project(film, level="deep").problems == ()
    return failures


def added(film, asset="mara"):
    return list_references(film, asset, limit=500).items


@pytest.mark.parametrize("count", [6, 40], ids=["here", "in other processes"])
def test_references(disk, film, pictures, make_png, count):
    for seed in range(6, count):
        make_png(pictures / f"{seed}.png", seed)
    add_asset(film, "mara", "character")
    assert squeeze(disk, film, lambda: add_references(film, "mara", [pictures])) > 0
    assert len(added(film)) == count
    assert sum(bool(one.caption) for one in added(film)) == 1
    assert len(list(film.paths.thumbs.rglob("*.jpg"))) == count


def test_a_look_at_watched_folders(disk, film, pictures):
    inbox = add_asset(film, "mara", "character").references
    shutil.copytree(pictures, inbox, dirs_exist_ok=True)
    said = []
    assert squeeze(disk, film, lambda: Watcher(film, say=said.append).once(30.0)) > 0
    assert len(added(film)) == 6
    assert [line for line in said if "full" in line or "Traceback" in line] == []


def test_a_running_watcher_says_it_once_and_goes_on_by_itself(disk, film, pictures, monkeypatch):
    monkeypatch.setattr("assetforge.watch.watcher._RETRY_S", 0.5)
    inbox = add_asset(film, "mara", "character").references
    shutil.copy(pictures / "0.png", inbox)
    said, stopping = [], threading.Event()
    watcher = threading.Thread(target=Watcher(film, say=said.append).run, args=(stopping,))
    watcher.start()
    try:
        wait_until(lambda: len(added(film)) == 1, "the first picture is there")
        for seed in range(1, 6):
            shutil.copy(pictures / f"{seed}.png", inbox)
        disk.fill()
        wait_until(lambda: any("full" in line for line in said), "it says what is wrong")
        time.sleep(2.0)
        assert len(added(film)) < 6
        disk.clear()
        wait_until(lambda: len(added(film)) == 6, "the rest is taken in")
    finally:
        stopping.set()
        watcher.join()
    (told,) = (line for line in said if "full" in line)
    assert told.startswith("The disk is full; ")
    assert "by itself" in told
    assert not [line for line in said if "Traceback" in line]
    assert check_project(film, level="deep").problems == ()
    assert half_written(film.root) == []


def test_datasets_and_bundles(disk, film, pictures):
    add_asset(film, "coat", "costume", trigger="rdcoat", class_word="outfit")
    add_references(film, "coat", [pictures])
    squeeze(disk, film, lambda: freeze(film, "coat"))
    assert len(list_datasets(film, "coat")) == 1
    request = request_training(film, "coat", overrides={"steps": 3})
    plan = training.plan_job(film, request.job)
    # What a bundle takes is little: pictures are hard links, and the rest is text.
    workdir = film.paths.job(request.job)
    assert squeeze(disk, film, lambda: write_bundle(plan, workdir, film.blobs, film.paths.trash)) > 0
    assert agent.input_problem(workdir) == ""


def result_of(job: int, workdir: Path) -> Result:
    path = workdir / "outputs" / "coat.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"up": np.random.default_rng(1).random((256, 256), np.float32)}, path)
    data = path.read_bytes()
    output = OutputFile(path="outputs/coat.safetensors", sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    weights = WeightsOutput(step=300, kohya=output.path, tensor_hash=tensor_hash(path))
    return Result(job=job, attempt=1, outputs=(output,), weights=(weights,), metrics={"loss": 0.5})


def test_versions_and_published_files(disk, film, pictures, tmp_path):
    add_asset(film, "coat", "costume", trigger="rdcoat", class_word="outfit")
    add_references(film, "coat", [pictures])
    freeze(film, "coat")
    request = request_training(film, "coat")
    result = result_of(request.job, tmp_path)
    register = lambda: training.register_result(film, request.job, result, tmp_path)  # noqa: E731
    assert squeeze(disk, film, register) > 0
    with film.read() as session:
        assert [one.number for one in session.exec(select(Version))] == [1]
    assert squeeze(disk, film, lambda: publish(film, "coat/v1")) > 0
    assert [path.name for path in film.paths.loras.rglob("*") if path.is_file()] == ["coat-v001.safetensors"]


def test_settings(disk, film):
    def change():
        set_value(film.paths.config, "defaults.base", "x" * 9000)

    before = film.paths.config.read_bytes()
    disk.fill()
    with pytest.raises(StorageError) as caught:
        change()
    sentence(caught.value)
    assert film.paths.config.read_bytes() == before
    squeeze(disk, film, change)
    assert film.config.defaults.base == "x" * 9000


def test_reports_and_other_files_are_replaced_whole_or_not_at_all(disk):
    path = disk.root / "report.html"
    path.write_bytes(b"old")
    disk.fill(8)
    with pytest.raises(StorageError) as caught:
        write_atomic(path, b"x" * 100_000)
    sentence(caught.value)
    assert path.read_bytes() == b"old"
    assert half_written(disk.root) == []


@pytest.mark.parametrize("name", ["copy", "copy.tar"])
def test_a_backup_onto_a_full_disk_leaves_nothing(project, disk, pictures, name):
    add_asset(project, "mara", "character")
    add_references(project, "mara", [pictures])
    failures = 0
    for leave in COARSE:
        disk.fill(leave)
        try:
            info = back_up(project, disk.root / "deep" / name)
        except AssetForgeError as error:
            sentence(error)
            failures += 1
            assert not any(path.is_file() for path in (disk.root / "deep").rglob("*"))
        else:
            break
    assert failures > 1
    assert verify_backup(info.path).blobs == 6
    assert [path.name for path in (disk.root / "deep").iterdir()] == [name]
    assert check_project(project, level="deep").problems == ()


def test_a_film_on_a_full_disk_can_be_backed_up_elsewhere(disk, film, pictures, tmp_path):
    add_asset(film, "mara", "character")
    add_references(film, "mara", [pictures])
    disk.fill()
    assert back_up(film, tmp_path / "elsewhere.tar").blobs == 6
    assert verify_backup(tmp_path / "elsewhere.tar").blobs == 6


def test_the_command_backs_up_a_film_that_nobody_has_open(disk, film, pictures, tmp_path, capsys):
    add_asset(film, "mara", "character")
    add_references(film, "mara", [pictures])
    film.close()
    disk.fill()
    assert run(["--project", str(film.root), "backup", str(tmp_path / "film.tar")]) == 0, capsys.readouterr().err
    assert verify_backup(tmp_path / "film.tar").blobs == 6
    assert (film.paths.private / "reserve").is_file(), "the next one may need it too"


def test_films_on_a_full_disk_are_listed_with_the_reason(disk, film, capsys):
    film.close()
    disk.fill()
    assert run(["--json", "project", "list"]) == 0
    assert "its database cannot be read: the disk is full" in capsys.readouterr().out
    assert run(["--project", str(film.root), "doctor"]) == 1
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    assert "disk is full" in said.out + said.err


def test_a_restore_onto_a_full_disk_leaves_nothing(project, disk, pictures, tmp_path):
    add_asset(project, "mara", "character")
    add_references(project, "mara", [pictures])
    back_up(project, tmp_path / "film.tar", whole=True)
    target, failures = disk.root / "restored", 0
    for leave in COARSE:
        disk.fill(leave)
        try:
            restore(tmp_path / "film.tar", target).close()
        except AssetForgeError as error:
            sentence(error)
            failures += 1
            assert [path for path in disk.root.iterdir() if "restor" in path.name] == []
        else:
            break
    assert failures > 2
    disk.clear()
    with open_project(target) as again:
        assert check_project(again, level="deep").problems == ()
        assert len(added(again)) == 6


def test_a_new_film_on_a_full_disk_leaves_nothing(disk, monkeypatch):
    monkeypatch.setattr(projects, "migrate", migrate)  # the real one, with all its steps
    failures = 0
    for leave in COARSE:
        disk.fill(leave)
        try:
            create_project("new").close()
        except AssetForgeError as error:
            sentence(error)
            failures += 1
            assert not (disk.root / "new").exists()
        else:
            break
    assert failures > 1
    disk.clear()
    with open_project(disk.root / "new") as film:
        assert check_project(film, level="deep").problems == ()


@pytest.mark.parametrize("dump", sorted(OLD.glob("*.sql")), ids=lambda path: path.stem)
def test_an_old_database_stays_as_it_was_until_there_is_space(disk, dump):
    old, copies, failures = disk.root / "forge.db", disk.root / "backups", 0
    with closing(sqlite3.connect(old)) as connection:
        connection.executescript(dump.read_text())
    with closing(sqlite3.connect(old)) as connection:
        # As films have it, with all that this needs on a full disk.
        connection.execute("PRAGMA journal_mode=WAL")
        before, rows = revision_of(old), list(connection.iterdump())
    for leave in COARSE:
        disk.fill(leave)
        try:
            migrate(old, backups=copies)
        except AssetForgeError as error:
            sentence(error)
            failures += 1
            disk.clear()
            assert revision_of(old) == before
            with closing(sqlite3.connect(old)) as connection:
                assert list(connection.iterdump()) == rows
                assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert half_written(disk.root) == []
        else:
            break
    assert failures > 1
    assert revision_of(old) == HEAD


def make_old(film) -> None:
    long_ago = time.time() - 40 * 86400
    for path in (*film.paths.blobs.rglob("*"), *film.paths.cache.rglob("*")):
        if path.is_file():
            os.utime(path, (long_ago, long_ago))


@pytest.mark.parametrize("closed", [True, False])
def test_cleaning_up_works_on_a_full_disk(disk, film, pictures, capsys, closed):
    add_asset(film, "mara", "character")
    add_references(film, "mara", [pictures])
    for number in range(20):
        film.blobs.put_bytes(os.urandom(50_000) + bytes([number]))
    film.paths.cache.mkdir(exist_ok=True)
    (film.paths.cache / "latents").write_bytes(os.urandom(300_000))
    make_old(film)
    if closed:
        film.close()
    disk.fill()
    assert run(["--project", str(film.root), "gc", "--yes"]) == 0, capsys.readouterr().err
    freed = disk.free
    assert freed >= 150_000, "the cache is gone, and folders of the trash take a little"
    assert run(["--project", str(film.root), "gc", "--yes", "--trash-days", "0"]) == 0, capsys.readouterr().err
    assert disk.free >= 1_200_000
    said = capsys.readouterr()
    assert "Traceback" not in said.err + said.out
    with open_project(film.root) as again:
        assert check_project(again, level="deep").problems == ()
        assert len(added(again)) == 6


@pytest.mark.parametrize(
    "words",
    [
        ["ref", "list", "mara"],
        ["fsck", "--deep"],
        ["ref", "add", "mara", "PICTURES"],
        ["dataset", "freeze", "mara"],
        ["watch", "--once", "--no-train"],
        ["asset", "add", "hat", "--type", "prop"],
    ],
    ids=" ".join,
)
def test_every_command_says_one_sentence(disk, film, pictures, capsys, words):
    add_asset(film, "mara", "character")
    add_references(film, "mara", [pictures])
    film.close()
    disk.fill()
    words = [str(pictures) if word == "PICTURES" else word for word in words]
    assert run(["--project", str(film.root), *words]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2, lines
    assert lines[0].startswith("assetforge: The disk is full; ")
    assert "Free some space" in lines[1]
    disk.clear()
    assert run(["--project", str(film.root), *words]) in (0, 1)
    assert "full" not in capsys.readouterr().err


def test_output_that_cannot_be_written_is_said(disk, film):
    add_asset(film, "mara", "character")
    command = [sys.executable, "-m", "assetforge", "--project", str(film.root), "--json", "asset", "list"]
    disk.fill()
    with (disk.root / "ballast").open("ab") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("assetforge: The disk is full; ")
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def notification(film) -> RunFinished:
    return RunFinished(
        project=film.root, at=datetime.now(UTC), actor="supervisor", run=1, asset="mara", state="succeeded"
    )


def test_an_event_that_cannot_be_kept_costs_a_line_and_nothing_else(disk, film, monkeypatch, caplog):
    monkeypatch.setenv("ASSETFORGE_NOTIFY__COMMAND", '["true"]')
    disk.fill()
    hear(notification(film))
    (record,) = caplog.records
    assert "The disk is full" in record.getMessage()
    assert "\n" not in record.getMessage()


def test_what_was_sent_is_not_sent_again_for_ever(disk, film, monkeypatch):
    sent = []

    def send(channel, told, _settings):
        sent.append((channel, told.id))
        return Outcome()

    monkeypatch.setattr(sender, "send", send)
    settings = NotifyConfig(command=["true"])
    outbox = Outbox(film.paths)
    for _ in range(3):
        outbox.put(Notification.of(notification(film)), ["command"])
    disk.fill()
    for _ in range(3):
        sender.send_due(outbox, settings, film.paths)
    assert len(sent) == 3
    assert outbox.pending() == ([], [])


PACE = Pace(poll_s=0.05, cancel_s=0.1, backoff_s=0.05, guard_s=0.1, hold_s=0.3)


@pytest.mark.slow
def test_a_training_whose_disk_runs_full_waits_and_goes_on(disk, film, pictures):
    add_asset(film, "coat", "costume", trigger="rdcoat", class_word="outfit")
    add_references(film, "coat", [pictures])
    freeze(film, "coat")
    overrides = {"steps": 1500, "checkpoint_every": 1}
    request = request_training(film, "coat", overrides=overrides)
    workdir, said = film.paths.job(request.job), []
    supervisor = Supervisor(film, pace=PACE, say=said.append)
    thread = threading.Thread(target=supervisor.run, kwargs={"until_idle": True})
    thread.start()
    try:
        wait_until(lambda: list(workdir.glob("checkpoints/*.state.json")), "it has saved once")
        disk.fill()
        wait_until(lambda: any("waits for space" in line or "disk is full" in line for line in said), "it stops")
        time.sleep(3.0)
        disk.clear()
        wait_until(lambda: not thread.is_alive(), "it ends", 90.0)
    finally:
        supervisor.stop()
        thread.join()
        end_processes(workdir)
    info = get_job(film, request.job)
    assert (info.state, info.error) == ("succeeded", ""), (info, said)
    assert len(info.attempts) > 1
    assert all("Traceback" not in one.error and one.error.count("\n") == 0 for one in info.attempts)
    assert not [line for line in said if "Traceback" in line], said
    events = [agent.parse(line) for _, line in agent.read_lines(workdir, 0)]
    resumed = [one["resumed_from"] for one in events if one.get("kind") == "started"]
    assert resumed[0] == 0 < resumed[-1]
    assert resumed == sorted(resumed), "what was saved is never done again"
    assert list(film.paths.trash.glob("job-*")) == []
    assert check_project(film, level="deep").problems == ()
    again = request_training(film, "coat", overrides=overrides, again=True)
    Supervisor(film, pace=PACE).run(until_idle=True)
    with film.read() as session:
        hashes = [one.tensor_hash for one in session.exec(select(Version))]
    assert again.run != request.run
    assert len(hashes) == 2
    assert hashes[0] == hashes[1], "the weights are those of an undisturbed run"


@pytest.mark.parametrize("leave", [8, *(pytest.param(one, marks=pytest.mark.slow) for one in (0, 40))])
def test_a_job_that_cannot_be_staged_waits_for_space(disk, film, pictures, leave):
    add_asset(film, "coat", "costume", trigger="rdcoat", class_word="outfit")
    add_references(film, "coat", [pictures])
    freeze(film, "coat")
    request = request_training(film, "coat", overrides={"steps": 5})
    disk.fill(leave)
    said = []
    supervisor = Supervisor(film, pace=PACE, say=said.append)
    thread = threading.Thread(target=supervisor.run, kwargs={"until_idle": True})
    thread.start()
    try:
        wait_until(lambda: any("disk is full" in line for line in said), "it says why nothing starts")
        time.sleep(2.0)
        assert thread.is_alive()
        disk.clear()
        wait_until(lambda: not thread.is_alive(), "it ends", 60.0)
    finally:
        supervisor.stop()
        thread.join()
        end_processes(film.paths.job(request.job))
    with film.read() as session:
        assert session.get_one(Job, request.job).state == "succeeded", said
    assert not [line for line in said if "Traceback" in line], said
    assert check_project(film, level="deep").problems == ()
    assert half_written(film.root) == []


def test_where_nothing_can_be_mounted_a_namespace_of_the_user_does():
    """Where this suite may not mount, it may in a namespace of its own, if the system allows that; so it is never skipped silently."""
    if os.geteuid() == 0:
        pytest.skip("the tests above mount by themselves")
    if (
        not shutil.which("unshare")
        or subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("this system allows neither mounts nor namespaces")
    command = [
        "unshare",
        "-rm",
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        "not slow",
        __file__,
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]


def test_a_quota_is_a_full_disk_too():
    sentence(storage_error(OSError(errno.EDQUOT, "Disk quota exceeded"), Path("/film/forge.db"), "written"))
