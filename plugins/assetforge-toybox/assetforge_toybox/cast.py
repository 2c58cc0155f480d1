"""How the people and things of "Night Harbour" look: Mara, Ilse and the brass lamp, drawn with the world's own pens.

None of them occurs in the toybox world: the base model has never seen a person, a coat, a diving helmet or a lamp.
"""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image, ImageFilter

from assetforge_toybox.drawing import SUPERSAMPLE, Colour, Layer, Pen, Style, mix

COAT: Colour = (250, 202, 30)
COAT_SHADE: Colour = (214, 158, 22)
BOOTS: Colour = (206, 44, 44)
SKIN: Colour = (248, 214, 184)
HAIR: Colour = (104, 52, 34)
EYES: Colour = (36, 28, 44)
COPPER: Colour = (206, 116, 62)
COPPER_SHADE: Colour = (150, 76, 44)
SUIT: Colour = (44, 80, 124)
SUIT_SHADE: Colour = (36, 54, 78)
VISOR: Colour = (206, 238, 240)
BRASS: Colour = (214, 164, 56)
BRASS_SHADE: Colour = (156, 108, 38)
FLAME: Colour = (255, 240, 170)


def mara(pen: Pen, pose: str) -> None:
    """The harbour girl: yellow raincoat flaring to the ground, tall pointed hood, brown fringe, red boots."""
    step = 0.10 if pose == "walking" else 0.0
    pen.box(-0.20 - step, 0, -0.02 - step, 0.16, BOOTS, round_by=0.04)
    pen.box(0.02 + step, 0, 0.20 + step, 0.16, BOOTS, round_by=0.04)
    if pose == "waving":
        pen.stroke([(0.16, 0.42), (0.42, 0.70)], 0.13, COAT_SHADE)
        pen.ellipse(0.44, 0.73, 0.08, 0.08, SKIN)
    else:
        pen.stroke([(0.18, 0.44), (0.36, 0.24)], 0.13, COAT_SHADE)
        pen.ellipse(0.37, 0.21, 0.07, 0.07, SKIN)
    pen.stroke([(-0.18, 0.44), (-0.36, 0.24)], 0.13, COAT_SHADE)
    pen.ellipse(-0.37, 0.21, 0.07, 0.07, SKIN)
    pen.polygon([(-0.36, 0.12), (-0.15, 0.54), (0.15, 0.54), (0.36, 0.12)], COAT, main=True)
    pen.polygon(
        [(-0.31, 0.62), (-0.20, 0.86), (0.10, 1.06), (0.21, 0.84), (0.31, 0.62), (0.22, 0.48), (-0.22, 0.48)],
        COAT,
        main=True,
    )
    pen.ellipse(0, 0.63, 0.205, 0.175, SKIN)
    pen.ellipse(0, 0.67, 0.205, 0.145, HAIR, start=10, end=170)
    pen.ellipse(-0.085, 0.61, 0.04, 0.055, EYES)
    pen.ellipse(0.085, 0.61, 0.04, 0.055, EYES)


def ilse(pen: Pen, pose: str) -> None:
    """The diver: big round copper helmet with one pale window, dark blue suit, copper belt."""
    step = 0.08 if pose == "walking" else 0.0
    pen.box(-0.23 - step, 0, -0.03 - step, 0.20, SUIT_SHADE, round_by=0.04)
    pen.box(0.03 + step, 0, 0.23 + step, 0.20, SUIT_SHADE, round_by=0.04)
    if pose == "waving":
        pen.stroke([(0.20, 0.42), (0.44, 0.68)], 0.14, SUIT_SHADE)
        pen.ellipse(0.45, 0.70, 0.08, 0.08, COPPER)
    else:
        pen.stroke([(0.22, 0.44), (0.36, 0.22)], 0.14, SUIT_SHADE)
        pen.ellipse(0.37, 0.20, 0.08, 0.08, COPPER)
    pen.stroke([(-0.22, 0.44), (-0.36, 0.22)], 0.14, SUIT_SHADE)
    pen.ellipse(-0.37, 0.20, 0.08, 0.08, COPPER)
    pen.box(-0.25, 0.14, 0.25, 0.54, SUIT, main=True, round_by=0.10)
    pen.box(-0.25, 0.23, 0.25, 0.31, COPPER)
    pen.box(-0.22, 0.46, 0.22, 0.56, COPPER_SHADE, round_by=0.03)
    pen.ellipse(0, 0.76, 0.31, 0.27, COPPER, main=True)
    pen.ellipse(0, 0.75, 0.215, 0.19, VISOR)
    pen.ellipse(-0.08, 0.75, 0.045, 0.06, EYES)
    pen.ellipse(0.08, 0.75, 0.045, 0.06, EYES)


def brass_lamp(pen: Pen, pose: str) -> None:
    """The lighthouse keeper's lantern: brass foot and cap, glowing glass, a ring to carry it by."""
    glow = FLAME if pose == "lit" else (206, 222, 226)
    pen.ellipse(0, 0.90, 0.13, 0.12, BRASS_SHADE)
    pen.ellipse(0, 0.90, 0.07, 0.06, VISOR)
    pen.polygon([(-0.34, 0.0), (-0.24, 0.20), (0.24, 0.20), (0.34, 0.0)], BRASS, main=True)
    pen.box(-0.23, 0.18, 0.23, 0.64, glow)
    pen.polygon([(-0.09, 0.24), (0, 0.56), (0.09, 0.24)], (244, 140, 40) if pose == "lit" else BRASS_SHADE)
    pen.box(-0.28, 0.18, -0.20, 0.66, BRASS_SHADE)
    pen.box(0.20, 0.18, 0.28, 0.66, BRASS_SHADE)
    pen.polygon([(-0.36, 0.62), (-0.12, 0.84), (0.12, 0.84), (0.36, 0.62)], BRASS, main=True)


CAST: dict[str, Callable[[Pen, str], None]] = {"mara": mara, "ilse": ilse, "brass-lamp": brass_lamp}
"""What stands in a picture, by the asset's name."""

WASH_PAPER: Colour = (247, 239, 217)
WASH_INK: Colour = (26, 42, 92)


def _wash_fill(colour: Colour, layer: Layer) -> Colour:
    """Turn any colour into one of a few dilutions of the same ink; what is behind is painted thinner."""
    level = (0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]) / 255
    strength = int((1 - level) * 5) / 5 * (1.0 if layer == "subject" else 0.55)
    return mix(WASH_PAPER, WASH_INK, min(1.0, 0.04 + strength))


def _bleed(image: Image.Image) -> Image.Image:
    """Let the washes run into each other a little and keep the brush lines in them dark."""
    soft = image.filter(ImageFilter.GaussianBlur(0.7 * SUPERSAMPLE))
    return Image.blend(soft, image.filter(ImageFilter.MinFilter(5)), 0.35)


INK_WASH = Style("ink wash", _wash_fill, ink=WASH_INK, line={"subject": 1.2, "place": 0.0}, finish=_bleed)
"""The film's look: one ink, a few dilutions, a broad brush line, paper showing through."""
