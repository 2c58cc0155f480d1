"""Texts of users that try to break things, on every screen of a film: no markup, no control characters, every line as wide as it must be."""

import pytest
from rich.cells import cell_len
from textual.content import Content
from textual.style import Style
from textual.widgets import Input

from assetforge.services.assets import set_asset
from assetforge.services.caption_edits import edit_captions
from assetforge.services.captions import set_caption
from assetforge.services.datasets import freeze
from assetforge.services.ingest import add_references
from assetforge.services.projects import open_project
from assetforge.services.reference_settings import set_references
from assetforge.services.references import exclude_reference, list_references
from assetforge.tui.screens.asset import AssetScreen
from assetforge.tui.screens.dialogs import Choice, ChoiceDialog, ConfirmDialog, Field, FieldsDialog, TextDialog
from assetforge.tui.screens.film import AssetsScreen
from assetforge.tui.screens.films import FilmsScreen
from assetforge.tui.widgets.fitting import Ink, fitted, harmless
from assetforge.tui.widgets.items import VirtualItems
from assetforge.tui.words import plain
from tests.tui.conftest import NASTY
from tests.tui.waiting import assert_aligned, asset, filled, press, sees, told, until

TEXTS = (
    NASTY,
    "a[/b] [red]",
    "line one\nline two\r\n\ttabbed",
    "\x1b[31mred\x1b[0m\x1b]0;title\x07 \x9b31m",
    "\u202eright to left\u202c שלום עולם مرحبا بالعالم",
    "👩\u200d🚀 🇩🇪 👍🏽 ❤\ufe0f e\u0301\u0301 日本語の名前",
    "[@click=app.leave]quit[/] [link=file:///etc/passwd]x[/link] \\[ ]]",
    "word " * 400,
    "x" * 2000,
)


# Every other terminal draws these wider or narrower than they are counted.
UNCERTAIN = {
    "👩\u200d🚀 pilot": "👩 pilot",
    "👩🏽\u200d🚀": "👩",
    "🧜🏽\u200d♀\ufe0f tail": "🧜 tail",
    "👨\u200d👩\u200d👧\u200d👦": "👨",
    "❤\ufe0f\u200d🔥": "❤",
    "👍🏽👍🏿": "👍👍",
    "❤\ufe0f ☎\ufe0e": "❤ ☎",
    "x\u200dy 🚀\u200d": "xy 🚀",
    "🏽\ufe0f\u200d": "",
    "🇩🇪 🎬🎬 日本 e\u0301": "🇩🇪 🎬🎬 日本 e\u0301",
}


@pytest.mark.parametrize(("text", "kept"), UNCERTAIN.items())
def test_what_makes_the_width_of_an_emoji_uncertain_is_not_shown(text, kept):
    assert plain(text) == harmless(text) == kept
    assert fitted(text, 20) == kept + " " * (20 - cell_len(kept))


def test_styles_stay_where_they_were_when_parts_of_an_emoji_go():
    content = Content.assemble("a ", ("👩🏽\u200d🚀b", "bold"), ("c", "dim"), "\ufe0f", ("\u200d", "red"), "d")
    parts = Ink().line(content, 10, Style())
    assert "".join(part.text for part in parts) == "a 👩bcd   "
    styled = {"b": {"bold"}, "c": {"dim"}}
    for part in parts:
        for char in part.text:
            has = {word for word in ("bold", "dim") if getattr(part.style, word)}
            assert has == styled.get(char.replace("👩", "b"), set()), part


@pytest.fixture
def nasty_film(small_film, make_png, tmp_path):
    """Captions, rights, origins, reasons, notes, descriptions, titles and file names out of TEXTS."""
    config = small_film / "project.toml"
    title = "a[/b] [red] 🎬 \\u202e مرحبا " + "long " * 400
    config.write_text(config.read_text().replace('"Night Harbour"', f'"{title}"'))
    with open_project(small_film) as project:
        for name in ("mara", "brass-lamp"):
            set_asset(project, name, description=TEXTS[7])
        folder = tmp_path / "files"
        for at, name in enumerate(("a[/b] [red", "new\nline", "\x1b[31m esc", "\u202egnp", "🎬 日本語", "n" * 240)):
            make_png(folder / f"{name}.png", seed=900 + at)
        add_references(project, "mara", [folder], origin=TEXTS[6], rights=TEXTS[8])
        addresses = [one.address for one in list_references(project, "mara").items]
        for address, text in zip(addresses, TEXTS, strict=False):
            set_caption(project, address, text)
            set_references(project, [address], rights=text)
        freeze(project, "mara", note=TEXTS[0])
        exclude_reference(project, addresses[2], TEXTS[3])
        set_caption(project, addresses[0], TEXTS[5])
        freeze(project, "mara", note=TEXTS[8])
    return small_film


LARGE = pytest.param((200, 60), "halfcell", marks=pytest.mark.slow)


