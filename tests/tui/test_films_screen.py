"""The list of films: what is in it, what is opened, and films that something is wrong with."""

import shutil
import sqlite3

from textual.widgets import Input

from assetforge.paths import ProjectPaths
from assetforge.services.projects import create_project
from assetforge.tui.screens.dialogs import ConfirmDialog, FieldsDialog
from assetforge.tui.screens.film import AssetsScreen
from assetforge.tui.screens.films import FilmsScreen
from assetforge.tui.state import State
from assetforge.tui.widgets.film_list import FilmList
from tests.tui.waiting import assert_aligned, filled, press, shown, told, until, write


async def listed(pilot, count):
    """The list of films with so many in it."""
    app = pilot.app
    await until(pilot, lambda: isinstance(app.screen, FilmsScreen))
    films = app.screen.query_one(FilmList)
    await until(pilot, lambda: films.source is not None and len(films.source) == count)
    return films


def names(films):
    return [film.name for film in films.source.items(0, 100)]


async def test_films_are_filtered_opened_and_left_and_the_last_one_is_found_again(small_film, program):
    create_project("salt-road", title="The Salt [Road]").close()
    async with program().run_test(size=(120, 40)) as pilot:
        app = pilot.app
        films = await listed(pilot, 2)
        assert app.focused is films
        text = shown(app)
        assert "Night Harbour" in text
        assert "The Salt [Road]" in text
        assert "3 assets" in text
        assert "open   n new film" in text
        await press(pilot, "slash")
        await write(pilot, "harb")
        assert names(films) == ["night-harbour"]
        await write(pilot, " nowhere")
        assert "No film has these words" in shown(app)
        await press(pilot, *["backspace"] * 8, "enter")
        assert app.focused is films
        await press(pilot, "escape")
        assert len(films.source) == 2
        assert not app.screen.query_one("#films-filter", Input).display
        films.cursor = names(films).index("night-harbour")
        await press(pilot, "enter")
        await filled(pilot)
        assert app.session.root == small_film
        assert "Night Harbour ▸ assets" in shown(app)
        await press(pilot, "f2")
        films = await listed(pilot, 2)
        films.cursor = names(films).index("salt-road")
        await press(pilot, "enter")
        await until(pilot, lambda: app.film_title == "The Salt [Road]" and isinstance(app.screen, AssetsScreen))
        await until(pilot, lambda: "No assets yet" in shown(app))
        # Back over the films to the list, not to the assets of the film before.
        await press(pilot, "escape")
        assert isinstance(app.screen, FilmsScreen)
    async with program().run_test(size=(80, 24)) as pilot:
        films = await listed(pilot, 2)
        await until(pilot, lambda: films.current is not None and films.current.name == "salt-road")
        assert_aligned(pilot.app)


async def test_a_new_film_needs_a_name_and_is_opened(program, home):
    async with program().run_test(size=(120, 40)) as pilot:
        app = pilot.app
        await listed(pilot, 0)
        assert "No film yet" in shown(app)
        await press(pilot, "n")
        await until(pilot, lambda: isinstance(app.screen, FieldsDialog))
        await press(pilot, "enter", "enter")
        assert "Name is needed." in shown(app)
        await press(pilot, "up", "shift+tab")
        await write(pilot, "Bad Name")
        await press(pilot, "enter", "enter")
        assert isinstance(app.screen, FieldsDialog)
        assert "lower-case" in shown(app) or "Bad Name" in shown(app)
        app.screen.query_one("#field-name", Input).value = "good-name"
        await press(pilot, "enter")
        await until(pilot, lambda: app.session is not None and isinstance(app.screen, AssetsScreen))
        assert app.session.root.name == "good-name"


