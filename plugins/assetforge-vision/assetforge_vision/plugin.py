"""Describes the metrics and the command; imports no framework.

Margins are declared, not measured: the smallest mean change that a reviewer can see, in the metric's own unit, from published figures where there are any. The core
widens them by what training again changes. Published scales: DreamBooth (arXiv 2208.12242, table 1) has, for real pictures, DreamBooth on Imagen, DreamBooth on
Stable Diffusion and Textual Inversion, DINO 0.774, 0.696, 0.668, 0.569, CLIP-I 0.885, 0.812, 0.803, 0.780, and CLIP-T 0.306 (Imagen), 0.305, 0.255; viewers told
the last two apart at once (68 % against 22 % for the subject, 81 % against 12 % for the prompt).
"""

from collections.abc import Sequence

from assetforge.api import hookimpl
from assetforge.api.specs import CommandSpec, MetricSpec
from assetforge_vision.params import CsdParams, Dinov2Params, FaceParams, NetworkParams, VisionParams

requires_api = 1

_SUBJECTS = ("character", "prop", "costume", "creature")

_FACE_IDENTITY = MetricSpec(
    name="face-identity",
    title="Face identity",
    summary="Nearness of the largest face, for photographed and photorealistic people; a picture without a face is not measured.",
    load="assetforge_vision.faces:FaceIdentity",
    params=FaceParams,
    kind="embedding",
    asset_types=("character",),
    gates=True,
    # Best of the references, as usual for faces: a profile is no worse for being unlike the portraits.
    readout="nearest",
    # Tools that call two faces one person draw the line at 0.36 (OpenCV's SFace), 0.45 (LDS) and 0.48 (InsightFace's clustering): what is 0.12 apart
    # among tools for the same question cannot be seen at less than about half of it.
    margin=0.05,
    ready="assetforge_vision.ready:face_identity",
    licence="non-commercial research only (InsightFace model packs)",
)

_CCIP = MetricSpec(
    name="ccip",
    title="CCIP: drawn characters",
    summary="Nearness of drawn characters; made for pictures with a single one.",
    load="assetforge_vision.ccip:Ccip",
    params=VisionParams,
    kind="embedding",
    asset_types=("character",),
    gates=True,
    # CCIP's difference is (1 - cosine) / 2. Pairs of one character were seen at 0.025 and pairs of two at 0.27, and the model's own threshold is 0.178, with a false
    # match at 0.171: a tenth of the way between same and other, 0.025 of difference, is a cosine of 0.05.
    margin=0.05,
    ready="assetforge_vision.ready:ccip",
    licence="OpenRAIL",
)

_DINOV2 = MetricSpec(
    name="dinov2",
    title="DINOv2 on the subject",
    summary="Nearness of the subject, cut out of its background, by self-supervised features.",
    load="assetforge_vision.dinov2:Dinov2",
    params=Dinov2Params,
    kind="embedding",
    asset_types=_SUBJECTS,
    gates=True,
    # The smallest step of table 1 that viewers were shown, 0.696 to 0.668. It was measured with DINO on whole pictures, whose range is the same.
    margin=0.03,
    ready="assetforge_vision.ready:dinov2",
    licence="Apache-2.0",
)

_CSD = MetricSpec(
    name="csd",
    title="CSD: style",
    summary="Nearness of styles, whatever is shown; say nearer or farther than other styles, never how near.",
    load="assetforge_vision.csd:Csd",
    params=CsdParams,
    kind="embedding",
    asset_types=("style",),
    gates=True,
    # Raw cosines of styles overlap; what is left after CSLS says whether a picture is nearer to this style than to others (:mod:`assetforge.domain.csls`).
    readout="csls",
    # There are no votes on steps of this scale. "When Style Similarity Scores Fail" (2605.09030) finds cosines of one artist and of others apart by so little that they
    # overlap for 15 of 91 artists; 0.02 is what the backbone's own cosine needs to be seen (CLIP-I: 0.803 to 0.780).
    margin=0.02,
    ready="assetforge_vision.ready:csd",
    licence="MIT (weights of the authors: CC-BY-4.0)",
)

