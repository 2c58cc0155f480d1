"""Text in SQL, a part of it or a whole word or tag of a caption; and which tags captions have."""

import re
from collections import Counter
from collections.abc import Iterable

__all__ = ["Condition", "count_tags", "has_part", "has_tag"]

_IN_WORDS = "-a-z0-9_'’À-῿"
"""What words are made of, as SQLite's GLOB writes it: everything else ends a word."""

_WORD = re.compile(r"[^\W_][\w'’-]*")
# fmt: off
_STOP_WORDS = frozenset((
    "a", "an", "and", "are", "as", "at", "be", "by", "for", "from", "has", "he", "her", "his", "in", "into", "is", "it", "its", "of", "off", "on", "onto",
    "or", "out", "over", "she", "that", "the", "their", "them", "there", "they", "this", "to", "under", "up", "was", "were", "with", "without",
))
# fmt: on

Condition = tuple[str, list[str]]
"""SQL and its parameters."""


def has_part(column: str, text: str) -> Condition:
    """A column contains a text, whatever the case."""
    spellings = _spellings(text)
    condition = " OR ".join(f"{column} LIKE ? ESCAPE '\\'" for _ in spellings)
    return f"({condition})", [f"%{_escaped(one)}%" for one in spellings]


def has_tag(column: str, text: str) -> Condition:
    """A caption has a word, or several in a row, which may be a tag between commas."""
    wanted = " ".join(text.split()).strip(' ,.;:!?()"')
    if not wanted:
        return "0", []
    part, parameters = has_part(column, wanted)
    whole = " OR ".join(f"' ' || lower({column}) || ' ' GLOB ?" for _ in _spellings(wanted))
    # The first is cheap and settles most rows.
    return f"({part} AND ({whole}))", [*parameters, *(_as_word(one) for one in _spellings(wanted))]


def count_tags(captions: Iterable[str]) -> "Counter[str]":
    """How often each tag stands in captions, in lower case: what is between commas; of captions without commas the words, but not the little ones."""
    tagged: list[str] = []
    prose: list[str] = []
    for caption in captions:
        (tagged if "," in caption else prose).append(caption)
    # All at once: captions one by one take four times as long.
    counted = Counter(map(str.strip, ",".join(tagged).casefold().split(",")))
    counted.update(_WORD.findall("\n".join(prose).casefold()))
    for nothing in ("", *_STOP_WORDS):
        del counted[nothing]
    return counted


def _spellings(text: str) -> list[str]:
    """LIKE and lower() know the case of ASCII letters alone; of others the usual spellings are asked for."""
    return [text] if text.isascii() else list(dict.fromkeys((text, text.lower(), text.upper(), text.title())))


def _as_word(text: str) -> str:
    """A GLOB that finds a text in ASCII lower case where no word goes on at either end."""
    lower = "".join(letter.lower() if letter.isascii() else letter for letter in text)
    escaped = re.sub(r"[*?[]", r"[\g<0>]", lower)
    return f"*[^{_IN_WORDS}]{escaped}[^{_IN_WORDS}]*"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
