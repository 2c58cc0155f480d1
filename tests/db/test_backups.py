import json
import multiprocessing
import shutil
import tarfile
import time

import pytest
from sqlmodel import select

from assetforge.db.migrate import copy_database
from assetforge.db.models import Activity, Image, Meta, Reference
from assetforge.db.models_jobs import Job
from assetforge.durable import locked
from assetforge.errors import BusyError, NotFoundError, StorageError, UsageError
from assetforge.services.assets import add_asset, list_assets
from assetforge.services.backups import archive_project, back_up, restore, verify_backup
from assetforge.services.database_copies import restore_database
from assetforge.services.maintenance import check_project, collect_garbage
from assetforge.services.projects import open_project

fork = multiprocessing.get_context("fork")


@pytest.fixture
def film(project, make_png, tmp_path):
    add_asset(project, "mara", "character")
    for number in range(3):
        _add(project, make_png(tmp_path / f"{number}.png", seed=number).read_bytes(), f"{number}.png")
    (project.root / "characters" / "mara" / "references" / "odd [1]\nname.png").write_bytes(b"picture")
    (project.root / "reports" / "first.html").write_text("report")
    project.paths.config.write_text(project.paths.config.read_text() + "# by hand\n")
    return project


def _add(project, data, name):
    sha256 = project.blobs.put_bytes(data)
    with project.write() as session:
        session.add(
            Image(sha256=sha256, size=len(data), format="PNG", mode="RGB", width=1, height=1, phash=0, sharpness=0.0)
        )
        session.flush()
        session.add(Reference(asset_id=1, sha256=sha256, file_name=name))


@pytest.mark.parametrize("name", ["copy", "copy.tar"])
@pytest.mark.parametrize("whole", [False, True])
def test_round_trip(film, tmp_path, name, whole):
    unneeded = film.blobs.put_bytes(b"nothing names me")
    info = back_up(film, tmp_path / "out" / name, whole=whole)
    assert info.blobs == 3
    assert verify_backup(info.path) == info
    assert [path.name for path in info.path.parent.iterdir()] == [name]
    with restore(info.path, tmp_path / "restored") as again:
        assert (again.id, again.name) == (film.id, film.name)
        assert set(again.blobs) == set(film.blobs) - {unneeded}
        assert [asset.name for asset in list_assets(again)] == ["mara"]
        assert check_project(again, level="deep").problems == ()
        assert again.paths.config.read_bytes() == film.paths.config.read_bytes()
        assert (again.root / "characters" / "mara" / "references").is_dir()
        odd = again.root / "characters" / "mara" / "references" / "odd [1]\nname.png"
        assert odd.exists() == (again.root / "reports" / "first.html").exists() == whole
        with again.read() as session:
            assert "restored" in session.exec(select(Activity.verb)).all()


def _keep_writing(root, stop):
    with open_project(root) as project:
        number = 0
        while not stop.is_set():
            _add(project, f"picture {number}".encode() * 100, f"{number}.png")
            number += 1


def test_round_trip_while_another_process_writes(film, tmp_path):
    root = film.root
    film.close()
    stop = fork.Event()
    writer = fork.Process(target=_keep_writing, args=(root, stop))
    writer.start()
    try:
        infos = []
        for number in range(4):
            time.sleep(0.2)
            infos.append(back_up(film, tmp_path / "out" / f"{number}{'.tar' if number % 2 else ''}"))
    finally:
        stop.set()
        writer.join()
    assert writer.exitcode == 0
    assert infos[-1].blobs > infos[0].blobs >= 3
    for number, info in enumerate(infos):
        with restore(info.path, tmp_path / "again" / str(number)) as again, again.read() as session:
            names = session.exec(select(Reference.file_name).order_by(Reference.id)).all()
            assert len(names) == info.blobs
            assert check_project(again, level="deep").sound


def _rewrite(source, change):
    """Take a backup apart, change it, and put it together again."""
    folder = source.with_name("apart")
    with tarfile.open(source) as tar:
        order = tar.getnames()
        tar.extractall(folder, filter="data")
    change(folder)
    result = source.with_name("changed.tar")
    with tarfile.open(result, "w") as tar:
        added = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - set(order)
        for name in [*order[:1], *sorted(added), *order[1:]]:
            if (folder / name).exists():
                tar.add(folder / name, name)
    return result


def _flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: _flip(next(iter(sorted(folder.glob("blobs/*/*"))))), "is damaged"),
        (lambda folder: _flip(folder / "forge.db"), "is damaged"),
        (lambda folder: next(iter(sorted(folder.glob("blobs/*/*")))).unlink(), "lacks blobs"),
        (lambda folder: (folder / "manifest.jsonl").unlink(), "manifest is missing"),
        (lambda folder: (folder / "backup.json").unlink(), "no backup"),
        (
            lambda folder: (folder / "backup.json").write_text(json.dumps({"schema": "assetforge/backup/9"})),
            "does not know",
        ),
        (lambda folder: (folder / "evil.sh").write_text("x"), "no place"),
    ],
)
def test_a_damaged_backup_is_refused_and_leaves_nothing(film, tmp_path, change, said):
    info = back_up(film, tmp_path / "out" / "copy.tar")
    bad = _rewrite(info.path, change)
    with pytest.raises(StorageError, match=said):
        restore(bad, tmp_path / "restored" / "film")
    assert not list((tmp_path / "restored").glob("*")) if (tmp_path / "restored").exists() else True
    with pytest.raises(StorageError):
        verify_backup(bad)


