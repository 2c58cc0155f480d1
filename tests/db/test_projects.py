import pytest

from assetforge.db.migrate import migrate
from assetforge.errors import NotFoundError, StorageError, UsageError
from assetforge.paths import projects_dir
from assetforge.services import projects
from assetforge.services.projects import create_project, find_project, open_project


def test_a_film_can_be_moved(project):
    project.close()
    moved = project.root.rename(project.root.with_name("elsewhere"))
    with open_project(moved) as again:
        assert (again.id, again.name, again.root) == (project.id, "film", moved)


def test_a_film_that_cannot_be_finished_leaves_no_trace(tmp_path, monkeypatch):
    def fail(database, *, backups):
        migrate(database, backups=backups)
        raise StorageError("The disk is full.")

    monkeypatch.setattr(projects, "migrate", fail)
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder in (tmp_path / "new", empty):
        with pytest.raises(StorageError):
            create_project("film", folder=folder)
    assert not (tmp_path / "new").exists()
    assert list(empty.iterdir()) == []
    monkeypatch.undo()
    create_project("film", folder=empty).close()


def test_a_lost_database_is_said_and_not_made_anew(project):
    project.close()
    for path in project.paths.private.glob("forge.db*"):
        path.unlink()
    with pytest.raises(StorageError, match="has lost its database"):
        open_project(project.root)
    assert not project.paths.database.exists()


def test_which_film_is_meant(project, tmp_path, monkeypatch):
    inside = project.root / "characters"
    inside.mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_project() == project.root
    other = create_project("other")
    other.close()
    with pytest.raises(UsageError, match="several films"):
        find_project()
    monkeypatch.chdir(inside)
    assert find_project() == project.root
    assert find_project("other") == projects_dir() / "other"
    assert find_project(str(other.root)) == other.root
    with pytest.raises(NotFoundError, match="Did you mean 'other'"):
        find_project("othr")


def test_there_is_no_film_yet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFoundError, match="no film yet"):
        find_project()
    with pytest.raises(NotFoundError, match="no film in"):
        open_project(tmp_path)