@pytest.mark.parametrize(("size", "images"), [((80, 24), "off"), ((120, 40), "halfcell"), LARGE])
async def test_every_screen_of_a_film_of_such_names(nasty_film, program, size, images):
    async with program(nasty_film, images=images).run_test(size=size) as pilot:
        app = pilot.app
        screen = await filled(pilot)
        await sees(pilot, "a[/b] [red]")
        for key in ("down", "down", "v", "home", "end"):
            await press(pilot, key)
            assert_aligned(app)
        app.state.put(str(nasty_film), "assets.filters", {text[:300]: text[:300] for text in TEXTS})
        screen._write_groups()
        await press(pilot, "e")
        await until(pilot, lambda: isinstance(app.screen, FieldsDialog))
        assert_aligned(app)
        await press(pilot, "escape", "f9")
        await until(pilot, lambda: app.screen.query_one(VirtualItems).source is not None)
        assert_aligned(app)
        await press(pilot, "f2")
        await until(pilot, lambda: isinstance(app.screen, FilmsScreen) and app.screen.query_one(VirtualItems).current)
        await sees(pilot, "a[/b] [red]")
        assert_aligned(app)
        await press(pilot, "escape", "escape")
        for tab in ("references", "captions", "datasets", "activity"):
            if isinstance(app.screen, AssetScreen):
                await app.screen.show_tab(tab)
            else:
                await asset(pilot, "mara", tab)
            await until(pilot, lambda tab=tab: app.screen.pane.id == tab)
            items = next(iter(app.screen.pane.query(VirtualItems)))
            await until(pilot, lambda items=items: items.source is not None)
            for _ in range(min(10 if size[0] == 80 else 2, len(items.source))):
                await press(pilot, "down")
                assert_aligned(app)
            if tab == "references" and size[0] < 200:
                await press(pilot, "v", "home", "e")
                await until(pilot, lambda: isinstance(app.screen, TextDialog))
                assert_aligned(app)
                await press(pilot, "enter")
            if tab == "captions" and size[0] < 200:
                await press(pilot, "home", "e", "end", "down", "escape", "T")
                await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
                assert_aligned(app)
                await press(pilot, "escape")
                rows = items.source.items(0, 50)
                items.cursor = next(at for at, row in enumerate(rows) if "🇩🇪" in row.caption)
                await press(pilot, "H")
                await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
                assert_aligned(app)
                await press(pilot, "escape")
            await until(pilot, lambda: isinstance(app.screen, AssetScreen))


@pytest.mark.parametrize("size", [(80, 24), pytest.param((200, 60), marks=pytest.mark.slow)])
async def test_every_question_about_such_texts(small_film, program, size):
    async with program(small_film).run_test(size=size) as pilot:
        app = pilot.app
        await filled(pilot)
        for text in TEXTS if size[0] == 80 else TEXTS[7:8]:
            for dialog in (
                TextDialog(text, text, value=text, placeholder=text),
                ConfirmDialog(text, text, yes="Yes"),
                ChoiceDialog(text, [Choice("1", text, text), Choice("2", "short", "about")], text),
                FieldsDialog(text, [Field(name="a", title=text[:40], value=text), Field(name="b", title="b")], text),
            ):
                await app.push_screen(dialog)
                await press(pilot, "right")
                assert_aligned(app)
                await sees(pilot, "esc")
                await press(pilot, "escape")
        for text in TEXTS[:3] if size[1] < 30 else TEXTS:
            app.tell(text, title=text)
        await until(pilot, lambda: "a[/b] [red]" in told(app))
        assert_aligned(app)
        await until(pilot, lambda: isinstance(app.screen, AssetsScreen))


async def test_such_a_text_is_typed_into_filters(small_film, program):
    async with program(small_film).run_test(size=(80, 24)) as pilot:
        app = pilot.app
        screen = await filled(pilot)
        await press(pilot, "slash")
        for text in TEXTS:
            screen.query_one("#filter", Input).value = text
            await until(pilot, lambda: screen._filter == screen.query_one("#filter", Input).value)
            await press(pilot, "end")
            assert_aligned(app)
        await press(pilot, "escape")
        for tab, field in (("references", "#ref-filter"), ("captions", "#cap-filter")):
            pane = await asset(pilot, "mara", tab)
            await press(pilot, "slash")
            for text in (*TEXTS[:4], f'near:"{TEXTS[6]}"'):
                pane.query_one(field, Input).value = text
                await press(pilot, "end")
                assert_aligned(app)
            await press(pilot, "escape", "escape")


async def test_a_change_of_such_captions_is_shown_first(nasty_film, program):
    from assetforge.domain.captions import AddPrefix
    from assetforge.tui.screens.caption_dialogs import confirm_change

    with open_project(nasty_film) as project:
        planned = edit_captions(project, "mara", AddPrefix("[red]\x1b[31m film still,"), dry_run=True)
    async with program(nasty_film).run_test(size=(80, 24)) as pilot:
        app = pilot.app
        await filled(pilot)
        app.run_worker(confirm_change(app, planned))
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        assert_aligned(app)
        await sees(pilot, "n, esc  no")
        await press(pilot, "n")
