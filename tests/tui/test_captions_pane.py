"""Captions: one beside its picture, many by rule with a look first, undo and redo, tags, history, tokens."""

import pytest
from textual.widgets import Input, Static

from assetforge.services import captions as caption_services
from assetforge.services.projects import open_project
from assetforge.services.references import list_references
from assetforge.tui.screens.asset import AssetScreen
from assetforge.tui.screens.dialogs import ChoiceDialog, ConfirmDialog, FieldsDialog
from tests.tui.waiting import assert_aligned, asset, press, sees, shown, told, until, write


def captions(root):
    with open_project(root) as project:
        return {one.file_name: one.caption for one in list_references(project, "mara").items}


async def asked(pilot, kind):
    await until(pilot, lambda: type(pilot.app.screen) is kind and pilot.app.screen.focused is not None)
    return pilot.app.screen


async def back(pilot):
    await until(pilot, lambda: isinstance(pilot.app.screen, AssetScreen))


async def by_rule(pilot, key, **values):
    """Fill in the form of a rule."""
    await press(pilot, key)
    dialog = await asked(pilot, FieldsDialog)
    for name, value in values.items():
        dialog.query_one(f"#field-{name}").value = value
    dialog.query(Input).last().focus()
    await until(pilot, lambda: isinstance(dialog.focused, Input))
    problem = dialog.query_one(".dialog-problem", Static)
    while pilot.app.screen is dialog and not problem.content:
        before = dialog.focused
        await press(pilot, "enter")
        # One enter too many would answer what is asked next.
        await until(
            pilot,
            lambda before=before: pilot.app.screen is not dialog or problem.content or dialog.focused is not before,
        )


async def test_one_is_written_saved_and_left(small_film, program):
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        pane = await asset(pilot, "mara", "captions")
        table, text = pane.query_one("#cap-table"), pane.query_one("#cap-text")
        await press(pilot, "home")
        first, second = (row.file_name for row in table.source.items(0, 2))
        await press(pilot, "enter")
        await until(pilot, lambda: app.focused is text)
        text.text = ""
        await write(pilot, "a woman, \n waving [red]")
        await until(pilot, lambda: "tokens" in shown(app))
        await press(pilot, "enter")
        # On to the next at once, with the keys in the field.
        await until(pilot, lambda: app.focused is text)
        await until(pilot, lambda: table.current.file_name == second)
        await until(pilot, lambda: captions(small_film)[first] == "a woman, waving [red]")
        await until(pilot, lambda: "a woman, waving [red]" in shown(app))
        before = captions(small_film)[second]
        await write(pilot, "never saved")
        await press(pilot, "escape")
        await until(pilot, lambda: app.focused is table)
        await until(pilot, lambda: text.text == before)
        await press(pilot, "end", "e")
        await write(pilot, "the last one")
        await press(pilot, "enter")
        await until(pilot, lambda: app.focused is table)
        await until(pilot, lambda: any(one.endswith("the last one") for one in captions(small_film).values()))
        await until(pilot, lambda: captions(small_film)[second] == before)
        assert_aligned(app)


async def test_what_cannot_be_saved_is_told_and_stays_to_be_saved_again(small_film, program, monkeypatch):
    from assetforge.errors import BusyError

    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        pane = await asset(pilot, "mara", "captions")
        text = pane.query_one("#cap-text")
        await press(pilot, "home", "e")

        def busy(*_arguments, **_values):
            raise BusyError("Another process kept the film locked.", hint="Try again.")

        monkeypatch.setattr(caption_services, "set_caption", busy)
        text.text = "long thought about"
        await press(pilot, "enter")
        await until(pilot, lambda: "kept the film locked" in told(app))
        monkeypatch.undo()
        await press(pilot, "escape", "home")
        await until(pilot, lambda: text.text == "long thought about")
        await press(pilot, "e", "enter")
        await until(pilot, lambda: "long thought about" in captions(small_film).values())


async def test_replace_with_a_look_first_undo_and_redo(small_film, program):
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        await asset(pilot, "mara", "captions")
        await by_rule(pilot, "ctrl+f", find="rain", **{"with": "[b]snow"})
        await asked(pilot, ConfirmDialog)
        await sees(pilot, "Change 1 of 12 captions?", "− in profile, heavy rain, night")
        await sees(pilot, "+ in profile, heavy [b]snow, night")
        await press(pilot, "n")
        await back(pilot)
        await until(pilot, lambda: "in profile, heavy rain, night" in captions(small_film).values())
        await by_rule(pilot, "ctrl+f", find="rain", **{"with": "[b]snow"})
        await asked(pilot, ConfirmDialog)
        await press(pilot, "y")
        await until(pilot, lambda: "u undoes it" in told(app))
        await until(pilot, lambda: "in profile, heavy [b]snow, night" in captions(small_film).values())
        # Undo is not for what is written in a line.
        await press(pilot, "slash", "ctrl+z", "ctrl+y", "escape")
        await press(pilot, "ctrl+f")
        await asked(pilot, FieldsDialog)
        await press(pilot, "ctrl+z", "escape")
        await back(pilot)
        await until(pilot, lambda: "in profile, heavy [b]snow, night" in captions(small_film).values())
        await press(pilot, "ctrl+z")
        await until(pilot, lambda: "Undone" in told(app))
        await until(pilot, lambda: "in profile, heavy rain, night" in captions(small_film).values())
        await press(pilot, "U")
        await until(pilot, lambda: "Made again" in told(app))
        await by_rule(pilot, "ctrl+f", find="(", mode="regex")
        await until(pilot, lambda: len(app._notifications) >= 4)
        await back(pilot)
        await by_rule(pilot, "ctrl+f", find="nowhere to be found")
        await until(pilot, lambda: "Nothing would change in 12 captions." in told(app))


