"""What the big film is called: names, captions, reasons, and texts that are hard to show."""

import random
from collections.abc import Sequence
from typing import NamedTuple

__all__ = [
    "AWKWARD",
    "FILM",
    "LONG_LINE",
    "MANY_REFERENCES",
    "MANY_VERSIONS",
    "PEOPLE",
    "REJECTIONS",
    "RIGHTS",
    "AssetWords",
    "asset_words",
    "caption",
    "file_name",
]

FILM = "harbour-of-a-thousand-lamps"

MANY_REFERENCES = "mara"
"""The asset with 30,000 references."""

MANY_VERSIONS = "ilse"
"""The asset with 1,000 versions."""

PEOPLE = ("nadia", "theo", "the director", "priya", "watch", "supervisor")

LONG_LINE = "a very long caption that goes on about the light on the wet stones of the quay, " * 12

AWKWARD: tuple[str, ...] = (
    "[bold red]not markup[/bold red] and a[/b] [red",
    "[/] [link=file:///etc/passwd]click[/link] {braces} %s %(name)s",
    "a caption\nof two lines\r\nand a third\tafter a tab",
    "\x1b[31mescape\x1b[0m \x1b]0;title\x07 \x9b2J bell\x07",
    "مارا تقف في المطر قرب الفانوس القديم",
    "\u202eevil.gpj\u202c right to left override",
    "漢字とかな、雨の港、夜",
    "👩\u200d🎤 🧜🏽\u200d♀️ 🏮 lantern 🇫🇷 ﷽",
    "Z̸̢͠a̶͜l̵͝g̷o combining ̶m̶a̶r̶k̶s̶",
    "zero\u200bwidth\u200cand\u200d\ufeff spaces\u00a0here",
    LONG_LINE,
    "nowhitespace" * 40,
    "trailing backslash \\",
    "\\[escaped bracket] $variable @click('app.quit') `code`",
    "' OR 1=1; DROP TABLE reference; --",
)
"""Texts that must neither break a layout nor mean anything: markup, escapes, line breaks, both directions, emoji, no place to wrap."""

REJECTIONS = (
    "The scar is on the wrong side in half of the profiles",
    "Skin has become plastic, and the rain looks like snow",
    "It copies the still from scene 4: same pose, same drop on the lip",
    "She looks ten years older in every out of distribution prompt [see sheet 3]",
    "Bleeds into the extras: everybody has her coat",
)

RIGHTS = ("shot for the film", "shot for the film", "licensed: Meridian Stills", "drawn by the production designer", "")

_FIRST = (
    *("amber", "ashen", "brass", "broken", "copper", "crooked", "dusty", "early", "faded", "gilded", "hollow", "iron"),
    *("jade", "kind", "lame", "little", "mute", "narrow", "old", "pale", "quiet", "red", "salt", "silent", "tall"),
    *("tin", "velvet", "weary", "white", "young"),
)
_PEOPLE_WORDS = (
    *("admiral", "baker", "captain", "diver", "engineer", "fisher", "ghost", "harpooner", "innkeeper", "juggler"),
    *("keeper", "lamplighter", "mate", "nurse", "organist", "porter", "rigger", "sailor", "tinker", "widow"),
)
_THINGS = ("anchor", "bell", "chart", "door", "engine", "flag", "gramophone", "hook", "lantern", "letter", "mirror")
_LOOKS = ("ink-wash", "gouache", "lino-cut", "night-bloom", "pastel", "etching", "tintype", "watercolour")
_POSES = ("in profile", "from behind", "close up", "full figure", "looking up", "running", "seated", "half in shadow")
_PLACES = (
    *("on the quay", "in the rain", "at the fish market", "below deck", "in the kitchen", "on the stairs of the mole"),
    *("in the lamp room", "by the window", "in a crowd", "on the ferry", "at low tide", "in the chapel"),
)
_LIGHTS = ("soft morning light", "hard noon light", "lamp light", "blue hour", "fog", "backlit", "overcast", "neon")


class AssetWords(NamedTuple):
    """How an asset is called.

    Attributes:
        name: Its name.
        type: Its type.
        trigger: Its trigger.
        class_word: What it is.
        description: For people.
    """

    name: str
    type: str
    trigger: str
    class_word: str
    description: str


def asset_words(count: int, rng: random.Random) -> list[AssetWords]:
    """The assets: first the two that are far larger than all others, then characters, props and styles, some with names of 64 characters."""
    found = [
        AssetWords(
            MANY_REFERENCES, "character", "mrvale", "woman", "The lamplighter's daughter. Scar over the left brow."
        ),
        AssetWords(MANY_VERSIONS, "character", "ilsqt", "woman", "Her sister; [never] without the red scarf."),
    ]
    taken = {one.name for one in found}
    while len(found) < count:
        at = len(found)
        type_name = "character" if at % 20 < 11 else "prop" if at % 20 < 17 else "style"
        name = _name(type_name, at, rng)
        if name in taken:
            name = f"{name}-{at}"
        taken.add(name)
        class_word = {"character": rng.choice(("man", "woman", "girl", "boy")), "prop": "object", "style": "style"}
        trigger = f"{name[0]}{''.join(rng.choice('bcdfghklmnprstvwxz') for _ in range(4))}{at}"
        description = AWKWARD[at % len(AWKWARD)] if at % 9 == 4 else f"Seen in sequence {at % 23 + 1:03d}."
        found.append(AssetWords(name, type_name, trigger, class_word[type_name], description))
    return found


def _name(type_name: str, at: int, rng: random.Random) -> str:
    if at % 37 == 5:
        long = "the-" + "-".join(rng.choice(_FIRST) for _ in range(12))
        return long[:60].strip("-") + f"-{at % 1000:03d}"[: 64 - 60]
    if type_name == "character":
        return f"{rng.choice(_FIRST)}-{rng.choice(_PEOPLE_WORDS)}"
    if type_name == "prop":
        return f"{rng.choice(_FIRST)}-{rng.choice(_THINGS)}"
    return f"{rng.choice(_LOOKS)}-{rng.choice(_FIRST)}"


def caption(trigger: str, class_word: str, rng: random.Random) -> str:
    """A caption as people write them; one in fifty is hard to show, one in forty is empty."""
    dice = rng.random()
    if dice < 0.02:
        return f"{trigger} {rng.choice(AWKWARD)}"
    if dice < 0.045:
        return ""
    words = f"{trigger} {class_word} {rng.choice(_POSES)} {rng.choice(_PLACES)}, {rng.choice(_LIGHTS)}"
    return words + rng.choice(("", ", rain", ", 35mm", ", red scarf", ", [wip]", ", out of focus crowd behind"))


def file_name(asset: str, number: int, rng: random.Random) -> str:
    """The name of a picture's file; one in a hundred is hard to show."""
    dice = rng.random()
    if dice < 0.01:
        odd: Sequence[str] = (
            "a[/b] [red",
            "line\nbreak",
            "\u202egnp.exe",
            "写真",
            "🏮 final FINAL",
            "x" * 180,
            "\x1b[2J",
        )
        return f"{rng.choice(odd)}-{number}.jpg"
    return f"{asset}_{number:05d}.jpg" if dice < 0.6 else f"IMG_{1000 + number}.JPG"
