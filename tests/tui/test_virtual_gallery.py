"""The virtual gallery: rows of tiles, pictures that arrive late, cards without pictures, sizes."""

import pytest
from textual.content import Content

from assetforge.tui.widgets import virtual_gallery
from assetforge.tui.widgets.items import KeyedSource, VirtualItems
from assetforge.tui.widgets.virtual_gallery import Tile, VirtualGallery
from tests.tui.list_app import NASTY, ListApp, ThreadedPictures, lines


def numbers(count: int, missing: int = -1) -> KeyedSource[int]:
    return KeyedSource(range(count), lambda keys: {key: key for key in keys if key != missing})


def tile(number: int) -> Tile:
    return Tile(f"{number:064x}", f"item {number}", [Content.styled("● v1", "$success")])


class GalleryApp(ListApp):
    """A gallery with pictures from threads."""

    def __init__(self, held: bool = False, broken: set[str] | None = None, **options: object) -> None:
        self.pictures = ThreadedPictures(lambda: self, held=held, broken=broken or ())
        super().__init__(VirtualGallery(options.pop("tile", tile), self.pictures, **options))

    async def settle(self, pilot: object) -> None:
        """Wait until everything that was wanted is shown."""
        await pilot.pause()
        for thread in self.pictures.threads:
            while thread.is_alive():
                await pilot.pause(0.01)
        await pilot.pause()


def pictures_shown(items: VirtualItems[int]) -> int:
    """Whole pictures on the screen."""
    return sum(line.count("▀" * 14) for line in lines(items)) // 7


async def test_pictures_arrive_late_and_only_those_in_view_are_wanted() -> None:
    app = GalleryApp(held=True)
    async with app.run_test(size=(81, 41)) as pilot:
        app.items.set_source(numbers(100_000))
        await pilot.pause()
        # Five tiles of 16 across; four rows of ten lines, and what is nearly in view.
        assert pictures_shown(app.items) == 0
        assert any("item 0 " in line for line in lines(app.items))
        assert len(app.pictures.wanted) == 25
        app.pictures.release()
        await app.settle(pilot)
        assert pictures_shown(app.items) == 20
        # Everything is asked for once.
        assert len(set(app.pictures.wanted)) == len(app.pictures.wanted) == 25
        await pilot.press("end")
        await app.settle(pilot)
        assert pictures_shown(app.items) == 20
        assert len(app.pictures.wanted) <= 50


async def test_scrolling_fast_lets_go_of_what_is_no_longer_in_view() -> None:
    app = GalleryApp(held=True)
    async with app.run_test(size=(81, 41)) as pilot:
        app.items.set_source(numbers(100_000))
        await pilot.pause()
        first = set(app.pictures.wanted)
        for _ in range(5):
            await pilot.press("pagedown")
        await pilot.pause()
        assert app.pictures.skipped
        assert not app.pictures.skipped[-1] & first
        assert len(app.pictures.wanted) <= 6 * 25
        # What was let go of is wanted again when it comes back.
        before = len(app.pictures.wanted)
        await pilot.press("home")
        await pilot.pause()
        assert first <= set(app.pictures.wanted[before:])
        app.pictures.release()
        await app.settle(pilot)
        assert pictures_shown(app.items) == 20


async def test_a_picture_that_cannot_be_read_is_asked_for_once() -> None:
    app = GalleryApp(broken={f"{1:064x}"})
    async with app.run_test(size=(81, 41)) as pilot:
        app.items.set_source(numbers(3))
        await app.settle(pilot)
        assert pictures_shown(app.items) == 2
        assert sum("not readable" in line for line in lines(app.items)) == 1
        await pilot.press("right", "right", "left")
        await app.settle(pilot)
        assert len(app.pictures.wanted) == 3
        # After a change it gets another chance.
        app.items.refresh_items()
        await app.settle(pilot)
        assert len(app.pictures.wanted) == 4


