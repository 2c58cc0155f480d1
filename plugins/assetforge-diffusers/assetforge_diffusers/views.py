"""Which pictures a run shows, in which size: the plan that is made before anything is encoded, and what it says to people."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assetforge.api.job import DatasetItem
from assetforge.domain.buckets import Fit, Size, cover, fits
from assetforge.errors import UsageError
from assetforge_diffusers.params import LoraTrainerParams

__all__ = ["Entry", "describe_plan", "plan_entries"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture at one size.

    Attributes:
        item: The picture.
        shown: How it goes into its bucket.
        weight: Weight of its loss.
    """

    item: DatasetItem
    shown: Fit
    weight: float = 1.0

    @property
    def name(self) -> str:
        """File name, for messages."""
        return Path(self.item.file).name

    @property
    def geometry(self) -> tuple[int, int, int, int, int, int]:
        """Original height and width, top and left of the crop, shown height and width, in pixels."""
        width, height = _size(self.item)
        return height, width, self.shown.top, self.shown.left, self.shown.bucket[1], self.shown.bucket[0]


def plan_entries(
    items: Sequence[DatasetItem], resolutions: Sequence[int], multiple: int, params: LoraTrainerParams
) -> list[Entry]:
    """Every picture at every size it is shown in.

    Args:
        items: The pictures.
        resolutions: Sides of squares in pixels, at least one.
        multiple: What sides must be multiples of for this base.
        params: Whether there are buckets, their step, whether small pictures are enlarged.

    Raises:
        UsageError: A resolution does not fit the base.
    """
    for resolution in resolutions:
        if resolution < multiple or (not params.buckets and resolution % multiple):
            raise UsageError(
                f"The resolution {resolution} is not a multiple of {multiple}.",
                hint="Choose another one in the recipe.",
            )
    if not params.buckets:
        return [Entry(item, cover(_size(item), (side, side))) for item in items for side in resolutions]
    step = _step(min(resolutions), multiple, params.bucket_step)
    return [
        Entry(item, shown) for item in items for shown in fits(_size(item), resolutions, step, enlarge=params.enlarge)
    ]


def describe_plan(entries: Sequence[Entry], batch_size: int) -> list[str]:
    """Sentences about the plan: how many pictures have which size, which are enlarged or cut a lot, which sizes do not fill a batch."""
    counts: Counter[Size] = Counter(entry.shown.bucket for entry in entries)
    sizes = ", ".join(f"{width} x {height}: {count}" for (width, height), count in sorted(counts.items()))
    lines = [f"Sizes: {sizes}."]
    enlarged = [entry.name for entry in entries if entry.shown.enlarged]
    if enlarged:
        lines.append(
            f"{len(enlarged)} of {len(entries)} pictures are smaller than their size and are enlarged, such as {enlarged[0]}."
        )
    cut = [entry for entry in entries if entry.shown.lost > 0.25]
    if cut:
        worst = max(cut, key=lambda entry: entry.shown.lost)
        lines.append(
            f"{len(cut)} of {len(entries)} pictures lose more than a quarter at their edges, most {worst.name} ({worst.shown.lost:.0%})."
        )
    few = [f"{width} x {height}" for (width, height), count in sorted(counts.items()) if count < batch_size]
    if few and len(counts) > 1:
        lines.append(
            f"{len(few)} sizes have fewer pictures than a batch ({', '.join(few[:5])}); their pictures meet themselves in a batch."
        )
    return lines


def _size(item: DatasetItem) -> Size:
    if item.crop is None:
        return item.width, item.height
    left, top, right, bottom = item.crop
    return right - left, bottom - top


def _step(resolution: int, multiple: int, wanted: int) -> int:
    """The step of buckets: what was asked for, but at most an eighth of the resolution, and a multiple of what the base needs."""
    return max(multiple, min(wanted, resolution // 8) // multiple * multiple)
