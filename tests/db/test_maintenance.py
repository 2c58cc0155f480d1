import os
import time

import numpy as np
import pytest
from safetensors.numpy import save
from sqlmodel import SQLModel, select

from assetforge.db.blob_rows import NAMED
from assetforge.db.models import Activity, Image, Publication, Reference, Version
from assetforge.db.models_jobs import Job
from assetforge.db.models_watch import WatchedFile, WatchRoot
from assetforge.durable import locked
from assetforge.errors import BusyError
from assetforge.services.assets import add_asset
from assetforge.services.maintenance import check_project, collect_garbage
from assetforge.store.gc import GcPolicy

DAY = 24 * 3600.0


def add_picture(project, path, asset_id=1):
    """A reference as ingest leaves it: blob first, rows afterwards."""
    sha256, size = project.blobs.put_file(path)
    with project.write() as session:
        session.add(
            Image(sha256=sha256, size=size, format="PNG", mode="RGB", width=64, height=48, phash=0, sharpness=1.0)
        )
        session.flush()
        session.add(Reference(asset_id=asset_id, sha256=sha256, file_name=path.name))
    return sha256


def add_version(project, data=None):
    weights = project.blobs.put_bytes(data or save({"lora_down": np.arange(64, dtype=np.float32)}))
    with project.write() as session:
        number = len(session.exec(select(Version.id)).all()) + 1
        session.add(Version(asset_id=1, number=number, family="sd15", weights=weights))
    return weights


def age(path, seconds=2 * DAY):
    os.utime(path, (time.time() - seconds,) * 2)


@pytest.fixture
def film(project, tmp_path, make_png):
    """A film with three references, one version, one published file; returns (project, hashes, weights)."""
    asset = add_asset(project, "mara", "character")
    assert asset.id == 1
    hashes = [add_picture(project, make_png(tmp_path / f"{number}.png", seed=number)) for number in range(3)]
    weights = add_version(project)
    target = project.paths.loras / "mara" / "mara-v001.safetensors"
    project.blobs.copy_out(weights, target)
    with project.write() as session:
        session.add(Publication(version_id=1, path="loras/mara/mara-v001.safetensors", sha256=weights))
    return project, hashes, weights


def damage(project, sha256):
    path = project.blobs.path(sha256)
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("level", ["quick", "full", "deep"])
def test_a_sound_film_is_sound(film, level):
    project, _, _ = film
    report = check_project(project, level=level)
    assert report.sound
    assert report.problems == ()
    assert (report.blobs, report.needed, report.unneeded) == (4, 4, 0)


def test_each_level_sees_what_it_promises(film):
    project, hashes, _ = film
    damage(project, hashes[0])
    project.blobs.path(hashes[1]).unlink()
    truncated = project.blobs.path(hashes[2])
    truncated.chmod(0o644)
    os.truncate(truncated, 10)
    quick, full = check_project(project, level="quick"), check_project(project, level="full")
    assert sorted((problem.kind, problem.path.name) for problem in quick.problems) == sorted(
        [("missing", hashes[1][2:]), ("damaged", hashes[2][2:])]
    )
    assert sorted((problem.kind, problem.path.name) for problem in full.problems) == sorted(
        [("missing", hashes[1][2:]), ("damaged", hashes[2][2:]), ("damaged", hashes[0][2:])]
    )
    assert not full.sound
    assert all(problem.subject.startswith("picture ") for problem in full.problems)


def test_deep_looks_into_weights_and_the_database(film):
    project, _, _ = film
    add_version(project, b"a pickle, perhaps")
    assert check_project(project, level="full").sound
    project.close()
    import sqlite3

    connection = sqlite3.connect(project.paths.database)
    connection.execute("INSERT INTO alias (asset_id, name, version_id) VALUES (1, 'approved', 77)")
    connection.commit()
    connection.close()
    report = check_project(project, level="deep")
    assert sorted(problem.kind for problem in report.problems) == ["database", "not-weights"]
    assert "mara/v2" in {problem.subject for problem in report.problems}


def test_repair_brings_bytes_back_and_keeps_the_damaged_ones(film, tmp_path, make_png):
    project, hashes, weights = film
    # One lives on in the inbox, one in a job folder, one in loras/, and one nowhere.
    (project.root / "characters" / "mara" / "references" / "a[1].png").write_bytes(project.blobs.read_bytes(hashes[0]))
    project.blobs.place(hashes[1], project.paths.job(7) / "inputs" / "b.png")
    damage(project, hashes[0])
    project.blobs.path(hashes[1]).unlink()
    damage(project, weights)
    damage(project, hashes[2])
    report = check_project(project, level="full", repair=True)
    assert {problem.path.name: bool(problem.repaired) for problem in report.problems} == {
        hashes[0][2:]: True,
        hashes[1][2:]: True,
        weights[2:]: True,
        hashes[2][2:]: False,
    }
    assert not report.sound
    assert [project.blobs.verify(sha256) for sha256 in (*hashes, weights)] == [True, True, False, True]
    assert sorted(path.name for path in (project.paths.trash / "damaged").iterdir()) == sorted(
        [hashes[0], hashes[2], weights]
    )
    # The user comes with the lost picture.
    make_png(project.root / "characters" / "mara" / "references" / "again.png", seed=2)
    assert check_project(project, level="full", repair=True).sound
    assert check_project(project, level="deep").problems == ()


