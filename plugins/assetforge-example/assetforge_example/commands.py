"""A command: an ordinary annotated function; its signature becomes the options, its docstring the help."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["palette"]


def palette(file: Path, *, colours: int = 5) -> None:
    """Show the main colours of a picture, the most common one first.

    Args:
        file: The picture.
        colours: How many.
    """
    with Image.open(file) as picture:
        reduced = picture.convert("RGB").quantize(colours, dither=Image.Dither.NONE)
    table = reduced.getpalette() or []
    shares = np.bincount(np.asarray(reduced).ravel()) / (reduced.width * reduced.height)
    for index in np.argsort(-shares):
        red, green, blue = table[3 * index : 3 * index + 3]
        sys.stdout.write(f"#{red:02x}{green:02x}{blue:02x}  {shares[index]:.1%}\n")