def test_a_cut_off_tar_is_refused(film, tmp_path):
    info = back_up(film, tmp_path / "copy.tar")
    data = info.path.read_bytes()
    for length in (100, len(data) // 2, len(data) - 12_000):
        cut = tmp_path / f"cut{length}.tar"
        cut.write_bytes(data[:length])
        with pytest.raises(StorageError):
            restore(cut, tmp_path / "restored")
        assert not (tmp_path / "restored").exists()


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/outside", "files/../../outside", "files/.assetforge/forge.db", "blobs/ab/short"]
)
def test_names_that_lead_outside_are_refused(film, tmp_path, name):
    info = back_up(film, tmp_path / "copy.tar")
    with tarfile.open(info.path, "a") as tar:
        member = tarfile.TarInfo(name)
        tar.addfile(member)
    # The stray member stands after the manifest; put it before by reading a tar that begins with it.
    bad = tmp_path / "bad.tar"
    with tarfile.open(bad, "w") as out, tarfile.open(info.path) as tar:
        about = tar.getmember("backup.json")
        out.addfile(about, tar.extractfile(about))
        out.addfile(tarfile.TarInfo(name))
    with pytest.raises(StorageError, match="no place in a backup"):
        restore(bad, tmp_path / "restored")
    link = tarfile.TarInfo("files/link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with tarfile.open(bad, "w") as out, tarfile.open(info.path) as tar:
        out.addfile(about, tar.extractfile(about))
        out.addfile(link)
    with pytest.raises(StorageError, match="no plain file"):
        restore(bad, tmp_path / "restored")


def test_a_damaged_film_is_not_backed_up_silently(film, tmp_path):
    sha256 = next(iter(film.blobs))
    film.blobs.path(sha256).chmod(0o644)
    _flip(film.blobs.path(sha256))
    for name in ("copy", "copy.tar"):
        with pytest.raises(StorageError, match=r"damaged; no backup was written"):
            back_up(film, tmp_path / "out" / name)
    assert list((tmp_path / "out").iterdir()) == []


def test_places_that_cannot_be_used(film, tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        back_up(film, tmp_path / "there")
    with pytest.raises(UsageError, match="inside the film"):
        back_up(film, film.root / "copy.tar")
    with pytest.raises(NotFoundError):
        restore(tmp_path / "nothing.tar")
    info = back_up(film, tmp_path / "copy")
    with pytest.raises(UsageError, match="not empty"):
        restore(info.path)
    (tmp_path / "there" / "mine").touch()
    with pytest.raises(UsageError, match="not empty"):
        restore(info.path, tmp_path / "there")
    with pytest.raises(StorageError, match="no complete backup"):
        restore(tmp_path / "there", tmp_path / "new")


def test_jobs_under_way_are_lost_and_queued_ones_wait(film, tmp_path):
    with film.write() as session:
        for state in ("queued", "running", "succeeded"):
            session.add(Job(kind="score", state=state, payload={}, created_at=0.0, handle={"pid": 1}))
    info = back_up(film, tmp_path / "copy.tar")
    with restore(info.path, tmp_path / "restored") as again, again.read() as session:
        assert session.exec(select(Job.state).order_by(Job.id)).all() == ["queued", "lost", "succeeded"]


def test_no_collection_runs_during_a_backup(film, tmp_path):
    with locked(film.paths.private / "gc.lock", shared=True):
        back_up(film, tmp_path / "copy")
        with pytest.raises(BusyError):
            collect_garbage(film)


def test_archive_reads_back_before_it_removes(film, tmp_path):
    with film.write() as session:
        session.add(Meta(key="x", value="y"))
        session.add(Job(id=1, kind="score", payload={}, created_at=0.0))
    with pytest.raises(BusyError, match="1 jobs"):
        archive_project(film, tmp_path / "film.tar", remove=True)
    with film.write() as session:
        session.get(Job, 1).state = "cancelled"
    archive_project(film, tmp_path / "film.tar")
    assert film.root.is_dir()
    archive_project(film, tmp_path / "film-2.tar", remove=True)
    assert not film.root.exists()
    with restore(tmp_path / "film-2.tar") as again:
        assert again.root == film.root
        assert (again.root / "reports" / "first.html").read_text() == "report"
    shutil.rmtree(again.root)


def test_going_back_to_a_copy_of_the_database(film):
    copy = film.paths.backups / "forge-before.db"
    copy_database(film.paths.database, copy)
    before = copy.read_bytes()
    add_asset(film, "brass-lamp", "prop")
    kept, missing = restore_database(film.root, copy)
    assert (missing, copy.read_bytes()) == (0, before)
    # The film was open all the time and goes on.
    assert [asset.name for asset in list_assets(film)] == ["mara"]
    restore_database(film.root, kept)
    assert len(list_assets(film)) == 2
    film.blobs.path(next(iter(film.blobs))).unlink()
    assert restore_database(film.root, copy)[1] == 1
    assert not list(film.paths.private.glob("*restoring*"))


def test_a_damaged_database_is_replaced_and_kept(film):
    copy = film.paths.backups / "forge-before.db"
    copy_database(film.paths.database, copy)
    film.close()
    for left in film.paths.private.glob("forge.db-*"):
        left.unlink()
    film.paths.database.write_bytes(b"z" * 10_000)
    with pytest.raises(StorageError, match="cannot be read"):
        open_project(film.root)
    kept, _ = restore_database(film.root, copy)
    assert kept.read_bytes() == b"z" * 10_000
    with open_project(film.root) as again:
        assert check_project(again, level="deep").problems == ()
    with pytest.raises(StorageError, match="is damaged"):
        restore_database(film.root, kept)
    with pytest.raises(NotFoundError):
        restore_database(film.root, film.root / "nothing.db")