def test_a_lost_published_file_is_written_again_and_an_edited_one_is_left(film):
    project, _, _ = film
    target = project.paths.loras / "mara" / "mara-v001.safetensors"
    target.unlink()
    report = check_project(project, repair=True)
    assert [problem.repaired for problem in report.problems] == ["published again"]
    target.write_bytes(b"edited")
    report = check_project(project, repair=True)
    assert [problem.kind for problem in report.problems] == ["published-changed"]
    assert report.sound
    assert target.read_bytes() == b"edited"


def test_gc_takes_only_what_is_old_and_unneeded(film):
    project, hashes, weights = film
    old, young, payload = (project.blobs.put_bytes(name) for name in (b"old", b"young", b"in a payload"))
    with project.write() as session:
        session.add(Job(kind="score", payload={"deep": [{"blob": payload}]}, created_at=0.0))
    for sha256 in (*hashes, weights, old, payload):
        age(project.blobs.path(sha256))
    (project.blobs.incoming / "left-over").write_bytes(b"xyz")
    age(project.blobs.incoming / "left-over")
    looked = collect_garbage(project)
    assert looked.dry_run
    assert project.blobs.has(old)
    took = collect_garbage(project, dry_run=False)
    assert [item.path for item in took.items] == [item.path for item in looked.items]
    assert took.by_kind == {"blob": 1, "half-written": 1}
    assert set(project.blobs) == {*hashes, weights, young, payload}
    assert not list(project.blobs.incoming.iterdir())
    assert check_project(project, level="deep").sound


def test_what_gc_took_waits_in_the_trash_and_can_come_back(film):
    project, _, _ = film
    old = project.blobs.put_bytes(b"old")
    age(project.blobs.path(old))
    collect_garbage(project, dry_run=False)
    assert not project.blobs.has(old)
    with project.write() as session:
        session.add(Version(asset_id=1, number=2, family="sd15", weights=old))
    assert check_project(project, level="quick", repair=True).sound
    assert project.blobs.verify(old)
    # A week later the trash is emptied; damaged blobs stay until a person removes them.
    stamped = next(path for path in project.paths.trash.iterdir())
    stamped.rename(project.paths.trash / "20200101T000000")
    (project.paths.trash / "damaged").mkdir()
    collect_garbage(project, dry_run=False)
    assert [path.name for path in project.paths.trash.iterdir()] == ["damaged"]


def test_a_blob_that_is_put_again_during_a_collection_stays(film):
    from assetforge.store.gc import throw_away, trash_folder, unneeded_blobs

    project, _, _ = film
    old = project.blobs.put_bytes(b"old")
    age(project.blobs.path(old))
    before = time.time() - DAY
    items = list(unneeded_blobs(project.blobs, set(), before=before))
    project.blobs.put_bytes(b"old")
    assert old in {item.sha256 for item in items}
    taken = throw_away(
        project.blobs, items, root=project.paths.private, into=trash_folder(project.paths.trash), before=before
    )
    assert old not in {item.sha256 for item in taken}
    assert project.blobs.has(old)


