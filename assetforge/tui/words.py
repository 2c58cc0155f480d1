"""How facts are written on a screen: states as a glyph and a word, times relative up to a week, numbers with thin separators, user text on one harmless line."""

import math
import re
import unicodedata
from datetime import UTC, datetime
from typing import NamedTuple

from textual.content import Content

__all__ = [
    "STATUS",
    "StatusWord",
    "ago",
    "count_of",
    "dim",
    "duration",
    "number",
    "plain",
    "signed",
    "size",
    "status",
    "strong",
    "widening",
]


class StatusWord(NamedTuple):
    """How a state is shown; the glyph and the word say it without the colour.

    Attributes:
        glyph: One cell.
        word: One word.
        style: A theme token.
    """

    glyph: str
    word: str
    style: str


STATUS = {
    "approved": StatusWord("●", "approved", "$success"),
    "review": StatusWord("◐", "review", "$warning"),
    "regressed": StatusWord("▲", "regressed", "$error"),
    "candidate": StatusWord("○", "candidate", "$secondary"),
    "rejected": StatusWord("✕", "rejected", "$error"),
    "retired": StatusWord("·", "retired", "$dim"),
    "running": StatusWord("⏵", "running", "$secondary"),
    "collecting": StatusWord("·", "collecting", "$dim"),
    "failed": StatusWord("✕", "failed", "$error"),
    "lost": StatusWord("✕", "lost", "$error"),
    "cancelled": StatusWord("✕", "cancelled", "$dim"),
    "waiting": StatusWord("‖", "waiting", "$secondary"),
    "queued": StatusWord("‖", "queued", "$secondary"),
    "staging": StatusWord("⏵", "staging", "$secondary"),
    "succeeded": StatusWord("✓", "done", "$success"),
    "pass": StatusWord("●", "pass", "$success"),
    "inconclusive": StatusWord("◐", "inconclusive", "$warning"),
    "ok": StatusWord("●", "ok", "$success"),
    "problem": StatusWord("✕", "problem", "$error"),
}

_WEEK_S = 7 * 24 * 3600
_UNSHOWN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
# Keeps letters from joining, which changes words.
_NON_JOINER = "\u200c"
# Terminals and our arithmetic disagree about how wide these make an emoji, and then what follows on the line is out of its place: what is joined to one, colours of skin,
# selectors of presentation, joiners.
_WIDENING = re.compile(
    "(?<=[\u2600-\u27bf\U0001f000-\U0001faff])[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]*(?:\u200d[\u2190-\u2bff\U0001f000-\U0001faff][\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]*)+"
    "|[\u200d\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]"
)


def plain(text: str, limit: int = 0) -> str:
    """Somebody's text on one line: line breaks and tabs become spaces, controls, escapes and direction marks go; of a joined emoji the first one stays.

    Args:
        text: Any text.
        limit: Longest result in characters, cut with an ellipsis; 0 cuts nothing.
    """
    if not (text.isascii() and text.isprintable()):
        text = "".join(
            " " if char in "\n\r\t\v\f\u2028\u2029" else char
            for char in _WIDENING.sub("", text)
            if char in "\n\r\t\v\f\u2028\u2029" or char == _NON_JOINER or unicodedata.category(char) not in _UNSHOWN
        )
    shown = " ".join(text.split())
    return shown if not limit or len(shown) <= limit else shown[: limit - 1].rstrip() + "…"


def widening(text: str) -> list[range]:
    """Places of the characters in a text about whose width terminals disagree; without them only the first of a joined emoji is left."""
    return [range(*found.span()) for found in _WIDENING.finditer(text)]


def status(state: str, *, word: str = "") -> Content:
    """A state as glyph and word in its colour.

    Args:
        state: A key of :data:`STATUS`; an unknown one is shown as it is.
        word: Instead of the usual word.
    """
    known = STATUS.get(state, StatusWord("·", plain(state), "$dim"))
    return Content.assemble((f"{known.glyph} {word or known.word}", known.style))


def dim(text: str) -> Content:
    """Text that is there when it is looked for."""
    return Content.styled(text, "$dim")


def strong(text: str) -> Content:
    """A title."""
    return Content.styled(text, "bold")


def number(value: int) -> str:
    """A whole number with separators of thousands."""
    return f"{value:,}"


def count_of(value: int, one: str, many: str = "") -> str:
    """``1 reference``, ``1,204 references``."""
    return f"{number(value)} {one if value == 1 else many or one + 's'}"


def signed(value: float | None, digits: int = 2) -> str:
    """A difference with its sign, a true minus, and ``±0`` for what rounds to nothing."""
    if value is None or not math.isfinite(value):
        return "–"
    rounded = round(value, digits)
    if rounded == 0:
        return "±0"
    return f"{'+' if rounded > 0 else '−'}{abs(rounded):.{digits}f}"


def size(count: int) -> str:
    """Bytes for people."""
    value, unit = float(count), "B"
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if value >= 100 or unit == "B" else f"{value:.1f} {unit}"


def duration(seconds: float) -> str:
    """A length of time in its largest fitting unit or two: ``40 s``, ``6 min``, ``2 h 10 min``, ``3 days``."""
    seconds = max(0.0, seconds)
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {rest} min" if rest and hours < 10 else f"{hours} h"
    return f"{round(hours / 24)} days"


def ago(moment: str | float | datetime | None, now: datetime | None = None) -> str:
    """When something happened: relative up to a week, then the date.

    Args:
        moment: ISO 8601 text, epoch seconds or a datetime, in UTC where nothing else is said; empty or ``None`` gives a dash.
        now: What to count from; by default this moment.
    """
    if moment is None or moment == "":
        return "–"
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(text := moment)
        except ValueError:
            return plain(text)
    elif not isinstance(moment, datetime):
        moment = datetime.fromtimestamp(moment, UTC)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    now = now or datetime.now(UTC)
    seconds = (now - moment).total_seconds()
    if -60 < seconds < 45:
        return "just now"
    if seconds < 0:
        return f"in {duration(-seconds)}"
    if seconds < _WEEK_S:
        if seconds >= 36 * 3600:
            return f"{round(seconds / 86400)} days ago"
        return f"{duration(seconds)} ago"
    local = moment.astimezone()
    return f"{local.day} {local:%b}" if local.year == now.astimezone().year else f"{local.day} {local:%b %Y}"
