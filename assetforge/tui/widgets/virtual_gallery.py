"""A gallery of any length: tiles of a picture and a few words in rows, pictures drawn when they are ready, nothing loaded that is not in view."""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import ClassVar, NamedTuple, Protocol, TypeVar

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.reactive import reactive
from textual.strip import Strip
from textual.timer import Timer

from assetforge.tui.images.cells import joined
from assetforge.tui.widgets.fitting import Line
from assetforge.tui.widgets.items import MARK_GLYPH, ItemSource, VirtualItems

__all__ = ["PictureCells", "Tile", "VirtualGallery"]

T = TypeVar("T")

# Widths that a tile takes in turn; fixed, so that pictures of a few sizes serve every terminal.
_STEPS = (8, 10, 14, 20, 28, 40, 56)
# Room between tiles beyond the frame's, at most; more would tear rows apart.
_LOOSE = 4
# A card of text is at least so wide.
_CARD = 24
# Seconds after which a picture that did not come is asked for again: another gallery of the same pictures may have let go of it.
_PATIENCE = 2.0
_NOTHING = "no picture"
_UNREADABLE = "not readable"


class Tile(NamedTuple):
    """What a tile shows.

    Attributes:
        picture: SHA-256 of the picture; empty without one.
        title: The line right below it.
        below: Further lines, as many as the gallery has.
    """

    picture: str
    title: Line
    below: Sequence[Line] = ()


class PictureCells(Protocol):
    """Pictures as coloured cells. All methods are called on the UI thread and return at once."""

    def strips(self, sha256: str, width: int, height: int) -> Sequence[Strip] | None:
        """A picture in exactly so many cells and lines; ``None`` when it is not there yet or cannot be read."""
        ...

    def want(self, sha256: str, width: int, height: int, ready: Callable[[], None]) -> None:
        """Load a picture in a thread and call ``ready`` on the UI thread once, also when it cannot be read."""
        ...

    def skip(self, wanted: Collection[tuple[str, int, int]]) -> None:
        """Only these are still in view; whatever else is queued may be dropped without a call."""
        ...


