"""Forms made from the parameters that plugins declare."""

from dataclasses import replace
from typing import Literal

import pytest
from textual.app import App
from textual.widgets import Input, Select, Static, Switch

from assetforge.api.params import Params, param
from assetforge.domain.form_field import FormField
from assetforge.services.param_fields import checker_of, fields_of
from assetforge.tui.theme import THEMES
from assetforge.tui.widgets.param_form import ParamForm
from assetforge.tui.widgets.param_row import FieldRow

NASTY = "a[/b] [red]\x1b[31m\nsecond line\u202e مرحبا 🎬"


class Some(Params):
    """A model with one of everything."""

    rank: int = param(16, "How much it can learn.", group="Network", ge=1, le=256)
    rate: float = param(1e-4, "How fast.", group="Network", gt=0, le=1)
    conv: bool = param(False, "Convolutions too.", group="Network")
    conv_rank: int = param(4, "Their rank.", group="Network", ge=1, only_if="conv")
    kind: Literal["lora", "dora"] = param("lora", "Kind of adapter.", group="Network")
    sides: tuple[int, ...] = param((), "Sides of pictures.", unit="px", group="Pictures")
    words: str = param("", "Words before captions.", group="Pictures")
    limit: float | None = param(None, "Most memory.", unit="GiB", group="Machine", advanced=True, ge=0)
    often: int = param(250, "Between checkpoints.", unit="steps", group="Machine", advanced=True, affects_result=False)


class FormApp(App):
    def __init__(self, fields, values=None, **options):
        super().__init__()
        self.form = ParamForm(fields, values, **options)
        self.changes, self.submitted = [], []
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = "safelight"

    def get_css_variables(self):
        return {**super().get_css_variables(), "dim": "#888888"}

    def compose(self):
        yield self.form

    def on_param_form_changed(self, event):
        (self.submitted if isinstance(event, ParamForm.Submitted) else self.changes).append(
            (event.values, event.errors)
        )

    def on_param_form_submitted(self, event):
        self.submitted.append((event.values, event.errors))

    def help(self):
        return str(self.form.query_one("#form-help", Static).content)


@pytest.fixture
def form():
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def opened(model=Some, values=None, size=(120, 40), **options):
        app = FormApp(fields_of(model), values, check=checker_of(model), **options)
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            yield app, pilot

    return opened


async def test_only_what_differs_is_a_value(form):
    async with form(values={"rank": 16, "rate": 5e-5}) as (app, pilot):
        assert app.form.values() == {"rate": 5e-5}
        assert app.form.all_values()["rank"] == 16
        app.form.focus_field("rank")
        await pilot.press("3", "2", "down", "down", "space")
        await pilot.pause()
        assert app.form.values() == {"rank": 32, "rate": 5e-5, "conv": True}
        assert app.changes[-1] == (app.form.values(), {})
        await pilot.press("space")
        app.form.reset_field("rank")
        app.form.reset_field("rate")
        await pilot.pause()
        assert app.form.values() == {}
        assert app.form.query_one(Input).value == "16"


async def test_editors_fit_what_is_edited(form):
    async with form() as (app, _):
        rows = {row.field.name: row for row in app.form.query(FieldRow)}
        assert isinstance(rows["kind"].editor, Select)
        assert isinstance(rows["conv"].editor, Switch)
        assert isinstance(rows["rank"].editor, Input)
        assert "1 to 256" in str(rows["rank"].render())
        assert "px" in str(rows["sides"].render())
        assert "limit" not in rows
        rows["kind"].editor.value = "dora"
        await app.workers.wait_for_complete()


@pytest.mark.parametrize(
    ("field", "typed", "said"),
    [
        ("rank", "999", "must be 1 to 256"),
        ("rank", "1.5", "must be a whole number"),
        ("rank", "", "must be a whole number"),
        ("rate", "0", "must be above 0 to 1"),
        ("rate", "fast", "must be a number"),
        ("sides", "512, big", "must be a whole number"),
    ],
)
async def test_what_cannot_be_is_told_beside_the_field(form, field, typed, said):
    async with form() as (app, pilot):
        app.form.focus_field(field)
        await pilot.pause()
        app.focused.value = typed
        await pilot.pause()
        assert app.form.errors == {field: said}
        assert field not in app.form.values()
        row = next(row for row in app.form.query(FieldRow) if row.field.name == field)
        assert said in str(row.render())
        assert row.size.height == 2
        assert said in app.help()
        app.form.reset_field()
        await pilot.pause()
        assert app.form.errors == {}
        assert row.size.height == 1


async def test_values_that_mean_the_same_in_other_words(form):
    async with form() as (app, pilot):
        for name, typed, value in (("rate", "5e-5", 5e-5), ("sides", "512,768", [512, 768]), ("rank", "1_2", 12)):
            app.form.focus_field(name)
            await pilot.pause()
            app.focused.value = typed
            await pilot.pause()
            assert app.form.values()[name] == value
        app.focused.value = "16.0"
        await pilot.pause()
        assert "rank" not in app.form.values()


