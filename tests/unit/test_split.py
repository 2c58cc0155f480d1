"""Near-duplicates never cross the split, splits stick, and what is held out depends on the pictures alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetforge.domain.dataset_diff import DatasetLine, diff_datasets, tree_hash
from assetforge.domain.phash import hamming, near_pairs, perceptual_hash, signed, unsigned
from assetforge.domain.split import Groups, Member, assign_splits, held_out_target


def name(number: int) -> str:
    return f"{number:064x}"


entries = st.lists(
    st.tuples(
        st.integers(0, 300),
        st.sampled_from([None, 1, 2, 3, 4]),
        st.sampled_from(["", "", "train", "held_out"]),
        st.sampled_from([True, True, True, False]),
    ),
    min_size=1,
    max_size=60,
    unique_by=lambda entry: entry[0],
)
members = entries.map(lambda found: [Member(name(number), group, split) for number, group, split, _ in found])
some_aside = entries.map(lambda found: [Member(name(number), *rest) for number, *rest in found]).filter(
    lambda found: any(one.active for one in found)
)


@given(members, st.integers(0, 20))
def test_a_group_is_never_torn_and_something_is_left_to_train_on(found: list[Member], wanted: int) -> None:
    changed = assign_splits(found, min(wanted, len(found) - 1))
    splits = {member.sha256: changed.get(member.sha256, member.split) for member in found}
    assert set(splits.values()) <= {"train", "held_out"}
    assert "train" in splits.values()
    by_group: dict[int, set[str]] = {}
    for member in found:
        if member.group is not None:
            by_group.setdefault(member.group, set()).add(splits[member.sha256])
    assert all(len(both) == 1 for both in by_group.values())


@given(members, st.integers(0, 20))
def test_a_second_time_changes_nothing(found: list[Member], wanted: int) -> None:
    target = min(wanted, len(found) - 1)
    changed = assign_splits(found, target)
    after = [Member(one.sha256, one.group, changed.get(one.sha256, one.split)) for one in found]
    assert assign_splits(after, target) == {}


@given(some_aside, st.integers(0, 20))
def test_what_was_put_aside_binds_its_near_duplicates_and_counts_for_nothing(found: list[Member], wanted: int) -> None:
    active = [one for one in found if one.active]
    target = min(wanted, len(active) - 1)
    changed = assign_splits(found, target)
    after = [Member(one.sha256, one.group, changed.get(one.sha256, one.split), one.active) for one in found]
    assert all(one.split in ("train", "held_out") for one in after if one.active)
    assert any(one.split == "train" for one in after if one.active)
    assert assign_splits(after, target) == {}
    with_active = {one.group for one in active if one.group is not None}
    for group in with_active:
        assert len({one.split for one in after if one.group == group and one.split}) == 1
    # Those without a split, or without an active near-duplicate, might as well not be there.
    binding = [one for one in found if one.active or (one.split and one.group in with_active)]
    assert assign_splits(binding, target) == changed


@given(st.permutations(range(40)))
def test_order_of_arrival_does_not_matter(order: list[int]) -> None:
    expected = assign_splits([Member(name(number)) for number in range(40)], 4)
    assert assign_splits([Member(name(number)) for number in order], 4) == expected
    assert sum(split == "held_out" for split in expected.values()) == 4


@given(members, st.integers(0, 20))
def test_single_references_keep_their_split(found: list[Member], wanted: int) -> None:
    singles = [Member(one.sha256, None, one.split) for one in found]
    changed = assign_splits(singles, min(wanted, len(found) - 1))
    if any(one.split == "train" for one in singles) or any(not one.split for one in singles):
        kept = [one for one in singles if one.split and one.sha256 in changed]
        assert not kept or all(one.split == "held_out" for one in singles)


@pytest.mark.parametrize(
    ("total", "asked", "expected"),
    [
        (1, None, 0),
        (4, None, 0),
        (7, None, 1),
        (8, None, 2),
        (12, None, 2),
        (100, None, 10),
        (12, 4, 4),
        (12, 0.25, 3),
        (3, 9, 2),
        (5, 0, 0),
    ],
)
def test_how_many_are_held_out(total: int, asked: float | None, expected: int) -> None:
    assert held_out_target(total, asked) == expected


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=30), st.lists(st.integers(0, 2**64 - 1), max_size=30))
def test_near_pairs_are_those_of_the_plain_definition(known: list[int], seeds: list[int]) -> None:
    new = [*seeds, *(unsigned(value) ^ (1 << (index % 64)) for index, value in enumerate(known))]
    everything = [*known, *new]
    expected = {
        (index, other)
        for index in range(len(new))
        for other in range(len(known) + index)
        if hamming(everything[len(known) + index], everything[other]) <= 8
    }
    assert {(index, other) for index, other, _ in near_pairs(new, known)} == expected


def test_hashes_survive_the_database_and_flat_pictures_have_one() -> None:
    for value in (0, 1, 2**63 - 1, 2**63, 2**64 - 1):
        assert unsigned(signed(value)) == value
    flat = [perceptual_hash(np.full((32, 32), level, np.uint8)) for level in (0, 100, 200, 255)]
    assert flat == [0, 0, 1 << 63, 1 << 63]
    with pytest.raises(ValueError, match="shape"):
        perceptual_hash(np.zeros((8, 8), np.uint8))


def test_groups_grow_together() -> None:
    groups = Groups({5: 3, 3: 3, 9: 8, 8: 8})
    groups.join(12, 9)
    groups.join(12, 5)
    assert groups.changed() == {8: 3, 9: 3, 12: 3}


lines = st.lists(
    st.builds(
        DatasetLine,
        st.integers(0, 12).map(name),
        st.sampled_from(["", "a", "b|c", "b\nc", "b\\nc"]),
        st.sampled_from(["", "0,0,8,8"]),
        st.integers(1, 2),
        st.sampled_from(["train", "held_out"]),
    ),
    max_size=8,
    unique_by=lambda line: line.sha256,
)


@given(lines, lines)
def test_equal_trees_are_equal_datasets_and_only_those(one: list[DatasetLine], other: list[DatasetLine]) -> None:
    same = sorted(one) == sorted(other)
    assert (tree_hash(one) == tree_hash(other)) == same
    assert diff_datasets(one, other).empty == same
    assert tree_hash(reversed(one)) == tree_hash(one)


def test_a_difference_says_what_changed() -> None:
    before = [DatasetLine(name(1), "a", "", 1, "train"), DatasetLine(name(2), "b", "", 1, "train")]
    after = [DatasetLine(name(2), "c", "0,0,4,4", 3, "held_out"), DatasetLine(name(3), "d", "", 1, "train")]
    changes = diff_datasets(before, after)
    assert (changes.added, changes.removed) == ((name(3),), (name(1),))
    assert [(one.before, one.after) for one in changes.recaptioned] == [("b", "c")]
    assert [(one.before, one.after) for one in changes.recropped] == [("", "0,0,4,4")]
    assert [(one.before, one.after) for one in changes.resplit] == [("train", "held_out")]
    assert [(one.before, one.after) for one in changes.repeats] == [("1", "3")]
