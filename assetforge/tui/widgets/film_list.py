"""Films below each other, each with a picture, its counts, and what needs a person."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from rich.segment import Segment
from textual.content import Content
from textual.strip import Strip

from assetforge.tui.widgets.items import CURSOR_GLYPH, VirtualItems
from assetforge.tui.words import ago, count_of, dim, plain, strong

if TYPE_CHECKING:
    from assetforge.db.browse.films import FilmCard
    from assetforge.tui.widgets.virtual_gallery import PictureCells

__all__ = ["NO_FILM", "FilmList", "needs_of"]

NO_FILM = "No film yet. n makes one; d makes the demo film and takes it through the whole loop."

_HIGH = 6
_WIDE = 16
_NARROW = 70
_NO_PICTURE = "no picture yet"


def needs_of(film: "FilmCard") -> Content:
    """What needs a person in a film, worst first; or that nothing does."""
    if film.older:
        return dim("made with an older assetforge; opening it brings it up to date")
    if film.problem:
        return Content.styled(f"✕ {plain(film.problem)}", "$error")
    parts = [
        (film.regressed, "▲", "regressed", "$error"),
        (film.failed, "✕", "failed", "$error"),
        (film.watch_problems, "✕", "cannot be watched", "$error"),
        (film.review, "◐", "for review", "$warning"),
        (film.quarantined, "‖", "in quarantine", "$warning"),
        (film.running, "⏵", "running", "$secondary"),
    ]
    shown = [Content.styled(f"{glyph} {count} {word}", style) for count, glyph, word, style in parts if count]
    if shown:
        return Content("   ").join(shown)
    if film.versions and film.approved == film.assets:
        return Content.styled("● all approved", "$success")
    return dim("nothing needs you")


class FilmList(VirtualItems["FilmCard"]):
    """Films, six lines each.

    Args:
        id: As of every widget.
    """

    HELP = "Your films, the one used last first. Enter opens one."

    def __init__(self, *, id: str) -> None:
        super().__init__(
            empty=NO_FILM,
            opening="Looking for films …",
            marking=False,
            leave=("enter",),
            id=id,
        )
        self._stores: dict[str, PictureCells] = {}
        self._asked: set[str] = set()

    def use(self, stores: "dict[str, PictureCells]") -> None:
        """Where the picture of each film comes from, by the hash of the picture."""
        self._stores = stores
        self._asked.clear()
        self.lay_out_again()

    def _measure(self, width: int) -> tuple[int, int]:  # noqa: ARG002
        return 1, _HIGH

    def _index_at(self, x: int, row: int, line: int) -> int | None:  # noqa: ARG002
        return row

    def _draw(self, row: int) -> list[Strip]:
        film, width = self._item(row), self.wide
        chosen = row == self.cursor
        ground = self._ground(*(["virtual-items--cursor"] if chosen else []))
        blank = Strip.blank(width, self._ground().rich_style)
        if film is None:
            return [blank] * _HIGH
        picture = self._picture(film, row) if self._stores and width >= _NARROW else None
        lines = self._lines(film)
        drawn = []
        for number in range(_HIGH - 1):
            pointer = f"{CURSOR_GLYPH} " if chosen and number == 1 else "  "
            # Beside a picture the ground of the cursor would leave holes where the picture has bars.
            lit = ["virtual-items--cursor"] if chosen and picture is None else []
            parts = [Segment(pointer, self._ground(*lit, "virtual-items--pointer").rich_style)]
            if picture is not None:
                parts += [*picture[number], Segment("  ", self._ground().rich_style), Segment(" ", ground.rich_style)]
            left, right = lines[number]
            room = width - sum(part.cell_length for part in parts)
            tail = min(right.cell_length, max(room // 2, room - left.cell_length - 2))
            parts += self._ink.line(left, room - tail - 2, ground)
            parts += self._ink.line(right, tail, ground, "right")
            parts.append(Segment("  ", ground.rich_style))
            drawn.append(Strip(parts).adjust_cell_length(width, ground.rich_style))
        return [*drawn, blank]

    def _lines(self, film: "FilmCard") -> list[tuple[Content, Content]]:
        nothing = Content("")
        counts = "   ".join(
            (count_of(film.assets, "asset"), count_of(film.versions, "version"), count_of(film.references, "reference"))
        )
        return [
            (nothing, nothing),
            (strong(plain(film.title or film.name)), dim(counts) if not film.problem else nothing),
            (needs_of(film), nothing),
            (dim(plain(str(film.root))), dim(ago(film.last_activity) if film.last_activity else "")),
            (nothing, nothing),
        ]

    def _picture(self, film: "FilmCard", row: int) -> Sequence[Strip]:
        high = _HIGH - 1
        ground = self._ground("virtual-items--cursor")
        room = [Strip.blank(_WIDE, ground.rich_style)] * high
        store = self._stores.get(film.picture)
        if not film.picture or store is None:
            nothing = Strip(self._ink.line(dim(_NO_PICTURE), _WIDE, ground, "center"))
            return [*room[: high // 2], nothing, *room[high // 2 + 1 :]]
        strips = store.strips(film.picture, _WIDE, high)
        if strips is None and film.picture not in self._asked:
            self._asked.add(film.picture)
            store.want(film.picture, _WIDE, high, partial(self._drop, row))
        return strips or room
