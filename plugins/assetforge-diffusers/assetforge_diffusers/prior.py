"""Prior preservation: pictures of the class word that the base itself draws, learnt along so that the class does not become the asset.

The idea is DreamBooth's (Ruiz et al. 2022, arXiv:2208.12242). The pictures are drawn once per base, class word, size and number, and kept in the cache.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from assetforge.api.context import Stopped, TrainContext
from assetforge.api.job import DatasetItem
from assetforge.errors import UsageError
from assetforge_diffusers.cache import digest_of
from assetforge_diffusers.drawing import decode_in_full, draw
from assetforge_diffusers.families.base import Family
from assetforge_diffusers.params import LoraTrainerParams

__all__ = ["prior_items"]

_VERSION = "1"
_STEPS = 25
_GUIDANCE = 6.0


def prior_items(
    context: TrainContext, family: Family, side: int, params: LoraTrainerParams, device: torch.device
) -> list[DatasetItem]:
    """The pictures of the class word as dataset items, drawn when they are not in the cache.

    Args:
        context: Where the cache is, what the class word is, and whether to stop.
        family: The opened base, without LoRAs.
        side: Side of the pictures in pixels.
        params: How many.
        device: Where to draw.

    Raises:
        UsageError: The asset has no class word.
        Stopped: Somebody asked to stop; what is drawn stays in the cache.
    """
    payload = context.payload
    if not payload.class_word:
        raise UsageError(
            f"Prior pictures need a class word, and {payload.asset} has none.",
            hint=f"Set one with `assetforge asset set {payload.asset} --class-word WORD`, or set prior_pictures to 0.",
        )
    side = side // family.size_multiple * family.size_multiple
    prompt = f"a {payload.class_word}"
    key = digest_of({"kind": "prior", "prompt": prompt, "base": payload.base.digest, "side": side, "code": _VERSION})
    folder = context.cache / "diffusers" / "prior" / key
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{number:05d}.png" for number in range(params.prior_pictures)]
    missing = [file for file in files if not file.is_file()]
    if missing:
        context.log(f"Drawing {len(missing)} pictures of {prompt!r} with the base itself, to be learnt along.")
        _draw(context, family, prompt, side, missing, device)
    return [_item(context, file, side, prompt) for file in files]


@torch.inference_mode()
def _draw(
    context: TrainContext, family: Family, prompt: str, side: int, files: list[Path], device: torch.device
) -> None:
    pipeline = family.pipeline.to(device)
    if family.base.dtype != torch.float32:
        decode_in_full(pipeline)
    told, nothing = (
        family.encode_tokens({name: ids[None] for name, ids in family.tokenize(text)[0].items()})
        for text in (prompt, "")
    )
    pipeline.scheduler = family.sampler("default")
    inputs = family.call_inputs(told, nothing if family.true_guidance else None, _GUIDANCE)
    for file in files:
        if context.should_stop():
            raise Stopped
        source = torch.Generator().manual_seed(int(file.stem))
        pixels = draw(pipeline, **inputs, width=side, height=side, num_inference_steps=_STEPS, generator=source)[0]
        partial = file.with_suffix(".partial")
        Image.fromarray((pixels * 255).round().astype(np.uint8)).save(partial, "PNG")
        partial.replace(file)


def _item(context: TrainContext, file: Path, side: int, prompt: str) -> DatasetItem:
    identity = digest_of({"prior": file.parent.name, "number": file.stem})
    return DatasetItem(
        file=str(file.relative_to(context.workdir)) if file.is_relative_to(context.workdir) else str(file),
        sha256=identity,
        caption=prompt,
        width=side,
        height=side,
    )
