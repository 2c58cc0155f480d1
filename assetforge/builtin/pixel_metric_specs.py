"""What the pixel metrics are, without loading them: they flag a change for a person and never pass or fail a version.

None of them can say who is in a picture; that takes an embedding metric of a plugin. Margins are what a person who looks twice just sees: a just noticeable
colour difference (2.3 in CIE 1976 Lab) over the whole picture for what compares colours, which FLIP gives 0.08 to 0.13; a fiftieth of the pixels for shares;
a twentieth of the contrast of an ordinary picture; for the statistics, a cast that takes 7 % from one channel, and a blur of a pixel on drawings of 64 pixels.
"""

from assetforge.api.specs import MetricSpec

__all__ = ["PIXEL_METRICS"]

_MODULE = "assetforge.builtin.pixel_metrics"
_STATISTICS = "assetforge.builtin.picture_statistics"
_COPY_LIMIT = 1 - 2 * 4.5 / 64
"""Between the cosines of hashes that differ in 4 and in 5 of their 64 bits: up to 4 count as a copy."""

PIXEL_METRICS: tuple[MetricSpec, ...] = (
    MetricSpec(
        name="black-share",
        title="Black share",
        summary="Share of pixels that are nearly black; not-a-number in a half-precision decoder shows up as 1.",
        load=f"{_MODULE}:BlackShare",
        kind="single",
        direction="lower",
        margin=0.02,
    ),
    MetricSpec(
        name="clipped-share",
        title="Clipped share",
        summary="Share of pixels with a channel at 0 or 255.",
        load=f"{_MODULE}:ClippedShare",
        kind="single",
        direction="lower",
        margin=0.02,
    ),
    MetricSpec(
        name="contrast",
        title="Contrast",
        summary="Standard deviation of CIE lightness; near 0 is a flat picture.",
        load=f"{_MODULE}:Contrast",
        kind="single",
        margin=1.0,
    ),
    MetricSpec(
        # No margin: the variance has no scale of its own, and means something beside the same cell of the bare base only.
        name="sharpness",
        title="Sharpness",
        summary="Variance of the Laplacian of luma; comparable only between pictures of one size and scene.",
        load=f"{_MODULE}:Sharpness",
        kind="single",
    ),
    MetricSpec(
        name="lab-difference",
        title="Colour difference",
        summary="Mean CIE 1976 colour difference of the pixels of two pictures.",
        load=f"{_MODULE}:LabDifference",
        kind="pair",
        direction="lower",
        margin=2.3,
    ),
    MetricSpec(
        name="ssim",
        title="Structural similarity",
        summary="Mean SSIM of luma (Wang et al. 2004).",
        load=f"{_MODULE}:Ssim",
        kind="pair",
        margin=0.02,
    ),
    MetricSpec(
        name="flip",
        title="FLIP",
        summary="Mean difference that is seen when two pictures alternate, 0 to 1, at 67 pixels per degree (Andersson et al. 2020).",
        load="assetforge.builtin.flip_metric:Flip",
        kind="pair",
        direction="lower",
        margin=0.1,
        ready="assetforge.builtin.flip_metric:needs",
        licence="BSD-3-Clause",
    ),
    MetricSpec(
        name="phash-copy",
        title="Copies by perceptual hash",
        summary=(
            "Nearness to each training picture by a 64-bit perceptual hash. It sees re-encodings and slight crops of a picture at most, "
            "never identity, and on simple drawings two pictures of one composition may be as near."
        ),
        load="assetforge.builtin.copy_metric:PhashCopy",
        kind="embedding",
        copy_limit=_COPY_LIMIT,
    ),
    MetricSpec(
        name="lab-statistics",
        title="Colours",
        summary="Means, spreads and coarse histograms of CIE Lab: the palette of a picture, whoever is in it.",
        load=f"{_STATISTICS}:LabStatistics",
        kind="embedding",
        margin=0.01,
    ),
    MetricSpec(
        name="texture-statistics",
        title="Edges and textures",
        summary="Directions and strengths of edges, and local binary patterns: how a picture is drawn, as far as pixels tell.",
        load=f"{_STATISTICS}:TextureStatistics",
        kind="embedding",
        asset_types=("style",),
        margin=0.005,
    ),
)
