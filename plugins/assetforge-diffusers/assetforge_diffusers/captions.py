"""What captions become on their way to the text encoders: trigger inserted, tags shuffled. Every variant is decided by seed, caption and number."""

import torch

from assetforge_diffusers.draws import generator
from assetforge_diffusers.params import LoraTrainerParams

__all__ = ["caption_variants", "with_trigger"]


def with_trigger(caption: str, trigger: str) -> str:
    """The caption, with the trigger word before it when it does not say it."""
    if not trigger or trigger.lower() in caption.lower():
        return caption
    return f"{trigger}, {caption}" if caption else trigger


def caption_variants(caption: str, trigger: str, params: LoraTrainerParams, seed: int) -> list[str]:
    """The texts that stand for one caption in a run, each once; at least one.

    Args:
        caption: As the dataset has it.
        trigger: Trigger word of the asset.
        params: Whether to insert it, and to shuffle the parts between commas behind the first ``keep_tags``.
        seed: Seed of the run.
    """
    text = with_trigger(caption, trigger) if params.insert_trigger else caption
    tags = [part.strip() for part in text.split(",") if part.strip()]
    kept, loose = tags[: params.keep_tags], tags[params.keep_tags :]
    if not params.shuffle_tags or len(loose) < 2:
        return [text]
    orders = []
    for number in range(params.caption_variants):
        places = torch.randperm(len(loose), generator=generator(seed, f"tags of {text}", number)).tolist()
        orders.append(", ".join([*kept, *(loose[place] for place in places)]))
    return list(dict.fromkeys(orders))
