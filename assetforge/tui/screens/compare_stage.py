"""The pictures of a cell: side by side, in one place that a key swaps, with where they differ or without a LoRA beside them, or at every strength."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from textual.app import ComposeResult
from textual.containers import Grid, Horizontal
from textual.content import Content
from textual.css.query import NoMatches
from textual.widget import Widget
from textual.widgets import Static

from assetforge.tui.screens.compare_layout import picture_cells
from assetforge.tui.session import in_thread
from assetforge.tui.widgets.picture import Picture

if TYPE_CHECKING:
    from assetforge.tui.images.difference import Difference
    from assetforge.tui.images.protocol import TerminalPictures
    from assetforge.tui.images.thumbnails import Thumbnails

__all__ = ["PictureStage", "Shot", "Shown"]

Extra = Literal["", "difference", "base"]

_DIFFERENCE_SIDE = 1536
_KEPT_DIFFERENCES = 6
_LEAST_OF_THREE = 24
"""Below so many cells each, three pictures beside each other show less than one alone."""

_LINES_OF_WORDS = 12

_IDLE_S = 0.15
"""How long a cell stays before its large pictures are made ready; while a key is held down they are not."""


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture with its line of text.

    Attributes:
        sha256: The blob.
        caption: What it is.
    """

    sha256: str
    caption: str


@dataclass(frozen=True, slots=True)
class Shown:
    """What a cell shows.

    Attributes:
        left: The picture at the left, and the first in place.
        right: The other one.
        base: Without a LoRA; ``None`` where that is one of the two.
        near: Left and right pictures of the cells before and after.
        cell: Index of the cell.
    """

    left: Shot
    right: Shot
    base: Shot | None = None
    near: tuple[tuple[str, str], ...] = ()
    cell: int = -1


