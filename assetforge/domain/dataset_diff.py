"""Identity of a dataset, and what changed between two of them."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Change", "DatasetDiff", "DatasetLine", "diff_datasets", "tree_hash"]


class DatasetLine(NamedTuple):
    """One reference of a dataset.

    Attributes:
        sha256: Hash of its bytes.
        caption: Caption, without the trigger.
        crop: ``left,top,right,bottom`` in pixels of the upright picture, or empty.
        repeats: How often it is shown per epoch.
        split: ``train`` or ``held_out``.
        mask: Hash of its mask, or empty.
    """

    sha256: str
    caption: str
    crop: str
    repeats: int
    split: str
    mask: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """A value of a reference that differs.

    Attributes:
        sha256: The reference.
        before: Value in the older dataset.
        after: Value in the newer dataset.
    """

    sha256: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetDiff:
    """What is different in the newer of two datasets; everything is ordered by hash.

    Attributes:
        added: References that only the newer one has.
        removed: References that only the older one has.
        recaptioned: Captions that differ.
        recropped: Crops that differ.
        remasked: Masks that differ.
        resplit: Splits that differ.
        repeats: Repeats that differ.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    recaptioned: tuple[Change, ...]
    recropped: tuple[Change, ...]
    remasked: tuple[Change, ...]
    resplit: tuple[Change, ...]
    repeats: tuple[Change, ...]

    @property
    def empty(self) -> bool:
        """The two are the same."""
        changed = (self.recaptioned, self.recropped, self.remasked, self.resplit, self.repeats)
        return not (self.added or self.removed or any(changed))


def tree_hash(lines: Iterable[DatasetLine]) -> str:
    """SHA-256 over the lines ``sha256|caption|crop|repeats|split`` in ascending order, each ended by a newline; ``|mask`` follows where there is one.

    Backslashes and line breaks of a caption are escaped, so that different datasets never give the same text.
    """
    text = "".join(
        sorted(
            f"{sha256}|{_escape(caption)}|{crop}|{repeats}|{split}{'|' + mask if mask else ''}\n"
            for sha256, caption, crop, repeats, split, mask in lines
        )
    )
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _escape(caption: str) -> str:
    if "\\" in caption or "\n" in caption or "\r" in caption:
        return caption.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return caption


def diff_datasets(before: Iterable[DatasetLine], after: Iterable[DatasetLine]) -> DatasetDiff:
    """Compare two datasets, the older one first."""
    old = {line.sha256: line for line in before}
    new = {line.sha256: line for line in after}
    return DatasetDiff(
        added=tuple(sorted(new.keys() - old.keys())),
        removed=tuple(sorted(old.keys() - new.keys())),
        recaptioned=_changes(old, new, "caption"),
        recropped=_changes(old, new, "crop"),
        remasked=_changes(old, new, "mask"),
        resplit=_changes(old, new, "split"),
        repeats=_changes(old, new, "repeats"),
    )


def _changes(old: Mapping[str, DatasetLine], new: Mapping[str, DatasetLine], field: str) -> tuple[Change, ...]:
    return tuple(
        Change(sha256, str(getattr(old[sha256], field)), str(getattr(new[sha256], field)))
        for sha256 in sorted(old.keys() & new.keys())
        if getattr(old[sha256], field) != getattr(new[sha256], field)
    )
