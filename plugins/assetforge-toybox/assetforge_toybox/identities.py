"""Figures and things that nobody has named: the probe learns from them what it is to be the same one.

An identity is decided by its seed: kind, body, head, headgear, colours, accessories. Everything else (place, style,
position, size, pose) varies from picture to picture. The demo film's cast is not among them and is never trained on.
"""

from __future__ import annotations

import random

from PIL import Image

from assetforge_toybox.doodles import random_colour, random_style
from assetforge_toybox.drawing import Colour, Pen, Style, Surface, mix
from assetforge_toybox.places import PLACES
from assetforge_toybox.styles import STYLES
from assetforge_toybox.subjects import SUBJECTS

DARK: Colour = (34, 28, 44)
SKINS: tuple[Colour, ...] = ((250, 218, 188), (226, 178, 138), (176, 122, 86), (118, 78, 58), (240, 240, 236))


def _vivid(rng: random.Random) -> Colour:
    """Return a colour of the kind that clothes and paint have."""
    return mix(random_colour(rng), (128, 128, 128), rng.choice((0.0, 0.0, 0.3)))


def _figure(pen: Pen, look: random.Random, pose: random.Random) -> None:
    """Draw a person-like figure; `look` decides who it is, `pose` what it does."""
    coat, trim, legs, skin = _vivid(look), _vivid(look), _vivid(look), look.choice(SKINS)
    body = look.choice(("box", "bell", "round", "tall"))
    head = look.choice(("round", "square", "wide"))
    headgear = look.choice(("none", "hood", "point", "cap", "hair", "ears", "brim", "antenna", "helmet"))
    belt, badge = look.random() < 0.4, look.random() < 0.3
    half = look.uniform(0.20, 0.36)
    top = 0.58 if body == "tall" else look.uniform(0.44, 0.54)
    spread, lift = pose.choice((0.0, 0.0, 0.09)), pose.choice((0, 0, 1, 2))
    for side in (-1, 1):
        x = side * (0.11 + spread)
        pen.box(x - 0.09, 0, x + 0.09, 0.20, legs, round_by=0.04)
        hand = (side * 0.44, 0.68) if lift == 2 or (lift == 1 and side == 1) else (side * 0.38, 0.22)
        pen.stroke([(side * half * 0.7, top - 0.10), hand], 0.12, mix(coat, DARK, 0.25))
        pen.ellipse(*hand, 0.07, 0.07, skin)
    if body == "bell":
        pen.polygon([(-half - 0.08, 0.12), (-0.14, top), (0.14, top), (half + 0.08, 0.12)], coat)
    elif body == "round":
        pen.ellipse(0, (top + 0.12) / 2 + 0.02, half, (top - 0.06) / 2, coat)
    else:
        pen.box(-half, 0.14, half, top, coat, round_by=0.08)
    if belt:
        pen.box(-half, 0.24, half, 0.32, trim)
    if badge:
        pen.ellipse(0.08, 0.40, 0.07, 0.07, trim)
    _head(pen, head, headgear, top, (skin, trim, _vivid(look)), look)


