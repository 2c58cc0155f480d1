"""How long a run is and how its learning rate moves; pure functions of the step, so that nothing of it needs saving."""

import math

from assetforge.api.protocols import TrainingLength
from assetforge_diffusers.params import LoraTrainerParams

__all__ = ["learning_rate_factor", "total_steps", "training_length"]


def total_steps(params: LoraTrainerParams, pictures: int) -> int:
    """Optimizer steps of a run over ``pictures`` pictures, repeats counted."""
    return params.steps or max(1, math.ceil(params.views * pictures / (params.batch_size * params.accumulate)))


def training_length(params: LoraTrainerParams, pictures: int) -> TrainingLength:
    """How long a run over ``pictures`` pictures will be, repeats counted. With several resolutions it is the most: pictures too small for one are not shown at it."""
    shown = pictures * max(1, len(params.resolutions)) + params.prior_pictures
    return TrainingLength(total_steps(params, shown), params.batch_size * params.accumulate, shown)


def learning_rate_factor(kind: str, step: int, total: int, warmup: float) -> float:
    """Factor on the peak learning rate at ``step`` (from 0) of ``total``: a linear rise over the warm-up share, then constant, cosine or linear to 0."""
    rise = math.ceil(total * warmup)
    if step < rise:
        return (step + 1) / rise
    if kind == "constant":
        return 1.0
    done = (step - rise) / max(1, total - rise)
    return 0.5 * (1.0 + math.cos(math.pi * done)) if kind == "cosine" else 1.0 - done
