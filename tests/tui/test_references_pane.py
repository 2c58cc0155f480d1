"""References of an asset: filter, sort, marks, exclude and restore, rights, split, repeats, captions, freeze, viewer."""

from PIL import Image as Pillow
from textual.widgets import Input

from assetforge.services.datasets import list_datasets
from assetforge.services.projects import open_project
from assetforge.services.references import list_references
from assetforge.tui.screens.asset import AssetScreen
from assetforge.tui.screens.dialogs import ChoiceDialog, ConfirmDialog, FieldsDialog, TextDialog, WhyDialog
from assetforge.tui.widgets.virtual_gallery import VirtualGallery
from assetforge.tui.widgets.virtual_table import VirtualTable
from tests.tui.waiting import assert_aligned, asset, hears, press, sees, shown, told, until, write


def infos(root, state=""):
    with open_project(root) as project:
        return list_references(project, "mara", state=state).items


async def asked(pilot, kind):
    await until(pilot, lambda: type(pilot.app.screen) is kind and pilot.app.screen.focused is not None)
    return pilot.app.screen


async def back(pilot):
    await until(pilot, lambda: isinstance(pilot.app.screen, AssetScreen))


async def test_filter_sort_and_view(small_film, program):
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        pane = await asset(pilot, "mara", "references")
        await until(pilot, lambda: isinstance(pane.items, VirtualGallery))
        await until(pilot, lambda: "12 references" in shown(app))
        await sees(pilot, "10 without a caption")
        await press(pilot, "slash")
        await write(pilot, "tag:rain")
        await until(pilot, lambda: len(pane.items.source) == 1)
        await sees(pilot, "1 of 12 references")
        await until(pilot, lambda: "in profile, heavy rain, night" in shown(app))
        await write(pilot, " colour:red")
        await until(pilot, lambda: "There is no field colour:" in shown(app))
        await press(pilot, "enter")
        await until(pilot, lambda: app.focused is pane.items)
        # Escape: first the filter, then the screen.
        await press(pilot, "escape")
        await until(pilot, lambda: len(pane.items.source) == 12)
        await until(pilot, lambda: isinstance(app.screen, AssetScreen))
        await press(pilot, "home", "space", "space", "v")
        await until(pilot, lambda: isinstance(pane.items, VirtualTable))
        await until(pilot, lambda: len(pane.items.marks) == 2)
        await sees(pilot, "◆ 2 marked")
        await press(pilot, "s")
        await until(pilot, lambda: pane.query_one("#ref-table", VirtualTable).sort == ("file", False))
        await hears(pilot, "Sorted by file")
        files = [row.file_name for row in pane.items.source.items(0, 12)]
        assert files == sorted(files, key=str.lower)
        assert_aligned(app)
        await press(pilot, "escape", "q")
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        pane = await asset(pilot, "mara", "references")
        await until(pilot, lambda: isinstance(pane.items, VirtualTable))
        await until(pilot, lambda: pane.items.sort == ("file", False))


async def test_marked_ones_are_excluded_with_a_reason_and_taken_back(small_film, program):
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        pane = await asset(pilot, "mara", "references")
        await press(pilot, "u")
        await hears(pilot, "Nothing here is excluded")
        await press(pilot, "space", "space", "x")
        await asked(pilot, WhyDialog)
        await sees(pilot, "Exclude 2 references")
        await press(pilot, "enter")
        await sees(pilot, "Write something")
        await write(pilot, "blurred [b]")
        await press(pilot, "enter")
        await until(pilot, lambda: "2 references excluded" in told(app))
        await until(pilot, lambda: not pane.items.marks)
        await until(pilot, lambda: "2 excluded" in shown(app))
        await press(pilot, "slash")
        await write(pilot, "state:excluded")
        await until(pilot, lambda: len(pane.items.source) == 2)
        await until(pilot, lambda: "✕ excluded: blurred [b]" in shown(app))
        await press(pilot, "enter", "ctrl+a", "u")
        await until(pilot, lambda: "2 references back in use" in told(app))
        await until(pilot, lambda: len(pane.items.source) == 0)
        await press(pilot, "x")
        await hears(pilot, "There is no reference here.")
    assert {one.state for one in infos(small_film)} == {"active"}


async def test_rights_split_repeats_and_caption(small_film, program):
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        pane = await asset(pilot, "mara", "references")
        await press(pilot, "ctrl+a", "R")
        await asked(pilot, TextDialog)
        await write(pilot, "cleared [red], release 12")
        await press(pilot, "enter")
        await until(pilot, lambda: "12 references changed" in told(app))
        await until(pilot, lambda: "without rights" not in shown(app))
        await press(pilot, "escape", "home", "h")
        await asked(pilot, ChoiceDialog)
        await press(pilot, "enter")
        await until(pilot, lambda: "1 held out" in shown(app))
        await press(pilot, "n")
        dialog = await asked(pilot, TextDialog)
        dialog.query_one(Input).value = "many"
        await press(pilot, "enter")
        await sees(pilot, "whole number")
        dialog.query_one(Input).value = "99999"
        await press(pilot, "enter")
        await sees(pilot, "cannot be shown 99999 times")
        assert app.screen is dialog
        dialog.query_one(Input).value = "3"
        await press(pilot, "enter")
        await until(pilot, lambda: "3 times per epoch" in shown(app))
        chosen = pane.items.current.address
        await press(pilot, "e")
        dialog = await asked(pilot, TextDialog)
        dialog.query_one(Input).value = "a lamp [/b] in the rain"
        await press(pilot, "enter")
        await until(pilot, lambda: "a lamp [/b] in the rain" in shown(app))
    one = next(one for one in infos(small_film) if one.address == chosen)
    assert (one.rights, one.split, one.repeats, one.caption) == (
        "cleared [red], release 12",
        "held_out",
        3,
        "a lamp [/b] in the rain",
    )