async def test_prefix_tag_and_trigger_work_on_the_marked_ones_or_on_all(small_film, program):
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        pane = await asset(pilot, "mara", "captions")
        await press(pilot, "home", "space", "space")
        await sees(pilot, "◆ 2 marked")
        await by_rule(pilot, "p", text="film still,")
        await asked(pilot, ConfirmDialog)
        await sees(pilot, "Change 2 of 2 captions?")
        await press(pilot, "y")
        await until(pilot, lambda: sum("film still" in one for one in captions(small_film).values()) == 2)
        await press(pilot, "escape")
        await by_rule(pilot, "a", tag="harbour")
        await asked(pilot, ConfirmDialog)
        await press(pilot, "y")
        await until(pilot, lambda: all("harbour" in one for one in captions(small_film).values()))
        await by_rule(pilot, "m")
        await sees(pilot, "Which words shall the trigger")
        await write(pilot, "harbour")
        await press(pilot, "enter")
        await asked(pilot, ConfirmDialog)
        await press(pilot, "y")
        await until(pilot, lambda: all("mrvale" in one for one in captions(small_film).values()))
        # Tags, the most frequent first; one of them becomes the filter.
        await press(pilot, "T")
        await asked(pilot, ChoiceDialog)
        await sees(pilot, "mrvale woman")
        await press(pilot, "enter")
        await until(pilot, lambda: pane.query_one("#cap-filter", Input).display)
        assert pane.query_one("#cap-filter", Input).value.startswith("tag:")
        await press(pilot, "escape")
        await until(pilot, lambda: not pane.query_one("#cap-filter", Input).display)
        # What is filtered is what is changed.
        await press(pilot, "slash")
        await write(pilot, '"film still" colour:x')
        await until(pilot, lambda: "There is no field colour:" in shown(app))
        pane.query_one("#cap-filter", Input).value = '"film still"'
        await until(pilot, lambda: len(pane.query_one("#cap-table").source) == 2)
        await press(pilot, "enter")
        await by_rule(pilot, "a", tag="film still", what="remove")
        await asked(pilot, ConfirmDialog)
        await sees(pilot, "of 2 captions")
        await press(pilot, "escape")


async def test_history_gives_an_earlier_caption_back(small_film, program):
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        pane = await asset(pilot, "mara", "captions")
        table = pane.query_one("#cap-table")
        await press(pilot, "slash")
        await write(pilot, "heavy")
        await until(pilot, lambda: len(table.source) == 1)
        await press(pilot, "enter", "e")
        pane.query_one("#cap-text").text = "another one"
        await press(pilot, "enter")
        await until(pilot, lambda: "another one" in captions(small_film).values())
        await press(pilot, "escape")
        await until(pilot, lambda: len(table.source) == 12)
        rows = table.source.items(0, 12)
        table.cursor = next(at for at, row in enumerate(rows) if row.caption == "another one")
        await press(pilot, "H")
        await asked(pilot, ChoiceDialog)
        await sees(pilot, "in profile, heavy rain, night", "director")
        await press(pilot, "down", "enter")
        await until(pilot, lambda: "in profile, heavy rain, night" in captions(small_film).values())
        rows = [one for one in table.source.items(0, 12) if not one.caption]
        table.go_to(rows[0].id)
        await press(pilot, "H")
        await until(pilot, lambda: "Nobody wrote a caption for it yet." in told(app))


async def test_a_plugin_that_cannot_count_is_told_and_captions_go_on(small_film, program, monkeypatch):
    from assetforge.services import caption_words

    def broken(_project, _asset):
        raise RuntimeError("tokenizer [red] is broken\nfor good")

    monkeypatch.setattr(caption_words, "token_counter", broken)
    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        pane = await asset(pilot, "mara", "captions")
        await until(pilot, lambda: "tokenizer [red] is broken for good" in told(app))
        await press(pilot, "home", "e")
        pane.query_one("#cap-text").text = "written all the same"
        await press(pilot, "enter")
        await until(pilot, lambda: "written all the same" in captions(small_film).values())


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_every_size(small_film, program, size):
    async with program(small_film, images="off").run_test(size=size) as pilot:
        app = pilot.app
        await asset(pilot, "mara", "captions")
        await press(pilot, "ctrl+f")
        await asked(pilot, FieldsDialog)
        assert_aligned(app)
        await press(pilot, "escape")
        await by_rule(pilot, "a", tag="a long tag " * 12)
        await asked(pilot, ConfirmDialog)
        assert_aligned(app)
        # Whatever is asked about, the way out is on the screen.
        await sees(pilot, "esc", "Change")