_CLIP_IMAGE = MetricSpec(
    name="clip-image",
    title="CLIP: image to image",
    summary="Nearness of whole pictures, as CLIP-I; the background counts as much as the subject.",
    load="assetforge_vision.towers:ClipImage",
    params=NetworkParams,
    kind="embedding",
    gates=True,
    # Half the step from 0.803 to 0.780, which two viewers of three saw. The metric ranks some pairs against the eye, so a smaller margin would only add alarms.
    margin=0.01,
    ready="assetforge_vision.ready:clip_image",
    licence="MIT",
)

_SIGLIP_IMAGE = MetricSpec(
    name="siglip-image",
    title="SigLIP: image to image",
    summary="Nearness of whole pictures, by a network that was trained on pairs one by one.",
    load="assetforge_vision.towers:SiglipImage",
    params=NetworkParams,
    kind="embedding",
    gates=True,
    # Nothing is published; its cosines of pictures spread about twice as wide as CLIP's.
    margin=0.02,
    ready="assetforge_vision.ready:siglip_image",
    licence="Apache-2.0",
)

_CLIP_PROMPT = MetricSpec(
    name="clip-prompt",
    title="CLIP: image to prompt",
    summary="How well a picture follows its prompt, as CLIP-T; not for lists of tags.",
    load="assetforge_vision.towers:ClipPrompt",
    params=NetworkParams,
    kind="prompt",
    gates=True,
    # A fifth of the step from 0.305 to 0.255, which eight viewers of ten saw.
    margin=0.01,
    ready="assetforge_vision.ready:clip_prompt",
    licence="MIT",
)

_SIGLIP_PROMPT = MetricSpec(
    name="siglip-prompt",
    title="SigLIP: image to prompt",
    summary="How well a picture follows its prompt, by SigLIP.",
    load="assetforge_vision.towers:SiglipPrompt",
    params=NetworkParams,
    kind="prompt",
    gates=True,
    # Nothing is published; cosines of a picture and its text reach about half of CLIP's, from near 0, so the range is no smaller.
    margin=0.01,
    ready="assetforge_vision.ready:siglip_prompt",
    licence="Apache-2.0",
)

_LPIPS = MetricSpec(
    name="lpips",
    title="LPIPS",
    summary="How different two pictures of one cell look, 0 when they are equal; drift, not likeness.",
    load="assetforge_vision.lpips:Lpips",
    params=VisionParams,
    kind="pair",
    direction="lower",
    # It decides nothing, since small shifts move it: a twentieth of the range from 0 to 1 that it keeps to in practice.
    margin=0.05,
    ready="assetforge_vision.ready:lpips",
    licence="BSD-2-Clause (AlexNet of torchvision: BSD-3-Clause)",
)

_SSCD = MetricSpec(
    name="sscd",
    title="SSCD: copies",
    summary="Finds renders that are copies of training pictures.",
    load="assetforge_vision.sscd:Sscd",
    params=NetworkParams,
    kind="embedding",
    gates=True,
    # Pairs above it are copies with 90 % precision on DISC, by the authors' README for sscd_disc_mixup.
    copy_limit=0.75,
    ready="assetforge_vision.ready:sscd",
    licence="MIT",
)

METRICS = (
    _FACE_IDENTITY,
    _CCIP,
    _DINOV2,
    _CSD,
    _CLIP_IMAGE,
    _SIGLIP_IMAGE,
    _CLIP_PROMPT,
    _SIGLIP_PROMPT,
    _LPIPS,
    _SSCD,
)
"""The more a metric knows about one kind of asset, the earlier it stands: the first that may gate speaks for identity."""


@hookimpl
def register_metrics() -> Sequence[MetricSpec]:
    """The learned metrics."""
    return list(METRICS)


@hookimpl
def register_commands() -> Sequence[CommandSpec]:
    """``assetforge vision weights``."""
    return [
        CommandSpec(
            path=("vision", "weights"),
            help="List the learned metrics with the weights they need.",
            load="assetforge_vision.commands:weights",
        )
    ]
