"""Whether each metric can run here. A spec names one of these; it says in one sentence what is missing, and imports no framework."""

from functools import partial

from assetforge_vision.weights import reason

__all__ = [
    "ccip",
    "clip_image",
    "clip_prompt",
    "csd",
    "dinov2",
    "face_identity",
    "lpips",
    "siglip_image",
    "siglip_prompt",
    "sscd",
]

clip_image = partial(reason, "clip-image")
clip_prompt = partial(reason, "clip-prompt")
siglip_image = partial(reason, "siglip-image")
siglip_prompt = partial(reason, "siglip-prompt")
dinov2 = partial(reason, "dinov2")
face_identity = partial(reason, "face-identity")
ccip = partial(reason, "ccip")
csd = partial(reason, "csd")
lpips = partial(reason, "lpips")
sscd = partial(reason, "sscd")
