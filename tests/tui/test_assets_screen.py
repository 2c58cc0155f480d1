"""The film's assets: filter, sort, gallery and table, marks and what is done to all of them, import, new and changed assets, saved filters."""

import shutil

import pytest
from textual.widgets import Input, OptionList, Static

from assetforge.services import ingest
from assetforge.services.assets import add_asset, get_asset
from assetforge.services.datasets import list_datasets
from assetforge.services.projects import open_project
from assetforge.services.references import list_references
from assetforge.tui.screens.asset import AssetScreen
from assetforge.tui.screens.dialogs import ConfirmDialog, FieldsDialog, TextDialog
from assetforge.tui.screens.film import AssetsScreen
from assetforge.tui.widgets.virtual_gallery import VirtualGallery
from assetforge.tui.widgets.virtual_table import VirtualTable
from tests.tui.waiting import assert_aligned, filled, hears, press, sees, shown, told, until, write


def names(screen):
    return [row.name for row in screen.items.source.items(0, 100)]


def in_film(root, function, *args, **values):
    with open_project(root) as project:
        return function(project, *args, **values)


async def asked(pilot, kind):
    await until(pilot, lambda: isinstance(pilot.app.screen, kind) and pilot.app.screen.focused is not None)
    return pilot.app.screen


async def test_the_filter_says_what_it_did_not_understand_and_escape_takes_it_away(small_film, program):
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        screen = await filled(pilot)
        await press(pilot, "slash")
        await write(pilot, "type:char")
        await until(pilot, lambda: names(screen) == ["mara"])
        await sees(pilot, "1 of 3")
        await write(pilot, " staus:review")
        await until(pilot, lambda: screen.query_one("#filter-problem").display)
        await sees(pilot, "did you mean status:")
        await until(pilot, lambda: names(screen) == ["mara"])
        assert_aligned(app)
        await press(pilot, "enter")
        await until(pilot, lambda: app.focused is screen.items)
        await until(pilot, lambda: screen.query_one("#filter").display)
        await press(pilot, "escape")
        await until(pilot, lambda: len(names(screen)) == 3)
        await until(pilot, lambda: not screen.query_one("#filter").display)
        await until(pilot, lambda: not screen.query_one("#filter-problem").display)
        await press(pilot, "slash")
        await write(pilot, "nothing like this")
        await until(pilot, lambda: not names(screen))
        await until(pilot, lambda: "No asset fits the filter" in shown(app))
        # Nothing is under the cursor: actions say so.
        await press(pilot, "enter", "t", "f", "enter")
        await until(pilot, lambda: isinstance(app.screen, AssetsScreen))
        await press(pilot, "escape")
        await until(pilot, lambda: len(names(screen)) == 3)
        # A group at the left is a filter too.
        groups = screen.query_one("#groups", OptionList)
        groups.focus()
        groups.highlighted = 2
        await press(pilot, "enter")
        await until(pilot, lambda: names(screen) == ["mara"])
        assert screen.query_one("#filter", Input).value == "type:character"
        await until(pilot, lambda: app.focused is screen.items)


async def test_sort_gallery_and_table_marks_and_filters_are_kept_until_the_next_start(small_film, program):
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        screen = await filled(pilot)
        await until(pilot, lambda: isinstance(screen.items, VirtualGallery))
        await press(pilot, "space", "space")
        await sees(pilot, "◆ 2 marked")
        current = screen.items.current.name
        await press(pilot, "v")
        await until(pilot, lambda: isinstance(screen.items, VirtualTable))
        await until(pilot, lambda: len(screen.items.marks) == 2)
        await until(pilot, lambda: screen.items.current.name == current)
        await until(pilot, lambda: app.focused is screen.items)
        await press(pilot, "s")
        await until(pilot, lambda: names(screen) == ["brass-lamp", "ink-wash", "mara"])
        await hears(pilot, "Sorted by name")
        screen.items.post_message(VirtualTable.SortRequested(screen.items, "refs", descending=True))
        await until(pilot, lambda: names(screen)[0] == "mara")
        await press(pilot, "slash")
        await write(pilot, "type:prop")
        await until(pilot, lambda: names(screen) == ["brass-lamp"])
        # The same query under two names, one of them as a group has it.
        for name in ("lamps [all", "other"):
            await press(pilot, "ctrl+s")
            await asked(pilot, TextDialog)
            await write(pilot, name)
            await press(pilot, "enter")
            await until(pilot, lambda: isinstance(app.screen, AssetsScreen))
        await sees(pilot, "lamps [all")
        await press(pilot, "q")
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        screen = await filled(pilot)
        await until(pilot, lambda: isinstance(screen.items, VirtualTable))
        await until(pilot, lambda: names(screen)[0] == "mara")
        await sees(pilot, "lamps [all")
        groups = screen.query_one("#groups", OptionList)
        groups.focus()
        groups.highlighted = groups.option_count - 1
        await press(pilot, "enter")
        await until(pilot, lambda: names(screen) == ["brass-lamp"])
        await press(pilot, "ctrl+s")
        await asked(pilot, TextDialog)
        await press(pilot, "enter")
        await until(pilot, lambda: isinstance(app.screen, AssetsScreen))
        assert "lamps [all" not in shown(app)
        assert "saved filters" not in shown(app)


