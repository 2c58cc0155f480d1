"""What a run learns from, encoded once: latent moments per picture, token ids and embeddings per caption.

Cache entries are keyed by content (the bytes of the picture, crop, side, flip, the autoencoder's weights; the caption, the text encoder's weights),
so a replaced picture or an edited caption can never meet a stale entry, and one entry serves every run, asset and film.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from assetforge.api.context import Stopped, TrainContext
from assetforge.api.job import DatasetItem
from assetforge_diffusers.draws import Pick
from assetforge_diffusers.families.base import Conditioning, Family
from assetforge_diffusers.pictures import PICTURES_VERSION, read_square

__all__ = ["ContentCache", "Material", "prepare_material"]

_ENCODING_VERSION = "1"
_DEVICE_BUDGET = 2**30


class ContentCache:
    """Small safetensors files named by a key; anybody may delete them at any time."""

    def __init__(self, folder: Path) -> None:
        """Keep entries under ``folder``."""
        self._folder = folder

    def _file(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key[2:]}.safetensors"

    def get(self, key: str) -> dict[str, torch.Tensor] | None:
        """The entry, or ``None`` when it is missing or damaged."""
        try:
            return load_file(self._file(key))
        except (OSError, SafetensorError):
            return None

    def put(self, key: str, tensors: Mapping[str, torch.Tensor]) -> None:
        """Write an entry whole or not at all."""
        file = self._file(key)
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".partial", delete=False) as partial:
            pass
        try:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial.name)
            os.replace(partial.name, file)  # noqa: PTH105 - one call that both names need
        finally:
            Path(partial.name).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Material:
    """Encoded pictures and captions.

    Attributes:
        moments: (pictures, flips, 2 * channels, h, w); flips is 1 or 2.
        tokens: (captions, length); the last row is the empty caption.
        row: Row of ``tokens`` per picture.
        told: Embeddings per row of ``tokens``; ``None`` while the text encoder trains.
        names: File names of the pictures, for messages.
    """

    moments: torch.Tensor
    tokens: torch.Tensor
    row: tuple[int, ...]
    told: Conditioning | None
    names: tuple[str, ...]

    def latent_shape(self, batch: int) -> tuple[int, int, int, int]:
        """Shape of a batch of latents."""
        _, _, channels, height, width = self.moments.shape
        return batch, channels // 2, height, width

    def batch(
        self, picks: Sequence[Pick], device: torch.device
    ) -> tuple[torch.Tensor, torch.Tensor, Conditioning | None]:
        """Moments, token ids and embeddings of some views, on ``device``."""
        where = torch.tensor(
            [
                [pick.item, int(pick.flipped), self.row[pick.item] if pick.captioned else len(self.tokens) - 1]
                for pick in picks
            ]
        )
        if self.moments.device.type != "cpu":
            where = where.to(self.moments.device, non_blocking=True)
        items, flips, rows = where.unbind(1)
        told = (
            None
            if self.told is None
            else {name: tensor[rows].to(device, non_blocking=True) for name, tensor in self.told.items()}
        )
        return self.moments[items, flips].to(device, non_blocking=True), self.tokens[rows], told


def _digest(parts: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _latent_key(item: DatasetItem, side: int, flipped: bool, family: Family) -> str:
    return _digest(
        {
            "kind": "moments",
            "image": item.sha256,
            "crop": item.crop,
            "side": side,
            "flipped": flipped,
            "autoencoder": family.autoencoder_digest,
            "code": [PICTURES_VERSION, _ENCODING_VERSION],
        }
    )


def _text_key(caption: str, family: Family) -> str:
    return _digest(
        {
            "kind": "text",
            "caption": hashlib.sha256(caption.encode()).hexdigest(),
            "encoder": family.text_digest,
            "code": _ENCODING_VERSION,
        }
    )


def prepare_material(
    context: TrainContext,
    family: Family,
    items: Sequence[DatasetItem],
    side: int,
    *,
    flip: bool,
    embed: bool,
    device: torch.device,
) -> Material:
    """Encode pictures and captions, or take them from the cache.

    Args:
        context: Where the files and the cache are, and whether to stop.
        family: The opened base; its encoders are already on ``device``.
        items: Pictures, at least one.
        side: Pixels.
        flip: Encode the mirrored pictures too.
        embed: Embed captions now; not when the text encoder trains.
        device: Where the result goes when it is small enough.

    Raises:
        Stopped: Somebody asked to stop; what is encoded stays in the cache.
        ImageError: A picture cannot be read.
    """
    cache = ContentCache(context.cache / "diffusers")
    moments = _encode_pictures(context, cache, family, items, side, (False, True) if flip else (False,))
    captions = [*dict.fromkeys(item.caption for item in items), ""]
    row = tuple(captions.index(item.caption) for item in items)
    tokens = _tokenize(context, family, captions)
    told = _encode_captions(context, cache, family, captions, tokens) if embed else None
    size = moments.nbytes + sum(tensor.nbytes for tensor in (told or {}).values())
    place = device if size < _DEVICE_BUDGET else torch.device("cpu")
    return Material(
        moments=moments.to(place),
        tokens=tokens.to(place),
        row=row,
        told=None if told is None else {name: tensor.to(place) for name, tensor in told.items()},
        names=tuple(Path(item.file).name for item in items),
    )


def _encode_pictures(
    context: TrainContext,
    cache: ContentCache,
    family: Family,
    items: Sequence[DatasetItem],
    side: int,
    flips: tuple[bool, ...],
) -> torch.Tensor:
    wanted = [(item, flipped, _latent_key(item, side, flipped, family)) for item in items for flipped in flips]
    found = {key: entry["moments"] for _, _, key in wanted if (entry := cache.get(key)) is not None}
    missing = list({key: (item, flipped) for item, flipped, key in wanted if key not in found}.items())
    small = sum(min(item.width, item.height) < side for item in items if item.crop is None)
    if small:
        context.log(f"{small} of {len(items)} pictures are smaller than {side} px and are enlarged.")
    context.log(f"Latents: {len(found)} from the cache, {len(missing)} to encode.")

    def read(entry: tuple[str, tuple[DatasetItem, bool]]) -> torch.Tensor:
        item, flipped = entry[1]
        return torch.from_numpy(read_square(context.workdir / item.file, side, item.crop, flip=flipped).copy())

    for start in range(0, len(missing), 64):
        part = missing[start : start + 64]
        with ThreadPoolExecutor(max_workers=min(8, context.threads or os.cpu_count() or 1)) as readers:
            for (key, _), pixels in zip(part, readers.map(read, part), strict=True):
                _stop_if_asked(context.should_stop)
                found[key] = family.encode_picture(pixels).cpu()
                cache.put(key, {"moments": found[key]})
    stacked = torch.stack([found[key] for _, _, key in wanted])
    return stacked.reshape(len(items), len(flips), *stacked.shape[1:])


def _tokenize(context: TrainContext, family: Family, captions: Sequence[str]) -> torch.Tensor:
    rows = [family.tokenize(caption) for caption in captions]
    long = [(caption, missing) for caption, (_, missing) in zip(captions, rows, strict=True) if missing]
    if long:
        caption, missing = max(long, key=lambda pair: pair[1])
        context.log(
            f"{len(long)} captions are too long for the text encoder; the end is not read, at most {missing} tokens: {caption[:80]!r}"
        )
    return torch.stack([tokens for tokens, _ in rows])


def _encode_captions(
    context: TrainContext, cache: ContentCache, family: Family, captions: Sequence[str], tokens: torch.Tensor
) -> dict[str, torch.Tensor]:
    entries = []
    for caption, row in zip(captions, tokens, strict=True):
        key = _text_key(caption, family)
        entry = cache.get(key)
        if entry is None:
            _stop_if_asked(context.should_stop)
            with torch.no_grad():
                entry = {name: tensor[0].float().cpu() for name, tensor in family.encode_tokens(row[None]).items()}
            cache.put(key, entry)
        entries.append(entry)
    return {name: torch.stack([entry[name] for entry in entries]) for name in entries[0]}


def _stop_if_asked(should_stop: Callable[[], bool]) -> None:
    if should_stop():
        raise Stopped
