"""The virtual table: cursor, paging, marks, order, columns that give way, harmless text, mouse."""

import time
from collections.abc import Sequence
from typing import ClassVar

import pytest
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import MouseScrollDown
from textual.screen import Screen
from textual.widgets import ContentSwitcher

from assetforge.tui.widgets.fitting import fitted
from assetforge.tui.widgets.items import KeyedSource, ListSource, VirtualItems
from assetforge.tui.widgets.virtual_table import Column, VirtualTable
from tests.tui.list_app import NASTY, ListApp, lines

COLUMNS = (
    Column("name", "name", 0, minimum=10),
    Column("status", "status", 11, priority=1),
    Column("count", "count", 8, "right", priority=2),
    Column("note", "note", 12, sortable=False, priority=3),
)


def cells(number: int) -> Sequence[Content | str | Text]:
    return (f"item {number}", Content.styled("● approved", "$success"), f"{number:,}", Text("note", "bold"))


def numbers(count: int, **options: object) -> KeyedSource[int]:
    return KeyedSource(range(count), lambda keys: {key: key for key in keys}, **options)


def table(**options: object) -> VirtualTable[int]:
    return VirtualTable(COLUMNS, cells, **options)


async def test_moves_through_a_hundred_thousand() -> None:
    fetched: list[int] = []

    def fetch(keys: Sequence[int]) -> dict[int, int]:
        fetched.append(len(keys))
        return {key: key for key in keys}

    app = ListApp(table())
    async with app.run_test(size=(100, 30)) as pilot:
        app.items.set_source(KeyedSource(range(100_000), fetch))
        await pilot.pause()
        assert lines(app.items)[1].startswith("▸  item 0 ")
        await pilot.press("down", "j", "down", "k")
        assert (app.items.cursor, app.items.current, app.items.current_key) == (2, 2, 2)
        await pilot.press("pagedown")
        assert app.items.cursor == 31
        assert app.items.scroll_offset.y == 29
        await pilot.press("pageup", "pageup")
        assert app.items.cursor == 0
        await pilot.press("end")
        assert app.items.cursor == 99_999
        assert lines(app.items)[-1].startswith("▸  item 99999 ")
        await pilot.press("pagedown", "down")
        assert app.items.cursor == 99_999
        await pilot.press("pageup")
        assert app.items.cursor == 99_999 - 29
        await pilot.press("ctrl+home", "up")
        assert (app.items.cursor, app.items.scroll_offset.y) == (0, 0)
        assert sum(fetched) <= 800


async def test_pages_to_the_end_and_shows_every_row_once() -> None:
    app = ListApp(table())
    async with app.run_test(size=(60, 41)) as pilot:
        app.items.set_source(numbers(1000))
        await pilot.pause()
        seen: list[str] = []
        for _ in range(25):
            seen += [line[3:13].strip() for line in lines(app.items)[1:]]
            await pilot.press("pagedown")
        assert seen == [f"item {number}" for number in range(1000)]


async def test_a_million_rows_have_a_scrollbar_and_an_end() -> None:
    app = ListApp(table())
    async with app.run_test(size=(60, 20)) as pilot:
        app.items.set_source(numbers(1_000_000))
        await pilot.pause()
        assert app.items.virtual_size.height == 1_000_001
        app.items.scroll_to(y=700_000)
        await pilot.pause()
        assert lines(app.items)[1][3:].startswith("item 700000 ")
        assert app.items.cursor == 0
        app.items.cursor = 2_000_000
        await pilot.pause()
        assert app.items.current == 999_999
        assert app.items.vertical_scrollbar.position == app.items.max_scroll_y


async def test_a_page_down_is_cheap() -> None:
    app = ListApp(VirtualTable([Column(f"c{n}", f"c{n}", 10) for n in range(8)], lambda n: [f"cell {n}"] * 8))
    async with app.run_test(size=(120, 40)) as pilot:
        app.items.set_source(numbers(100_000))
        await pilot.pause()
        took = []
        for _ in range(30):
            begin = time.thread_time()
            app.items.action_go_pages(1)
            for y in range(app.items.size.height):
                app.items.render_line(y)
            took.append(time.thread_time() - begin)
        assert sorted(took)[15] < 0.04


