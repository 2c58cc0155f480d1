"""Pictures of a run: which stand where, and how large."""

from pathlib import Path

import pytest

from assetforge.jobs.live import Sample
from assetforge.tui.widgets.sample_wall import grid_for, newest_first


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
