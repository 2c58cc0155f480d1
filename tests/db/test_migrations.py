import multiprocessing
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlmodel import SQLModel, create_engine

from assetforge.db import migrate as migration
from assetforge.db import models, models_jobs, models_review, models_watch
from assetforge.db.migrate import HEAD, alembic_config, copy_database, migrate, revision_of
from assetforge.errors import StorageError
from assetforge.services.projects import open_project

OLD = Path(__file__).parent / "old"
fork = multiprocessing.get_context("fork")


def _schema(path):
    """Name to the sorted set of clauses of every table, index and trigger; the order of clauses means nothing."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' AND name != 'alembic_version'"
        )
        return {name: _clauses(sql) for name, sql in rows}


def _clauses(sql):
    flat = re.sub(r"\s+", " ", sql.replace('"', "")).strip()
    match = re.match(r"(CREATE TABLE \w+ )\((.*)\)(.*)$", flat)
    if not match:
        return [flat]
    # Split at commas outside brackets.
    parts, depth, current = [], 0, ""
    for character in match[2]:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append(current.strip())
            current = ""
        else:
            current += character
    return [match[1] + match[3].strip(), *sorted([*parts, current.strip()])]


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "forge.db"
    assert migrate(path, backups=tmp_path / "backups") is None
    return path


def test_fresh_upgrade_equals_the_tables_in_the_code_named_constraints_included(database, tmp_path):
    assert models.SQLModel is models_jobs.SQLModel is models_review.SQLModel is models_watch.SQLModel
    engine = create_engine(f"sqlite:///{tmp_path / 'created.db'}")
    SQLModel.metadata.create_all(engine)
    engine.dispose()
    upgraded, created = _schema(database), _schema(tmp_path / "created.db")
    assert upgraded == created
    for clauses in upgraded.values():
        for clause in clauses:
            assert not re.match(r"(PRIMARY KEY|FOREIGN KEY|UNIQUE|CHECK)", clause), f"unnamed constraint: {clause}"


def test_there_is_one_head_and_the_constant_names_it():
    from alembic.script import ScriptDirectory

    assert ScriptDirectory.from_config(alembic_config(Path())).get_heads() == [HEAD]


def test_a_fresh_file_is_wal_and_at_head(database):
    assert revision_of(database) == HEAD
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_an_up_to_date_file_is_opened_without_alembic(database, tmp_path):
    code = (
        "import sys; from pathlib import Path; from assetforge.db.migrate import migrate;"
        f"migrate(Path({str(database)!r}), backups=Path({str(tmp_path)!r}));"
        "assert not [name for name in sys.modules if name.startswith(('alembic', 'sqlalchemy', 'mako'))]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("dump", sorted(OLD.glob("*.sql")), ids=lambda path: path.stem)
def test_every_older_database_upgrades_with_its_rows(dump, database, tmp_path):
    old = tmp_path / "old.db"
    with closing(sqlite3.connect(old)) as connection:
        connection.executescript(dump.read_text())
    before = revision_of(old)
    copy = migrate(old, backups=tmp_path / "copies")
    assert (copy is None) == (before == HEAD)
    assert revision_of(old) == HEAD
    assert _schema(old) == _schema(database)
    with closing(sqlite3.connect(old)) as connection:
        assert connection.execute("SELECT count(*) FROM asset").fetchone() == (2,)
        assert connection.execute("SELECT count(*) FROM reference").fetchone() == (3,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


@pytest.fixture
def next_revision(tmp_path, monkeypatch):
    """This program as it will be one revision later: ``next_revision(body)`` installs a newer revision."""

    def install(body):
        folder = tmp_path / "migrations"
        shutil.copytree(migration._MIGRATIONS, folder)
        (folder / "versions" / "r9999_later.py").write_text(
            f"import sqlalchemy as sa\nfrom alembic import op\nrevision = '9999'\ndown_revision = '{HEAD}'\nbranch_labels = None\ndepends_on = None\n\n"
            f"def upgrade():\n{body}"
        )
        monkeypatch.setattr(migration, "_MIGRATIONS", folder)
        monkeypatch.setattr(migration, "HEAD", "9999")

    return install


REBUILD = """
    with op.batch_alter_table("asset") as batch:
        batch.add_column(sa.Column("colour", sa.String(), nullable=False, server_default="grey"))
        batch.alter_column("type", existing_type=sa.String(), type_=sa.Text())
