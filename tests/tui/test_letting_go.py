"""What is not on the screen any more is not in memory any more."""

import gc
import weakref

import pytest
from rich.segment import Segment
from textual._styles_cache import StylesCache
from textual.strip import Strip
from textual.widget import Widget

from assetforge.tui.letting_go import let_go
from tests.tui.waiting import asset, filled, press, until


@pytest.fixture(autouse=True)
def as_before():
    """What is mended is the whole process's."""
    begin, colours = Strip.__init__, StylesCache.get_inner_outer
    yield
    Strip.__init__, StylesCache.get_inner_outer = begin, colours


def some_lines():
    return [Strip([Segment("some "), Segment("words")]) for _ in range(20)]


def test_lines_shown_whole_are_no_garbage():
    let_go()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for strip in some_lines():
            assert strip.divide([strip.cell_length]) == [strip]
        gc.collect()
        assert not [one for one in gc.garbage if isinstance(one, Strip)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def test_lines_are_cut_as_ever():
    def cut():
        strip = some_lines()[0]
        return [
            *(strip.divide(cuts) for cuts in ([4], [4, 10], [2, 4, 99], [10], [10, 12])),
            [strip.crop(2, 7), strip.crop_extend(3, 14, None), strip.adjust_cell_length(4), strip.apply_offsets(1, 2)],
        ]

    before = cut()
    let_go()
    assert cut() == cut() == before


def parts_of(screen):
    """A screen, its widgets, and what each of them has drawn."""
    widgets = [screen, *screen.walk_children(Widget)]
    return [weakref.ref(one) for widget in widgets for one in (widget, widget._styles_cache)]


async def test_screens_that_were_left_are_gone_with_all_that_they_drew(small_film, program):
    left = []

    def gone():
        gc.collect()
        return not [one for ref in left if (one := ref()) is not None]

    async with program(small_film).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        first = await filled(pilot)
        # What is loaded for good is never swept up; what is there by then counts as that.
        await until(pilot, lambda: app._sweeps)
        for keys in (["f2"], ["f4"], ["f5"], ["f7"], ["f8"], ["f9"], ["f4", "n"], ["f1"], ["ctrl+p"]):
            await press(pilot, *keys)
            left += [ref for screen in app.screen_stack if screen is not first for ref in parts_of(screen)]
            assert app.screen is not first
            while app.screen is not first:
                await press(pilot, "f3" if keys == ["f2"] else "escape")
        await asset(pilot, "mara", "references")
        await press(pilot, "2", "3", "4", "5", "6")
        left += parts_of(app.screen)
        await press(pilot, "escape")
        await until(pilot, lambda: app.screen is first)
        assert len(left) > 300
        await until(pilot, gone)
