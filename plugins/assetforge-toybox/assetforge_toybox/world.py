"""The toybox world: what a scene is, how it is drawn, and what its caption says.

A scene is one subject of one colour in one place, in one drawing style, at one of three positions and sizes. About one
in eight of the (subject, colour, place, style) combinations is reserved: it is never drawn for training, so that a
model which renders it right has learned the parts and not the pictures.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from dataclasses import dataclass

from PIL import Image

from assetforge_toybox.drawing import SIZE, Pen, Style, Surface
from assetforge_toybox.phrases import COLOURS, PLACE_PHRASES, POSITION_PHRASES
from assetforge_toybox.places import PLACES
from assetforge_toybox.styles import STYLES
from assetforge_toybox.subjects import SUBJECTS

POSITIONS: dict[str, float] = {"left": 17.0, "centre": 32.0, "right": 47.0}
SIZES: dict[str, float] = {"small": 22.0, "medium": 28.0, "large": 34.0}
SIZE_WORDS: dict[str, str] = {"small": "small", "medium": "", "large": "big"}

Combination = tuple[str, str, str, str]
"""Subject, colour, place, style."""

RESERVED_SHARE = 8
"""One combination in this many is held out."""


@dataclass(frozen=True)
class Scene:
    """Everything that a picture shows; `seed` decides the small differences between pictures of equal attributes."""

    subject: str
    colour: str
    place: str
    style: str
    position: str = "centre"
    size: str = "medium"
    seed: int = 0

    @property
    def combination(self) -> Combination:
        """The four attributes that decide whether a scene may be trained on."""
        return self.subject, self.colour, self.place, self.style


def is_held_out(combination: Combination) -> bool:
    """Tell whether the combination is reserved for measuring and must never be trained on."""
    digest = hashlib.sha256("/".join(combination).encode()).digest()
    return digest[0] % RESERVED_SHARE == 0


def combinations(held_out: bool) -> list[Combination]:
    """Return all reserved combinations, or all that training may draw, in a fixed order."""
    every = itertools.product(SUBJECTS, COLOURS, PLACES, STYLES)
    return [c for c in every if is_held_out(c) == held_out]


def sample_scene(rng: random.Random, held_out: bool = False) -> Scene:
    """Draw one scene at random, from the reserved combinations only or from the others only."""
    while True:
        chosen = tuple(rng.choice(list(part)) for part in (SUBJECTS, COLOURS, PLACES, STYLES))
        combination: Combination = (chosen[0], chosen[1], chosen[2], chosen[3])
        if is_held_out(combination) == held_out:
            break
    position, size = rng.choice(list(POSITIONS)), rng.choice(list(SIZES))
    return Scene(*combination, position=position, size=size, seed=rng.randrange(2**31))


def paint(scene: Scene, style: Style | None = None) -> Surface:
    """Draw the scene, in its own style or in the one given, and return the surface (picture and colour mask)."""
    rng = random.Random(f"scene:{scene.seed}")
    surface = Surface(style or STYLES[scene.style])
    PLACES[scene.place](surface, rng)
    pen = Pen(
        surface,
        x=POSITIONS[scene.position] + rng.uniform(-2, 2),
        ground=57.0 + rng.uniform(-2, 2),
        scale=SIZES[scene.size] + rng.uniform(-1.2, 1.2),
        flip=rng.random() < 0.5,
    )
    SUBJECTS[scene.subject](pen, COLOURS[scene.colour])
    return surface


def draw_scene(scene: Scene, size: int = SIZE) -> Image.Image:
    """Draw the scene as an RGB picture of size x size pixels; equal scenes give equal pixels."""
    return paint(scene).picture(size)


def caption(scene: Scene, rng: random.Random | None = None) -> str:
    """Describe the scene.

    Without `rng` the caption is complete and plain; with it the wording varies and, now and then, an attribute is left
    out or a meaningless word stands in front, as real captions do.
    """
    article = "a"
    size = SIZE_WORDS[scene.size]
    colour, where, place = scene.colour, POSITION_PHRASES[scene.position], PLACE_PHRASES[scene.place]
    style = STYLES[scene.style].name
    template = 0
    if rng is not None:
        template = rng.randrange(3)
        colour = "" if rng.random() < 0.05 else colour
        where = "" if rng.random() < 0.20 else where
        place = "" if rng.random() < 0.05 else place
        style = "" if rng.random() < 0.08 else style
    words = " ".join(part for part in (size, colour, scene.subject) if part)
    if colour == "orange" and not size:
        article = "an"
    if template == 0:
        parts = [" ".join(p for p in (article, words, where, place) if p), style]
    elif template == 1:
        parts = [" ".join(p for p in (article, words, place, where) if p), style]
    else:
        parts = [style, " ".join(p for p in (article, words, place) if p), where]
    text = ", ".join(p for p in parts if p)
    if rng is not None and rng.random() < 0.08:
        nonsense = "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(3, 7)))
        text = f"{nonsense} {text}" if rng.random() < 0.5 else f"{nonsense}, {text}"
    return text


def held_out_scenes(count: int, seed: int = 0) -> list[Scene]:
    """Return `count` scenes of reserved combinations, each combination used once before any is used twice."""
    rng = random.Random(f"held-out:{seed}")
    pool = combinations(held_out=True)
    order: list[Combination] = []
    while len(order) < count:
        order += rng.sample(pool, len(pool))
    positions, sizes = list(POSITIONS), list(SIZES)
    return [
        Scene(*c, position=rng.choice(positions), size=rng.choice(sizes), seed=rng.randrange(2**31))
        for c in order[:count]
    ]
