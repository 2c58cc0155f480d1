"""Several processes write to one film at once: no lock error, nothing lost."""

import multiprocessing

import pytest
from sqlalchemy import func
from sqlmodel import select

from assetforge.db.models import Activity, Meta
from assetforge.errors import UsageError
from assetforge.services.activity import record
from assetforge.services.assets import add_asset, list_assets, set_asset
from assetforge.services.projects import create_project, open_project

fork = multiprocessing.get_context("fork")
WRITERS, WRITES = 4, 500


def _write(root, writer, results):
    try:
        with open_project(root) as project:
            for number in range(WRITES):
                with project.write() as session:
                    # Read, then write: the pattern that deferred transactions fail at.
                    counter = session.get(Meta, "counter")
                    counter.value = str(int(counter.value) + 1)
                    record(session, f"writer-{writer}", "counted", str(number), value=counter.value)
        results.put("")
    except BaseException as error:
        results.put(repr(error))


def test_four_writers_two_thousand_writes(project):
    with project.write() as session:
        session.add(Meta(key="counter", value="0"))
    project.close()
    results = fork.Queue()
    workers = [fork.Process(target=_write, args=(project.root, number, results)) for number in range(WRITERS)]
    for worker in workers:
        worker.start()
    assert [results.get(timeout=120) for _ in workers] == [""] * WRITERS
    for worker in workers:
        worker.join()
    with project.read() as session:
        assert session.get(Meta, "counter").value == str(WRITERS * WRITES)
        assert session.exec(select(func.count()).select_from(Activity)).one() == WRITERS * WRITES
        values = session.exec(select(Activity.detail)).all()
    assert len({value["value"] for value in values}) == WRITERS * WRITES


def _create(folder, barrier, results):
    barrier.wait()
    try:
        create_project("twice", folder=folder).close()
        results.put("made")
    except UsageError:
        results.put("taken")
    except BaseException as error:
        results.put(repr(error))


def test_two_processes_make_the_same_film_at_once(tmp_path):
    barrier, results = fork.Barrier(2), fork.Queue()
    workers = [fork.Process(target=_create, args=(tmp_path / "film", barrier, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    assert sorted(results.get(timeout=60) for _ in workers) == ["made", "taken"]
    for worker in workers:
        worker.join()
    with open_project(tmp_path / "film") as project:
        assert project.name == "twice"
        add_asset(project, "mara", "character")


def _open_and_add(root, name, barrier, results):
    barrier.wait()
    try:
        with open_project(root) as project:
            add_asset(project, name, "prop")
            set_asset(project, "shared", settings={name: 1})
        results.put("")
    except BaseException as error:
        results.put(repr(error))


def test_processes_open_one_film_at_once_and_lose_no_change(project):
    add_asset(project, "shared", "style")
    project.close()
    barrier, results = fork.Barrier(3), fork.Queue()
    workers = [
        fork.Process(target=_open_and_add, args=(project.root, f"prop-{number}", barrier, results))
        for number in range(3)
    ]
    for worker in workers:
        worker.start()
    assert [results.get(timeout=60) for _ in workers] == [""] * 3
    for worker in workers:
        worker.join()
    assert {asset.name for asset in list_assets(project)} == {"shared", "prop-0", "prop-1", "prop-2"}
    assert set(next(asset for asset in list_assets(project, type="style")).settings) == {"prop-0", "prop-1", "prop-2"}


def test_a_film_is_not_made_over_something(tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    (folder / "my-notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        create_project("film", folder=folder)
    assert [path.name for path in folder.iterdir()] == ["my-notes.txt"]
