"""Pictures of a run: which stand where, and how large."""

from pathlib import Path

import pytest
from PIL import Image as Pillow
from textual.app import App, ComposeResult

from assetforge.jobs.live import Sample
from assetforge.tui.images.protocol import TerminalPictures
from assetforge.tui.widgets.picture import Picture
from assetforge.tui.widgets.sample_wall import SampleWall, grid_for, newest_first
from tests.tui.waiting import until


def made(*steps: int | None, prompts: int = 2) -> list[Sample]:
    return [Sample(Path(f"{step}-{at}.png"), f"prompt {at}", step) for step in steps for at in range(prompts)]


def places(samples: list[Sample]) -> list[tuple[int | None, str]]:
    return [(sample.step, sample.prompt[-1]) for sample in newest_first(samples)]


def test_the_newest_step_comes_first_and_prompts_keep_their_places():
    assert places(made(0, 150, 300)) == [(300, "0"), (300, "1"), (150, "0"), (150, "1"), (0, "0"), (0, "1")]


def test_what_a_later_attempt_made_again_stands_once():
    assert places([*made(0, 150), *made(150, 300)]) == places(made(0, 150, 300))


def test_renders_are_shown_backwards():
    renders = [Sample(Path(f"{at}.png")) for at in range(3)]
    assert newest_first(renders) == renders[::-1]


@pytest.mark.parametrize(
    ("samples", "room", "grid"),
    [
        # Two prompts at 120 x 40: the last step and the one before.
        (made(0, 150, 300), (57, 33), (2, 2, 14)),
        # Wider: as many steps as keep pictures as wide as their columns.
        (made(0, 150, 300), (94, 53), (2, 2, 24)),
        (made(0, 150, 300, prompts=4), (94, 53), (4, 3, 12)),
        # More prompts than have room beside each other.
        (made(0, prompts=8), (57, 33), (3, 3, 9)),
        # One prompt: its steps beside each other, not one picture as large as the screen.
        (made(0, 150, 300, prompts=1), (94, 40), (3, 1, 16)),
        # A low screen: the last step, and the one before where there is room at its sides.
        (made(0, 150, 300), (78, 13), (2, 1, 13)),
        (made(0, 150, 300), (98, 13), (4, 1, 12)),
        (made(300, prompts=1), (57, 33), (1, 1, 29)),
        ([Sample(Path("0.png"))], (5, 2), (1, 1, 2)),
        ([], (57, 33), (1, 1, 29)),
    ],
)
def test_as_large_as_the_room_allows(samples, room, grid):
    assert grid_for(newest_first(samples), *room) == grid


async def test_whatever_prompts_and_files_are_like(tmp_path):
    class Shown(App[None]):
        def compose(self) -> ComposeResult:
            yield SampleWall(TerminalPictures("halfcell", 10, 20))

    for name in ("good.png", "cut.png"):
        Pillow.radial_gradient("L").resize((64, 64)).convert("RGB").save(tmp_path / name)
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:40])
    (tmp_path / "no picture.png").write_text("[b]")
    samples = [
        Sample(tmp_path / name, prompt, 7)
        for name, prompt in (
            ("good.png", "a[/b] [red]\x1b[31m\nsecond line\u202e مرحبا 🎬"),
            ("cut.png", "cut"),
            ("no picture.png", "none"),
            ("gone.png", "gone"),
        )
    ]
    async with Shown().run_test(size=(120, 40)) as pilot:
        wall = pilot.app.query_one(SampleWall)
        assert not wall.query(Picture)
        wall.show((), "nothing [b]yet[/b]")
        await until(pilot, lambda: [one.shown_caption for one in wall.query(Picture)] == ["nothing [b]yet[/b]"])
        wall.show(samples, "")
        told = ["cut cannot be read", "no picture cannot be read", "gone cannot be read"]
        await until(pilot, lambda: [one.shown_caption for one in wall.query(Picture)][1:] == told)
        await until(pilot, lambda: wall.query(Picture).first().shown_caption.startswith("step 7 · a[/b] [red]"))
        assert "\x1b" not in wall.query(Picture).first().shown_caption
        await pilot.resize_terminal(30, 8)
        await until(pilot, lambda: sum(one.display for one in wall.query(Picture)) < 4)
        wall.clear()
        await until(pilot, lambda: not any(one.shown_caption for one in wall.query(Picture)))
