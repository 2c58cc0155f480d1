"""Dataset versions: freeze with a note, what changed between any two, export."""

from textual.widgets import Input

from assetforge.services.captions import set_caption
from assetforge.services.datasets import freeze
from assetforge.services.projects import open_project
from assetforge.services.references import exclude_reference, list_references
from assetforge.tui.screens.dialogs import FieldsDialog, TextDialog
from tests.tui.waiting import assert_aligned, asset, press, sees, shown, told, until, write


def three_versions(root):
    """d1 all, d2 one less, d3 another caption."""
    with open_project(root) as project:
        freeze(project, "mara", note="the first [red]")
        addresses = [one.address for one in list_references(project, "mara").items]
        exclude_reference(project, addresses[5], "blurred")
        freeze(project, "mara")
        set_caption(project, addresses[0], "another [b] caption")
        freeze(project, "mara", note="a note of " + "many words " * 40)
    return addresses


async def asked(pilot, kind):
    await until(pilot, lambda: type(pilot.app.screen) is kind and pilot.app.screen.focused is not None)
    return pilot.app.screen


async def test_freeze_with_a_note_and_again_without_a_change(small_film, program):
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        pane = await asset(pilot, "mara", "datasets")
        await sees(pilot, "No dataset version yet")
        await press(pilot, "enter", "d", "e")
        await press(pilot, "f")
        await asked(pilot, TextDialog)
        await write(pilot, "all of day 3 [b]")
        await press(pilot, "enter")
        await until(pilot, lambda: "mara/d1:" in told(app))
        await until(pilot, lambda: "all of day 3 [b]" in shown(app))
        await until(pilot, lambda: "+12 added" in shown(app))
        await press(pilot, "f")
        await asked(pilot, TextDialog)
        await press(pilot, "enter")
        await until(pilot, lambda: "Nothing changed since mara/d1." in told(app))
        await until(pilot, lambda: len(pane.query_one("#datasets-table").source) == 1)


async def test_what_changed_against_the_one_before_and_between_two_marked_ones(small_film, program):
    three_versions(small_film)
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        pane = await asset(pilot, "mara", "datasets")
        await until(pilot, lambda: "d3   against d2   ~1 changed" in shown(app))
        await until(pilot, lambda: "after   another [b] caption" in shown(app))
        await press(pilot, "down")
        await until(pilot, lambda: "d2   against d1   −1 removed" in shown(app))
        await press(pilot, "end")
        await until(pilot, lambda: "d1   the first   +12 added" in shown(app))
        await press(pilot, "space", "home")
        await sees(pilot, "Mark a second one.")
        await press(pilot, "space")
        await until(pilot, lambda: "d3   against d1   −1 removed   ~1 changed" in shown(app))
        await press(pilot, "ctrl+a")
        await sees(pilot, "3 are marked; mark two.")
        await press(pilot, "escape")
        # On to the pictures, and from one to its reference.
        await press(pilot, "home", "enter")
        gallery = pane.query_one("#datasets-diff")
        await until(pilot, lambda: app.focused is gallery)
        await until(pilot, lambda: len(gallery.source) == 1)
        await press(pilot, "enter")
        await until(pilot, lambda: app.screen.pane.id == "references")
        await app.go_to("dataset", "mara/d1")
        await until(pilot, lambda: app.screen.pane.id == "datasets" and pane._table.current.number == 1)
        assert_aligned(app)


async def test_a_version_is_exported_and_what_hinders_it_is_told(small_film, program, tmp_path):
    three_versions(small_film)
    full = tmp_path / "full"
    full.mkdir()
    (full / "something").touch()
    async with program(small_film).run_test(size=(80, 24)) as pilot:
        app = pilot.app
        await asset(pilot, "mara", "datasets")
        await press(pilot, "e")
        dialog = await asked(pilot, FieldsDialog)
        assert_aligned(app)
        field = dialog.query_one("#field-folder", Input)
        field.value = str(full)
        field.focus()
        await press(pilot, "enter")
        await sees(pilot, "is not an empty folder. Name a new folder")
        assert app.screen is dialog
        field.value = str(tmp_path / "out")
        await press(pilot, "enter")
        await until(pilot, lambda: str(tmp_path / "out")[-20:] in told(app).replace("\n", " "))
    assert len(list((tmp_path / "out").rglob("*.png"))) == 11
    assert [one.name for one in full.iterdir()] == ["something"]


async def test_a_plugin_that_breaks_in_an_export_is_told(small_film, program, tmp_path, monkeypatch):
    from assetforge.services import dataset_export

    def broken(*_arguments, **_values):
        raise ValueError("exporter [b] broke")

    three_versions(small_film)
    monkeypatch.setattr(dataset_export, "export_dataset", broken)
    async with program(small_film, images="off").run_test(size=(200, 60)) as pilot:
        app = pilot.app
        await asset(pilot, "mara", "datasets")
        await press(pilot, "e")
        dialog = await asked(pilot, FieldsDialog)
        dialog.query_one("#field-folder", Input).value = str(tmp_path / "out")
        dialog.query_one("#field-folder", Input).focus()
        await press(pilot, "enter")
        await until(pilot, lambda: "ValueError: exporter [b] broke" in told(app))
        assert_aligned(app)
