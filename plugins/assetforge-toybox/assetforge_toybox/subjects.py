"""The eight subjects of the toybox world, each drawn in a frame one unit high standing on the ground."""

from __future__ import annotations

from collections.abc import Callable

from assetforge_toybox.drawing import Colour, Pen, mix

DARK: Colour = (44, 40, 54)
LIGHT: Colour = (246, 242, 232)
STEEL: Colour = (150, 158, 170)
WOOD: Colour = (120, 82, 54)
BEAK: Colour = (238, 168, 48)
GLASS: Colour = (186, 220, 238)


def shade(colour: Colour) -> Colour:
    """Return the colour as it looks on the side away from the light."""
    return mix(colour, (20, 16, 40), 0.22)


def robot(pen: Pen, main: Colour) -> None:
    """A box robot: square head with a bright visor, antenna, arms, two legs."""
    pen.stroke([(0, 0.80), (0, 0.98)], 0.06, DARK)
    pen.ellipse(0, 0.97, 0.07, 0.07, BEAK)
    pen.box(-0.22, 0, -0.06, 0.2, DARK)
    pen.box(0.06, 0, 0.22, 0.2, DARK)
    pen.box(-0.44, 0.22, -0.32, 0.50, STEEL)
    pen.box(0.32, 0.22, 0.44, 0.50, STEEL)
    pen.box(-0.32, 0.14, 0.32, 0.54, main, main=True)
    pen.box(-0.28, 0.54, 0.28, 0.88, main, main=True)
    pen.box(-0.21, 0.62, 0.21, 0.80, LIGHT)
    pen.ellipse(-0.10, 0.71, 0.055, 0.055, DARK)
    pen.ellipse(0.10, 0.71, 0.055, 0.055, DARK)


def cat(pen: Pen, main: Colour) -> None:
    """A sitting cat seen from the front, tail raised at its side."""
    pen.stroke([(0.22, 0.10), (0.44, 0.16), (0.48, 0.36), (0.42, 0.54)], 0.11, shade(main), main=True)
    pen.ellipse(0, 0.24, 0.30, 0.26, main, main=True)
    pen.polygon([(-0.30, 0.70), (-0.29, 1.0), (-0.06, 0.84)], main, main=True)
    pen.polygon([(0.30, 0.70), (0.29, 1.0), (0.06, 0.84)], main, main=True)
    pen.ellipse(0, 0.65, 0.32, 0.25, main, main=True)
    pen.ellipse(-0.13, 0.68, 0.06, 0.08, DARK)
    pen.ellipse(0.13, 0.68, 0.06, 0.08, DARK)
    pen.ellipse(0, 0.54, 0.10, 0.07, LIGHT)


def bird(pen: Pen, main: Colour) -> None:
    """A plump bird in profile on thin legs, with a darker wing and a yellow beak."""
    pen.stroke([(-0.06, 0.2), (-0.06, 0)], 0.06, BEAK)
    pen.stroke([(0.10, 0.2), (0.10, 0)], 0.06, BEAK)
    pen.polygon([(-0.28, 0.42), (-0.62, 0.66), (-0.54, 0.36)], shade(main), main=True)
    pen.ellipse(0, 0.42, 0.38, 0.28, main, main=True)
    pen.ellipse(0.26, 0.74, 0.22, 0.22, main, main=True)
    pen.polygon([(0.45, 0.82), (0.70, 0.73), (0.45, 0.64)], BEAK)
    pen.ellipse(0.31, 0.79, 0.055, 0.055, DARK)
    pen.ellipse(-0.08, 0.42, 0.22, 0.14, shade(main), main=True)


def mug(pen: Pen, main: Colour) -> None:
    """A straight mug with a handle on the right and steam above it."""
    pen.ellipse(0.40, 0.36, 0.21, 0.24, main, main=True)
    pen.ellipse(0.38, 0.36, 0.10, 0.13, LIGHT)
    pen.box(-0.40, 0, 0.36, 0.68, main, main=True, round_by=0.08)
    pen.ellipse(-0.02, 0.67, 0.38, 0.09, DARK)
    pen.stroke([(-0.14, 0.80), (-0.08, 0.90), (-0.14, 1.0)], 0.07, LIGHT)
    pen.stroke([(0.10, 0.80), (0.16, 0.90), (0.10, 1.0)], 0.07, LIGHT)


def house(pen: Pen, main: Colour) -> None:
    """A small house: coloured wall, dark gable roof, chimney, door and a lit window."""
    pen.box(0.20, 0.70, 0.34, 0.98, WOOD)
    pen.box(-0.44, 0, 0.44, 0.60, main, main=True)
    pen.polygon([(-0.58, 0.56), (0, 1.0), (0.58, 0.56)], DARK)
    pen.box(-0.28, 0, -0.06, 0.36, WOOD)
    pen.box(0.10, 0.22, 0.32, 0.44, (252, 232, 150))


def car(pen: Pen, main: Colour) -> None:
    """A round little car in profile with two dark wheels."""
    pen.ellipse(0.02, 0.42, 0.40, 0.42, main, main=True, start=0, end=180)
    pen.ellipse(0.02, 0.44, 0.30, 0.30, GLASS, start=0, end=180)
    pen.box(-0.01, 0.42, 0.05, 0.80, main, main=True)
    pen.box(-0.62, 0.16, 0.62, 0.50, main, main=True, round_by=0.14)
    pen.ellipse(-0.34, 0.15, 0.16, 0.16, DARK)
    pen.ellipse(0.34, 0.15, 0.16, 0.16, DARK)
    pen.ellipse(-0.34, 0.15, 0.06, 0.06, LIGHT)
    pen.ellipse(0.34, 0.15, 0.06, 0.06, LIGHT)


def tree(pen: Pen, main: Colour) -> None:
    """A lollipop tree: brown trunk, crown of three round tufts in the main colour."""
    pen.box(-0.08, 0, 0.08, 0.50, WOOD)
    pen.ellipse(-0.22, 0.58, 0.22, 0.20, main, main=True)
    pen.ellipse(0.22, 0.58, 0.22, 0.20, main, main=True)
    pen.ellipse(0, 0.74, 0.28, 0.26, main, main=True)


def boat(pen: Pen, main: Colour) -> None:
    """A sailing boat: hull in the main colour, white sail on a wooden mast."""
    pen.box(-0.05, 0.2, 0.03, 1.0, WOOD)
    pen.polygon([(0.07, 0.36), (0.07, 0.96), (0.50, 0.36)], LIGHT)
    pen.polygon([(-0.09, 0.36), (-0.09, 0.84), (-0.40, 0.36)], LIGHT)
    pen.polygon([(-0.62, 0.32), (-0.42, 0.0), (0.42, 0.0), (0.62, 0.32)], main, main=True)


SUBJECTS: dict[str, Callable[[Pen, Colour], None]] = {
    "robot": robot,
    "cat": cat,
    "bird": bird,
    "mug": mug,
    "house": house,
    "car": car,
    "tree": tree,
    "boat": boat,
}
"""The subjects by the noun that captions use."""
