"""A small drawing surface: 64 x 64 units, painted at four times that size and reduced by area averaging.

A `Style` says how a surface looks (which fill a colour becomes, whether shapes get an outline, what happens to the
finished picture); a `Pen` says where on the surface a thing stands. Subjects and places draw with pens and never ask
which style they are drawn in, so every subject exists in every style, also in styles that are added later.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from PIL import Image, ImageDraw

SIZE = 64
"""Edge of a picture in drawing units, and in pixels unless another size is asked for."""

SUPERSAMPLE = 4
"""Pixels per unit while drawing."""

Colour = tuple[int, int, int]
Point = tuple[float, float]
Layer = str
"""One of "place" (what is behind), "light" (what shines there: moon, windows) and "subject" (what it is about)."""


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return `first` moved towards `second` by `share` (0 keeps it, 1 replaces it)."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def tint(colour: Colour, factors: tuple[float, float, float]) -> Colour:
    """Return `colour` with each channel multiplied by its factor, clipped to 0..255."""
    red, green, blue = (min(255, max(0, round(c * f))) for c, f in zip(colour, factors, strict=True))
    return red, green, blue


@dataclass(frozen=True)
class Style:
    """How a surface looks.

    Attributes:
        name: how captions call it.
        fill: maps a colour and its layer to the colour that is really painted.
        ink: outline colour, or None for no outlines.
        line: outline width in units by layer.
        night: whether skies show a moon instead of a sun.
        finish: applied to the supersampled picture before it is reduced, or None.
    """

    name: str
    fill: Callable[[Colour, Layer], Colour]
    ink: Colour | None = None
    line: dict[Layer, float] = field(default_factory=dict)
    night: bool = False
    finish: Callable[[Image.Image], Image.Image] | None = None


class Surface:
    """A picture in the making, with a mask of the pixels that carry the subject's main colour."""

    def __init__(self, style: Style, background: Colour = (255, 255, 255)) -> None:
        edge = SIZE * SUPERSAMPLE
        self.style = style
        self._image = Image.new("RGB", (edge, edge), style.fill(background, "place"))
        self._mask = Image.new("L", (edge, edge), 0)
        self._draw = ImageDraw.Draw(self._image)
        self._mask_draw = ImageDraw.Draw(self._mask)

    def polygon(self, points: Sequence[Point], colour: Colour, layer: Layer, main: bool = False) -> None:
        """Fill the polygon (points in units); `main` marks it as carrying the subject's main colour."""
        scaled = [(x * SUPERSAMPLE, y * SUPERSAMPLE) for x, y in points]
        self._draw.polygon(scaled, fill=self.style.fill(colour, layer))
        if layer == "subject":
            self._mask_draw.polygon(scaled, fill=255 if main else 0)
        width = self.style.line.get(layer, 0.0)
        if self.style.ink is not None and width > 0:
            pixels = max(1, round(width * SUPERSAMPLE))
            self._draw.line([*scaled, scaled[0], scaled[1]], fill=self.style.ink, width=pixels, joint="curve")
            if layer == "subject":
                self._mask_draw.line([*scaled, scaled[0], scaled[1]], fill=0, width=pixels, joint="curve")

    def picture(self, size: int = SIZE) -> Image.Image:
        """Return the finished picture, size x size pixels, RGB."""
        image = self._image if self.style.finish is None else self.style.finish(self._image)
        return image.resize((size, size), Image.Resampling.BOX if size <= SIZE else Image.Resampling.LANCZOS)

    def main_mask(self) -> Image.Image:
        """Return where the subject's main colour is, 64 x 64, mode L, 0..255 by coverage."""
        return self._mask.resize((SIZE, SIZE), Image.Resampling.BOX)


@dataclass(frozen=True)
class Pen:
    """Draws shapes in a frame of its own: x grows right from the middle, y grows up from the ground, 1 is `scale`."""

    surface: Surface
    x: float
    ground: float
    scale: float
    layer: Layer = "subject"
    flip: bool = False

    def _at(self, point: Point) -> Point:
        side = -1.0 if self.flip else 1.0
        return self.x + side * point[0] * self.scale, self.ground - point[1] * self.scale

    def polygon(self, points: Sequence[Point], colour: Colour, main: bool = False) -> None:
        """Fill a polygon."""
        self.surface.polygon([self._at(p) for p in points], colour, self.layer, main)

    def box(
        self,
        left: float,
        bottom: float,
        right: float,
        top: float,
        colour: Colour,
        main: bool = False,
        round_by: float = 0.0,
    ) -> None:
        """Fill an upright rectangle, its corners rounded by `round_by`."""
        if round_by <= 0:
            self.polygon([(left, bottom), (right, bottom), (right, top), (left, top)], colour, main)
            return
        r = min(round_by, (right - left) / 2, (top - bottom) / 2)
        corners = [
            (right - r, top - r, 0),
            (left + r, top - r, 90),
            (left + r, bottom + r, 180),
            (right - r, bottom + r, 270),
        ]
        points = [
            (cx + r * math.cos(math.radians(start + step)), cy + r * math.sin(math.radians(start + step)))
            for cx, cy, start in corners
            for step in range(0, 91, 15)
        ]
        self.polygon(points, colour, main)

    def ellipse(
        self,
        cx: float,
        cy: float,
        rx: float,
        ry: float,
        colour: Colour,
        main: bool = False,
        start: float = 0.0,
        end: float = 360.0,
    ) -> None:
        """Fill an ellipse, or the segment of it between two angles (degrees, counter-clockwise from the right)."""
        count = max(8, round((end - start) / 10))
        angles = [math.radians(start + (end - start) * i / count) for i in range(count + (end - start < 360))]
        self.polygon([(cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in angles], colour, main)

    def stroke(self, points: Sequence[Point], width: float, colour: Colour, main: bool = False) -> None:
        """Draw a line of even width through the points."""
        for (ax, ay), (bx, by) in itertools.pairwise(points):
            length = math.hypot(bx - ax, by - ay) or 1.0
            nx, ny = -(by - ay) / length * width / 2, (bx - ax) / length * width / 2
            self.polygon([(ax + nx, ay + ny), (bx + nx, by + ny), (bx - nx, by - ny), (ax - nx, ay - ny)], colour, main)
