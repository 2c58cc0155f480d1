import sqlite3
import subprocess
import sys
import threading
from array import array
from contextlib import closing

import pytest

from assetforge.db.browse.reader import Reader, iso
from assetforge.db.migrate import HEAD
from assetforge.errors import StorageError

MODULES = ("reader", "assets", "references", "versions", "find", "films", "jobs", "verdicts", "captions")
HEAVY = (
    "sqlmodel",
    "sqlalchemy",
    "pydantic",
    "alembic",
    "PIL",
    "numpy",
    "textual",
    "tomlkit",
    "assetforge.services",
    "assetforge.agent",
)


def test_only_the_standard_library_is_imported():
    code = (
        f"import sys\nfor name in {MODULES!r}: __import__('assetforge.db.browse.' + name)\n"
        f"found = [name for name in sys.modules if name.startswith({HEAVY!r})]\nassert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_rows_and_ids(reader):
    assert reader.row("SELECT count(*) FROM asset") == (8,)
    assert reader.row("SELECT id FROM asset WHERE name = ?", ("nobody",)) is None
    assert reader.ids("SELECT id FROM asset ORDER BY id DESC") == array("q", range(8, 0, -1))
    assert reader.ids("SELECT id FROM asset WHERE id > 8") == array("q")
    assert len(reader.rows("SELECT name FROM asset")) == 8


def test_nothing_can_be_changed(reader):
    with pytest.raises(StorageError):
        reader.rows("DELETE FROM asset")
    assert reader.row("SELECT count(*) FROM asset") == (8,)


def test_a_wrong_question_is_a_fault_in_our_words(reader):
    with pytest.raises(StorageError, match=r"forge\.db cannot be read: no such column: nonsense"):
        reader.rows("SELECT nonsense FROM asset")


def test_the_version_changes_when_others_write_and_only_then(rows, empty):
    before = empty.version()
    assert empty.version() == before
    rows.put("meta", key="a", value="b")
    assert empty.version() != before
    seen = []
    thread = threading.Thread(target=lambda: seen.append(empty.version()))
    thread.start()
    thread.join()
    assert seen == [empty.version()]


def test_a_snapshot_is_one_moment_and_may_lie_in_another(rows, empty):
    count = "SELECT count(*) FROM meta"
    with empty.snapshot():
        assert empty.row(count) == (0,)
        rows.put("meta", key="a", value="b")
        with empty.snapshot():
            assert empty.row(count) == (0,)
        assert empty.row(count) == (0,)
    assert empty.row(count) == (1,)


def test_a_fault_in_a_snapshot_ends_it(rows, empty):
    with pytest.raises(StorageError, match="nonsense"), empty.snapshot():
        empty.row("SELECT nonsense FROM meta")
    rows.put("meta", key="a", value="b")
    assert empty.row("SELECT count(*) FROM meta") == (1,)


def test_the_main_thread_does_not_wait_for_the_others(reader):
    inside, done = threading.Event(), threading.Event()

    def work():
        with reader.snapshot():
            inside.set()
            assert done.wait(10)

    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(10)
    assert reader.row("SELECT count(*) FROM asset") == (8,)
    done.set()
    thread.join()


def test_many_threads_read_at_once(reader):
    found = []

    def work():
        found.extend(reader.rows("SELECT id, caption FROM reference WHERE id < 200") for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 120
    assert all(one == found[0] for one in found)


def test_a_closed_reader_says_so(rows):
    opened = Reader(rows.database)
    opened.close()
    opened.close()
    with pytest.raises(StorageError, match="is closed already"):
        opened.rows("SELECT 1")


@pytest.mark.parametrize(
    ("revision", "said"),
    [
        ("0001", "is older than this program and is brought up to date when the film is opened"),
        ("9999", "was written by a newer assetforge"),
    ],
)
def test_another_revision_is_refused_in_words(rows, revision, said):
    rows.run("UPDATE alembic_version SET version_num = ?", revision)
    with pytest.raises(StorageError, match=said):
        Reader(rows.database)
    rows.run("UPDATE alembic_version SET version_num = ?", HEAD)
    Reader(rows.database).close()


def test_what_is_missing_or_no_film_is_said(tmp_path):
    with pytest.raises(StorageError, match="is not there"):
        Reader(tmp_path / "forge.db")
    (tmp_path / "damaged.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StorageError, match=r"damaged\.db cannot be read"):
        Reader(tmp_path / "damaged.db")
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE t (a)")
    with pytest.raises(StorageError, match=r"other\.db holds no film"):
        Reader(tmp_path / "other.db")


def test_times_are_said_in_utc():
    assert iso("2026-11-27 02:51:08.563878") == "2026-11-27T02:51:08+00:00"
    assert iso(None) == iso("") == ""