async def test_the_cursor_stays_on_its_item_when_the_source_changes() -> None:
    app = ListApp(table())
    async with app.run_test(size=(60, 21)) as pilot:
        app.items.set_source(numbers(1000))
        await pilot.pause()
        app.items.go_to(500)
        await pilot.pause()
        line = next(y for y, text in enumerate(lines(app.items)) if text.startswith("▸"))
        app.items.marks = {3, 500, 900}
        app.items.set_source(KeyedSource(range(999, -1, -1), lambda keys: {key: key for key in keys}))
        await pilot.pause()
        assert (app.items.cursor, app.items.current) == (499, 500)
        assert lines(app.items)[line].startswith("▸◆ item 500 ")
        # What was filtered away: the nearest place, and no mark.
        app.items.set_source(KeyedSource(range(0, 1000, 3), lambda keys: {key: key for key in keys}))
        await pilot.pause()
        assert app.items.cursor == 333
        assert app.items.marks == {3, 900}
        assert app.items.marked() == [3, 900]
        app.items.set_source(numbers(10), keep=False)
        await pilot.pause()
        assert (app.items.cursor, app.items.marks, app.items.scroll_offset.y) == (0, set(), 0)
        app.items.set_source(numbers(0))
        await pilot.pause()
        assert (app.items.current, app.items.current_key, app.items.marked()) == (None, None, [])
        assert app.of(VirtualItems.Highlighted)[-1].key is None


async def test_what_is_in_view_stays_when_the_cursor_is_elsewhere() -> None:
    app = ListApp(table())
    async with app.run_test(size=(60, 21)) as pilot:
        app.items.set_source(ListSource(list(range(1000)), key=lambda number: number))
        await pilot.pause()
        app.items.scroll_to(y=400)
        await pilot.pause()
        assert lines(app.items)[1][3:].startswith("item 400 ")
        app.items.set_source(ListSource(list(range(-50, 1000)), key=lambda number: number))
        await pilot.pause()
        assert lines(app.items)[1][3:].startswith("item 400 ")
        assert app.items.current == 0


async def test_what_comes_in_at_the_top_is_seen_by_who_looks_at_the_top() -> None:
    app = ListApp(table())
    async with app.run_test(size=(60, 21)) as pilot:
        app.items.set_source(numbers(1000))
        await pilot.press("down")
        app.items.set_source(KeyedSource([7000, 7001, *range(1000)], lambda keys: {key: key for key in keys}))
        await pilot.pause()
        assert lines(app.items)[1][3:].startswith("item 7000 ")
        assert app.items.current == 1


async def test_items_changed_in_place() -> None:
    facts = {key: key for key in range(50)}
    source = KeyedSource(range(50), lambda keys: {key: facts[key] for key in keys if key in facts})
    app = ListApp(table())
    async with app.run_test(size=(60, 21)) as pilot:
        app.items.set_source(source)
        await pilot.pause()
        heard = len(app.of(VirtualItems.Highlighted))
        facts[2] = 4321
        del facts[3]
        source.forget()
        app.items.refresh_items()
        await pilot.pause()
        shown = lines(app.items)
        assert "item 4321" in shown[3]
        assert "no longer there" in shown[4]
        assert len(app.of(VirtualItems.Highlighted)) == heard
        await pilot.press("down", "down", "down", "enter")
        opened = app.of(VirtualItems.Opened)[-1]
        assert (opened.key, opened.item, opened.control) == (3, None, app.items)