async def test_pictures_that_another_gallery_let_go_of_are_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_gallery, "_PATIENCE", 0.1)
    app = GalleryApp()
    want, lost = app.pictures.want, []
    app.pictures.want = lambda *place, ready: lost.append(place)
    async with app.run_test(size=(81, 41)) as pilot:
        app.items.set_source(numbers(7))
        await pilot.pause()
        assert len(lost) == 7
        app.pictures.want = want
        await pilot.pause(0.3)
        await app.settle(pilot)
        assert pictures_shown(app.items) == 7
        assert len(app.pictures.wanted) == 7


async def test_moves_by_rows_and_columns() -> None:
    app = GalleryApp()
    async with app.run_test(size=(81, 41)) as pilot:
        app.items.set_source(numbers(22))
        await pilot.pause()
        visited = []
        for key in (
            "right",
            "down",
            "down",
            "down",
            "down",
            "down",
            "left",
            "up",
            "home",
            "left",
            "up",
            "end",
            "up",
            "right",
            "right",
            "pageup",
            "pagedown",
        ):
            await pilot.press(key)
            visited.append(app.items.cursor)
        # 22 items in rows of 5: the last row has two, and "down" from above it ends on its last.
        assert visited == [1, 6, 11, 16, 21, 21, 20, 15, 0, 0, 0, 21, 16, 17, 18, 3, 21]
        await pilot.press("pageup", "right", "right", "down", "down", "down")
        assert app.items.cursor == 18
        await pilot.press("down")
        assert app.items.cursor == 21


async def test_the_frame_and_the_mark_are_seen_without_colour() -> None:
    app = GalleryApp()
    async with app.run_test(size=(81, 41)) as pilot:
        app.items.set_source(numbers(100))
        await app.settle(pilot)
        shown = lines(app.items)
        assert shown[0].startswith("┌──────────────┐ ")
        assert shown[1].startswith("│▀▀▀▀▀▀▀▀▀▀▀▀▀▀│ ")
        assert shown[8].startswith("│item 0        │ ")
        assert shown[9].startswith("│● v1          │ ")
        assert shown[10].startswith("└──────────────┘ ")
        await pilot.press("space", "down")
        shown = lines(app.items)
        assert shown[1].startswith(" ▀▀▀▀▀▀▀▀▀▀▀ ◆   ▀")
        assert shown[10][16:].startswith("┌──────────────┐")
        assert shown[20][16:].startswith("└──────────────┘")
        assert shown[0].strip() == ""
        await pilot.press("end")
        shown = lines(app.items)
        assert shown[-1].rstrip().endswith("┘")


async def test_marks_in_rows() -> None:
    app = GalleryApp()
    async with app.run_test(size=(81, 41)) as pilot:
        app.items.set_source(numbers(100))
        await pilot.press("right", "shift+down", "shift+right")
        assert app.items.marks == {1, 2, 3, 4, 5, 6, 7}
        await pilot.press("shift+up")
        assert app.items.marks == {1, 2}


async def test_mouse() -> None:
    app = GalleryApp()
    async with app.run_test(size=(81, 41)) as pilot:
        app.items.set_source(numbers(100))
        await pilot.pause()
        await pilot.click(app.items, offset=(20, 15))
        assert app.items.cursor == 6
        await pilot.click(app.items, offset=(70, 2), times=2)
        assert [one.key for one in app.of(VirtualItems.Opened)] == [4]
        await pilot.click(app.items, offset=(40, 25), control=True)
        assert app.items.marks == {12}
        app.items.set_source(numbers(2))
        await pilot.pause()
        await pilot.click(app.items, offset=(60, 5))
        await pilot.click(app.items, offset=(5, 35))
        assert app.items.current in (0, 1)


async def test_another_width_keeps_the_item_in_view() -> None:
    app = GalleryApp()
    async with app.run_test(size=(81, 41)) as pilot:
        app.items.set_source(numbers(100_000))
        app.items.go_to(54_321)
        await pilot.pause()
        for size in ((33, 20), (201, 60), (17, 12), (120, 13), (81, 41)):
            await pilot.resize_terminal(*size)
            await app.settle(pilot)
            text = "\n".join(lines(app.items))
            assert "item 54321" in text
            assert app.items.current == 54_321
            assert "┌" in text


