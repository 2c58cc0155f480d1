"""The collector against people who store things at the same time, and against being killed."""

import multiprocessing
import os
import signal
import time

from sqlmodel import select

from assetforge.db.models import Image
from assetforge.services import maintenance
from assetforge.services.backups import back_up, restore
from assetforge.services.maintenance import blob_needs, check_project, collect_garbage
from assetforge.services.projects import open_project
from assetforge.store.gc import GcPolicy

fork = multiprocessing.get_context("fork")
COUNT = 300
POLICY = GcPolicy(grace_s=20.0)


def _data(number):
    return f"picture {number}".encode() * 50


def _row(sha256, size):
    return Image(sha256=sha256, size=size, format="PNG", mode="RGB", width=1, height=1, phash=0, sharpness=0.0)


def _store_again(root, numbers):
    with open_project(root) as project:
        for number in numbers:
            sha256 = project.blobs.put_bytes(_data(number))
            time.sleep(0.001)
            with project.write() as session:
                session.add(_row(sha256, len(_data(number))))


def _collect(root, stop):
    with open_project(root) as project:
        while not stop.is_set():
            collect_garbage(project, policy=POLICY, dry_run=False)


def _make_old(project):
    """Blobs that nothing needs and that are old enough to go."""
    with project.blobs.batch() as batch:
        hashes = [batch.put_bytes(_data(number)) for number in range(COUNT)]
    for sha256 in hashes:
        os.utime(project.blobs.path(sha256), (1, 1))
    return hashes


def test_nothing_that_is_stored_again_is_ever_lost(project):
    hashes = _make_old(project)
    project.close()
    stop = fork.Event()
    writers = [fork.Process(target=_store_again, args=(project.root, range(part, COUNT, 3))) for part in range(2)]
    collector = fork.Process(target=_collect, args=(project.root, stop))
    for process in (*writers, collector):
        process.start()
    for process in writers:
        process.join()
    stop.set()
    collector.join()
    assert [process.exitcode for process in (*writers, collector)] == [0, 0, 0]
    needed = set(blob_needs(project.paths.database))
    assert len(needed) == COUNT * 2 // 3
    assert needed <= set(project.blobs)
    assert all(project.blobs.verify(sha256) for sha256 in needed)
    collect_garbage(project, policy=POLICY, dry_run=False)
    assert set(project.blobs) == needed
    assert len(set(hashes) - needed) == COUNT // 3


def test_a_row_that_comes_while_its_blob_is_being_moved_gets_it_back(project, monkeypatch):
    hashes = _make_old(project)
    real = maintenance.throw_away

    def interleaved(*arguments, **options):
        with project.write() as session:
            session.add(_row(hashes[0], len(_data(0))))
        return real(*arguments, **options)

    monkeypatch.setattr(maintenance, "throw_away", interleaved)
    report = collect_garbage(project, policy=POLICY, dry_run=False)
    assert len(report.items) == COUNT - 1
    assert list(project.blobs) == [hashes[0]]
    assert check_project(project, level="full").problems == ()


def test_a_killed_collection_leaves_a_sound_film_and_the_next_one_goes_on(project):
    _make_old(project)
    _store_again(project.root, range(0, COUNT, 2))
    for sha256 in project.blobs:
        os.utime(project.blobs.path(sha256), (1, 1))
    project.close()
    for delay in (0.005, 0.01, 0.02):
        collector = fork.Process(target=_collect, args=(project.root, fork.Event()))
        collector.start()
        time.sleep(delay)
        os.kill(collector.pid, signal.SIGKILL)
        collector.join()
        assert set(blob_needs(project.paths.database)) <= set(project.blobs)
    collect_garbage(project, policy=POLICY, dry_run=False)
    assert set(project.blobs) == set(blob_needs(project.paths.database))


def _restore(source, folder):
    restore(source, folder).close()


def test_a_killed_restore_or_backup_leaves_no_half_film(project, tmp_path):
    _make_old(project)
    _store_again(project.root, range(COUNT))
    project.close()
    source = tmp_path / "film.tar"
    for delay in (0.02, 0.1):
        backup = fork.Process(target=back_up, args=(project, source))
        backup.start()
        time.sleep(delay)
        os.kill(backup.pid, signal.SIGKILL)
        backup.join()
        source.unlink(missing_ok=True)
    back_up(project, source)
    assert [path for path in tmp_path.iterdir() if path.name.startswith("film.tar")] == [source]
    target = tmp_path / "restored" / "film"
    for delay in (0.05, 0.2):
        restorer = fork.Process(target=_restore, args=(source, target))
        restorer.start()
        time.sleep(delay)
        os.kill(restorer.pid, signal.SIGKILL)
        restorer.join()
        if target.exists():
            with open_project(target) as whole:
                assert set(blob_needs(whole.paths.database)) == set(whole.blobs)
            break
    else:
        _restore(source, target)
    with open_project(target) as whole, whole.read() as session:
        assert len(session.exec(select(Image.sha256)).all()) == COUNT
        assert check_project(whole, level="full").problems == ()


def test_what_killed_backups_left_behind_is_collected(project):
    left = project.paths.private / "backup-abc"
    left.mkdir()
    (left / "forge.db").write_bytes(b"x" * 10)
    os.utime(left, (1, 1))
    report = collect_garbage(project, dry_run=False)
    assert report.freed == 10
    assert not left.exists()


def test_what_killed_commands_left_half_written_is_collected(project):
    private, name = project.paths.private, "a" * 32
    left = [
        project.paths.loras / "mara" / ".new-abcd_123",
        project.paths.loras / "mara" / f".mara-v001.safetensors.{name}.tmp",
        project.paths.reports / ".new-12345678",
        project.root / ".new-prjct_0z",
        private / "jobs" / "000001" / ".status.json.4711.tmp",
    ]
    theirs = [project.paths.loras / "mara" / ".notes.tmp", project.root / ".newest", project.root / ".tmp"]
    for path in (*left, *theirs):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 10)
        os.utime(path, (1, 1))
    young = project.paths.loras / "mara" / ".new-young_00"
    young.write_bytes(b"x")
    (private / "jobs" / "000001").joinpath("agent.lock").touch()
    collect_garbage(project, dry_run=False)
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in (*theirs, young))
