"""Curves: what is drawn where, in few milliseconds, whatever the values are; and a log that follows its end."""

import itertools
import math
import time

import pytest
from textual.app import App

from assetforge.tui.widgets.log_tail import LogTail
from assetforge.tui.widgets.run_chart import RunChart, figure, smoothed


class ChartApp(App):
    CSS = "RunChart { width: 60; height: 14; } LogTail { width: 40; height: 6; }"

    def get_css_variables(self):
        return {**super().get_css_variables(), "dim": "#888888"}

    def compose(self):
        yield RunChart("loss", empty="No loss was told yet.")
        yield LogTail(empty="It said nothing.")


def lines_of(widget):
    return [widget.render_line(y).text for y in range(widget.size.height)]


def marks(lines):
    """Places of cells with dots."""
    return [(x, y) for y, line in enumerate(lines) for x, char in enumerate(line) if "⠁" <= char <= "⣿"]


async def test_a_curve_falls_from_left_to_right_and_has_room_for_what_is_to_come():
    app = ChartApp()
    async with app.run_test(size=(80, 30)):
        chart = app.query_one(RunChart)
        assert "No loss was told yet." in "".join(lines_of(chart))
        steps = list(range(1, 1001))
        chart.show(
            steps,
            [math.exp(-step / 300) for step in steps],
            total=1600,
            dotted=([500, 1000], [0.4, 0.3]),
            dotted_title="validation",
        )
        lines = lines_of(chart)
        assert all(len(line) == 60 for line in lines)
        assert lines[0].startswith("loss  0.0357   validation · · · 0.3000")
        assert lines[-1].split() == ["0", "steps", "500", "1,000", "1,500"]
        assert "0.5" in {line.split()[0] for line in lines[1:-1] if line.split()}
        found = marks(lines)
        assert min(found)[1] < max(found)[1]
        # 1,000 of 1,600 steps.
        assert 30 < max(found)[0] < 42


@pytest.mark.parametrize(
    ("steps", "values"),
    [
        ([7], [0.5]),
        ([1, 2, 3], [0.0, 0.0, 0.0]),
        ([1, 2], [-3.0, 1e12]),
        ([0, 10**9], [1e-12, 2e-12]),
        ([5, 5, 5], [1.0, 2.0, 3.0]),
    ],
)
@pytest.mark.parametrize("size", [(60, 14), (9, 3), (8, 1), (3, 2)])
async def test_odd_values_and_little_room(steps, values, size):
    app = ChartApp()
    async with app.run_test(size=(80, 30)) as pilot:
        chart = app.query_one(RunChart)
        chart.styles.width, chart.styles.height = size
        await pilot.pause()
        chart.show(steps, values, total=20)
        lines = lines_of(chart)
        assert all(len(line) == size[0] for line in lines)


async def test_a_spike_does_not_flatten_the_curve():
    app = ChartApp()
    async with app.run_test(size=(80, 30)):
        chart = app.query_one(RunChart)
        values = [0.3 - step / 10_000 for step in range(1000)]
        values[500] = 1e6
        chart.show(list(range(1000)), values)
        assert max(chart._scale()) < 1e6
        heights = {y for _, y in marks(lines_of(chart))}
        chart.show(list(range(200)), [0.3 - step / 10_000 for step in range(200)])
        assert len(heights) >= 3


async def test_drawing_2000_points_is_quick():
    app = ChartApp()
    async with app.run_test(size=(200, 60)) as pilot:
        chart = app.query_one(RunChart)
        chart.styles.width, chart.styles.height = 90, 30
        await pilot.pause()
        steps = list(range(2000))
        values = [math.exp(-step / 500) + 0.1 * math.sin(step * 12.9) for step in steps]
        took = []
        for _ in range(15):
            begin = time.perf_counter()
            chart.show(steps, values, total=2500, dotted=(steps[::100], values[::100]), dotted_title="validation")
            chart.render_line(0)
            took.append(time.perf_counter() - begin)
        # The best of many: the machine does other things too.
        assert min(took) < 0.015


def test_few_values_are_not_smoothed_and_many_are():
    assert smoothed([1.0, 3.0, 2.0]) == [1.0, 3.0, 2.0]
    wild = [1.0 + (-1) ** at for at in range(2000)]
    calm = smoothed(wild)
    assert max(abs(one - other) for one, other in itertools.pairwise(calm[200:])) < 0.1
    assert smoothed([]) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.08123, "0.0812"),
        (1.5, "1.500"),
        (12.34, "12.3"),
        (1e-4, "1e−4"),
        (1.5e-3, "1.5e−3"),
        (0, "0.0000"),
        (-0.5, "−0.5000"),
    ],
)
def test_figures(value, text):
    assert figure(value) == text


async def test_a_log_follows_its_end_and_stays_where_somebody_reads():
    app = ChartApp()
    async with app.run_test(size=(80, 30)) as pilot:
        log = app.query_one(LogTail)
        assert "It said nothing." in log.render_line(0).text
        log.add([f"line {at}" for at in range(100)])
        await pilot.pause()
        await pilot.pause()
        assert log.render_line(5).text.startswith("line 99")
        log.add(["[b]bold?[/b] \x1b[31mred\nsecond " + "word " * 20])
        await pilot.pause()
        shown = [line.rstrip() for line in lines_of(log)]
        assert "[b]bold?[/b] [31mred second word word" in shown
        assert not any("\x1b" in line for line in shown)
        assert all(len(line) <= 40 for line in shown)
        log.focus()
        await pilot.press("pageup")
        await pilot.pause()
        before = log.render_line(0).text
        log.add(["more"] * 10)
        await pilot.pause()
        assert log.render_line(0).text == before
        await pilot.press("end")
        await pilot.pause(0.1)
        assert log.render_line(5).text.startswith("more")


async def test_a_log_keeps_the_last_2000_lines_and_what_is_read_in_place():
    app = ChartApp()
    async with app.run_test(size=(80, 30)) as pilot:
        log = app.query_one(LogTail)
        for first in range(0, 5000, 500):
            log.add([f"line {at}" for at in range(first, first + 500)])
        await pilot.pause()
        assert len(log.lines) == len(log._rows) == 2000
        assert (log.lines[0], log.lines[-1]) == ("line 3000", "line 4999")
        log.focus()
        await pilot.press("pageup", "pageup")
        await pilot.pause()
        before = log.render_line(0).text
        log.add([f"new {at}" for at in range(100)])
        await pilot.pause()
        assert log.render_line(0).text == before