async def test_marks() -> None:
    app = ListApp(table())
    async with app.run_test(size=(60, 21)) as pilot:
        app.items.set_source(numbers(100))
        await pilot.pause()
        assert app.items.marked() == [0]
        await pilot.press("space", "down", "space")
        assert (app.items.marks, app.items.cursor) == ({0, 2}, 3)
        assert [line[:3] for line in lines(app.items)[1:5]] == [" ◆ ", "   ", " ◆ ", "▸  "]
        await pilot.press("shift+down", "shift+down", "shift+down", "shift+up")
        assert app.items.marks == {0, 2, 3, 4, 5}
        # Back past where it began, on the other side; what was marked before stays.
        await pilot.press(*["shift+up"] * 4)
        assert (app.items.marks, app.items.cursor) == ({0, 1, 2, 3}, 1)
        await pilot.press("escape")
        assert app.items.marks == set()
        assert app.keys == []
        await pilot.press("escape")
        assert app.keys == ["escape"]
        await pilot.press("space", "asterisk")
        assert app.items.marks == set(range(100)) - {1}
        await pilot.press("ctrl+a")
        assert app.items.marked() == list(range(100))
        changed = app.of(VirtualItems.MarksChanged)
        assert changed[-1].marks == frozenset(range(100))
        assert changed[-1].control is app.items


async def test_highlighted_is_told_once_for_a_held_key() -> None:
    app = ListApp(table())
    async with app.run_test(size=(60, 21)) as pilot:
        app.items.set_source(numbers(100))
        await pilot.pause()
        app.heard.clear()
        for _ in range(20):
            app.items.action_go_rows(1)
        await pilot.pause()
        told = app.of(VirtualItems.Highlighted)
        assert (told[-1].key, told[-1].item) == (20, 20)
        assert len(told) < 5


async def test_asks_for_an_order_and_shows_it() -> None:
    items = table()
    app = ListApp(items)
    async with app.run_test(size=(80, 20)) as pilot:
        items.set_source(numbers(100))
        await pilot.pause()
        await pilot.press("s")
        asked = app.of(VirtualTable.SortRequested)[-1]
        assert (asked.column, asked.descending, asked.control) == ("name", False, items)
        items.sort = ("name", False)
        await pilot.pause()
        assert "name ▲" in lines(items)[0]
        await pilot.press("S")
        assert (app.heard[-1].column, app.heard[-1].descending) == ("name", True)
        items.sort = ("count", True)
        await pilot.press("s")
        # The last column cannot be sorted.
        assert app.heard[-1].column == "name"
        head = lines(items)[0]
        assert "▼ count" in head
        await pilot.click(items, offset=(head.index("status") + 1, 0))
        assert (app.heard[-1].column, app.heard[-1].descending) == ("status", False)
        items.sort = ("status", False)
        await pilot.pause()
        await pilot.click(items, offset=(head.index("status") + 1, 0))
        assert (app.heard[-1].column, app.heard[-1].descending) == ("status", True)
        count = len(app.heard)
        await pilot.click(items, offset=(head.index("note") + 1, 0))
        assert len(app.heard) == count
        assert items.cursor == 0


async def test_columns_give_way() -> None:
    items = table()
    app = ListApp(items)
    async with app.run_test(size=(120, 20)) as pilot:
        items.set_source(numbers(100))
        await pilot.pause()
        assert items.shown == ["name", "status", "count", "note"]
        assert "1 " in lines(items)[2]
        for width, shown in (
            (50, ["name", "status", "count", "note"]),
            (40, ["name", "status", "count"]),
            (34, ["name", "status"]),
            (20, ["name"]),
            (7, ["name"]),
        ):
            await pilot.resize_terminal(width, 20)
            await pilot.pause()
            assert items.shown == shown or width == 50
            assert len(lines(items)) == 20
        await pilot.resize_terminal(160, 50)
        await pilot.pause()
        assert items.shown == ["name", "status", "count", "note"]
        assert lines(items)[0].index("status") > 100
        items.columns = COLUMNS[:2]
        await pilot.pause()
        assert items.shown == ["name", "status"]
        assert "count" not in lines(items)[0]