class VirtualGallery(VirtualItems[T]):
    """A gallery over an item source.

    Attributes:
        tile_size: Cells of a picture, width and height.
    """

    DEFAULT_CSS = """
    VirtualGallery {
        & > .virtual-gallery--room { background: $surface; color: $text-muted; }
        & > .virtual-gallery--frame { color: $text-muted; }
        & > .virtual-gallery--title { color: $foreground; }
        & > .virtual-gallery--below { color: $text-muted; }
        & > .virtual-gallery--chosen { color: $foreground; text-style: bold; }
        & > .virtual-gallery--chip { background: $accent; color: $background; text-style: bold; }
        &:focus > .virtual-gallery--frame { color: $accent; }
        &:focus > .virtual-gallery--chosen { color: $accent; text-style: bold; }
    }
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "virtual-gallery--room",
        "virtual-gallery--frame",
        "virtual-gallery--title",
        "virtual-gallery--below",
        "virtual-gallery--chosen",
        "virtual-gallery--chip",
    }

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "go_items(-1)", "Left", show=False, id="list.left"),
        Binding("right", "go_items(1)", "Right", show=False, id="list.right"),
        Binding("shift+left", "extend_items(-1)", "Mark to the left", show=False, id="list.extend-left"),
        Binding("shift+right", "extend_items(1)", "Mark to the right", show=False, id="list.extend-right"),
        Binding("plus,equals_sign", "resize_tiles(1)", "Larger", show=False, id="list.larger"),
        Binding("minus", "resize_tiles(-1)", "Smaller", show=False, id="list.smaller"),
    ]

    tile_size: reactive[tuple[int, int]] = reactive((14, 7))

    def __init__(
        self,
        tile: Callable[[T], Tile],
        pictures: PictureCells | None,
        *,
        tile_width: int = 14,
        picture_height: int = 7,
        lines: int = 2,
        empty: str = "Nothing here.",
        opening: str = "Opening …",
        marking: bool = True,
        leave: Collection[str] = (),
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
        disabled: bool = False,
    ) -> None:
        """Has no items yet.

        Args:
            tile: What an item shows; text is never markup.
            pictures: Where pictures come from; ``None`` shows cards of text instead.
            tile_width: Cells of a picture, at least 4.
            picture_height: Lines of a picture, at least 1.
            lines: Lines of text in a tile, title included, at least 1.
            empty: What is said when there is nothing.
            opening: What is said before the first source.
            marking: Whether items can be marked.
            leave: Keys that the screen wants for itself.
            name: As of every widget.
            id: As of every widget.
            classes: As of every widget.
            disabled: As of every widget.
        """
        super().__init__(
            empty=empty,
            opening=opening,
            marking=marking,
            leave=leave,
            name=name,
            id=id,
            classes=classes,
            disabled=disabled,
        )
        self._tile = tile
        self._pictures = pictures
        self._lines = lines
        self._shape = picture_height / tile_width
        # Cells of a tile inside its frame and lines of its picture; cells from one tile to the next.
        self._inner, self._pitch = (tile_width, picture_height), tile_width + 2
        # Which items were drawn without their picture; what is asked for and not answered yet; what was answered without a picture.
        self._waiting: dict[tuple[str, int, int], set[int]] = {}
        self._asked: set[tuple[str, int, int]] = set()
        self._unreadable: set[tuple[str, int, int]] = set()
        self._asking = False
        self._again: Timer | None = None
        self.set_reactive(VirtualGallery.tile_size, (tile_width, picture_height))

    @property
    def _footer(self) -> int:
        """The lower edge of the frame in the last row."""
        return 1

    def _measure(self, width: int) -> tuple[int, int]:
        wide, high = self.tile_size if self._pictures is not None else (_CARD, 0)
        wide = max(1, min(wide, width - 2))
        across = max(1, width // (wide + 2))
        share = max(wide + 2, width // across)
        if self._pictures is None:
            # Text takes what room there is; pictures have sizes.
            wide = share - 2
        self._inner = wide, high
        self._pitch = min(wide + 2 + _LOOSE, share)
        return across, 1 + high + self._lines

    def _index_at(self, x: int, row: int, line: int) -> int | None:  # noqa: ARG002
        column, inside = divmod(x, self._pitch)
        if column >= self._across or inside >= self._inner[0] + 2:
            return None
        return row * self._across + column

    @property
    def pictures(self) -> PictureCells | None:
        """Where pictures come from; ``None`` shows cards of text."""
        return self._pictures

    @pictures.setter
    def pictures(self, pictures: PictureCells | None) -> None:
        if pictures is not self._pictures:
            self._pictures = pictures
            self._asked.clear()
            self._unreadable.clear()
            self.lay_out_again()

    # drawing

    def _draw(self, row: int) -> list[Strip]:
        lines = [self._edge(row)]
        first, cursor = row * self._across, self.cursor
        tiles = [self._tile_lines(index) for index in range(first, min(first + self._across, self._count))]
        if not tiles:
            return lines
        ground = self._ground().rich_style
        between = " " * (self._pitch - self._inner[0] - 2)
        side = Segment("│", self._ground("virtual-gallery--frame").rich_style)
        sides = (side, *([Segment(between, ground)] if between else []))
        left, right = Segment(" ", ground), Segment(f" {between}", ground)
        for number in range(self._tall - 1):
            parts: list[Segment | Strip] = []
            for index, tile in enumerate(tiles, first):
                if index == cursor:
                    parts += (side, *tile[number], *sides)
                else:
                    parts += (left, *tile[number], right)
            lines.append(self._line(parts, self._pitch * len(tiles)))
        return lines

    def _edge(self, row: int) -> Strip:
        """The line above a row: the upper or lower edge of the frame, where it is there."""
        cursor_row, column = divmod(self.cursor, self._across)
        if row == cursor_row:
            edge = "┌" + "─" * self._inner[0] + "┐"
        elif row == cursor_row + 1:
            edge = "└" + "─" * self._inner[0] + "┘"
        else:
            return self._blank()
        parts = [Segment(edge, self._ground("virtual-gallery--frame").rich_style)]
        if column:
            parts.insert(0, Segment(" " * (column * self._pitch), self._ground().rich_style))
        return self._line(parts, column * self._pitch + len(edge))

    def _tile_lines(self, index: int) -> list[list[Segment | Strip]]:
        """The lines of a tile inside its frame."""
        item = self._item(index)
        tile = Tile("", "gone") if item is None else self._tile(item)
        chosen = index == self.cursor
        wide, high = self._inner
        pictures = self._picture_lines(tile.picture, index, wide, high) if high else ()
        lines: list[list[Segment | Strip]] = [[strip] for strip in pictures]
        card = ("virtual-gallery--room",) if self._pictures is None else ()
        margin = 1 if card else 0
        for number in range(self._lines):
            what: Line = tile.title if not number else tile.below[number - 1] if number <= len(tile.below) else ""
            kind = "below" if number or item is None else "chosen" if chosen else "title"
            style = self._ground(*card, f"virtual-gallery--{kind}")
            pad = [Segment(" " * margin, style.rich_style)] if margin else []
            lines.append([*pad, *self._ink.line(what, wide - 2 * margin, style), *pad])
        if self._source is not None and self._source.key(index) in self._marks:
            chip = Segment(
                f" {MARK_GLYPH} " if wide > 5 else MARK_GLYPH, self._ground("virtual-gallery--chip").rich_style
            )
            lines[0] = [joined(lines[0], wide).crop(0, max(0, wide - chip.cell_length)), chip]
        return lines

    def _picture_lines(self, sha256: str, index: int, wide: int, high: int) -> Sequence[Strip]:
        """The picture, or a calm block in its place."""
        said = ""
        if sha256 and self._pictures is not None:
            place = (sha256, wide, high)
            strips = self._pictures.strips(*place)
            if strips is not None and len(strips) == high:
                return strips
            if place in self._unreadable:
                said = _UNREADABLE
            else:
                self._waiting.setdefault(place, set()).add(index)
                self._ask_soon()
        else:
            said = _NOTHING
        style = self._ground("virtual-gallery--room")
        block = Strip.blank(wide, style.rich_style)
        lines = [block] * high
        if said and len(said) <= wide:
            lines[high // 2] = Strip(self._ink.line(said, wide, style, "center"), wide)
        return lines

    # pictures

    def _ask_soon(self) -> None:
        """Ask for what is missing once this frame is drawn, however many tiles miss something."""
        if not self._asking:
            self._asking = True
            self.call_later(self._ask)

    def _ask(self) -> None:
        """Want what is in view, and let go of what no longer is."""
        self._asking = False
        if self._pictures is None:
            return
        view = self._in_view
        seen = {place for place, indexes in self._waiting.items() if any(index in view for index in indexes)}
        gone = (self._asked | self._waiting.keys()) - seen
        for place in gone:
            # Drawn again, and asked for again, when it comes back into view.
            for index in self._waiting.pop(place, ()):
                self._rows.pop(index // self._across, None)
        if self._asked & gone:
            self._pictures.skip(seen)
            self._asked -= gone
        # The one asked for last is loaded first.
        for place in [place for place in reversed(self._waiting) if place in seen and place not in self._asked]:
            self._asked.add(place)
            self._pictures.want(*place, ready=partial(self._ready, place))
        if self._asked and self._again is None:
            self._again = self.set_timer(_PATIENCE, self._ask_again)

    def _ask_again(self) -> None:
        """Ask anew for all that has not come, once somebody looks at it."""
        self._again = None
        if self._asked and self.screen.is_current:
            self._asked.clear()
            self._ask_soon()
        elif self._asked:
            self._again = self.set_timer(_PATIENCE, self._ask_again)

    def _ready(self, place: tuple[str, int, int]) -> None:
        """A picture was loaded, or cannot be."""
        self._asked.discard(place)
        if self._pictures is not None and self._pictures.strips(*place) is None:
            self._unreadable.add(place)
        for index in self._waiting.pop(place, ()):
            self._drop(index)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Let go of pictures that leave the view before they came."""
        super().watch_scroll_y(old_value, new_value)
        if self._waiting or self._asked:
            self._ask_soon()

    def lay_out_again(self) -> None:
        """Measure and draw everything anew; pictures are wanted in their new size."""
        self._waiting.clear()
        super().lay_out_again()

    def _take(self, source: ItemSource[T], keep: bool) -> None:
        self._waiting.clear()
        self._unreadable.clear()
        super()._take(source, keep)

    def on_unmount(self) -> None:
        """Nothing is in view any more."""
        if self._pictures is not None and self._asked:
            self._pictures.skip(())

    # keys

    def action_go_items(self, items: int) -> None:
        """To the left or right, and on into the next row."""
        self._go(self.cursor + items)

    def action_extend_items(self, items: int) -> None:
        """Mark to the left or right; going back takes the marks away again."""
        self._extend(self.cursor + items)

    def action_resize_tiles(self, steps: int) -> None:
        """Larger or smaller tiles."""
        width = self.tile_size[0]
        if steps > 0:
            width = next((step for step in _STEPS if step > width), width)
        else:
            width = next((step for step in reversed(_STEPS) if step < width), width)
        self.tile_size = (width, max(1, round(width * self._shape)))

    def watch_tile_size(self) -> None:
        """Lay out for the new size."""
        self.lay_out_again()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Cards of text have one size."""
        if action == "resize_tiles":
            return self._pictures is not None
        return super().check_action(action, parameters)
