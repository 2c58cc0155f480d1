"""A film's folder that was copied or moved, at rest and in the middle of everything: the copy stands for itself and leaves the original alone."""

import json
import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlmodel import func, select

from assetforge import agent
from assetforge.builtin.notify.outbox import Outbox
from assetforge.builtin.notify.wording import Notification
from assetforge.db.models import Activity, Reference, Run
from assetforge.db.models_jobs import Job, JobAttempt
from assetforge.db.models_watch import WatchedFile
from assetforge.durable import locked
from assetforge.errors import StorageError
from assetforge.jobs import queue
from assetforge.services.assets import add_asset
from assetforge.services.backups import back_up, restore
from assetforge.services.ingest import add_references
from assetforge.services.maintenance import check_project
from assetforge.services.project_config import set_value
from assetforge.services.projects import open_project
from assetforge.services.references import list_references
from assetforge.services.watch_records import list_health
from assetforge.watch.watcher import Watcher

fork = multiprocessing.get_context("fork")
COPIES = 4


@pytest.fixture
def film(project, make_png):
    set_value(project.paths.config, "watch.settle_seconds", 0.05)
    inbox = add_asset(project, "mara", "character").references
    for seed in range(4):
        make_png(inbox / f"{seed}.png", seed)
    Watcher(project).once(30.0)
    return project


def copied(project, to: Path) -> Path:
    """A copy as a person makes one: file by file, whatever happens meanwhile."""
    subprocess.run(["cp", "-r", str(project.root), str(to)], check=True)
    return to


def active(project):
    return [one.file_name for one in list_references(project, "mara", limit=500).items]


def claimed_job(project, state="running"):
    """A job that a living process of this machine holds."""
    with project.write() as session:
        job = Job(
            kind="train", state=state, owner=queue.new_owner(), lease_until=time.time() + 60, attempt=1, created_at=0.0
        )
        session.add(job)
        session.flush()
        workdir = project.paths.job(job.id)
        job.handle = {"executor": "local", "key": "k", "attempt": 1, "workdir": str(workdir)}
        session.add(JobAttempt(job_id=job.id, number=1, executor="local", handle=job.handle, started_at=time.time()))
        workdir.mkdir(parents=True)
        return job.id, workdir


def test_a_film_that_stays_or_moves_is_the_film_it_was(film, tmp_path):
    job, _ = claimed_job(film)
    film.close()
    with open_project(film.root) as same:
        assert same.remarks == ()
    moved = film.root.rename(tmp_path / "moved")
    with open_project(moved) as here:
        assert here.remarks == ()
        with here.read() as session:
            assert session.get_one(Job, job).state == "running"
        Watcher(here).once(30.0)
        assert len(active(here)) == 4


def test_a_copy_lets_go_of_what_the_original_does(film, tmp_path):
    job, _ = claimed_job(film)
    with film.write() as session:
        waiting = Job(kind="score", created_at=0.0)
        session.add(waiting)
        session.flush()
        queued = waiting.id
    with open_project(copied(film, tmp_path / "copy")) as copy:
        assert copy.id == film.id
        assert copy.jobs_id != film.jobs_id == film.id, "nobody elsewhere takes its jobs for those of the original"
        assert any(f"copy of {film.root}" in one for one in copy.remarks)
        assert any("assetforge backup" in one for one in copy.remarks), "it was open while it was copied"
        with copy.read() as session:
            lost = session.get_one(Job, job)
            assert (lost.state, lost.owner, lost.handle) == ("lost", "", {})
            assert "original" in lost.error
            assert session.get_one(Job, queued).state == "queued"
            attempt = session.exec(select(JobAttempt)).one()
            assert (attempt.outcome, attempt.finished_at is None) == ("lost", False)
        assert check_project(copy, level="deep").problems == ()
    with open_project(tmp_path / "copy") as again:
        assert again.remarks == ()
        with again.read() as session:
            noted = session.exec(select(Activity).where(Activity.verb == "copied")).one()
        assert (noted.subject, noted.detail) == ("film", {"from": str(film.root), "while_in_use": True})
    with film.read() as session:
        assert session.get_one(Job, job).state == "running", "the original knows nothing of it"
    with open_project(film.root) as original:
        assert original.remarks == ()


def test_a_copy_at_rest_needs_no_warning(film, tmp_path):
    film.close()
    with open_project(copied(film, tmp_path / "copy")) as copy:
        assert not any("assetforge backup" in one for one in copy.remarks)


def test_locks_of_the_original_do_not_hold_the_copy(film, tmp_path):
    private = film.paths.private
    copied(film, tmp_path / "copy")
    with locked(private / "watch.lock"), locked(private / "gc.lock"), open_project(tmp_path / "copy") as copy:
        Watcher(copy).once(30.0)
        assert back_up(copy, tmp_path / "copy.tar").blobs == 4