async def test_without_the_cursor_in_view_another_width_keeps_what_is_in_view() -> None:
    app = GalleryApp()
    async with app.run_test(size=(81, 41)) as pilot:
        app.items.set_source(numbers(100_000))
        await pilot.pause()
        app.items.scroll_to(y=50_000)
        await pilot.pause()
        assert "item 25000 " in lines(app.items)[8]
        await pilot.resize_terminal(201, 41)
        await pilot.pause()
        assert "item 25000 " in "\n".join(lines(app.items))
        assert app.items.cursor == 0


async def test_tiles_become_larger_and_smaller() -> None:
    app = GalleryApp()
    async with app.run_test(size=(121, 41)) as pilot:
        app.items.set_source(numbers(1000))
        app.items.go_to(700)
        await app.settle(pilot)
        sizes = []
        for key in ("plus", "plus", "minus", "minus", "minus", "minus", "minus", "plus"):
            await pilot.press(key)
            await app.settle(pilot)
            sizes.append(app.items.tile_size)
            shown = "\n".join(lines(app.items))
            assert "item 700"[: app.items.tile_size[0] - 1] in shown
        assert sizes == [(20, 10), (28, 14), (20, 10), (14, 7), (10, 5), (8, 4), (8, 4), (10, 5)]
        assert {(width, height) for _, width, height in app.pictures.wanted} == {(14, 7), *sizes}


async def test_cards_when_pictures_are_off() -> None:
    app = ListApp(VirtualGallery(tile, None))
    async with app.run_test(size=(81, 20)) as pilot:
        app.items.set_source(numbers(100, missing=4))
        await pilot.press("right")
        shown = lines(app.items)
        # Three cards of 24 in 80 cells, two lines each.
        assert shown[0].startswith(" " * 26 + "┌" + "─" * 24 + "┐")
        assert shown[1].startswith("  item 0 ")
        assert shown[1][26:].startswith("│ item 1 ")
        assert shown[2].startswith("  ● v1 ")
        assert "gone" in "\n".join(shown)
        await pilot.press("space", "plus", "enter")
        assert "◆" in "\n".join(lines(app.items))
        assert app.items.tile_size == (14, 7)
        assert app.of(VirtualItems.Opened)[-1].item == 2
        # Pictures that are turned on later.
        pictures = ThreadedPictures(lambda: app)
        app.items.pictures = pictures
        await pilot.pause(0.1)
        assert pictures.wanted
        assert app.items.current == 2


@pytest.mark.parametrize("width", [160, 81, 33, 18, 9])
async def test_every_line_is_as_wide_as_the_gallery_whatever_is_in_it(width: int) -> None:
    def nasty(number: int) -> Tile:
        text = NASTY[number % len(NASTY)]
        return Tile(
            "" if number % 3 else f"{number:064x}",
            Content(text).stylize("bold", 0, 3),
            [text, Content.styled(text, "$error")],
        )

    app = GalleryApp(tile=nasty, lines=3)
    async with app.run_test(size=(width, 40)) as pilot:
        app.items.set_source(numbers(len(NASTY) * 2, missing=2))
        await pilot.press("ctrl+a", "right")
        await app.settle(pilot)
        for y in range(0, app.items.max_scroll_y + 1, 20):
            app.items.scroll_to(y=y)
            await pilot.pause()
            lines(app.items)
        app.items.pictures = None
        await pilot.pause()
        assert app.items.cursor == 1
        lines(app.items)


async def test_keeps_the_item_when_the_order_changes_while_pictures_load() -> None:
    app = GalleryApp(held=True)
    async with app.run_test(size=(81, 41)) as pilot:
        app.items.set_source(numbers(1000))
        await pilot.press("right", "right")
        app.items.set_source(KeyedSource(range(999, -1, -1), lambda keys: {key: key for key in keys}))
        await pilot.pause()
        assert (app.items.current, app.items.cursor) == (2, 997)
        app.pictures.release()
        await app.settle(pilot)
        assert "item 2 " in "\n".join(lines(app.items))
        assert pictures_shown(app.items) >= 15