async def test_what_has_no_say_is_told(form):
    async with form() as (app, pilot):
        row = next(row for row in app.form.query(FieldRow) if row.field.name == "conv_rank")
        assert row.idle
        assert "has no say now" in str(row.render())
        app.form.set_value("conv", True)
        await pilot.pause()
        assert not row.idle


async def test_help_of_the_focused_field(form):
    async with form(values={"rank": 32}) as (app, pilot):
        app.form.focus_field("rank")
        await pilot.pause()
        assert "How much it can learn." in app.help()
        assert "• changed, default 16" in app.help()
        assert "ctrl+r resets" in app.help()
        await pilot.press("down")
        await pilot.pause()
        assert "How fast." in app.help()
        assert "default" in app.help()


async def test_advanced_fields_are_folded_unless_they_differ(form):
    async with form(values={"often": 100}) as (app, pilot):
        names = [row.field.name for row in app.form.query(FieldRow)]
        assert "often" in names
        assert "limit" not in names
        app.form.query_one(".fold").focus()
        await pilot.press("enter")
        await pilot.pause()
        assert "limit" in [row.field.name for row in app.form.query(FieldRow)]
        assert app.form.focused.name == "limit"
        await pilot.press("8")
        await pilot.pause()
        assert app.form.values() == {"often": 100, "limit": 8.0}
        app.focused.value = ""
        await pilot.pause()
        assert app.form.values() == {"often": 100}
        assert app.form.errors == {}


async def test_a_parameter_is_found_by_its_name(form):
    async with form(find=True) as (app, pilot):
        app.form.focus_field("rank")
        await pilot.press("slash", *"memo")
        await pilot.pause(0.1)
        shown = [row.field.name for row in app.form.query(FieldRow) if row.display]
        assert shown == ["limit"]
        assert "1 of 9" in str(app.form.query_one("#form-sum", Static).content)
        await pilot.press("enter", "4")
        await pilot.pause()
        assert app.form.values() == {"limit": 4.0}
        assert app.form.clear_find()
        await pilot.pause(0.1)
        assert all(row.display for row in app.form.query(FieldRow))
        assert not app.form.clear_find()


async def test_a_slash_in_a_text_is_a_slash(form):
    async with form(find=True) as (app, pilot):
        app.form.focus_field("words")
        await pilot.press(*"a", "slash", "question_mark")
        await pilot.pause()
        assert app.form.values() == {"words": "a/?"}


async def test_enter_confirms(form):
    async with form() as (app, pilot):
        app.form.focus_field("rank")
        await pilot.press("8", "enter")
        await pilot.pause()
        assert app.submitted[-1] == ({"rank": 8}, {})


@pytest.mark.slow
@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_a_real_trainer_by_keyboard_alone(form, size):
    """Down from the first field to the last one; whatever has the focus is on the screen."""
    from assetforge.extension.registry import get_registry

    model = get_registry().trainer("diffusers-lora").spec.params
    async with form(model, size=size) as (app, pilot):
        assert app.form.focus_field()
        seen = []
        for _ in range(80):
            await pilot.press("down")
            at = app.focused
            if at is None or at.id == "form-find":
                break
            area = app.form.query_one("#form-scroll").region
            assert area.contains_region(at.region)
            seen.append(at)
        assert len(seen) >= 30
        columns = {row.region.x for row in app.form.query(FieldRow)}
        assert len(columns) == (2 if size[0] == 200 else 1)
        assert app.form.values() == {}
        assert app.form.errors == {}
        checked = model.model_validate(app.form.all_values())
        assert checked == model()


async def test_texts_that_try_to_break_it():
    fields = [
        FormField(name="a", title=NASTY, help=NASTY, default=NASTY, group=NASTY),
        FormField(name="b", title=NASTY, help=NASTY, kind="choice", choices=(NASTY, "[x]"), default="[x]", unit=NASTY),
        FormField(name="c", title="c", advanced=True, group=NASTY + "2"),
    ]
    app = FormApp(fields, {"b": "gone [/]"}, notes={"a": NASTY}, find=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        app.form.focus_field("a")
        await pilot.pause()
        assert app.form.values() == {"b": "gone [/]"}
        shot = app.export_screenshot()
        assert "\x1b" not in shot
        await pilot.press("end", "x")
        await pilot.pause()
        assert set(app.form.values()) == {"a", "b"}


async def test_values_of_a_recipe_can_be_the_defaults():
    fields = [replace(one, default=8) if one.name == "rank" else one for one in fields_of(Some)]
    app = FormApp(fields)
    async with app.run_test() as pilot:
        await pilot.pause()
        assert app.form.values() == {}
        app.form.set_value("rank", 16)
        await pilot.pause()
        assert app.form.values() == {"rank": 16}


async def test_a_form_of_nothing():
    app = FormApp([], empty="This executor takes no parameters.")
    async with app.run_test() as pilot:
        await pilot.pause()
        assert app.form.values() == {}
        assert not app.form.focus_field()
        assert "takes no parameters" in str(app.form.query_one(".form-nothing", Static).content)
