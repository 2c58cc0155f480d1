"""The words of the toybox world, and nothing else: suites are made of them where no picture library may be loaded."""

from __future__ import annotations

SUBJECT_NAMES: tuple[str, ...] = ("robot", "cat", "bird", "mug", "house", "car", "tree", "boat")
"""Nouns of the subjects; `subjects.SUBJECTS` draws them in this order."""

STYLE_PHRASES: dict[str, str] = {
    "poster": "flat poster",
    "comic": "comic drawing",
    "pastel": "soft pastel",
    "night": "night painting",
}
"""How captions call the drawing styles; `styles.STYLES` draws them in this order."""

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (216, 40, 44),
    "orange": (240, 130, 30),
    "yellow": (246, 206, 36),
    "green": (52, 166, 66),
    "teal": (20, 164, 166),
    "blue": (38, 92, 206),
    "purple": (126, 58, 186),
    "pink": (236, 92, 170),
}
"""Main colours, spaced by hue so that a lighter or darker style keeps them apart."""

PLACE_PHRASES: dict[str, str] = {
    "beach": "at the beach",
    "forest": "in the forest",
    "snow": "in the snow",
    "city": "in the city",
    "desert": "in the desert",
    "room": "in a room",
}
POSITION_PHRASES: dict[str, str] = {"left": "on the left", "centre": "in the middle", "right": "on the right"}
