"""Conditions on text in SQL: a part of it, or a whole word or tag of a caption."""

import re

__all__ = ["has_part", "has_tag", "words_of"]

_STOPS = ',.;:!?()[]"\n\t'
"""What ends a word in a caption. Hyphens and apostrophes are part of words."""

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
    # LIKE knows the case of ASCII letters alone; of others the usual spellings are asked for.
    spellings = [text] if text.isascii() else list(dict.fromkeys((text, text.lower(), text.upper(), text.title())))
    condition = " OR ".join(f"{column} LIKE ? ESCAPE '\\'" for _ in spellings)
    return f"({condition})", [f"%{_escaped(one)}%" for one in spellings]


def has_tag(column: str, text: str) -> Condition:
    """A caption has a word, or several in a row, which may be a tag between commas."""
    wanted = " ".join(_spaced(text).split())
    if not wanted:
        return "0", []
    part, parameters = has_part(column, wanted.split()[0])
    spaced = column
    for stop in _STOPS:
        spaced = f"replace({spaced}, {_quoted(stop)}, ' ')"
    whole, more = has_part(f"' ' || {spaced} || ' '", f" {wanted} ")
    # The first is cheap and settles most rows.
    return f"({part} AND {whole})", parameters + more


def words_of(caption: str) -> list[str]:
    """The tags of a caption, in lower case: what stands between commas; of a caption without commas its words, but not the little ones."""
    text = caption.casefold()
    if "," in text:
        return [tag for part in text.split(",") if (tag := " ".join(part.split()))]
    return [word for word in _WORD.findall(text) if word not in _STOP_WORDS]


def _spaced(text: str) -> str:
    return text.translate(str.maketrans(_STOPS, " " * len(_STOPS)))


def _quoted(character: str) -> str:
    return f"char({ord(character)})"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
