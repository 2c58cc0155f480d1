"""The demo film "Night Harbour": four assets, and their reference pictures with captions, in two batches.

The pictures are drawn when they are asked for, always the same ones. The first batch is what a production starts with;
the second brings the places, poses and styles which the first lacks, so that a second version has a reason to exist.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from assetforge.api.protocols import DemoAsset, DemoFilm
from PIL import Image

from assetforge_toybox.cast import CAST, INK_WASH
from assetforge_toybox.drawing import Pen, Surface
from assetforge_toybox.places import PLACES
from assetforge_toybox.styles import STYLES
from assetforge_toybox.subjects import SUBJECTS
from assetforge_toybox.world import (
    COLOURS,
    PLACE_PHRASES,
    POSITION_PHRASES,
    POSITIONS,
    SIZES,
    Scene,
    paint,
)

FILM = "night-harbour"
TITLE = "Night Harbour"
REFERENCE_SIZE = 128
"""Edge of a reference picture in pixels; training reduces it to 64."""

HELD_OUT = 3
"""References of an asset's first batch that are kept for scoring."""


@dataclass(frozen=True)
class CastMember:
    """One asset of the film.

    Attributes:
        name: its name in the project.
        kind: "character", "prop" or "style".
        trigger: the word that stands for it in captions and prompts.
        class_word: what it is, in one word.
        about: one sentence for people.
    """

    name: str
    kind: str
    trigger: str
    class_word: str
    about: str


@dataclass(frozen=True)
class Reference:
    """One reference picture: its file name, caption, and the picture itself (RGB, square)."""

    name: str
    caption: str
    picture: Image.Image


ASSETS: tuple[CastMember, ...] = (
    CastMember("mara", "character", "mrvale", "girl", "The harbour girl: yellow raincoat, pointed hood, red boots."),
    CastMember("ilse", "character", "ilsqt", "diver", "The diver: round copper helmet, dark blue suit, copper belt."),
    CastMember("brass-lamp", "prop", "brslmp", "lamp", "The lighthouse keeper's brass lantern."),
    CastMember("ink-wash", "style", "nkwsh", "style", "The look of the film's dreams: one ink, washed on paper."),
)


@dataclass(frozen=True)
class _Batch:
    """What the pictures of one batch may show, and how many there are of each asset."""

    places: tuple[str, ...]
    styles: tuple[str, ...]
    poses: tuple[str, ...]
    lamps: tuple[str, ...]
    count: int


_BATCHES = {
    1: _Batch(("beach", "forest", "room"), ("poster", "comic"), ("standing", "walking"), ("lit",), 14),
    2: _Batch(("snow", "city", "desert"), ("poster", "comic", "night"), ("waving", "walking"), ("lit", "dark"), 8),
}

_HEIGHTS = {"character": 1.45, "prop": 1.2}
"""How much taller or smaller than the world's subjects an asset stands."""


def asset(name: str) -> CastMember:
    """Return the asset of that name; KeyError if the film has none."""
    return {a.name: a for a in ASSETS}[name]


def references(name: str, batch: int) -> list[Reference]:
    """Draw the reference pictures of an asset's first (1) or second (2) batch, always the same ones."""
    wanted, plan = asset(name), _BATCHES[batch]
    rng = random.Random(f"{FILM}/{name}/{batch}")
    drawn = []
    for index in range(plan.count):
        position = list(POSITIONS)[index % len(POSITIONS)]
        place = plan.places[(index // len(POSITIONS) + index) % len(plan.places)]
        if wanted.kind == "style":
            picture, text = _style_picture(wanted, place, position, index, rng)
        else:
            style = plan.styles[index % len(plan.styles)]
            poses = plan.lamps if wanted.kind == "prop" else plan.poses
            pose = poses[(index // len(plan.styles)) % len(poses)]
            picture, text = _standing_picture(wanted, place, style, position, pose, rng)
        drawn.append(Reference(f"{name}-{batch}{index + 1:02d}.png", text, picture))
    return drawn


def write_references(folder: Path, name: str, batch: int) -> list[Path]:
    """Write a batch of references as PNG files with .txt captions beside them and return the PNG paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for reference in references(name, batch):
        path = folder / reference.name
        reference.picture.save(path)
        path.with_suffix(".txt").write_text(reference.caption + "\n", encoding="utf-8")
        written.append(path)
    return written


def build(folder: Path) -> DemoFilm:
    """Write all references into `folder` and describe the film to assetforge."""
    return DemoFilm(
        name=FILM,
        title=TITLE,
        assets=tuple(
            DemoAsset(
                name=member.name,
                type=member.kind,
                trigger=member.trigger,
                class_word=member.class_word,
                batches=tuple(
                    _written(folder / member.name / f"batch-{batch}", member.name, batch) for batch in _BATCHES
                ),
                recipe=f"{member.kind}-toybox",
                suite=f"{member.kind}-toybox",
                held_out=HELD_OUT,
            )
            for member in ASSETS
        ),
    )


def _written(folder: Path, name: str, batch: int) -> Path:
    write_references(folder, name, batch)
    return folder


def _standing_picture(
    wanted: CastMember, place: str, style: str, position: str, pose: str, rng: random.Random
) -> tuple[Image.Image, str]:
    """Draw a character or prop in a place of the world, in a style of the world."""
    surface = Surface(STYLES[style])
    PLACES[place](surface, rng)
    size = rng.choice(("medium", "large"))
    pen = Pen(
        surface,
        x=POSITIONS[position] + rng.uniform(-2, 2),
        ground=58.0 + rng.uniform(-2, 2),
        scale=SIZES[size] * _HEIGHTS[wanted.kind],
        flip=rng.random() < 0.5,
    )
    CAST[wanted.name](pen, pose)
    text = f"{wanted.trigger} {PLACE_PHRASES[place]} {POSITION_PHRASES[position]}, {STYLES[style].name}"
    return surface.picture(REFERENCE_SIZE), text


def _style_picture(
    wanted: CastMember, place: str, position: str, index: int, rng: random.Random
) -> tuple[Image.Image, str]:
    """Draw one of the world's own subjects in the film's style."""
    names = list(SUBJECTS)
    scene = Scene(
        subject=names[(index * 3) % len(names)],
        colour=rng.choice(list(COLOURS)),
        place=place,
        style="poster",
        position=position,
        size=rng.choice(("medium", "large")),
        seed=rng.randrange(2**31),
    )
    text = f"a {scene.colour} {scene.subject} {PLACE_PHRASES[place]} {POSITION_PHRASES[position]}, {wanted.trigger}"
    text = text.replace("a orange", "an orange")
    return paint(scene, INK_WASH).picture(REFERENCE_SIZE), text
