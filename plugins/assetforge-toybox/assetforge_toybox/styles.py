"""The four drawing styles of the toybox world."""

from __future__ import annotations

from PIL import Image, ImageFilter

from assetforge_toybox.drawing import SUPERSAMPLE, Colour, Layer, Style, mix, tint
from assetforge_toybox.phrases import STYLE_PHRASES

PAPER: Colour = (250, 246, 232)
INK: Colour = (30, 24, 40)


def _flat_fill(colour: Colour, layer: Layer) -> Colour:  # noqa: ARG001
    return colour


def _comic_fill(colour: Colour, layer: Layer) -> Colour:
    return colour if layer == "subject" else mix(colour, PAPER, 0.60)


def _pastel_fill(colour: Colour, layer: Layer) -> Colour:
    return mix(colour, (255, 250, 250), 0.32 if layer == "subject" else 0.55)


def _night_fill(colour: Colour, layer: Layer) -> Colour:
    if layer == "light":
        return colour
    if layer == "subject":
        return tint(colour, (0.86, 0.84, 0.90))
    red, green, blue = tint(colour, (0.30, 0.35, 0.50))
    return red + 6, green + 8, blue + 26


def _soften(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(1.1 * SUPERSAMPLE))


STYLES: dict[str, Style] = {
    "poster": Style(STYLE_PHRASES["poster"], _flat_fill),
    "comic": Style(STYLE_PHRASES["comic"], _comic_fill, ink=INK, line={"subject": 1.3, "place": 0.8}),
    "pastel": Style(STYLE_PHRASES["pastel"], _pastel_fill, finish=_soften),
    "night": Style(STYLE_PHRASES["night"], _night_fill, night=True),
}
"""The styles by their short names; `Style.name` is the phrase that captions use."""