async def test_many_are_frozen_at_once_with_one_summary(small_film, program):
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        await filled(pilot)
        await press(pilot, "ctrl+a", "f")
        await until(pilot, lambda: "ink-wash" in told(app))
        await hears(pilot, "Frozen brass-lamp/d1, mara/d1.")
        await until(pilot, lambda: len(app._notifications) == 2)
        await press(pilot, "f")
        await until(pilot, lambda: "Nothing changed since brass-lamp/d1, mara/d1." in told(app))
        await press(pilot, "escape")
        await until(pilot, lambda: not app.screen.items.marks)
    assert [one.train_count + one.held_out_count for one in in_film(small_film, list_datasets, "mara")] == [12]


async def test_assets_are_put_aside_found_there_and_taken_back(small_film, program):
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        screen = await filled(pilot)
        await press(pilot, "ctrl+a", "A")
        await asked(pilot, ConfirmDialog)
        await sees(pilot, "Put aside 3 assets?")
        await press(pilot, "escape")
        await press(pilot, "escape")
        await until(pilot, lambda: len(names(screen)) == 3)
        screen.items.cursor = names(screen).index("mara")
        await press(pilot, "A")
        await asked(pilot, ConfirmDialog)
        await press(pilot, "y")
        await until(pilot, lambda: names(screen) == ["brass-lamp", "ink-wash"])
        await hears(pilot, "Aside mara.")
        await until(pilot, lambda: in_film(small_film, get_asset, "mara").archived)
        await sees(pilot, "put aside")
        await press(pilot, "slash")
        await write(pilot, "archived:yes")
        await until(pilot, lambda: names(screen) == ["mara"])
        await press(pilot, "enter", "A")
        await asked(pilot, ConfirmDialog)
        await sees(pilot, "Take back 1 asset?")
        await press(pilot, "y")
        await until(pilot, lambda: not names(screen))
        await press(pilot, "escape")
        await until(pilot, lambda: len(names(screen)) == 3)