def _job(project, state, finished_days_ago):
    with project.write() as session:
        job = Job(
            kind="train",
            state=state,
            created_at=0.0,
            finished_at=None if finished_days_ago is None else time.time() - finished_days_ago * DAY,
        )
        session.add(job)
        session.flush()
        number = job.id
    folder = project.paths.job(number)
    for name in ("inputs/a", "checkpoints/1", "outputs/w", "events.jsonl", "result.json", "logs/child.log"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x" * 10)
    return folder


def test_folders_of_finished_jobs_keep_their_logs_only(project):
    done, fresh, failed, old_failed, running = (
        _job(project, *arguments)
        for arguments in (("succeeded", 2), ("succeeded", 0.1), ("failed", 2), ("failed", 20), ("running", None))
    )
    worked_in = _job(project, "lost", 30)
    (worked_in / "agent.lock").touch()
    unknown = project.paths.job(999)
    unknown.mkdir()
    age(unknown)
    with locked(worked_in / "agent.lock"):
        report = collect_garbage(project, dry_run=False)
    for folder in (done, old_failed):
        assert sorted(path.name for path in folder.iterdir()) == ["events.jsonl", "logs", "result.json"]
    for folder in (fresh, failed, running, worked_in):
        assert (folder / "checkpoints" / "1").exists()
    assert not unknown.exists()
    assert report.trashed == 60


def test_derived_files_go_when_nothing_is_left_to_derive_them_from(film):
    project, hashes, _ = film
    thumbs = [project.paths.thumbs / sha256[:2] / f"{sha256[2:]}-256.jpg" for sha256 in (hashes[0], "f" * 64)]
    latents = project.paths.cache / "latents" / "x.safetensors"
    for path in (*thumbs, latents):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        age(path, 40 * DAY)
    collect_garbage(project, dry_run=False)
    assert [path.exists() for path in (*thumbs, latents)] == [True, False, False]


def test_only_the_newest_copies_from_before_migrations_stay(project):
    project.paths.backups.mkdir()
    for day in range(1, 9):
        (project.paths.backups / f"forge-2026010{day}T000000-before-0001-to-0002.db").write_bytes(b"x")
    (project.paths.backups / "mine.db").write_bytes(b"x")
    collect_garbage(project, policy=GcPolicy(backups=3), dry_run=False)
    assert sorted(path.name[:14] for path in project.paths.backups.iterdir()) == [
        "forge-20260106",
        "forge-20260107",
        "forge-20260108",
        "mine.db",
    ]


def test_two_collections_do_not_run_at_once(project):
    with locked(project.paths.private / "gc.lock"), pytest.raises(BusyError):
        collect_garbage(project)


def test_collections_and_repairs_are_noted(film):
    project, _, _ = film
    age(project.blobs.path(project.blobs.put_bytes(b"old")))
    collect_garbage(project, dry_run=False)
    with project.read() as session:
        assert "collected" in session.exec(select(Activity.verb)).all()


def test_every_column_that_names_a_blob_is_known():
    """A new column with a hash in it must be added to NAMED, or be listed here with the reason."""
    known = {(entry.table, entry.column) for entry in NAMED}
    not_blobs = {
        ("reference", "sha256"),  # foreign key to image
        ("dataset_item", "sha256"),  # foreign key to image
        ("publication", "sha256"),  # of a file in loras/
        ("watched_file", "sha256"),  # to know the file again
    }
    words = ("sha256", "weights", "diffusers", "scores", "blob", "mask")
    found = {
        (table.name, column.name)
        for table in SQLModel.metadata.tables.values()
        for column in table.columns
        if any(word in column.name for word in words)
    }
    assert found == known | not_blobs


def test_repair_finds_bytes_in_watched_folders_outside_the_film(film, tmp_path, make_png):
    project, _, _ = film
    outside = make_png(tmp_path / "outside" / "deep" / "x.png", seed=91)
    sha256 = add_picture(project, outside)
    with project.paths.config.open("a") as config:
        config.write(f'\n[[watch.roots]]\nasset = "mara"\npath = "{tmp_path / "outside"}"\n')
        config.write('\n[[watch.roots]]\nasset = "mara"\npath = "/nowhere/at all"\n')
    project.blobs.path(sha256).unlink()
    assert not check_project(project).sound
    report = check_project(project, level="deep", repair=True)
    assert report.sound
    assert [str(outside) in problem.repaired for problem in report.problems] == [True]
    assert project.blobs.verify(sha256)
    assert outside.is_file()


def test_repair_does_not_hang_on_settings_that_cannot_be_read(film):
    project, hashes, _ = film
    project.blobs.path(hashes[0]).unlink()
    project.paths.config.write_text("[watch]\nno such key = 1\n")
    report = check_project(project, repair=True)
    assert (report.sound, project.blobs.has(hashes[0])) == (False, False)


def test_bytes_of_quarantined_files_stay_while_they_wait_and_no_longer(film):
    project, _, _ = film
    hashes = {state: project.blobs.put_bytes(state.encode()) for state in ("quarantined", "discarded")}
    with project.write() as session:
        root = WatchRoot(asset_id=1, path="characters/mara/references")
        session.add(root)
        session.flush()
        for state, sha256 in hashes.items():
            path = f"{state}.png".encode()
            session.add(
                WatchedFile(root_id=root.id, path=path, size=1, mtime_ns=1, ctime_ns=1, state=state, sha256=sha256)
            )
        for sha256 in hashes.values():
            age(project.blobs.path(sha256))
    collect_garbage(project, dry_run=False)
    assert {state: project.blobs.has(sha256) for state, sha256 in hashes.items()} == {
        "quarantined": True,
        "discarded": False,
    }
    with project.write() as session:
        session.exec(select(WatchedFile).where(WatchedFile.state == "quarantined")).one().state = "discarded"
    collect_garbage(project, dry_run=False)
    assert not project.blobs.has(hashes["quarantined"])
    assert check_project(project, level="deep").sound


def test_what_killed_stagings_and_registrations_left_behind_is_collected(project):
    left = [project.paths.private / ".tmp-abc", project.paths.jobs / ".tmp-def"]
    for folder in left:
        folder.mkdir()
        (folder / "weights").write_bytes(b"x" * 10)
        os.utime(folder, (1, 1))
    young = project.paths.jobs / ".tmp-young"
    young.mkdir()
    assert collect_garbage(project, dry_run=False).freed == 20
    assert [folder.exists() for folder in (*left, young)] == [False, False, True]