def test_the_copy_sends_nothing_that_the_original_sends(film, tmp_path):
    told = Notification(
        id="0" * 32,
        event="run-finished",
        film="film",
        folder=str(film.root),
        at="",
        actor="supervisor",
        sentence="Run 1 has ended.",
        data={},
    )
    Outbox(film.paths).put(told, ["command"])
    with open_project(copied(film, tmp_path / "copy")) as copy:
        assert Outbox(copy.paths).pending() == ([], [])
        assert len(list(copy.paths.trash.rglob("*.json"))) == 1, "nothing is thrown away for good"
    assert len(Outbox(film.paths).pending()[0]) == 1


def test_the_copy_watches_its_own_inbox(film, tmp_path, make_png):
    make_png(tmp_path / "outside" / "o.png", 50)
    with film.paths.config.open("a") as config:
        config.write(f'\n[[watch.roots]]\nasset = "mara"\npath = "{tmp_path / "outside"}"\n')
    Watcher(film).once(30.0)
    with open_project(copied(film, tmp_path / "copy")) as copy:
        own = copy.root / "characters" / "mara" / "references"
        make_png(own / "new.png", 60)
        (own / "0.png").unlink()
        Watcher(copy).once(30.0)
        assert sorted(active(copy)) == ["0.png", "1.png", "2.png", "3.png", "new.png", "o.png"]
        (own / "1.png").unlink()
        Watcher(copy).once(30.0)
        assert "1.png" not in active(copy), "from its first look on, it watches as the original does"
    Watcher(film).once(30.0)
    assert sorted(active(film)) == ["0.png", "1.png", "2.png", "3.png", "o.png"]


def test_resuming_in_the_copy_does_not_end_the_originals_process(film, tmp_path):
    """The number of a process is copied with the work folder; the process is not."""
    _, workdir = claimed_job(film)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True, cwd=workdir)
    try:
        status = {
            "attempt": 1,
            "state": "running",
            "agent": agent.identify(child.pid),
            "child": agent.identify(child.pid),
        }
        (workdir / "status.json").write_text(json.dumps({**status, "place": agent.place_of(workdir)}))
        (workdir / "job.json").write_text(json.dumps({"argv": ["true"]}))
        (workdir / "manifest.jsonl").write_text("")
        copy = copied(film, tmp_path / "copy") / ".assetforge" / "jobs" / workdir.name
        assert agent.read_status(workdir)["state"] == "running"
        assert agent.read_status(copy)["state"] == "lost"
        subprocess.run([sys.executable, agent.__file__, "run", str(copy), "--attempt", "2"], check=False, timeout=30)
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()


def _write_on(root, stop):
    """Every transaction writes a run, an activity and a reference that belong together, with texts long enough to fill pages."""
    with open_project(root) as project:
        number = 0
        while not stop.is_set():
            number += 1
            sha256 = project.blobs.put_bytes(b"%d" % number * 3000)
            with project.write() as session:
                connection = session.connection()
                connection.exec_driver_sql(
                    "INSERT INTO image (sha256, size, format, mode, width, height, orientation, bits, has_alpha, has_profile, phash,"
                    " sharpness, brightness, created_at) VALUES (?, 1, 'PNG', 'RGB', 1, 1, 1, 8, 0, 0, 0, 0.0, 0.0, '2026-01-01')",
                    (sha256,),
                )
                session.add(Reference(asset_id=1, sha256=sha256, file_name=f"w{number}.png", caption="x" * 2000))
                session.add(Activity(actor="w", verb="wrote", subject=str(number), detail={"text": "y" * 2000}))
            time.sleep(0.002)
            if number % 40 == 0:
                connection = sqlite3.connect(project.paths.database)
                connection.execute("PRAGMA wal_checkpoint(RESTART)")
                connection.close()


@pytest.mark.parametrize("order", ["cp", "log first", "database first"])
def test_a_film_copied_while_others_write_is_sound_or_says_what_to_do(film, tmp_path, order):
    root, stop = film.root, fork.Event()
    film.close()
    writer = fork.Process(target=_write_on, args=(root, stop))
    writer.start()
    sound, refused = 0, []
    try:
        for number in range(COPIES):
            time.sleep(0.1)
            copy = tmp_path / f"copy{number}"
            if order == "cp":
                copied(film, copy)
            else:
                _copy_slowly(film, copy, log_first=order == "log first")
            try:
                sound += _is_whole(copy, film)
            except StorageError as error:
                refused.append(error)
    finally:
        stop.set()
        writer.join()
    assert writer.exitcode == 0
    assert sound + len(refused) == COPIES
    assert all("damaged" in error.message and "assetforge backup" in error.hint for error in refused)
    back_up(film, tmp_path / "safe.tar")
    with restore(tmp_path / "safe.tar", tmp_path / "safe") as safe:
        assert check_project(safe, level="deep").problems == ()


