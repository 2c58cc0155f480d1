"""What the pixel metrics are, without loading them: they flag a change for a person and never pass or fail a version.

None of them can say who is in a picture; that takes an embedding metric of a plugin.
"""

from assetforge.api.specs import MetricSpec

__all__ = ["PIXEL_METRICS"]

_MODULE = "assetforge.builtin.pixel_metrics"

PIXEL_METRICS: tuple[MetricSpec, ...] = (
    MetricSpec(
        name="black-share",
        title="Black share",
        summary="Share of pixels that are nearly black; not-a-number in a half-precision decoder shows up as 1.",
        load=f"{_MODULE}:BlackShare",
        kind="single",
        direction="lower",
    ),
    MetricSpec(
        name="clipped-share",
        title="Clipped share",
        summary="Share of pixels with a channel at 0 or 255.",
        load=f"{_MODULE}:ClippedShare",
        kind="single",
        direction="lower",
    ),
    MetricSpec(
        name="contrast",
        title="Contrast",
        summary="Standard deviation of CIE lightness; near 0 is a flat picture.",
        load=f"{_MODULE}:Contrast",
        kind="single",
    ),
    MetricSpec(
        name="sharpness",
        title="Sharpness",
        summary="Variance of the Laplacian of luma.",
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
    ),
    MetricSpec(
        name="ssim",
        title="Structural similarity",
        summary="Mean SSIM of luma (Wang et al. 2004).",
        load=f"{_MODULE}:Ssim",
        kind="pair",
    ),
)
