import random
from collections import Counter

import pytest

from assetforge.domain.votes import Ballot, count_votes, left_sides, wilson


def ballots(person, text, prompts=None):
    """Votes on cells 0, 1, ...: ``n`` for the new version, ``b`` for the baseline, ``-`` for neither; each cell has its own prompt by default."""
    choices = {"n": "new", "b": "baseline", "-": "tie"}
    return [
        Ballot(person=person, cell=cell, prompt=prompts[cell] if prompts else f"prompt {cell}", choice=choices[letter])
        for cell, letter in enumerate(text)
        if letter != " "
    ]


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # Newcombe (1998), table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0),
    ],
)
def test_wilsons_interval_is_the_published_one(successes, trials, low, high):
    found = wilson(successes, trials)
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_shares_that_are_none():
    assert wilson(0, 0) is None
    with pytest.raises(ValueError, match="3 of 2"):
        wilson(3, 2)


def test_one_person():
    poll = count_votes(ballots("anna", "nnnnnnb--"))
    tally = poll.people["anna"]
    assert poll.pooled == tally
    assert (tally.wins, tally.losses, tally.ties, tally.prompts) == (6, 1, 2, 9)
    assert tally.share == pytest.approx(6 / 7)
    assert tally.lean == pytest.approx(5 / 9)
    # Of the 128 signs of seven preferences, 8 have at most one against; twice that, to both sides.
    assert tally.p_value == pytest.approx(2 * 8 / 128)
    assert (poll.agreement, poll.pairs) == (None, 0)
    assert poll.phrase == "new preferred in 6 of 7 (86%, 49 to 97), 2 ties, 9 prompts, p 0.12; anna"


def test_prompts_decide_and_not_cells():
    twelve = ["hill"] * 6 + ["night"] * 6
    poll = count_votes(ballots("anna", "nnnnnnnnnnnn", prompts=twelve))
    assert (poll.pooled.wins, poll.pooled.prompts) == (12, 2)
    assert poll.pooled.p_value == pytest.approx(0.5)
    assert count_votes(ballots("anna", "nnnnnnnnnnnn")).pooled.p_value == pytest.approx(2 / 2**12)


def test_no_votes_and_no_preference():
    nothing = count_votes([])
    assert (nothing.pooled.share, nothing.pooled.interval, nothing.pooled.lean, nothing.pooled.p_value) == (
        *(None,) * 3,
        1.0,
    )
    assert nothing.phrase == "no votes"
    ties = count_votes(ballots("anna", "---"))
    assert (ties.pooled.share, ties.pooled.lean, ties.pooled.p_value) == (None, 0.0, 1.0)
    assert ties.phrase == "no preference, 3 ties, 3 prompts, p 1; anna"


def test_several_people_count_alike_and_each_cell_once():
    poll = count_votes([*ballots("anna", "nnnb"), *ballots("ben", "nn b"), *ballots("carl", "bn")])
    # Cell 0 is won two to one, cell 1 by all, cell 2 by anna alone, cell 3 is lost by both.
    assert (poll.pooled.wins, poll.pooled.losses, poll.pooled.ties) == (3, 1, 0)
    assert poll.pooled.lean == pytest.approx((1 / 3 + 1 + 1 - 1) / 4)
    assert list(poll.people) == ["anna", "ben", "carl"]
    assert poll.people["carl"].wins == poll.people["carl"].losses == 1
    # Pairs: one of three on cell 0, all three on cell 1, none on cell 2, one of one on cell 3.
    assert (poll.agreement, poll.pairs) == (pytest.approx(5 / 7), 7)
    assert "3 people, agreeing in 71% of 7" in poll.phrase
    assert poll.as_json()["pooled"]["interval"]["low"] == poll.pooled.interval.low


def test_whoever_votes_more_often_within_a_prompt_counts_no_more():
    prompts = ["hill"] * 5
    poll = count_votes([*ballots("anna", "nnnnn", prompts), *ballots("ben", "b", prompts)])
    assert poll.pooled.lean == 0.0


def test_a_newer_vote_takes_the_place_of_the_older_and_order_changes_nothing_else():
    old, new = ballots("anna", "nb"), ballots("anna", "b")
    poll = count_votes([*old, *new])
    assert (poll.pooled.wins, poll.pooled.losses) == (0, 2)
    many = [*ballots("anna", "nnb-nb"), *ballots("ben", "bnb-nn")]
    shuffled = random.Random(7).sample(many, len(many))
    assert count_votes(shuffled).as_json() == count_votes(many).as_json()


def test_sides_are_drawn_reproducibly_and_evenly():
    cells = [7, 3, 9, 1, 4, 0, 2, 8, 5]
    sides = left_sides("film 12", cells, "anna")
    assert sides == left_sides("film 12", cells, "anna")
    assert set(sides) == set(cells)
    for block in (cells[:4], cells[4:8]):
        assert sorted(sides[cell] for cell in block) == ["baseline", "baseline", "new", "new"]
    # Neither side is the more frequent one for any cell, whoever votes, odd blocks included.
    for count in (1, 3, 4, 9):
        drawn = [left_sides("film 12", cells[:count], f"person {number}") for number in range(600)]
        for cell in cells[:count]:
            assert 240 < Counter(sides[cell] for sides in drawn)["new"] < 360
    assert left_sides("film 13", cells, "anna") != sides or left_sides("film 14", cells, "anna") != sides
