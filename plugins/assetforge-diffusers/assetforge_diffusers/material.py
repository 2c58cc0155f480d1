"""What a run learns from, encoded once: latent moments per picture and size, token ids and embeddings per caption.

Cache entries are keyed by content (the bytes of the picture, crop, size, flip, the autoencoder's files; the caption, the text encoders' files), so a
replaced picture or an edited caption can never meet a stale entry, and one entry serves every run, asset and film.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812

from assetforge.api.context import Stopped, TrainContext
from assetforge.domain.buckets import Size
from assetforge.errors import ImageError, UsageError
from assetforge_diffusers.cache import ContentCache, digest_of
from assetforge_diffusers.draws import Pick
from assetforge_diffusers.families.base import Family, Tokens, Told
from assetforge_diffusers.params import LoraTrainerParams
from assetforge_diffusers.pictures import PICTURES_VERSION, Mask, read_fitted
from assetforge_diffusers.texts import Texts, encode_captions
from assetforge_diffusers.views import Entry

__all__ = ["Batch", "Bucket", "Material", "prepare_material"]

_ENCODING_VERSION = "2"
_DEVICE_BUDGET = 2**30
_PART = 64


@dataclass(frozen=True, slots=True)
class Batch:
    """Some views, ready for a device.

    Attributes:
        moments: (batch, 2 * channels, ..., h, w).
        mask: Weight of every latent pixel, (batch, 1, ..., h, w), or ``None``.
        geometry: See :meth:`Family.predict`; (batch, 6).
        weight: Weight of every picture's loss, (batch,), or ``None`` when all are 1.
        tokens: Token ids by name, (batch, length); while a text encoder trains, with the answers of those that do not, (batch, length, width).
        told: Embeddings by name; ``None`` while a text encoder trains.
    """

    moments: torch.Tensor
    mask: torch.Tensor | None
    geometry: torch.Tensor
    weight: torch.Tensor | None
    tokens: Tokens
    told: Told | None

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Batch":
        """Every tensor changed."""
        return Batch(
            change(self.moments),
            None if self.mask is None else change(self.mask),
            change(self.geometry),
            None if self.weight is None else change(self.weight),
            {name: change(tensor) for name, tensor in self.tokens.items()},
            None if self.told is None else {name: change(tensor) for name, tensor in self.told.items()},
        )


@dataclass(frozen=True, slots=True)
class Bucket:
    """The encoded pictures of one size.

    Attributes:
        size: Width and height in pixels.
        entries: Which entries they are, in row order.
        moments: (entries, flips, 2 * channels, ..., h, w); flips is 1 or 2.
        masks: (entries, flips, 1, ..., h, w), or ``None``.
        geometry: (entries, 6).
        weights: (entries,).
    """

    size: Size
    entries: tuple[int, ...]
    moments: torch.Tensor
    masks: torch.Tensor | None
    geometry: torch.Tensor
    weights: torch.Tensor


class Material:
    """Encoded pictures and captions.

    Args:
        entries: What they are, in the order that picks count.
        buckets: The pictures by size.
        texts: The captions.
    """

    def __init__(self, entries: Sequence[Entry], buckets: Sequence[Bucket], texts: Texts) -> None:
        self.entries, self.buckets, self.texts = tuple(entries), tuple(buckets), texts
        self._weighted = any(entry.weight != 1.0 for entry in entries)
        self._place = {
            entry: (number, row) for number, bucket in enumerate(buckets) for row, entry in enumerate(bucket.entries)
        }

    @property
    def device(self) -> torch.device:
        """Where the pictures are kept."""
        return self.buckets[0].moments.device

    def to(self, place: torch.device) -> "Material":
        """The same on ``place``."""
        return Material(self.entries, [_moved(bucket, place) for bucket in self.buckets], self.texts.to(place))

    def bucket_of(self, entry: int) -> Bucket:
        """The bucket of an entry."""
        return self.buckets[self._place[entry][0]]

    def latent_shape(self, entry: int, batch: int) -> tuple[int, ...]:
        """Shape of a batch of latents of an entry's size."""
        _, _, channels, *rest = self.bucket_of(entry).moments.shape
        return (batch, channels // 2, *rest)

    def batch(self, picks: Sequence[Pick]) -> Batch:
        """Some views of one bucket, where the material is."""
        bucket = self.bucket_of(picks[0].entry)
        last = len(next(iter(self.texts.tokens.values()))) - 1
        where = torch.tensor(
            [[self._place[pick.entry][1], int(pick.flipped), self._text_row(pick, last)] for pick in picks]
        )
        if self.device.type != "cpu":
            where = where.pin_memory().to(self.device, non_blocking=True)
        rows, flips, texts = where.unbind(1)
        told = None if self.texts.told is None else {name: rows_[texts] for name, rows_ in self.texts.told.items()}
        return Batch(
            bucket.moments[rows, flips],
            None if bucket.masks is None else bucket.masks[rows, flips],
            bucket.geometry[rows],
            bucket.weights[rows] if self._weighted else None,
            {name: ids[texts] for name, ids in self.texts.tokens.items()},
            told,
        )

    def _text_row(self, pick: Pick, empty: int) -> int:
        rows = self.texts.rows[pick.entry]
        return empty if pick.variant < 0 else rows[pick.variant % len(rows)]


def prepare_material(
    context: TrainContext,
    family: Family,
    entries: Sequence[Entry],
    params: LoraTrainerParams,
    *,
    embed: bool,
    device: torch.device,
    training: bool = True,
) -> Material:
    """Encode pictures and captions, or take them from the cache. Encoders are moved to ``device`` only when something is missing.

    Args:
        context: Where the files and the cache are, and whether to stop.
        family: The opened base.
        entries: What is shown in which size, at least one.
        params: Flips, masks, and what happens to captions.
        embed: Embed captions now; not when a text encoder trains.
        device: Where encoders work, and where the result goes when it is small enough.
        training: Views are varied; held-out pictures are not.

    Raises:
        Stopped: Somebody asked to stop; what is encoded stays in the cache.
        UsageError: Pictures cannot be read, and the recipe says to stop then; all of them are named.
    """
    cache = ContentCache(context.cache / "diffusers")
    flips = (False, True) if params.flip and training else (False,)
    found = _encode_pictures(context, cache, family, entries, flips, params, device)
    entries = [entry for entry in entries if all((entry, flipped) in found for flipped in flips)]
    buckets = _by_size(entries, flips, found)
    texts = encode_captions(context, family, entries, params, embed=embed, training=training, device=device)
    size = sum(bucket.moments.nbytes for bucket in buckets) + sum(
        tensor.nbytes for tensor in (*texts.tokens.values(), *(texts.told or {}).values())
    )
    place = device if size < _DEVICE_BUDGET else torch.device("cpu")
    return Material(entries, buckets, texts).to(place)


def _moved(bucket: Bucket, place: torch.device) -> Bucket:
    masks = None if bucket.masks is None else bucket.masks.to(place)
    return Bucket(
        bucket.size,
        bucket.entries,
        bucket.moments.to(place),
        masks,
        bucket.geometry.to(place),
        bucket.weights.to(place),
    )


def _mask_of(entry: Entry, params: LoraTrainerParams, folder: Path) -> Mask:
    if params.mask != "file":
        return params.mask
    return folder / entry.item.mask if entry.item.mask else "whole"


def _picture_key(entry: Entry, flipped: bool, mask: str, family: Family) -> str:
    return digest_of(
        {
            "kind": "moments",
            "image": entry.item.sha256,
            "crop": entry.item.crop,
            "size": entry.shown.bucket,
            "flipped": flipped,
            "mask": entry.item.mask_sha256 or "whole" if mask == "file" else mask,
            "autoencoder": family.autoencoder_digest,
            "family": family.name,
            "code": [PICTURES_VERSION, _ENCODING_VERSION],
        }
    )


def _encode_pictures(
    context: TrainContext,
    cache: ContentCache,
    family: Family,
    entries: Sequence[Entry],
    flips: tuple[bool, ...],
    params: LoraTrainerParams,
    device: torch.device,
) -> dict[tuple[Entry, bool], dict[str, torch.Tensor]]:
    """Moments (and masks) of every view; views whose picture cannot be read are missing from it."""
    keys = {
        (entry, flipped): _picture_key(entry, flipped, params.mask, family) for entry in entries for flipped in flips
    }
    found = {view: known for view, key in keys.items() if (known := cache.get(key)) is not None}
    missing = [view for view in keys if view not in found]
    context.log(f"Latents: {len(found)} from the cache, {len(missing)} to encode.")
    if missing:
        family.base.load("vae").to(device)
    bad: dict[str, str] = {}

    def read(view: tuple[Entry, bool]) -> torch.Tensor | ImageError:
        entry, flipped = view
        file = context.workdir / entry.item.file
        mask = _mask_of(entry, params, context.workdir)
        try:
            return torch.from_numpy(read_fitted(file, entry.shown, entry.item.crop, flip=flipped, mask=mask).copy())
        except ImageError as error:
            return error

    for start in range(0, len(missing), _PART):
        part = missing[start : start + _PART]
        with ThreadPoolExecutor(max_workers=min(8, context.threads or os.cpu_count() or 1)) as readers:
            for view, pixels in zip(part, readers.map(read, part), strict=True):
                if context.should_stop():
                    raise Stopped
                if isinstance(pixels, ImageError):
                    bad[view[0].name] = pixels.message
                    continue
                found[view] = _encode_one(family, pixels, params)
                cache.put(keys[view], found[view])
    _tell_bad(context, bad, params, readable=bool(found))
    return found


def _tell_bad(context: TrainContext, bad: Mapping[str, str], params: LoraTrainerParams, *, readable: bool) -> None:
    if not bad:
        return
    sentences = " ".join(bad.values())
    if params.bad_pictures == "stop" or not readable:
        raise UsageError(
            f"{len(bad)} pictures cannot be read. {sentences}",
            hint="Exclude or replace them and freeze the dataset again, or set bad_pictures to skip.",
        )
    context.log(f"{len(bad)} pictures cannot be read and are left out. {sentences}")


def _encode_one(family: Family, pixels: torch.Tensor, params: LoraTrainerParams) -> dict[str, torch.Tensor]:
    moments = family.encode_pictures(pixels[None, ..., :3])[0].cpu()
    if params.mask == "none":
        return {"moments": moments}
    opacity = pixels[None, None, ..., 3].float() / 255.0
    mask = F.interpolate(opacity, size=tuple(moments.shape[-2:]), mode="area")[0]
    return {"moments": moments, "mask": mask.reshape(1, *(1,) * (moments.ndim - 3), *mask.shape[-2:])}


def _by_size(
    entries: Sequence[Entry],
    flips: tuple[bool, ...],
    found: Mapping[tuple[Entry, bool], Mapping[str, torch.Tensor]],
) -> list[Bucket]:
    buckets = []
    for size in sorted({entry.shown.bucket for entry in entries}):
        rows = [index for index, entry in enumerate(entries) if entry.shown.bucket == size]

        def stacked(what: str, rows: Sequence[int] = rows) -> torch.Tensor:
            return torch.stack([torch.stack([found[entries[row], flip][what] for flip in flips]) for row in rows])

        masked = "mask" in found[entries[rows[0]], flips[0]]
        buckets.append(
            Bucket(
                size,
                tuple(rows),
                stacked("moments"),
                stacked("mask") if masked else None,
                torch.tensor([entries[row].geometry for row in rows]),
                torch.tensor([entries[row].weight for row in rows]),
            )
        )
    return buckets
