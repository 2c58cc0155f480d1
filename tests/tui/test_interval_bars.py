import pytest
from textual.app import App
from textual.content import Content
from textual.geometry import Size

from assetforge.tui.screens.compare_layout import arrange, picture_cells
from assetforge.tui.widgets.interval_bars import Bar, IntervalBars, LikenessLine, Mark, PromptBars, bar_line
from assetforge.tui.widgets.strengths import Strength, StrengthStrip

PASS = Bar(title="Identity", says="pass", at=62.0, low=46.0, high=80.0, value="+0.040", interval="[+0.010, +0.070]")
WORSE = Bar(
    title="Bleed",
    says="regressed",
    at=10.0,
    low=2.0,
    high=18.0,
    beyond_left=True,
    value="−0.060",
    interval="[−0.090, −0.030]",
)
LIMIT = Bar(title="broken pictures", says="clear")


def drawn(bar, width=41, **more):
    return bar_line(bar, width, **more).plain


def test_an_interval_lies_where_it_is_on_an_axis_with_no_change_and_the_margin():
    line = drawn(PASS, edge=20.0)
    assert len(line) == 41
    assert line[20] == "┼"
    assert line[8] == "┊"
    assert (line.index("├"), line.index("●"), line.index("┤")) == (18, 25, 32)
    assert set(line[19:32]) <= {"─", "┼", "●"}


def test_an_interval_that_goes_on_beyond_the_axis_ends_in_an_arrow():
    line = drawn(WORSE, edge=20.0)
    assert line.startswith(" ◀")
    assert line[20] == "│"


def test_what_was_not_measured_or_has_no_margin_draws_neither():
    assert drawn(LIMIT).strip() == "│"
    unbounded = Bar(title="x", says="open", at=50.0, low=40.0, high=60.0, bounded=False)
    assert "┊" not in drawn(unbounded, edge=20.0)


@pytest.mark.parametrize("width", [12, 24, 57, 58, 120])
def test_every_line_is_exactly_as_wide_as_there_is_room(width):
    bars = IntervalBars()
    bars.show([PASS, WORSE, LIMIT], edge=20.0, missing=["faces", "copies"])
    for line in bars.lines(width):
        assert line.cell_length == width, line.plain


def test_wide_lines_say_everything_in_numbers_and_narrow_ones_take_two():
    bars = IntervalBars()
    bars.show([PASS, WORSE, LIMIT], edge=20.0)
    wide = [line.plain for line in bars.lines(100)]
    assert wide[0].startswith("● Identity")
    assert wide[0].endswith("+0.040   [+0.010, +0.070]")
    assert wide[1].startswith("▲ Bleed")
    assert wide[2].endswith("clear")
    assert "−margin" in wide[3]
    assert "0" in wide[3]
    narrow = [line.plain for line in bars.lines(30)]
    assert len(narrow) == 6
    assert narrow[0].endswith("+0.040")


def test_what_does_not_fit_is_counted():
    bars = IntervalBars(most=4)
    bars.show([PASS, WORSE, LIMIT, LIMIT], edge=20.0)
    lines = [line.plain.strip() for line in bars.lines(100)]
    assert len(lines) == 4
    assert lines[2] == "… 2 more"
    bars.limit(0)
    assert len(bars.lines(100)) == 5


def shown(widget, width, height):
    """What a widget draws at a size."""

    class Alone(App):
        def compose(self):
            widget.styles.width, widget.styles.height = width, height
            yield widget

    async def run():
        async with Alone().run_test(size=(width + 2, height + 2)):
            content = widget.render()
            assert isinstance(content, Content)
            return content.plain.split("\n")

    return run()


async def test_prompts_go_up_for_better_and_down_for_worse_the_worst_first():
    prompts = PromptBars()
    prompts.show([0.04, -0.08, 0.0, 0.08], margin=0.02)
    lines = await shown(prompts, 4, 4)
    assert [len(line) for line in lines] == [4, 4, 4, 4]
    assert all(row[0] == " " for row in lines[:2])
    assert lines[0] == "   █"
    assert lines[1] == "  ██"


async def test_more_prompts_than_columns_show_the_worst_of_each():
    prompts = PromptBars()
    prompts.show([-0.1, *[0.01 * at for at in range(99)]])
    lines = await shown(prompts, 10, 2)
    assert all(len(line) == 10 for line in lines)


async def test_marks_lie_on_the_way_to_the_references():
    likeness = LikenessLine()
    likeness.show([Mark("bare base", 3.0, "0.466"), Mark("v2", 58.0, "0.753"), Mark("references", 97.0, "0.868")])
    lines = await shown(likeness, 40, 4)
    assert [at for at, char in enumerate(lines[0]) if char == "●"] == [1, 23, 38]
    assert lines[2].startswith("● v2")
    assert lines[2].endswith("0.753")
    assert likeness.get_content_height(Size(40, 9), Size(40, 9), 40) == 4


async def test_the_strength_that_is_shown_is_full():
    strip = StrengthStrip()
    strip.show([Strength(3, 0.4, -0.1), Strength(4, 1.0, 0.0)], shown=4)
    (line,) = await shown(strip, 60, 1)
    assert line == "strength  0.4 ░ −0.10   1 ▓ ±0"


@pytest.mark.parametrize("picture", [(64, 64), (832, 1216), (1344, 768)])
@pytest.mark.parametrize("size", [(78, 20), (118, 35), (198, 55), (198, 30)])
def test_two_pictures_always_fit_and_keep_their_shape(size, picture):
    found = arrange(*size, picture, bars=8)
    width, height = picture_cells(picture, found.stage, 2)
    assert 2 * width + 2 <= found.stage[0]
    assert height + 1 <= found.stage[1]
    assert width / (2 * height) == pytest.approx(picture[0] / picture[1], rel=0.12)
    below = found.aside_size + 1 if found.aside == "below" else 0
    assert found.stage[1] + found.words + below + int(not found.left) <= size[1]
    side = found.aside_size if found.aside == "side" else 0
    assert found.stage[0] + found.left + side <= size[0]


def test_the_arrangement_is_the_one_with_the_larger_pictures():
    assert arrange(118, 35, (64, 64), bars=8).aside == "below"
    assert arrange(198, 30, (64, 64), bars=8).aside == "side"
    assert arrange(78, 20, (64, 64), bars=8).aside == "none"
    assert arrange(118, 35, (64, 64), bars=8, whole=True).stage > arrange(118, 35, (64, 64), bars=8).stage