@pytest.mark.parametrize("width", [120, 61, 40, 23, 12])
async def test_every_line_is_as_wide_as_the_table_whatever_is_in_it(width: int) -> None:
    def nasty(number: int) -> Sequence[Content | str | Text]:
        text = NASTY[number % len(NASTY)]
        two = Content(text).stylize("bold", 0, 2).stylize("$error", 1)
        return (text, Content.styled(text, "$success"), two, Text(text, "italic"))

    app = ListApp(VirtualTable(COLUMNS, nasty, dim=lambda number: number % 5 == 4))
    async with app.run_test(size=(width, 30)) as pilot:
        app.items.set_source(numbers(len(NASTY) * 2))
        await pilot.pause()
        shown = lines(app.items)
        assert "[/b]"[: max(1, width - 20)] in shown[1] or width < 24
        assert "…" in shown[len(NASTY)]


def test_text_is_cut_by_cells_and_never_read_as_markup() -> None:
    assert fitted("[b]x[/b]", 10) == "[b]x[/b]  "
    assert fitted("日本語の名", 7) == "日本語…"
    assert fitted("日本語の名", 6) == "日本… "
    assert fitted("abc", 5, "right") == "  abc"
    assert fitted("abc", 6, "center") == " abc  "
    assert fitted("abcdef", 4) == "abc…"
    assert fitted("abc", 0) == ""
    assert fitted("a\nb\x1b[0m\u202e", 8) == "a b[0m  "
    assert fitted("❤\ufe0f👩🏽\u200d🚀x\u200dy", 8) == "❤👩xy   "


async def test_mouse() -> None:
    app = ListApp(table())
    async with app.run_test(size=(80, 20)) as pilot:
        app.items.set_source(numbers(1000))
        await pilot.pause()
        await pilot.click(app.items, offset=(10, 5))
        assert app.items.cursor == 4
        await pilot.click(app.items, offset=(10, 8), control=True)
        assert (app.items.cursor, app.items.marks) == (7, {7})
        await pilot.click(app.items, offset=(10, 10), shift=True)
        assert app.items.marks == {7, 8, 9}
        assert not app.of(VirtualItems.Opened)
        await pilot.click(app.items, offset=(10, 3), times=2)
        assert [one.key for one in app.of(VirtualItems.Opened)] == [2]
        app.items.scroll_to(y=100)
        await pilot.pause()
        await pilot.click(app.items, offset=(10, 1))
        assert app.items.cursor == 100
        await pilot._post_mouse_events([MouseScrollDown], app.items, offset=(10, 10))
        await pilot.pause()
        assert app.items.scroll_offset.y > 100
        assert app.items.cursor == 100


async def test_says_that_it_opens_and_that_there_is_nothing() -> None:
    items = table(empty="No reference fits the filter. Escape clears it, and all are there again.")
    app = ListApp(items)
    async with app.run_test(size=(50, 15)) as pilot:
        assert any(line.strip() == "Opening …" for line in lines(items))
        await pilot.press("down", "space", "enter", "shift+down", "ctrl+a", "end", "pagedown")
        items.set_source(numbers(0))
        await pilot.pause()
        said = [line.strip() for line in lines(items) if line.strip()]
        assert said[1:] == ["No reference fits the filter. Escape clears", "it, and all are there again."]
        await pilot.press("down", "space", "enter", "shift+down", "ctrl+a", "asterisk", "end", "pagedown", "home")
        assert not app.of(VirtualItems.Opened)
        assert app.keys.count("enter") == 2
        items.empty = "Nothing."
        await pilot.pause()
        assert any(line.strip() == "Nothing." for line in lines(items))
        items.set_source(numbers(3))
        await pilot.pause()
        assert lines(items)[1].startswith("▸  item 0")


async def test_a_source_before_the_list_is_mounted() -> None:
    items = table()
    items.set_source(numbers(1000))
    items.go_to(700)
    app = ListApp(items)
    async with app.run_test(size=(60, 20)) as pilot:
        await pilot.pause()
        assert items.current == 700
        assert any(line.startswith("▸  item 700") for line in lines(items))
        assert app.of(VirtualItems.Highlighted)[-1].key == 700


