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
from tests.tui.waiting import assert_aligned, filled, hears, press, sees, shown, told, until, write


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
        await until(pilot, lambda: app.focused is films)
        await sees(pilot, "Night Harbour", "The Salt [Road]", "3 assets", "open   n new film")
        await press(pilot, "slash")
        await write(pilot, "harb")
        await until(pilot, lambda: names(films) == ["night-harbour"])
        await write(pilot, " nowhere")
        await sees(pilot, "No film has these words")
        await press(pilot, *["backspace"] * 8, "enter")
        await until(pilot, lambda: app.focused is films)
        await press(pilot, "escape")
        await until(pilot, lambda: len(films.source) == 2)
        await until(pilot, lambda: not app.screen.query_one("#films-filter", Input).display)
        films.cursor = names(films).index("night-harbour")
        await press(pilot, "enter")
        await filled(pilot)
        await until(pilot, lambda: app.session.root == small_film)
        await sees(pilot, "Night Harbour ▸ assets")
        await press(pilot, "f2")
        films = await listed(pilot, 2)
        films.cursor = names(films).index("salt-road")
        await press(pilot, "enter")
        await until(pilot, lambda: app.film_title == "The Salt [Road]" and isinstance(app.screen, AssetsScreen))
        await until(pilot, lambda: "No assets yet" in shown(app))
        # Back over the films to the list, not to the assets of the film before.
        await press(pilot, "escape")
        await until(pilot, lambda: isinstance(app.screen, FilmsScreen))
    async with program().run_test(size=(80, 24)) as pilot:
        films = await listed(pilot, 2)
        await until(pilot, lambda: films.current is not None and films.current.name == "salt-road")
        assert_aligned(pilot.app)


async def test_a_new_film_needs_a_name_and_is_opened(program, home):
    async with program().run_test(size=(120, 40)) as pilot:
        app = pilot.app
        await listed(pilot, 0)
        await sees(pilot, "No film yet")
        await press(pilot, "n")
        await until(pilot, lambda: isinstance(app.screen, FieldsDialog))
        await press(pilot, "enter", "enter")
        await sees(pilot, "Name is needed.")
        await press(pilot, "up", "shift+tab")
        await write(pilot, "Bad Name")
        await press(pilot, "enter", "enter")
        await until(pilot, lambda: isinstance(app.screen, FieldsDialog))
        await until(pilot, lambda: "lower-case" in shown(app) or "Bad Name" in shown(app))
        app.screen.query_one("#field-name", Input).value = "good-name"
        await press(pilot, "enter")
        await until(pilot, lambda: app.session is not None and isinstance(app.screen, AssetsScreen))
        await until(pilot, lambda: app.session.root.name == "good-name")


async def test_a_film_that_is_there_already_is_said_where_it_was_written_and_nothing_is_lost(small_film, program):
    async with program().run_test(size=(120, 40)) as pilot:
        app = pilot.app
        await listed(pilot, 1)
        await press(pilot, "n")
        await until(pilot, lambda: isinstance(app.screen, FieldsDialog))
        await write(pilot, "night-harbour")
        await press(pilot, "enter", "enter")
        await sees(pilot, "New film", "exists and is not empty")
        await until(pilot, lambda: not told(app))
        app.screen.query_one("#field-name", Input).value = "night-harbour-2"
        await press(pilot, "enter")
        await until(pilot, lambda: app.session is not None and app.session.root.name == "night-harbour-2")


async def test_the_demo_is_asked_for(program, home):
    async with program().run_test(size=(120, 40)) as pilot:
        await listed(pilot, 0)
        await press(pilot, "d")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await press(pilot, "n")
        await until(pilot, lambda: isinstance(pilot.app.screen, FilmsScreen))


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
            await sees(pilot, problem[:30])
            assert_aligned(app)
            await press(pilot, "enter")
            await until(pilot, lambda root=root: str(root) in told(app))
            await until(pilot, lambda: isinstance(app.screen, FilmsScreen))
            await until(pilot, lambda: app.session.root == small_film)
        await press(pilot, "escape")
        await filled(pilot)
        await press(pilot, "s")
        await hears(pilot, "Sorted by")
    # Named on the command line: the list of films instead.
    async with program(projects / "damaged").run_test(size=(120, 40)) as pilot:
        await listed(pilot, 4)
        await hears(pilot, str(projects / "damaged"))
        await press(pilot, "s", "i", "v", "escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, FilmsScreen))


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
        await until(pilot, lambda: pilot.app.session.project is not None)


async def test_a_film_that_vanishes_while_it_is_open_is_left(small_film, program):
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        await filled(pilot)
        await app.open_asset("mara")
        shutil.move(small_film, small_film.with_name("elsewhere"))
        await until(pilot, lambda: isinstance(app.screen, FilmsScreen))
        await hears(pilot, f"{small_film} is gone")
        assert told(app).count("is gone") == 1
        films = await listed(pilot, 1)
        await until(pilot, lambda: films.current.root == small_film.with_name("elsewhere"))
        await press(pilot, "enter")
        await filled(pilot)
        await until(pilot, lambda: app.session.root == small_film.with_name("elsewhere"))


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
        await until(pilot, lambda: len(screen.items.source) == 3)


def test_state_is_kept_in_the_test_folder(home):
    assert State.load().path.is_relative_to(home)
