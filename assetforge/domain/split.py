"""Which references are trained on and which are held out for scoring.

Rules, in this order: near-duplicates share a split (a score on a picture whose twin was trained on says nothing), also with those that were put aside (a picture
that comes back under another hash is still the same picture); a reference keeps the split it has; what is held out anew is chosen by hash, so that it depends
on nothing but the pictures themselves.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assetforge.domain.states import Split

__all__ = ["DEFAULT_SHARE", "Groups", "Member", "assign_splits", "held_out_target"]

DEFAULT_SHARE = 0.1
"""Share of the references that is held out when nobody says otherwise."""

_FEW = 8
_AT_LEAST = 2
_OVERSHOOT = 3


@dataclass(frozen=True, slots=True)
class Member:
    """A reference as the split sees it.

    Attributes:
        sha256: Hash of its bytes.
        group: Number of its group of near-duplicates; ``None`` when it is like no other.
        split: Its split, or empty when it has none yet.
        active: False when it was put aside: it goes into no dataset and is not counted, and its split still binds its near-duplicates.
    """

    sha256: str
    group: int | None = None
    split: str = ""
    active: bool = True


def held_out_target(total: int, held_out: float | None) -> int:
    """How many of ``total`` references shall be held out; at least one is always left to train on.

    Args:
        total: Number of references.
        held_out: A share (below 1), a count (1 or more, or 0), or ``None`` for the rule: 10 %, and at least 2 from 8 references on.
    """
    if held_out is None:
        wanted = max(round(total * DEFAULT_SHARE), _AT_LEAST if total >= _FEW else 0)
    else:
        wanted = round(total * held_out) if held_out < 1 else round(held_out)
    return max(0, min(wanted, total - 1))


def assign_splits(members: Sequence[Member], target: int) -> dict[str, Split]:
    """The splits that must change or be given.

    A group whose members have different splits (a new picture turned out to be near to both) goes to train as a whole. A group without a split is held out
    while fewer than ``target`` references are; a group that is too large for what is still missing is passed over, unless nothing else would be held out at all.

    Args:
        members: All references that go into the dataset, and those that were put aside and have near-duplicates.
        target: How many to hold out, see :func:`held_out_target`.

    Returns:
        New split by sha256, only for members whose split changes.
    """
    members = [member for member in members if member.active or member.split]
    groups = [group for group in _grouped(members) if any(member.active for member in group)]
    decided: dict[str, Split] = {}
    free: list[list[Member]] = []
    held = 0
    for group in groups:
        splits = {member.split for member in group if member.split}
        if not splits:
            free.append(group)
            continue
        split: Split = "held_out" if splits == {"held_out"} else "train"
        held += sum(member.active for member in group) if split == "held_out" else 0
        decided.update((member.sha256, split) for member in group)
    free.sort(key=_order)
    total = sum(member.active for member in members)
    chosen = _choose(free, target - held, total - held)
    if held == 0 and not chosen and target > 0:
        chosen = _smallest(free, total // _OVERSHOOT)
    for index, group in enumerate(free):
        decided.update((member.sha256, "held_out" if index in chosen else "train") for member in group)
    if groups and "train" not in decided.values():
        # Rather pictures of which none was put aside: one that comes back saved anew shall stay held out as long as there is a choice.
        freed = next((group for group in groups if all(member.active for member in group)), groups[0])
        decided.update((member.sha256, "train") for member in freed)
    return {
        member.sha256: decided[member.sha256]
        for member in members
        if member.sha256 in decided and decided[member.sha256] != member.split
    }


def _choose(free: Sequence[Sequence[Member]], missing: int, not_held: int) -> set[int]:
    chosen: set[int] = set()
    for index, group in enumerate(free):
        if len(group) <= missing and len(group) < not_held:
            chosen.add(index)
            missing -= len(group)
            not_held -= len(group)
    return chosen


def _smallest(free: Sequence[Sequence[Member]], limit: int) -> set[int]:
    sizes = [(len(group), index) for index, group in enumerate(free) if len(group) <= limit]
    return {min(sizes)[1]} if sizes else set()


def _grouped(members: Sequence[Member]) -> list[list[Member]]:
    by_group: dict[int, list[Member]] = {}
    groups: list[list[Member]] = []
    for member in members:
        if member.group is None:
            groups.append([member])
        elif member.group in by_group:
            by_group[member.group].append(member)
        else:
            by_group[member.group] = [member]
            groups.append(by_group[member.group])
    return groups


def _order(group: Sequence[Member]) -> str:
    return hashlib.sha256(f"split:{min(member.sha256 for member in group)}".encode()).hexdigest()


class Groups:
    """Groups of near-duplicates that grow pair by pair; a group is named by its smallest reference.

    Args:
        known: Group by reference id, of references that are in a group already.
    """

    def __init__(self, known: Mapping[int, int]) -> None:
        self._parent: dict[int, int] = {}
        self._known = dict(known)
        for reference, group in known.items():
            self.join(reference, group)

    def join(self, first: int, second: int) -> None:
        """Two references are near each other."""
        one, other = self._root(first), self._root(second)
        self._parent[max(one, other)] = min(one, other)

    def changed(self) -> dict[int, int]:
        """The new group of every reference whose group is another than it was."""
        groups = {reference: self._root(reference) for reference in list(self._parent)}
        return {reference: group for reference, group in groups.items() if self._known.get(reference) != group}

    def _root(self, reference: int) -> int:
        self._parent.setdefault(reference, reference)
        while self._parent[reference] != reference:
            self._parent[reference] = self._parent[self._parent[reference]]
            reference = self._parent[reference]
        return reference