def _copy_slowly(film, copy: Path, *, log_first: bool) -> None:
    """The worst moments: much is written between the copies of the database, of its log, and of the blobs."""
    private = copy / ".assetforge"
    private.mkdir(parents=True)
    shutil.copy(film.paths.config, copy)
    names = ["forge.db-wal", "forge.db"] if log_first else ["forge.db", "forge.db-wal"]
    for name in names:
        source, target = film.paths.private / name, private / name
        with source.open("rb") as reading, target.open("wb") as writing:
            while chunk := reading.read(1 << 18):
                writing.write(chunk)
                time.sleep(0.005)
    shutil.copytree(film.paths.blobs, film_blobs := private / "blobs", ignore=shutil.ignore_patterns(".incoming"))
    assert film_blobs.is_dir()


def _is_whole(root: Path, film) -> bool:
    with open_project(root) as copy:
        assert any(f"copy of {film.root}" in one for one in copy.remarks)
        report = check_project(copy, level="deep")
        kinds = {problem.kind for problem in report.problems}
        assert kinds <= {"missing"}
        if kinds:
            assert any("did not come along" in one for one in copy.remarks)
        with copy.read() as session:
            written = session.exec(select(func.count()).select_from(Activity).where(Activity.actor == "w")).one()
            references = session.exec(
                select(func.count()).select_from(Reference).where(Reference.file_name.like("w%"))
            ).one()
        assert written == references, "of a transaction everything is there or nothing"
    return True


def test_a_torn_copy_is_refused_and_left_as_it_is(film, tmp_path):
    film.close()
    copy = copied(film, tmp_path / "copy")
    database = copy / ".assetforge" / "forge.db"
    data = bytearray(database.read_bytes())
    data[8192:12288] = os.urandom(4096)
    database.write_bytes(data)
    for _ in range(2):
        with pytest.raises(StorageError, match="copied while a program wrote to it") as caught:
            open_project(copy)
        assert "assetforge backup" in caught.value.hint
    assert database.read_bytes() == data


def test_a_restored_film_takes_missing_files_for_an_outage(film, tmp_path, make_png):
    """Without --whole the inbox stays behind; a first new picture in it must not put all others aside."""
    with film.paths.config.open("a") as config:
        config.write('\n[[watch.roots]]\nasset = "mara"\npath = "/nowhere/at all/pictures"\n')
    back_up(film, tmp_path / "film.tar")
    with restore(tmp_path / "film.tar", tmp_path / "restored") as again:
        assert again.remarks == ()
        inbox = again.root / "characters" / "mara" / "references"
        Watcher(again).once(30.0)
        assert len(active(again)) == 4
        states = {one.path: (one.state, one.problem) for one in list_health(again)}
        assert states["/nowhere/at all/pictures"][0] == "lost"
        assert "is away" in states["/nowhere/at all/pictures"][1]
        make_png(inbox / "new.png", 77)
        Watcher(again).once(30.0)
        assert sorted(active(again)) == ["0.png", "1.png", "2.png", "3.png", "new.png"]
        shutil.copy(film.root / "characters" / "mara" / "references" / "0.png", inbox)
        Watcher(again).once(30.0)
        assert len(active(again)) == 5


def test_decisions_about_files_come_along(film, tmp_path):
    inbox = film.root / "characters" / "mara" / "references"
    (inbox / "broken.png").write_bytes(b"\x89PNG no picture")
    Watcher(film).once(30.0)
    back_up(film, tmp_path / "film.tar", whole=True)
    for again in (restore(tmp_path / "film.tar", tmp_path / "restored"), open_project(copied(film, tmp_path / "copy"))):
        with again:
            with again.read() as session:
                assert [row.state for row in session.exec(select(WatchedFile))] == ["quarantined"]
            Watcher(again).once(30.0)
            assert len(active(again)) == 4


def test_a_film_of_an_older_program_gets_its_place_and_who_may_only_read_it_is_not_stopped(film):
    film.close()
    with closing(sqlite3.connect(film.paths.database)) as connection, connection:
        connection.execute("DELETE FROM meta WHERE key = 'place'")
    with open_project(film.root) as opened:
        assert opened.remarks == ()
    with closing(sqlite3.connect(film.paths.database)) as connection:
        (place,) = connection.execute("SELECT value FROM meta WHERE key = 'place'").fetchone()
    assert json.loads(place)["path"] == str(film.root)


def test_runs_of_restored_and_copied_films_end_with_their_jobs(film, tmp_path):
    add_references(film, "mara", [film.root / "characters" / "mara" / "references"])
    with film.read() as session:
        assert session.exec(select(Run)).all() == []
    job, _ = claimed_job(film, "collecting")
    back_up(film, tmp_path / "film.tar")
    with restore(tmp_path / "film.tar", tmp_path / "restored") as again, again.read() as session:
        assert session.get_one(Job, job).state == "lost"
        assert session.exec(select(JobAttempt.outcome)).all() == ["lost"]
