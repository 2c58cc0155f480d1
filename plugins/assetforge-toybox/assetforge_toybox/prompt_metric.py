"""Says how well a picture follows its prompt, as far as the toybox world has words for it: the metric `toybox-prompt`."""

from __future__ import annotations

import colorsys
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from assetforge_toybox.backbone import picture_batch
from assetforge_toybox.phrases import COLOURS, PLACE_PHRASES, POSITION_PHRASES, STYLE_PHRASES
from assetforge_toybox.reader import ATTRIBUTES, BATCH, PALE, WEIGHTS, ReaderNetwork

PHRASES: dict[str, dict[str, str]] = {
    "subject": {name: name for name in ATTRIBUTES["subject"]},
    "colour": {name: name for name in COLOURS},
    "place": PLACE_PHRASES,
    "style": STYLE_PHRASES,
    "position": POSITION_PHRASES,
}
"""How captions call the values of each attribute."""

DARK = 0.15
"""Brightness below which a pixel has no hue worth counting."""

_HUES = np.array([colorsys.rgb_to_hsv(*(c / 255 for c in rgb))[0] for rgb in COLOURS.values()])
_PATTERNS = {
    name: {value: re.compile(rf"\b{re.escape(phrase)}\b") for value, phrase in phrases.items()}
    for name, phrases in PHRASES.items()
}


def named(prompt: str) -> dict[str, tuple[str, ...]]:
    """Read from a prompt which values of which attributes it names, such as {"place": ("snow",)}; attributes that it does not name are left out."""
    words = " ".join(prompt.lower().split())
    found = {
        name: tuple(value for value, pattern in patterns.items() if pattern.search(words))
        for name, patterns in _PATTERNS.items()
    }
    return {name: values for name, values in found.items() if values}


def colour_shares(pixels: np.ndarray) -> dict[str, float]:
    """Say how much of uint8 pixels (n, 3) is of each of the world's colours: by the nearest hue, each pixel counting by its saturation and brightness.

    The shares sum up to 1, or are all 0 where no pixel has a hue. The largest is the one that `reader.nearest_colour` names.
    """
    values = pixels.astype(np.float64) / 255.0
    top, bottom = values.max(axis=1, initial=0.0), values.min(axis=1, initial=1.0)
    saturation = (top - bottom) / np.maximum(top, 1e-12)
    kept = (saturation >= PALE) & (top >= DARK)
    values, top, saturation = values[kept], top[kept], saturation[kept]
    red, green, blue = values.T
    span = np.maximum(top * saturation, 1e-12)
    hue = np.where(
        top == red,
        (green - blue) / span % 6.0,
        np.where(top == green, (blue - red) / span + 2.0, (red - green) / span + 4.0),
    )
    distance = np.abs((hue[:, None] / 6.0 - _HUES + 0.5) % 1.0 - 0.5)
    votes = np.bincount(distance.argmin(axis=1), saturation * top, len(_HUES))
    shares = votes / max(float(votes.sum()), 1e-12)
    return dict(zip(COLOURS, shares.tolist(), strict=True))


class PromptMetric:
    """The probability, as the reader sees it, that a picture shows all that its prompt names: subject, colour, place, style and position.

    All of it and not the mean: where one thing got lost, the others would hide it.
    """

    def __init__(self, weights: Path = WEIGHTS) -> None:
        self._network = ReaderNetwork()
        self._network.load_state_dict({name: t.float() for name, t in load_file(weights).items()})
        self._network.eval()

    def follow(self, images: Sequence[np.ndarray], prompts: Sequence[str]) -> list[float]:
        """Score uint8 pictures (h, w, 3), each by its own prompt: 1 everything is as asked for, 0 something is not; NaN when the prompt names nothing.

        Where a prompt names two values of an attribute, either will do.
        """
        asked = [named(prompt) for prompt in prompts]
        wanted = [index for index, attributes in enumerate(asked) if attributes]
        scores = [float("nan")] * len(asked)
        for start in range(0, len(wanted), BATCH):
            part = wanted[start : start + BATCH]
            seen = self._read([images[index] for index in part])
            for index, probabilities in zip(part, seen, strict=True):
                met = [sum(probabilities[name][value] for value in values) for name, values in asked[index].items()]
                scores[index] = math.prod(met)
        return scores

    @torch.no_grad()
    def _read(self, images: list[np.ndarray]) -> list[dict[str, Mapping[str, float]]]:
        """Probabilities of every value of every attribute, per picture."""
        batch = picture_batch(images)
        logits, masks = self._network(batch)
        sure = nn.functional.interpolate(masks.sigmoid()[:, None], batch.shape[-2:], mode="bilinear")[:, 0].numpy()
        # As small as the network sees them, so that the mask fits.
        pixels = ((batch + 1.0) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
        rows: list[dict[str, Mapping[str, float]]] = []
        tables = {name: values.softmax(dim=1).tolist() for name, values in logits.items()}
        for index in range(len(images)):
            row: dict[str, Mapping[str, float]] = {
                name: dict(zip(ATTRIBUTES[name], table[index], strict=True)) for name, table in tables.items()
            }
            # The level that the reader takes, too.
            level = min(0.7, float(sure[index].max()) * 0.9)
            row["colour"] = colour_shares(pixels[index][sure[index] >= level])
            rows.append(row)
        return rows