async def test_a_crop_and_a_mask_are_said_again_until_they_fit_and_taken_away(small_film, program, tmp_path):
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        pane = await asset(pilot, "mara", "references")
        await press(pilot, "home")
        row = pane.items.current
        mask = tmp_path / "the [mask].png"
        Pillow.new("L", (row.width, row.height), 255).save(mask)
        await press(pilot, "C")
        dialog = await asked(pilot, TextDialog)
        await write(pilot, "0,0,4000,20")
        await press(pilot, "enter")
        await sees(pilot, "reaches beyond")
        assert app.screen is dialog
        dialog.query_one(Input).value = "8,4,40,36"
        await press(pilot, "enter")
        await sees(pilot, "cropped to 8,4,40,36")
        await press(pilot, "M")
        dialog = await asked(pilot, FieldsDialog)
        await write(pilot, str(tmp_path / "none here.png"))
        await press(pilot, "enter")
        await sees(pilot, "none here.png")
        assert app.screen is dialog
        dialog.query_one(Input).value = str(mask)
        await press(pilot, "enter")
        await sees(pilot, "with a mask")
        for key, words in (("C", "cropped to"), ("M", "with a mask")):
            await press(pilot, key)
            dialog = await asked(pilot, TextDialog if key == "C" else FieldsDialog)
            if key == "M":
                # An enter too many takes nothing away.
                await press(pilot, "enter")
                await sees(pilot, "File is needed.")
            dialog.query_one(Input).value = "none"
            await press(pilot, "enter")
            await until(pilot, lambda words=words: words not in shown(app))
        assert_aligned(app)
    one = next(one for one in infos(small_film) if one.address == row.address)
    assert (one.crop, one.mask) == ("", "")


async def test_a_freeze_warns_of_missing_captions(small_film, program):
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        await asset(pilot, "mara", "references")
        await press(pilot, "f")
        await asked(pilot, ConfirmDialog)
        await sees(pilot, "10 references without a caption")
        await press(pilot, "n")
        await back(pilot)
        await press(pilot, "f")
        await asked(pilot, ConfirmDialog)
        await press(pilot, "y")
        await until(pilot, lambda: "mara/d1:" in told(app))
        await press(pilot, "enter", "o")
        await until(pilot, lambda: "Nothing here can show it" in told(app) or "Opened" in told(app))
        await press(pilot, "i")
        await asked(pilot, FieldsDialog)
        await press(pilot, "escape")
    with open_project(small_film) as project:
        assert len(list_datasets(project, "mara")) == 1


async def test_an_address_puts_the_cursor_there(small_film, program):
    wanted = infos(small_film)[7]
    async with program(small_film).run_test(size=(80, 24)) as pilot:
        app = pilot.app
        await asset(pilot, "brass-lamp", "references")
        await app.go_to("reference", wanted.address)
        await until(pilot, lambda: app.screen.asset == "mara" and app.screen.pane is not None)
        pane = app.screen.pane
        await until(pilot, lambda: pane.items.current is not None and pane.items.current.sha256 == wanted.sha256)
        assert_aligned(app)


async def test_a_page_that_cannot_be_read_is_drawn_as_missing_and_told_once(small_film, program, monkeypatch):
    from assetforge.errors import BusyError
    from assetforge.tui.screens import reference_actions, references

    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        pane = await asset(pilot, "mara", "references")

        def busy(_reader, _keys):
            raise BusyError("Another process kept the film locked.", hint="Try again.")

        monkeypatch.setattr(references, "reference_rows", busy)
        monkeypatch.setattr(reference_actions, "reference_rows", busy)
        pane.film_changed()
        await until(pilot, lambda: "kept the film locked" in told(app))
        await press(pilot, "down", "down", "x", "v", "home", "end", "enter", "e", "h")
        assert told(app).count("kept the film locked") == 1
        monkeypatch.undo()
        pane.film_changed()
        await until(pilot, lambda: pane.items.current is not None)
        await until(pilot, lambda: isinstance(app.screen, AssetScreen))


async def test_a_writer_that_keeps_the_film_locked_is_told_and_nothing_waits(small_film, program, monkeypatch):
    import sqlite3

    from assetforge.db import engine
    from assetforge.paths import ProjectPaths

    monkeypatch.setattr(engine, "BUSY_TIMEOUT_MS", 1000)
    holder = sqlite3.connect(ProjectPaths(small_film).database, isolation_level=None)
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        pane = await asset(pilot, "mara", "references")
        holder.execute("BEGIN IMMEDIATE")
        await press(pilot, "ctrl+a", "R")
        await asked(pilot, TextDialog)
        await write(pilot, "cleared")
        await press(pilot, "enter", "escape")
        # Nobody has to wait for that, and whoever does not is told.
        await back(pilot)
        await press(pilot, "v")
        await until(pilot, lambda: isinstance(pane.items, VirtualTable))
        await until(pilot, lambda: "locked" in told(app))
        holder.execute("ROLLBACK")
        holder.close()
        await until(pilot, lambda: len(pane.items.marks) == 12)
        await press(pilot, "R")
        await asked(pilot, TextDialog)
        await write(pilot, "cleared")
        await press(pilot, "enter")
        await until(pilot, lambda: "12 references changed" in told(app))