async def test_a_film_that_is_there_already_is_told_and_nothing_is_lost(small_film, program):
    async with program().run_test(size=(120, 40)) as pilot:
        app = pilot.app
        await listed(pilot, 1)
        await press(pilot, "n")
        await until(pilot, lambda: isinstance(app.screen, FieldsDialog))
        await write(pilot, "night-harbour")
        await press(pilot, "enter", "enter")
        await until(pilot, lambda: "night-harbour" in told(app))
        assert isinstance(app.screen, FilmsScreen)


async def test_the_demo_is_asked_for(program, home):
    async with program().run_test(size=(120, 40)) as pilot:
        await listed(pilot, 0)
        await press(pilot, "d")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await press(pilot, "n")
        assert isinstance(pilot.app.screen, FilmsScreen)


async def test_a_film_that_cannot_be_opened_says_why_and_the_open_one_stays(small_film, program):
    projects = small_film.parent
    for name in ("damaged", "emptied", "newer"):
        shutil.copytree(small_film, projects / name)
    (projects / "damaged" / ".assetforge" / ProjectPaths(small_film).database.name).write_bytes(
        b"no database at all" * 400
    )
    ProjectPaths(projects / "emptied").database.unlink()
    with sqlite3.connect(ProjectPaths(projects / "newer").database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        await filled(pilot)
        await press(pilot, "f2")
        films = await listed(pilot, 4)
        for name in ("damaged", "emptied", "newer"):
            root = projects / name
            films.cursor = [film.root for film in films.source.items(0, 9)].index(root)
            problem = films.current.problem
            assert problem
            assert problem[:30] in shown(app)
            assert_aligned(app)
            await press(pilot, "enter")
            await until(pilot, lambda root=root: str(root) in told(app))
            assert isinstance(app.screen, FilmsScreen)
            assert app.session.root == small_film
        await press(pilot, "escape")
        await filled(pilot)
        await press(pilot, "s")
        assert "Sorted by" in told(app)
    # Named on the command line: the list of films instead.
    async with program(projects / "damaged").run_test(size=(120, 40)) as pilot:
        await listed(pilot, 4)
        assert str(projects / "damaged") in told(pilot.app)
        await press(pilot, "s", "i", "v", "escape")
        assert isinstance(pilot.app.screen, FilmsScreen)


async def test_an_older_film_is_brought_up_to_date_when_it_is_opened(small_film, program, monkeypatch):
    paths = ProjectPaths(small_film)
    from assetforge.db.browse import reader as readers

    real = readers.Reader
    refused = []

    def once(database):
        if not refused:
            from assetforge.errors import StorageError

            refused.append(database)
            raise StorageError("older", hint="")
        return real(database)

    monkeypatch.setattr(readers, "Reader", once)
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        await filled(pilot)
        assert refused == [paths.database]
        assert pilot.app.session.project is not None


async def test_a_film_that_vanishes_while_it_is_open_is_left(small_film, program):
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        await filled(pilot)
        await app.open_asset("mara")
        shutil.move(small_film, small_film.with_name("elsewhere"))
        await until(pilot, lambda: isinstance(app.screen, FilmsScreen))
        assert f"{small_film} is gone" in told(app)
        assert told(app).count("is gone") == 1
        films = await listed(pilot, 1)
        assert films.current.root == small_film.with_name("elsewhere")
        await press(pilot, "enter")
        await filled(pilot)
        assert app.session.root == small_film.with_name("elsewhere")


async def test_reading_that_fails_is_told_once(small_film, program, monkeypatch):
    from assetforge.db.browse import assets
    from assetforge.errors import StorageError

    def broken(_reader):
        raise StorageError("The disk answers with an error.", hint="Look at it.")

    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        screen = await filled(pilot)
        monkeypatch.setattr(assets, "asset_table", broken)
        for _ in range(3):
            screen.film_changed()
            await until(pilot, lambda: "disk answers" in told(app))
        assert told(app).count("The disk answers with an error. Look at it.") == 1
        assert len(screen.items.source) == 3


def test_state_is_kept_in_the_test_folder(home):
    assert State.load().path.is_relative_to(home)