async def test_pictures_are_imported_with_a_word_for_each_that_was_not(small_film, program, tmp_path, make_png):
    folder = tmp_path / "more stills"
    make_png(folder / "good.png", seed=500)
    shutil.copy(folder / "good.png", folder / "the same again.png")
    cut = make_png(folder / "cut.png", seed=501, size=(256, 256)).read_bytes()
    (folder / "cut.png").write_bytes(cut[: len(cut) // 2])
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        screen = await filled(pilot)
        screen.items.cursor = names(screen).index("ink-wash")
        await press(pilot, "i")
        await asked(pilot, FieldsDialog)
        field = app.screen.query_one("#field-path", Input)
        await write(pilot, str(tmp_path / "more"))
        await until(pilot, lambda: field._suggestion == f"{folder}/")
        await press(pilot, "right", "enter")
        await write(pilot, "day 3")
        await press(pilot, "enter")
        await write(pilot, "cleared")
        await press(pilot, "enter")
        await until(pilot, lambda: "1 picture added to ink-wash, 1 were there already." in told(app))
        await until(pilot, lambda: "cut.png" in told(app))
        await until(pilot, lambda: len(app._notifications) == 2)
        assert "importing" not in shown(app)
        await until(pilot, lambda: screen.items.current.references == 1)
        await press(pilot, "i")
        await asked(pilot, FieldsDialog)
        app.screen.query_one("#field-path", Input).value = str(tmp_path / "not [there")
        await press(pilot, "enter", "enter", "enter")
        await sees(pilot, "There is no file or folder", "not [there.")
        assert isinstance(app.screen, FieldsDialog)
        await press(pilot, "escape")
        await until(pilot, lambda: isinstance(app.screen, AssetsScreen))
    one = in_film(small_film, list_references, "ink-wash").items[0]
    assert (one.origin, one.rights) == ("day 3", "cleared")


async def test_an_import_says_how_far_it_is_and_can_be_stopped(small_film, program, tmp_path, make_png, monkeypatch):
    folder = tmp_path / "many"
    for at in range(6):
        make_png(folder / f"{at}.png", seed=700 + at)
    from assetforge.tui.screens import importing

    monkeypatch.setattr(importing, "_SAY_S", 0.0)
    real = ingest.add_references
    import threading

    go, started = threading.Event(), threading.Event()

    def slow(project, asset, paths, *, progress, **values):
        def told_far(done, total, name):
            progress(1, 6, name)
            started.set()
            go.wait(20)
            progress(done, total, name)

        return real(project, asset, paths, progress=told_far, **values)

    monkeypatch.setattr(ingest, "add_references", slow)
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        screen = await filled(pilot)
        screen.items.cursor = names(screen).index("ink-wash")
        await press(pilot, "i")
        await asked(pilot, FieldsDialog)
        app.screen.query_one("#field-path", Input).value = str(folder)
        await press(pilot, "enter", "enter", "enter")
        await until(pilot, lambda: "⏵ importing ink-wash 1/6" in shown(app))
        # The list works on meanwhile.
        await press(pilot, "v")
        await press(pilot, "i")
        await asked(pilot, ConfirmDialog)
        await sees(pilot, "Stop the import into ink-wash?", "1 of 6 files")
        await press(pilot, "y")
        go.set()
        await until(pilot, lambda: "Stopped after 1 of 6 files" in told(app))
        await until(pilot, lambda: app.importing is None)
        assert "importing" not in shown(app)


async def test_a_new_asset_needs_a_good_name_and_an_asset_is_changed(small_film, program):
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        screen = await filled(pilot)
        await press(pilot, "n")
        dialog = await asked(pilot, FieldsDialog)
        name = dialog.query_one("#field-name", Input)
        name.value = "Mara Vale!"
        for _ in range(4):
            await press(pilot, "enter")
        problem = str(dialog.query_one(".dialog-problem", Static).content)
        assert "Mara Vale!" in problem
        await until(pilot, lambda: isinstance(app.screen, FieldsDialog))
        name.value = "mara"
        await press(pilot, "enter")
        await until(pilot, lambda: "mara" in str(dialog.query_one(".dialog-problem", Static).content))
        assert app.screen is dialog
        name.value = "ilse"
        await press(pilot, "enter")
        await until(pilot, lambda: "ilse" in names(screen))
        await hears(pilot, "i imports pictures")
        screen.items.cursor = names(screen).index("ilse")
        await press(pilot, "e")
        dialog = await asked(pilot, FieldsDialog)
        dialog.query_one("#field-description", Input).value = "a[/b] [red] the harbour master"
        dialog.query_one("#field-trigger", Input).value = ""
        dialog.query_one("#field-suite").focus()
        await press(pilot, "enter")
        await sees(pilot, "Trigger is needed.")
        dialog.query_one("#field-trigger", Input).value = "ilsevk"
        await press(pilot, "enter")
        await until(pilot, lambda: "ilse is changed." in told(app))
        await until(pilot, lambda: "a[/b] [red] the harbour" in shown(app))
    assert in_film(small_film, get_asset, "ilse").trigger == "ilsevk"


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_every_size_without_pictures_too(small_film, program, size):
    async with program(small_film, images="off").run_test(size=size) as pilot:
        app = pilot.app
        screen = await filled(pilot)
        assert app.pictures is None
        assert_aligned(app)
        await sees(pilot, "mara")
        await until(pilot, lambda: screen.query_one("#side").display == (size[0] >= 100))
        await press(pilot, "v")
        assert_aligned(app)
        await press(pilot, "end", "enter")
        await until(pilot, lambda: isinstance(app.screen, AssetScreen))
        await until(pilot, lambda: app.screen.pane is not None and app.screen.pane.items.source is not None)
        assert_aligned(app)


async def test_keys_before_the_film_is_open_are_answered_and_break_nothing(small_film, program, monkeypatch):
    from assetforge.tui.session import FilmSession

    real, holding = FilmSession.open, []

    async def late(self):
        import asyncio

        while not holding:
            await asyncio.sleep(0.01)
        await real(self)

    monkeypatch.setattr(FilmSession, "open", late)
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        await until(pilot, lambda: "Opening the film" in shown(app))
        await press(pilot, "s", "v", "enter", "space", "ctrl+s", "A", "e", "n", "escape")
        await hears(pilot, "The film is not open yet")
        await press(pilot, "slash")
        await write(pilot, "type:prop")
        holding.append(1)
        screen = await filled(pilot)
        await until(pilot, lambda: names(screen) == ["brass-lamp"])


async def test_a_change_during_a_read_is_not_missed(small_film, program):
    from assetforge.tui.screens import film

    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        screen = await filled(pilot)
        real, calls = film._read_assets, []

        def reading(reader):
            rows = real(reader)
            if not calls:
                calls.append(1)
                with open_project(small_film) as project:
                    add_asset(project, "late", "prop")
                app.call_soon(screen.film_changed)
            return rows

        film._read_assets = reading
        try:
            screen.film_changed()
            await until(pilot, lambda: "late" in names(screen))
        finally:
            film._read_assets = real


async def test_what_changes_behind_a_question_is_shown(small_film, program):
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        screen = await filled(pilot)
        await press(pilot, "n")
        dialog = await asked(pilot, FieldsDialog)
        in_film(small_film, add_asset, "kestrel", "prop")
        await until(pilot, lambda: "kestrel" in names(screen))
        assert pilot.app.screen is dialog
        await press(pilot, "escape")
        await sees(pilot, "kestrel")
