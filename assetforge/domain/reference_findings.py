"""What is worth a look about a picture before anybody trains on it, in short phrases."""

from dataclasses import dataclass
from typing import Protocol

__all__ = ["BASE_RESOLUTION", "FindingContext", "LookedAt", "reference_findings"]

BASE_RESOLUTION = 512
"""Shorter side, in pixels, below which most base models have to enlarge a picture."""

_BLURRED = 0.25
_DARK, _BRIGHT = 0.08, 0.92


class LookedAt(Protocol):
    """What findings are made of."""

    @property
    def caption(self) -> str:
        """Its caption; may be empty."""

    @property
    def rights(self) -> str:
        """What is allowed with it; may be empty."""

    @property
    def width(self) -> int:
        """Pixels, upright."""

    @property
    def height(self) -> int:
        """Pixels, upright."""

    @property
    def sharpness(self) -> float:
        """Best-region sharpness, unbounded above."""

    @property
    def brightness(self) -> float:
        """Mean luma, 0 to 1."""

    @property
    def near_group(self) -> int | None:
        """Its group of near-duplicates."""

    @property
    def transparent(self) -> bool:
        """Some of it can be seen through."""


@dataclass(frozen=True, slots=True)
class FindingContext:
    """What a picture is held against.

    Attributes:
        median_sharpness: Of the asset's references in use; 0 when there are none.
        resolution: Shorter side that a picture should have, in pixels.
    """

    median_sharpness: float = 0.0
    resolution: int = BASE_RESOLUTION


def reference_findings(row: LookedAt, context: FindingContext) -> tuple[str, ...]:
    """What is worth a look about a reference, the gravest first; nothing when all is well."""
    found = []
    if min(row.width, row.height) < context.resolution:
        found.append(f"smaller than {context.resolution} px")
    if row.sharpness < _BLURRED * context.median_sharpness:
        found.append("blurred compared with the others")
    if row.brightness < _DARK:
        found.append("very dark")
    elif row.brightness > _BRIGHT:
        found.append("very bright")
    if row.near_group is not None:
        found.append("much like another one")
    if row.transparent:
        found.append("has transparency")
    if not row.caption.strip():
        found.append("no caption")
    if not row.rights.strip():
        found.append("no rights")
    return tuple(found)