async def test_resizing_keeps_the_cursor_in_view() -> None:
    app = ListApp(table())
    async with app.run_test(size=(80, 40)) as pilot:
        app.items.set_source(numbers(1000))
        app.items.go_to(538)
        await pilot.pause()
        for size in ((80, 10), (40, 60), (200, 12), (80, 3), (80, 40)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            assert sum(line.startswith("▸  item 538") for line in lines(app.items)) == 1


async def test_a_screen_keeps_the_keys_it_wants() -> None:
    class Around(Screen[None]):
        BINDINGS: ClassVar[list[BindingType]] = [Binding("k", "stop", "stop"), Binding("space", "blink", "blink")]
        done: ClassVar[list[str]] = []

        def compose(self) -> ComposeResult:
            yield table(leave=("space",), id="list")

        def action_stop(self) -> None:
            self.done.append("stop")

        def action_blink(self) -> None:
            self.done.append("blink")

    app = ListApp(table())
    async with app.run_test(size=(60, 20)) as pilot:
        screen = Around()
        await app.push_screen(screen)
        items = screen.query_one("#list", VirtualTable)
        items.set_source(numbers(10))
        items.focus()
        await pilot.press("j", "k", "space")
        assert (items.cursor, items.marks, screen.done) == (1, set(), ["stop", "blink"])
        # Another list is not touched by that.
        await app.pop_screen()
        app.items.set_source(numbers(10))
        await pilot.press("j", "j", "k", "space")
        assert (app.items.cursor, app.items.marks) == (2, {1})


async def test_without_marking_those_keys_go_on() -> None:
    app = ListApp(table(marking=False))
    async with app.run_test(size=(60, 20)) as pilot:
        app.items.set_source(numbers(10))
        await pilot.press("space", "ctrl+a", "asterisk", "left")
        assert app.items.marks == set()
        assert app.keys == ["space", "ctrl+a", "left"]


async def test_a_hidden_list_shows_its_cursor_when_it_comes() -> None:
    class Two(ListApp):
        def compose(self) -> ComposeResult:
            with ContentSwitcher(initial="one"):
                yield table(id="one")
                yield table(id="two")

    app = Two(table())
    app.on_mount = lambda: None
    async with app.run_test(size=(60, 20)) as pilot:
        one, two = app.query_one("#one", VirtualTable), app.query_one("#two", VirtualTable)
        one.set_source(numbers(500))
        two.set_source(numbers(500))
        two.go_to(400)
        await pilot.pause()
        app.query_one(ContentSwitcher).current = "two"
        await pilot.pause()
        assert any(line.startswith("▸  item 400") for line in lines(two))


async def test_the_cursor_looks_different_with_and_without_the_focus_and_in_the_light() -> None:
    app = ListApp(table())
    async with app.run_test(size=(60, 20)) as pilot:
        app.items.set_source(numbers(10))
        await pilot.pause()
        focused = list(app.items.render_line(1))
        app.set_focus(None)
        await pilot.pause()
        blurred = list(app.items.render_line(1))
        assert blurred != focused
        assert "".join(part.text for part in blurred).startswith("▸")
        app.theme = "daylight"
        await pilot.pause()
        assert list(app.items.render_line(1)) != blurred


def test_keyed_source_keeps_few_pages_and_finds_ids() -> None:
    fetched: list[list[int]] = []

    def fetch(keys: Sequence[int]) -> dict[int, str]:
        fetched.append(list(keys))
        return {key: str(key) for key in keys if key != 25}

    source = KeyedSource(range(10, 100), fetch, page=10, pages=2)
    assert source.items(5, 12) == [str(key) if key != 25 else None for key in range(15, 27)]
    assert fetched == [list(range(10, 20)), list(range(20, 30))]
    assert source.items(0, 3) == ["10", "11", "12"]
    assert len(fetched) == 2
    source.items(40, 1)
    source.items(15, 1)
    assert fetched[2:] == [list(range(50, 60)), list(range(20, 30))]
    assert (source.index(99), source.index(100), source.key(3), len(source)) == (89, None, 13, 90)
    assert source.items(85, 50) == [str(key) for key in range(95, 100)]
    source.forget()
    source.items(85, 1)
    assert len(fetched) == 6
