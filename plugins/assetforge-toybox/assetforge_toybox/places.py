"""The six places of the toybox world: full-frame backgrounds with a ground to stand on."""

from __future__ import annotations

import random
from collections.abc import Callable

from assetforge_toybox.drawing import SIZE, Colour, Pen, Surface

SUN: Colour = (252, 214, 92)
MOON: Colour = (250, 244, 214)


def _pen(surface: Surface) -> Pen:
    return Pen(surface, 0.0, float(SIZE), 1.0, layer="place")


def _band(surface: Surface, top: float, bottom: float, colour: Colour) -> None:
    surface.polygon([(-2, top), (SIZE + 2, top), (SIZE + 2, bottom), (-2, bottom)], colour, "place")


def _light(surface: Surface, rng: random.Random, sun: bool = True) -> None:
    """Put the moon into a night sky, or the sun into a day sky that wants one."""
    x, y = rng.choice((9, 55)) + rng.uniform(-2, 2), 9 + rng.uniform(-1.5, 1.5)
    if surface.style.night:
        Pen(surface, x, y, 1.0, layer="light").ellipse(0, 0, 4.6, 4.6, MOON)
    elif sun:
        Pen(surface, x, y, 1.0, layer="place").ellipse(0, 0, 5.2, 5.2, SUN)


def beach(surface: Surface, rng: random.Random) -> None:
    """Sand in front, a broad band of sea behind it, sun."""
    horizon = 27 + rng.uniform(-1.5, 1.5)
    _band(surface, -2, horizon, (172, 216, 240))
    _light(surface, rng)
    _band(surface, horizon, 43, (44, 132, 190))
    shore = [(x, 42 + rng.uniform(-1, 1)) for x in range(-2, SIZE + 9, 8)]
    surface.polygon([*shore, (SIZE + 8, SIZE + 2), (-2, SIZE + 2)], (240, 216, 160), "place")


def forest(surface: Surface, rng: random.Random) -> None:
    """A row of dark firs over a meadow."""
    _band(surface, -2, 44, (196, 222, 196))
    _light(surface, rng, sun=False)
    _band(surface, 40, SIZE + 2, (148, 178, 104))
    pen = _pen(surface)
    offset = rng.uniform(-3, 3)
    for index in range(6):
        x = 2 + index * 12 + offset
        top = 50 + rng.uniform(-5, 5)
        pen.box(x - 1, 20, x + 1, 26, (96, 70, 50))
        pen.polygon([(x - 7, 24), (x, top), (x + 7, 24)], (56, 104, 72) if index % 2 else (72, 122, 80))


def snow(surface: Surface, rng: random.Random) -> None:
    """White ground before grey-blue mountains with white caps."""
    _band(surface, -2, 46, (192, 210, 230))
    _light(surface, rng, sun=False)
    pen = _pen(surface)
    cap = 9
    for middle, height, half in ((12, 52, 20), (50, 56, 22), (31, 45, 15)):
        x = middle + rng.uniform(-3, 3)
        top = height + rng.uniform(-2, 2)
        pen.polygon([(x - half, 20), (x, top), (x + half, 20)], (130, 146, 178))
        share = cap / (top - 20) * half
        pen.polygon([(x - share, top - cap), (x, top), (x + share, top - cap)], (246, 250, 255))
    _band(surface, 40, SIZE + 2, (238, 244, 250))


def city(surface: Surface, rng: random.Random) -> None:
    """A skyline with lit windows behind a grey street."""
    _band(surface, -2, 48, (236, 204, 182))
    _light(surface, rng, sun=False)
    pen, light = _pen(surface), Pen(surface, 0.0, float(SIZE), 1.0, layer="light")
    x = -3.0 + rng.uniform(-2, 2)
    index = 0
    while x < SIZE:
        width = 10 + rng.uniform(0, 4)
        top = 38 + rng.uniform(0, 18)
        pen.box(x, 18, x + width, top, ((104, 108, 134), (128, 124, 146))[index % 2])
        for wy in range(28, int(top) - 4, 8):
            for wx in (x + width * 0.16, x + width * 0.57):
                light.box(wx, wy, wx + width * 0.27, wy + 3.6, (250, 224, 140))
        x += width
        index += 1
    _band(surface, 42, SIZE + 2, (116, 116, 126))
    _band(surface, 42, 44.5, (176, 172, 172))


def desert(surface: Surface, rng: random.Random) -> None:
    """Orange dunes under a pale yellow sky, a cactus on either side."""
    _band(surface, -2, 48, (250, 228, 184))
    _light(surface, rng)
    pen = _pen(surface)
    shift = rng.uniform(-6, 6)
    pen.ellipse(12 + shift, 18, 34, 16, (222, 164, 100))
    pen.ellipse(56 + shift, 16, 30, 14, (208, 146, 84))
    _band(surface, 44, SIZE + 2, (232, 180, 116))
    for x in (5 + rng.uniform(-1, 1), 59 + rng.uniform(-1, 1)):
        height = 40 + rng.uniform(-3, 3)
        pen.box(x - 1.8, 18, x + 1.8, height, (70, 128, 84), round_by=1.8)
        pen.box(x - 5, height - 11, x - 2.6, height - 5, (70, 128, 84), round_by=1.2)
        pen.box(x - 5, height - 13, x + 4.5, height - 10.4, (70, 128, 84), round_by=1.2)
        pen.box(x + 2.6, height - 13, x + 5, height - 7, (70, 128, 84), round_by=1.2)


def room(surface: Surface, rng: random.Random) -> None:
    """A wall with a window and a picture over a wooden floor."""
    _band(surface, -2, 46, (218, 204, 218))
    pen = _pen(surface)
    left = rng.random() < 0.5
    x = (8 if left else 36) + rng.uniform(-2, 2)
    pen.box(x - 1.5, 36.5, x + 21.5, 59.5, (248, 244, 238))
    pen.box(x, 38, x + 20, 58, (150, 200, 232))
    if surface.style.night:
        Pen(surface, x + 14, SIZE - 52.5, 1.0, layer="light").ellipse(0, 0, 3.2, 3.2, MOON)
    pen.box(x + 9.2, 38, x + 10.8, 58, (248, 244, 238))
    other = (42 if left else 10) + rng.uniform(-2, 2)
    pen.box(other, 44, other + 12, 55, (126, 92, 70))
    pen.box(other + 2, 46, other + 10, 53, (204, 174, 132))
    _band(surface, 44, SIZE + 2, (176, 130, 92))
    _band(surface, 43, 45.5, (240, 232, 226))


PLACES: dict[str, Callable[[Surface, random.Random], None]] = {
    "beach": beach,
    "forest": forest,
    "snow": snow,
    "city": city,
    "desert": desert,
    "room": room,
}
"""The places by their short names; `world.PLACE_PHRASES` says how captions call them."""
