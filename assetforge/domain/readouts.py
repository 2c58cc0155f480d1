"""How embeddings of likeness become one number per picture; a metric's spec says which of three ways is its own.

- ``mean``: the mean cosine to the held-out references.
- ``nearest``: the best one. A face is seen from one side at a time, and a profile is no worse for being unlike the portraits among the references.
- ``csls``: half of :func:`assetforge.domain.csls.csls`, which is the mean cosine less half of how near picture and references are to references of other assets anyway.
  Half of it, so that a cosine stays the unit and a declared margin means the same. Without others it is the mean.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from assetforge.domain.csls import csls

__all__ = ["Yardstick"]

Vector: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Yardstick:
    """What pictures are measured by.

    Attributes:
        references: Unit vectors of the held-out references.
        others: Unit vectors of references of other assets.
        readout: ``mean``, ``nearest`` or ``csls``, see :class:`assetforge.api.specs.MetricSpec`.
    """

    references: Sequence[Vector]
    others: Sequence[Vector] = ()
    readout: str = "mean"

    @classmethod
    def of_keys(
        cls, vectors: Mapping[str, Vector], references: Sequence[str], others: Sequence[str], readout: str
    ) -> "Yardstick":
        """The yardstick of a metric, from its vectors by key; keys without one are left out."""
        known, foreign = ([vectors[key] for key in keys if key in vectors] for keys in (references, others))
        return cls(known, foreign, readout)

    @property
    def applied(self) -> str:
        """The readout that is used: without others there is nothing to tell a style from."""
        return "mean" if self.readout == "csls" and not self.others else self.readout

    def likeness(self, picture: Vector | None) -> float | None:
        """How near a picture is to the references; ``None`` when either is missing."""
        values = self._cosines(picture)
        if picture is None or values is None:
            return None
        if self.applied == "csls":
            return _half_csls(picture, self._table, np.stack(self.others))
        return float(values.max() if self.applied == "nearest" else values.mean())

    def nearest(self, picture: Vector | None) -> float | None:
        """The cosine to the nearest reference, whatever the readout; ``None`` when either is missing."""
        values = self._cosines(picture)
        return None if values is None else float(values.max())

    def among(self) -> list[float]:
        """Each reference against the other references; empty when there is only one."""
        count = len(self.references)
        if count < 2:
            return []
        if self.applied == "csls":
            others = np.stack(self.others)
            return [_half_csls(self._table[one], np.delete(self._table, one, axis=0), others) for one in range(count)]
        cosines = self._table @ self._table.T
        if self.applied == "nearest":
            np.fill_diagonal(cosines, -np.inf)
            return [float(value) for value in cosines.max(axis=1)]
        return [float(value) for value in (cosines.sum(axis=1) - 1.0) / (count - 1)]

    def impostors(self) -> list[float]:
        """Each reference of other assets against the references; where others are neighbours as well, it is none of its own."""
        if not self.references or not self.others:
            return []
        others = np.stack(self.others)
        if self.applied == "csls":
            if len(others) < 2:
                return []
            return [_half_csls(others[one], self._table, np.delete(others, one, axis=0)) for one in range(len(others))]
        cosines = others @ self._table.T
        return [float(value) for value in (cosines.max(axis=1) if self.applied == "nearest" else cosines.mean(axis=1))]

    @cached_property
    def _table(self) -> NDArray[np.float64]:
        return np.stack(self.references)

    def _cosines(self, picture: Vector | None) -> Vector | None:
        if picture is None or not self.references:
            return None
        values: Vector = self._table @ picture
        return values


def _half_csls(picture: Vector, references: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    return float(csls(picture[None], references, others)[0]) / 2.0
