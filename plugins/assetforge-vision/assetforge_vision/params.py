"""What a user can set, per metric."""

from typing import Literal

from assetforge.api.params import Params, param

__all__ = ["CsdParams", "Dinov2Params", "FaceParams", "NetworkParams", "Precision", "VisionParams"]

Precision = Literal["fp32", "bf16", "fp16"]


class VisionParams(Params):
    """What all metrics share."""

    weights: str = param(
        "",
        "Folder with the weights, a single weights file, or org/name of a model in the Hugging Face cache; empty takes the metric's own folder, then the cache.",
        group="Weights",
    )
    device: str = param(
        "auto",
        "Where it computes: auto (the job's device), cpu, cuda, cuda:1 or mps.",
        group="Machine",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
    )
    batch_size: int = param(
        16, "Pictures that are computed at once.", unit="pictures", group="Machine", affects_result=False, ge=1, le=256
    )


class NetworkParams(VisionParams):
    """For networks that run in torch."""

    precision: Precision = param(
        "fp32",
        "Number format of the weights; anything but fp32 is faster on a GPU and moves cosines by about 0.001.",
        group="Machine",
        advanced=True,
    )


class Dinov2Params(NetworkParams):
    """For DINOv2."""

    subject: bool = param(
        True,
        "Look at the subject alone; off compares whole pictures, as published figures for DINO do.",
        group="Picture",
    )
    side: int = param(
        224, "Side at which pictures are looked at.", unit="px", group="Picture", advanced=True, ge=56, le=1036
    )


class CsdParams(NetworkParams):
    """For CSD."""

    side: Literal[224, 336] = param(
        224,
        "Side at which pictures are looked at; 336 tells styles apart a little better and takes twice the time.",
        unit="px",
        group="Picture",
    )


class FaceParams(VisionParams):
    """For faces."""

    min_confidence: float = param(
        0.5, "A face counts when the detector is at least this sure.", group="Picture", gt=0, lt=1
    )