def _head(
    pen: Pen, head: str, headgear: str, neck: float, colours: tuple[Colour, Colour, Colour], look: random.Random
) -> None:
    """Draw the head above `neck`, with what it wears."""
    skin, trim, hair = colours
    rx, ry = {"round": (0.22, 0.21), "square": (0.22, 0.19), "wide": (0.28, 0.18)}[head]
    middle = neck + ry - 0.02
    if headgear == "hood":
        pen.ellipse(0, middle, rx + 0.08, ry + 0.08, trim)
    elif headgear == "point":
        pen.polygon(
            [(-rx - 0.09, middle - 0.05), (look.uniform(-0.15, 0.15), middle + 0.46), (rx + 0.09, middle - 0.05)], trim
        )
    elif headgear == "ears":
        for side in (-1, 1):
            pen.ellipse(side * rx * 0.8, middle + ry * 0.9, 0.10, look.uniform(0.08, 0.2), trim)
    elif headgear == "antenna":
        pen.stroke([(0, middle), (0, middle + 0.36)], 0.05, DARK)
        pen.ellipse(0, middle + 0.36, 0.07, 0.07, trim)
    elif headgear == "helmet":
        pen.ellipse(0, middle + 0.02, rx + 0.10, ry + 0.09, trim)
    if head == "square":
        pen.box(-rx, middle - ry, rx, middle + ry, skin, round_by=0.06)
    else:
        pen.ellipse(0, middle, rx, ry, skin)
    if headgear in ("cap", "hair", "hood"):
        pen.ellipse(0, middle + 0.04, rx, ry, hair if headgear != "cap" else trim, start=15, end=165)
    elif headgear == "brim":
        pen.box(-rx - 0.12, middle + ry * 0.45, rx + 0.12, middle + ry * 0.45 + 0.07, trim)
        pen.box(-rx * 0.7, middle + ry * 0.5, rx * 0.7, middle + ry + 0.16, trim)
    for side in (-1, 1):
        pen.ellipse(side * 0.085, middle - 0.02, 0.04, 0.055, DARK)


def _thing(pen: Pen, look: random.Random) -> None:
    """Draw an object stacked from two to four symmetrical parts, perhaps with a handle."""
    parts = look.randint(2, 4)
    y = 0.0
    handle = look.choice(("none", "ring", "side", "stem"))
    if handle == "side":
        colour = _vivid(look)
        pen.ellipse(0.36, 0.4, 0.2, 0.22, colour)
        pen.ellipse(0.36, 0.4, 0.11, 0.13, mix(colour, (255, 255, 255), 0.7))
    for _ in range(parts):
        height, low, high = look.uniform(0.14, 0.40), look.uniform(0.12, 0.46), look.uniform(0.10, 0.46)
        colour, form = _vivid(look), look.randrange(3)
        if form == 0:
            pen.box(-low, y, low, y + height, colour, round_by=look.choice((0.0, 0.08)))
        elif form == 1:
            pen.polygon([(-low, y), (-high, y + height), (high, y + height), (low, y)], colour)
        else:
            pen.ellipse(0, y + height / 2, low, height / 2, colour)
        if look.random() < 0.4:
            pen.ellipse(0, y + height / 2, low * 0.45, height * 0.3, _vivid(look))
        y += height * 0.92
    if handle in ("ring", "stem"):
        colour = _vivid(look)
        pen.stroke([(0, y - 0.02), (0, y + 0.14)], 0.06, colour)
        pen.ellipse(0, y + 0.14, 0.1, 0.1, colour)


def draw_identity(surface: Surface, identity: int, shot: random.Random) -> None:
    """Draw identity number `identity` onto the surface, standing and posed as `shot` decides."""
    look = random.Random(f"identity:{identity}")
    kind = look.choice(("figure", "figure", "thing", "subject"))
    tall = {"figure": 1.25, "thing": look.uniform(0.8, 1.2), "subject": 1.0}[kind]
    pen = Pen(
        surface,
        shot.choice((17, 32, 47)) + shot.uniform(-3, 3),
        57 + shot.uniform(-3, 3),
        shot.uniform(22, 35) * tall,
        flip=shot.random() < 0.5,
    )
    if kind == "figure":
        _figure(pen, look, shot)
    elif kind == "thing":
        _thing(pen, look)
    else:
        SUBJECTS[look.choice(list(SUBJECTS))](pen, _vivid(look))


def any_style(rng: random.Random) -> Style:
    """Return one of the world's styles or, as often, one nobody has named."""
    return rng.choice(list(STYLES.values())) if rng.random() < 0.5 else random_style(rng)


def draw_shot(identity: int, style: int, seed: int) -> Image.Image:
    """Draw one picture, 64 x 64 RGB: who (`identity`), how (`style`), and everything else (`seed`)."""
    shot = random.Random(f"shot:{seed}")
    chosen = any_style(random.Random(f"style:{style}"))
    surface = Surface(chosen)
    PLACES[shot.choice(list(PLACES))](surface, shot)
    draw_identity(surface, identity, shot)
    return surface.picture()