"""


def _fill(database):
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "INSERT INTO asset (id, name, type, trigger, class_word, description, recipe, suite, created_at)"
            " VALUES (1, 'mara', 'character', 'mara', 'woman', '', '', '', '2026-01-01')"
        )
        connection.execute(
            "INSERT INTO alias_move (asset_id, name, actor, why, at) VALUES (1, 'approved', 'me', 'good', '2026-01-01')"
        )


def test_an_older_file_is_copied_first_and_rebuilt_with_its_rows(database, tmp_path, next_revision):
    _fill(database)
    next_revision(REBUILD)
    copy = migrate(database, backups=tmp_path / "backups")
    assert copy is not None
    assert revision_of(copy) == HEAD
    assert revision_of(database) == "9999"
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT name, colour FROM asset").fetchall() == [("mara", "grey")]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert "uq_asset_name" in connection.execute("SELECT sql FROM sqlite_master WHERE name = 'asset'").fetchone()[0]
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT name FROM asset").fetchall() == [("mara",)]


@pytest.mark.parametrize(
    "body",
    ["    op.execute('DELETE FROM asset')\n", "    op.execute('DELETE FROM meta')\n    op.execute('nonsense')\n"],
    ids=["breaks a foreign key", "raises"],
)
def test_a_migration_that_fails_changes_nothing(database, tmp_path, next_revision, body):
    _fill(database)
    before = _dump(database)
    next_revision(body)
    with pytest.raises(StorageError, match=r"could not be brought to revision 9999.*A copy from before lies in"):
        migrate(database, backups=tmp_path / "backups")
    assert _dump(database) == before
    assert len(list((tmp_path / "backups").iterdir())) == 1


def _dump(database):
    with closing(sqlite3.connect(database)) as connection:
        return list(connection.iterdump())


def test_a_newer_database_is_refused_and_untouched(database, tmp_path):
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9998'")
    before = database.read_bytes()
    with pytest.raises(StorageError, match=r"forge\.db was written by a newer assetforge \(revision 9998"):
        migrate(database, backups=tmp_path / "backups")
    assert database.read_bytes() == before


def test_a_newer_film_is_not_opened(project):
    with closing(sqlite3.connect(project.paths.database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9998'")
    with pytest.raises(StorageError, match="newer"):
        open_project(project.root)


def test_a_damaged_file_is_said(tmp_path):
    path = tmp_path / "forge.db"
    path.write_bytes(b"this is no database at all" * 100)
    with pytest.raises(StorageError, match=r"forge\.db cannot be read"):
        migrate(path, backups=tmp_path)


def _migrate(path, barrier, results):
    barrier.wait()
    try:
        results.put(str(migrate(path, backups=path.parent / "backups") or ""))
    except BaseException as error:
        results.put(f"error: {error!r}")


def _at_once(path, count=3):
    barrier, results = fork.Barrier(count), fork.Queue()
    workers = [fork.Process(target=_migrate, args=(path, barrier, results)) for _ in range(count)]
    for worker in workers:
        worker.start()
    answers = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    return answers


def test_processes_that_make_a_file_at_once_make_it_once(tmp_path):
    assert _at_once(tmp_path / "forge.db") == ["", "", ""]
    assert revision_of(tmp_path / "forge.db") == HEAD


def test_processes_that_upgrade_at_once_upgrade_once(database, next_revision):
    _fill(database)
    next_revision(REBUILD)
    answers = _at_once(database)
    assert sorted(bool(answer) for answer in answers) == [False, False, True]
    assert not any(answer.startswith("error") for answer in answers)
    assert len(list((database.parent / "backups").iterdir())) == 1


def _write_on(path, stop):
    with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as connection:
        number = 0
        while not stop.is_set():
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO meta VALUES (?, 'a')", (f"a{number}",))
            connection.execute("INSERT INTO meta VALUES (?, 'b')", (f"b{number}",))
            connection.execute("COMMIT")
            number += 1
            time.sleep(0.0005)


def test_a_copy_taken_while_others_write_is_whole(database, tmp_path):
    stop = fork.Event()
    writer = fork.Process(target=_write_on, args=(database, stop))
    writer.start()
    try:
        for number in range(5):
            time.sleep(0.05)
            copy_database(database, tmp_path / f"copy{number}.db")
    finally:
        stop.set()
        writer.join()
    counts = []
    for number in range(5):
        with closing(sqlite3.connect(tmp_path / f"copy{number}.db")) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            counts.append(
                [
                    connection.execute("SELECT count(*) FROM meta WHERE value = ?", (kind,)).fetchone()[0]
                    for kind in "ab"
                ]
            )
    assert all(a == b for a, b in counts)
    assert counts[-1][0] > counts[0][0] >= 0
