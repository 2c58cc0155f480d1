"""Curves over the steps of a run that stay small however long it is: of every stretch of steps the lowest and the highest value is kept."""

import math
from dataclasses import dataclass

__all__ = ["MOST_POINTS", "Curve", "Series"]

MOST_POINTS = 2_000
"""Most points of a series, more than a terminal has columns."""


@dataclass(frozen=True, slots=True)
class Series:
    """Points in the order of their steps, at most :data:`MOST_POINTS`.

    Attributes:
        steps: Where.
        values: What; as many, all finite.
        last: The newest value, which need not be among the points; ``None`` without any.
    """

    steps: tuple[int, ...] = ()
    values: tuple[float, ...] = ()
    last: float | None = None


@dataclass(slots=True)
class _Bucket:
    index: int
    low_step: int
    low: float
    high_step: int
    high: float

    def see(self, step: int, value: float) -> None:
        if value < self.low:
            self.low, self.low_step = value, step
        if value >= self.high:
            self.high, self.high_step = value, step

    def take(self, other: "_Bucket") -> None:
        self.see(other.low_step, other.low)
        self.see(other.high_step, other.high)

    def points(self) -> list[tuple[int, float]]:
        return sorted({(self.low_step, self.low), (self.high_step, self.high)})


class Curve:
    """Takes values one by one and gives a series whenever it is asked for; memory does not grow with their number.

    Args:
        most: Most points of the series, at least 2.
    """

    def __init__(self, most: int = MOST_POINTS) -> None:
        self._most, self._width = most // 2, 1
        self._buckets: list[_Bucket] = []
        self._last: tuple[int, float] | None = None
        self._made: Series | None = None

    def add(self, step: int, value: float) -> None:
        """Take a value; one at an earlier step than the last begins there anew. Values that are not finite are left out."""
        if not math.isfinite(value):
            return
        if self._last is not None and step < self._last[0]:
            self.cut(step - 1)
        self._last, self._made = (step, value), None
        index = step // self._width
        if self._buckets and self._buckets[-1].index == index:
            # What nearly every value of a long run takes: no new object.
            self._buckets[-1].see(step, value)
            return
        self._buckets.append(_Bucket(index, step, value, step, value))
        while len(self._buckets) > self._most:
            self._width *= 2
            wide, self._buckets = self._buckets, []
            for bucket in wide:
                bucket.index //= 2
                self._put(bucket)

    def cut(self, after: int) -> None:
        """Forget what came after a step."""
        kept, self._buckets, self._made = self._buckets, [], None
        for bucket in kept:
            for step, value in bucket.points():
                if step <= after:
                    self._put(_Bucket(step // self._width, step, value, step, value))
        if self._last is not None and self._last[0] > after:
            points = self._buckets[-1].points() if self._buckets else []
            self._last = points[-1] if points else None

    def series(self) -> Series:
        """The curve so far."""
        if self._made is None:
            points = [point for bucket in self._buckets for point in bucket.points()]
            self._made = Series(
                tuple(step for step, _ in points),
                tuple(value for _, value in points),
                self._last[1] if self._last is not None else None,
            )
        return self._made

    def _put(self, bucket: _Bucket) -> None:
        if self._buckets and self._buckets[-1].index == bucket.index:
            self._buckets[-1].take(bucket)
        else:
            self._buckets.append(bucket)
