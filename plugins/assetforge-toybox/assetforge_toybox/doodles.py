"""Pictures that show nothing in particular: random shapes in random colours, in random variations of the styles.

The autoencoder learns from some of them, so that it also carries colours and shapes which the world does not have.
"""

from __future__ import annotations

import random

from PIL import Image, ImageFilter

from assetforge_toybox.drawing import SIZE, SUPERSAMPLE, Colour, Layer, Pen, Style, Surface, mix
from assetforge_toybox.places import PLACES


def random_colour(rng: random.Random) -> Colour:
    """Return any colour, dark and pale ones included."""
    return rng.randrange(256), rng.randrange(256), rng.randrange(256)


def random_style(rng: random.Random) -> Style:
    """Return a style nobody has named: some share of tint, grey, outline and softness."""
    towards, share = random_colour(rng), rng.choice((0.0, rng.uniform(0.0, 0.7)))
    grey = rng.choice((0.0, 0.0, rng.random(), 1.0))
    ink = mix(random_colour(rng), (0, 0, 0), 0.7) if rng.random() < 0.4 else None
    blur = rng.choice((0.0, 0.0, rng.uniform(0.3, 1.2)))

    def fill(colour: Colour, layer: Layer) -> Colour:
        level = round(0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2])
        return mix(mix(colour, (level, level, level), grey), towards, share if layer == "place" else share / 3)

    def finish(image: Image.Image) -> Image.Image:
        return image.filter(ImageFilter.GaussianBlur(blur * SUPERSAMPLE)) if blur else image

    return Style("doodle", fill, ink=ink, line={"subject": rng.uniform(0.6, 1.8), "place": 0.8}, finish=finish)


def draw_doodle(seed: int) -> Image.Image:
    """Draw a doodle, 64 x 64, RGB; equal seeds give equal pixels."""
    rng = random.Random(f"doodle:{seed}")
    surface = Surface(random_style(rng), random_colour(rng))
    if rng.random() < 0.6:
        PLACES[rng.choice(list(PLACES))](surface, rng)
    for _ in range(rng.randint(2, 10)):
        pen = Pen(surface, rng.uniform(4, SIZE - 4), rng.uniform(8, SIZE), rng.uniform(6, 28))
        colour = random_colour(rng)
        kind = rng.randrange(3)
        if kind == 0:
            pen.ellipse(0, 0.4, rng.uniform(0.1, 0.6), rng.uniform(0.1, 0.6), colour)
        elif kind == 1:
            pen.box(
                -rng.uniform(0.1, 0.6),
                0,
                rng.uniform(0.1, 0.6),
                rng.uniform(0.2, 1.0),
                colour,
                round_by=rng.choice((0.0, 0.15)),
            )
        else:
            pen.polygon([(rng.uniform(-0.6, 0.6), rng.uniform(0, 1)) for _ in range(3)], colour)
    return surface.picture()
