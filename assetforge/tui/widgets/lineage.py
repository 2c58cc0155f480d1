"""The lineage of an asset's versions as lines beside a list, newest first: one line down what the asset became, and branches where somebody went back."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from typing import NamedTuple

from assetforge.db.browse.lineage import VersionSource

__all__ = ["Lineage", "Stem", "lineage_of"]

_MOST_LANES = 6


class Stem(NamedTuple):
    """The line of one version: what is drawn before its glyph and after it, all lines of a lineage equally wide.

    Attributes:
        before: Cells before the glyph.
        after: Cells after it.
    """

    before: str
    after: str


class Lineage(NamedTuple):
    """Lines of all versions of an asset.

    Attributes:
        stems: By the number of the version.
        origins: By the number of the version, what it goes on from; ``None`` where nothing before it is known.
        width: Cells of every line, the glyph included.
    """

    stems: dict[int, Stem]
    origins: dict[int, int | None]
    width: int


def lineage_of(sources: Sequence[VersionSource]) -> Lineage:
    """The lines of a list of versions.

    A version goes on from the one before it, unless it was trained on an older dataset than that one: then from the last that had learned from no newer dataset than it.

    Args:
        sources: All versions of an asset, newest first.
    """
    origins = _origins(sources)
    main = _main_line(sources, origins)
    drawer = _Drawer(main, origins)
    rows = [(one.number, *drawer.row(one.number)) for one in sources]
    width = max((min(len(line), 2 * _MOST_LANES - 1) for _number, _lane, line in rows), default=1)
    stems = {}
    for number, lane, line in rows:
        at = 2 * min(lane, _MOST_LANES - 1)
        stems[number] = Stem(line[:at], line[at + 1 : width].ljust(width - at - 1))
    return Lineage(stems, origins, width)


def _origins(sources: Sequence[VersionSource]) -> dict[int, int | None]:
    """What each version goes on from."""
    origins: dict[int, int | None] = {}
    by_dataset: dict[int, list[int]] = {}
    datasets: list[int] = []
    known = {one.number for one in sources}
    for one in reversed(sources):
        parent = one.parent if one.parent in known else None
        origins[one.number] = parent
        if one.dataset is None:
            continue
        if parent is not None:
            origins[one.number] = _newest_on(by_dataset, datasets[: bisect_right(datasets, one.dataset)], parent)
        if one.dataset not in by_dataset:
            insort(datasets, one.dataset)
        by_dataset.setdefault(one.dataset, []).append(one.number)
    return origins


def _newest_on(by_dataset: dict[int, list[int]], datasets: Sequence[int], last: int) -> int | None:
    """Of the versions up to a number the one on the newest of these datasets, and of those the newest."""
    for dataset in reversed(datasets):
        numbers = by_dataset[dataset]
        at = bisect_right(numbers, last)
        if at:
            return numbers[at - 1]
    return None


def _main_line(sources: Sequence[VersionSource], origins: dict[int, int | None]) -> set[int]:
    """Those from which the version came that is furthest: on the newest dataset, and of those the newest."""
    tip = max(sources, key=lambda one: (one.stage != "retired", one.dataset or 0, one.number), default=None)
    found: set[int] = set()
    number = tip.number if tip is not None else None
    while number is not None:
        found.add(number)
        number = origins[number]
    return found


class _Drawer:
    """Draws line after line; keeps which version each lane leads down to."""

    def __init__(self, main: set[int], origins: dict[int, int | None]) -> None:
        self._main, self._origins = main, origins
        self._waiting = sorted(number for number in origins.values() if number is not None)
        self._lanes: list[int | None] = [None]

    def row(self, number: int) -> tuple[int, str]:
        """The lane of a version and its line; lane ``k`` stands in cell ``2 * k``."""
        lanes, origin = self._lanes, self._origins[number]
        arriving = [lane for lane, awaited in enumerate(lanes) if awaited == number]
        lane = arriving[0] if arriving else self._free_lane(number)
        for other in arriving[1:]:
            lanes[other] = None
        passing = {at for at, awaited in enumerate(lanes) if awaited is not None and at != lane}
        hook = next((at for at in sorted(passing) if at < lane and lanes[at] == origin), None)
        lanes[lane] = origin if hook is None else None
        line = _line(lane, passing, arriving[1:], hook)
        while len(lanes) > 1 and lanes[-1] is None:
            lanes.pop()
        return lane, line

    def _free_lane(self, number: int) -> int:
        """The first lane is the main line's, and of what stands alone where that does not go through."""
        alone = self._origins[number] is None and not self._has_children(number)
        if number in self._main or (alone and self._lanes[0] is None):
            return 0
        for lane in range(1, len(self._lanes)):
            if self._lanes[lane] is None:
                return lane
        self._lanes.append(None)
        return len(self._lanes) - 1

    def _has_children(self, number: int) -> bool:
        at = bisect_left(self._waiting, number)
        return at < len(self._waiting) and self._waiting[at] == number


def _line(lane: int, passing: set[int], joining: Sequence[int], hook: int | None) -> str:
    cells = [" "] * (2 * max([lane, *passing, *joining]) + 1)
    # The glyph comes here.
    cells[2 * lane] = "·"
    for at in passing:
        cells[2 * at] = "│"
    if joining:
        _across(cells, 2 * lane + 1, 2 * joining[-1])
        for at in joining:
            cells[2 * at] = "┘" if at == joining[-1] else "┴"
    if hook is not None:
        _across(cells, 2 * hook + 1, 2 * lane)
        cells[2 * hook] = "├"
    return "".join(cells)


def _across(cells: list[str], first: int, end: int) -> None:
    for at in range(first, end):
        cells[at] = "┼" if cells[at] == "│" else "─"