class PictureStage(Widget):
    """Room for pictures.

    Attributes:
        mode: ``pair``, ``place`` (one picture that is swapped) or ``strengths``.
        extra: What stands beside the two, or in their place.
        in_place: Which picture is in the one place.
        difference: Where the two differ, once that is known.
    """

    DEFAULT_CSS = """
    PictureStage {
        width: 1fr; layers: pair place strengths; overflow: hidden;
        #pair { layer: pair; width: 100%; height: 100%; align-horizontal: center; }
        #pair Picture { width: auto; }
        #pair .gap { width: 2; height: 1; }
        #place { layer: place; visibility: hidden; width: 100%; height: auto; align-horizontal: center; }
        #strengths-grid { layer: strengths; display: none; width: 100%; grid-gutter: 0 1; }
        Picture > .picture--caption { color: $foreground; }
        #stage-words { layer: pair; display: none; padding: 1 2; width: 100%; height: 100%; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.mode: Literal["pair", "place", "strengths"] = "pair"
        self.extra: Extra = ""
        self.in_place: Literal["left", "right", "difference", "base"] = "left"
        self.difference: Difference | None = None
        self._pictures: Thumbnails | None = None
        self._shown: Shown | None = None
        self._differences: dict[tuple[str, str, tuple[int, int, int]], Difference] = {}
        self._rows: Sequence[Sequence[Shot]] = ()
        self._put_up: set[str] = set()
        self._picture = (1, 1)
        self._cell_aspect = 2.0
        self._off = True

    def compose(self) -> ComposeResult:
        """Two places beside each other, one place for either, room for words. Pictures come once it is known how they are shown."""
        yield Horizontal(id="pair")
        yield Horizontal(id="place")
        yield Grid(id="strengths-grid")
        yield Static("", id="stage-words", markup=False)

    async def prepare(self, pictures: "Thumbnails | None", terminal: "TerminalPictures") -> None:
        """Make the places for pictures.

        Args:
            pictures: Where they are loaded from; ``None`` when pictures are off.
            terminal: What the terminal can show.
        """
        self._pictures, self._terminal = pictures, terminal
        self._off = pictures is None
        self._cell_aspect = terminal.cell_height / max(1, terminal.cell_width)
        self.query_one("#stage-words").display = self._off
        self.query_one("#pair").display = not self._off
        if not self._off and not self.query("#left"):
            pair = self.query_one("#pair")
            await pair.mount(
                Picture(pictures, terminal, id="left"),
                Static("", classes="gap"),
                Picture(pictures, terminal, id="right"),
                Static("", classes="gap", id="third-gap"),
                Picture(pictures, terminal, id="third"),
            )
            await self.query_one("#place").mount(Picture(pictures, terminal, id="one"))
        self.fit(self._picture, (self.size.width, self.size.height), (self.size.width, self.size.height))

    @property
    def off(self) -> bool:
        """Nothing but words can be shown."""
        return self._off

    # sizes

    def fit(self, picture: tuple[int, int], room: tuple[int, int], whole: tuple[int, int]) -> int:
        """Make the places as large as they can be.

        Args:
            picture: Width and height of the pictures in pixels.
            room: Cells and lines for pictures beside each other.
            whole: Cells and lines for one alone.

        Returns:
            How many lines the pictures that are shown now take, with their text.
        """
        self._picture, self._room, self._whole = picture, room, whole
        if self._off:
            return min(_LINES_OF_WORDS, room[1])
        if not self.query("#left"):
            return room[1]
        count = 3 if self._three else 2
        cells = picture_cells(picture, room, count, self._cell_aspect)
        for name in ("left", "right", "third"):
            self._set_size(f"#{name}", cells)
        for name in ("#third", "#third-gap"):
            self.query_one(name).display = self._three
        alone = picture_cells(picture, whole, 1, self._cell_aspect)
        self._set_size("#one", alone)
        self.query_one("#place").styles.height = alone[1] + 1
        if self.mode == "strengths":
            return self._fit_strengths()
        return (alone if self.mode == "place" else cells)[1] + 1

    def _set_size(self, name: str, cells: tuple[int, int]) -> None:
        one = self.query_one(name)
        one.styles.width, one.styles.height = cells[0], cells[1] + 1

    def _fit_strengths(self) -> int:
        """Size the pictures of the grid; how many lines they take."""
        columns, rows = max((len(row) for row in self._rows), default=1), max(1, len(self._rows))
        room = ((self._room[0] - columns + 1) // columns, self._room[1] // rows)
        lines = picture_cells(self._picture, room, 1, self._cell_aspect)[1] + 1
        grid = self.query_one("#strengths-grid")
        grid.styles.grid_rows = str(lines)
        grid.styles.height = lines * rows
        return lines * rows

    @property
    def _three(self) -> bool:
        return self.mode == "pair" and self.extra != "" and self.fits_three

    @property
    def fits_three(self) -> bool:
        """Whether a third picture beside the two is still worth looking at."""
        return picture_cells(self._picture, self._room, 3, self._cell_aspect)[0] >= _LEAST_OF_THREE

    _room: tuple[int, int] = (1, 1)
    _whole: tuple[int, int] = (1, 1)

    # what is shown

    def show(self, shown: Shown | None) -> None:
        """Show a cell; ``None`` shows nothing."""
        same = (
            shown is not None
            and self._shown is not None
            and (shown.left, shown.right) == (self._shown.left, self._shown.right)
        )
        if shown is None or self._shown is None or shown.cell != self._shown.cell:
            self._put_up = set()
        self._shown = shown
        if not same:
            self.difference = self._differences.get(self._key(shown)) if shown is not None else None
        if self._off or not self.query("#left"):
            return
        self._show_pair()
        self._show_place()
        if self.extra == "difference" or self.in_place == "difference":
            self._find_difference()

    def shows(self, cell: int) -> bool:
        """Whether the pictures of a cell are really on the screen, large enough to be looked at."""
        shown = self._shown
        if self._off or shown is None or shown.cell != cell or self.mode == "strengths":
            return False
        if self.mode == "place":
            # Who has seen one of the two has not compared them.
            return {"left", "right"} <= self._put_up
        left, right = self.query_one("#left", Picture), self.query_one("#right", Picture)
        return (left.showing, right.showing) == (shown.left.sha256, shown.right.sha256)

    def say(self, words: Content) -> None:
        """What is shown when pictures are off."""
        self.query_one("#stage-words", Static).update(words)

    def _show_pair(self) -> None:
        shown = self._shown
        left, right, third = (self.query_one(f"#{name}", Picture) for name in ("left", "right", "third"))
        if shown is None:
            for picture in (left, right, third):
                picture.clear()
            return
        left.show(shown.left.sha256, shown.left.caption)
        right.show(shown.right.sha256, shown.right.caption)
        left.preload(*(one[0] for one in shown.near))
        right.preload(*(one[1] for one in shown.near))
        if self.extra == "base" and shown.base is not None:
            third.show(shown.base.sha256, shown.base.caption)
        elif self.extra == "difference" and self.difference is not None:
            third.show_image(self.difference.picture, difference_text(self.difference))
        else:
            third.show(None, "looking for differences …" if self.extra == "difference" else "")

    def _show_place(self) -> None:
        shown = self._shown
        one = self.query_one("#one", Picture)
        if shown is None:
            one.clear()
            return
        if self.mode == "place":
            if self.in_place == "difference" and self.difference is not None:
                one.show_image(self.difference.picture, difference_text(self.difference))
            else:
                shot = {"left": shown.left, "right": shown.right, "base": shown.base or shown.right}.get(
                    self.in_place, shown.left
                )
                one.show(shot.sha256, shot.caption)
                self._put_up.add(self.in_place)
            self._make_ready()
        else:
            self.set_timer(_IDLE_S, self._make_ready, name="ready")

    def _make_ready(self) -> None:
        """Have both pictures ready in the one place, so that the first swap is as quick as the next; those of the neighbours when one looks there."""
        shown = self._shown
        if shown is None or not self.is_attached:
            return
        names = [shown.left.sha256, shown.right.sha256]
        if shown.base is not None and self.in_place == "base":
            names.append(shown.base.sha256)
        if self.mode == "place":
            names += [sha256 for pair in shown.near for sha256 in pair]
        try:
            self.query_one("#one", Picture).preload(*names)
        except NoMatches:
            return

    def show_mode(self) -> None:
        """Bring what belongs to the mode to the front."""
        if self._off:
            return
        self.query_one("#pair").styles.visibility = "visible" if self.mode == "pair" else "hidden"
        self.query_one("#place").styles.visibility = "visible" if self.mode == "place" else "hidden"
        self.query_one("#strengths-grid").display = self.mode == "strengths"

    def swap(self) -> None:
        """The other picture in the same place."""
        self.in_place = "right" if self.in_place == "left" else "left"
        self._show_place()

    # differences

    def _key(self, shown: Shown) -> tuple[str, str, tuple[int, int, int]]:
        return shown.left.sha256, shown.right.sha256, self.background_colors[1].rgb

    def _find_difference(self) -> None:
        if self._shown is not None:
            self.run_worker(self._difference(self._shown), group="difference", exclusive=True, exit_on_error=False)

    async def _difference(self, shown: Shown) -> None:
        key = self._key(shown)
        found = self._differences.get(key)
        if found is None and self._pictures is not None:
            found = await in_thread(_differ, self._pictures, *key)
            if found is None:
                return
            self._differences[key] = found
            while len(self._differences) > _KEPT_DIFFERENCES:
                del self._differences[next(iter(self._differences))]
        if self._shown is not None and key[:2] == (self._shown.left.sha256, self._shown.right.sha256):
            self.difference = found
            self._show_pair()
            self._show_place()

    # strengths

    async def show_strengths(self, rows: Sequence[Sequence[Shot]]) -> bool:
        """A grid: a row a version, a column a strength; whether it has another shape than before."""
        grid = self.query_one("#strengths-grid", Grid)
        columns = max((len(row) for row in rows), default=0)
        if self._off or not columns:
            return False
        flat = [shot for row in rows for shot in row]
        fresh = len(grid.children) != len(flat) or len(self._rows) != len(rows)
        if fresh:
            await grid.remove_children()
            grid.styles.grid_size_columns = columns
            grid.styles.grid_size_rows = len(rows)
            await grid.mount(*(Picture(self._pictures, self._terminal) for _ in flat))
        self._rows = rows
        for picture, shot in zip(grid.query(Picture), flat, strict=True):
            picture.show(shot.sha256, shot.caption)
        return fresh

    _terminal: "TerminalPictures"


def difference_text(found: "Difference") -> str:
    """How much two pictures differ, and how much that was enlarged to be seen."""
    if found.gain <= 1.0 and found.changed == 0:
        return "no difference"
    gain = f"×{found.gain:.0f}" if found.gain >= 10 else f"×{found.gain:.1f}"
    return f"differs in {found.changed:.0%}, shown {gain}"


def _differ(pictures: "Thumbnails", left: str, right: str, ground: tuple[int, int, int]) -> "Difference | None":
    from assetforge.tui.images.difference import difference_map

    first, second = pictures.load(left, _DIFFERENCE_SIDE), pictures.load(right, _DIFFERENCE_SIDE)
    return None if first is None or second is None else difference_map(first, second, ground=ground)
