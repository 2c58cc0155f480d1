"""A virtual list that people work in: cursor, keys, marks that survive a change of the source, mouse."""

from collections.abc import Collection, Iterable
from typing import Any, ClassVar, TypeVar

from textual import events
from textual.actions import SkipAction
from textual.binding import Binding, BindingType
from textual.message import Message

from assetforge.tui.widgets.rows import VirtualRows
from assetforge.tui.widgets.sources import ItemSource, KeyedSource, ListSource

__all__ = ["CURSOR_GLYPH", "MARK_GLYPH", "ItemSource", "KeyedSource", "ListSource", "VirtualItems"]

T = TypeVar("T")

CURSOR_GLYPH = "▸"
MARK_GLYPH = "◆"

# Keys that are a convenience: a screen around the list that binds one of them gets it.
_CONVENIENT = frozenset({"j", "k", "s", "S", "asterisk", "plus", "equals_sign", "minus"})


def _binding(keys: str, action: str, name: str, label: str) -> Binding:
    return Binding(keys, action, label, show=False, id=f"list.{name}")


class VirtualItems(VirtualRows[T]):
    """A list of any length with a cursor and marks; what it looks like is said by its kinds, the table and the gallery."""

    DEFAULT_CSS = """
    VirtualItems {
        height: 1fr; overflow-x: hidden; overflow-y: auto;
        scrollbar-gutter: stable; scrollbar-size-vertical: 1;
        background: $background; color: $foreground;
        & > .virtual-items--cursor { background: $block-cursor-blurred-background; color: $block-cursor-blurred-foreground; }
        & > .virtual-items--pointer { color: $text-muted; }
        & > .virtual-items--mark { color: $accent; text-style: bold; }
        & > .virtual-items--dim { color: $text-muted; }
        &:focus > .virtual-items--cursor { background: $block-cursor-background; color: $block-cursor-foreground; }
        &:focus > .virtual-items--pointer { color: $accent; text-style: bold; }
    }
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "virtual-items--cursor",
        "virtual-items--pointer",
        "virtual-items--mark",
        "virtual-items--dim",
    }

    BINDINGS: ClassVar[list[BindingType]] = [
        _binding("up", "go_rows(-1)", "up", "Up"),
        _binding("down", "go_rows(1)", "down", "Down"),
        _binding("k", "go_rows(-1)", "up-letter", "Up"),
        _binding("j", "go_rows(1)", "down-letter", "Down"),
        _binding("pageup", "go_pages(-1)", "page-up", "Page up"),
        _binding("pagedown", "go_pages(1)", "page-down", "Page down"),
        _binding("home,ctrl+home", "go_first", "home", "First"),
        _binding("end,ctrl+end", "go_last", "end", "Last"),
        _binding("space", "mark", "mark", "Mark"),
        _binding("shift+up", "extend_rows(-1)", "extend-up", "Mark upwards"),
        _binding("shift+down", "extend_rows(1)", "extend-down", "Mark downwards"),
        _binding("ctrl+a", "mark_all", "mark-all", "Mark all"),
        _binding("asterisk", "mark_others", "mark-others", "Invert marks"),
        _binding("escape", "unmark", "unmark", "Clear marks"),
        _binding("enter", "open", "open", "Open"),
    ]

    class _OfItem(Message):
        def __init__(self, control: "VirtualItems[Any]", key: int | None, item: Any) -> None:
            super().__init__()
            self.list = control
            self.key = key
            self.item = item

        @property
        def control(self) -> "VirtualItems[Any]":
            """The list."""
            return self.list

    class Highlighted(_OfItem):
        """The cursor stands on another item, or the source was set; ``key`` and ``item`` are ``None`` in an empty list."""

        def can_replace(self, message: Message) -> bool:
            """While a key is held down only the newest counts."""
            return isinstance(message, VirtualItems.Highlighted) and message.list is self.list

    class Opened(_OfItem):
        """Enter or a double click on an item."""

    class MarksChanged(Message):
        """Other items are marked now.

        Attributes:
            marks: Their keys.
        """

        def __init__(self, control: "VirtualItems[Any]", marks: frozenset[int]) -> None:
            super().__init__()
            self.list = control
            self.marks = marks

        @property
        def control(self) -> "VirtualItems[Any]":
            """The list."""
            return self.list

        def can_replace(self, message: Message) -> bool:
            """Only the newest counts."""
            return isinstance(message, VirtualItems.MarksChanged) and message.list is self.list

    def __init__(
        self,
        *,
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
            empty: What is said when there is nothing.
            opening: What is said before the first source.
            marking: Whether items can be marked.
            leave: Keys that the screen wants for itself, such as ``space``.
            name: As of every widget.
            id: As of every widget.
            classes: As of every widget.
            disabled: As of every widget.
        """
        super().__init__(empty=empty, opening=opening, name=name, id=id, classes=classes, disabled=disabled)
        self._marking = marking
        self._marks: set[int] = set()
        # While marks are extended: where that began, and what was marked before.
        self._extending: tuple[int, frozenset[int]] | None = None
        self._leave_keys(leave)

    # the items

    def set_source(self, source: ItemSource[T], *, keep: bool = True) -> None:
        """Show other items, or the same in another order.

        Args:
            source: Where they come from.
            keep: The cursor stays on the item it is on (or near its place when that is gone), marks of items that still exist stay, and so does what
                is in view. Otherwise the list begins at its top without marks.
        """
        self._show(source, keep, told=True)

    def refresh_items(self) -> None:
        """The items of the source changed in place: draw them again."""
        if self._source is not None:
            self._show(self._source, keep=True, told=False)

    @property
    def marks(self) -> set[int]:
        """Keys of the marked items. To change them assign a set, or use :meth:`set_marks`."""
        return self._marks

    @marks.setter
    def marks(self, keys: set[int]) -> None:
        self.set_marks(keys)

    def set_marks(self, keys: Iterable[int]) -> None:
        """Mark exactly these items.

        Args:
            keys: Their keys; those of items that are not in the list are not looked for.
        """
        marks = set(keys)
        if marks != self._marks:
            self._marks = marks
            self._rows.clear()
            self.refresh()
            self.post_message(self.MarksChanged(self, frozenset(marks)))
            self.refresh_bindings()

    def marked(self) -> list[int]:
        """The keys to act on: the marked ones in the order of the list, or the one under the cursor when none is marked."""
        if self._marks and self._source is not None:
            return [key for key in map(self._source.key, range(self._count)) if key in self._marks]
        return [] if self._cursor_key is None else [self._cursor_key]

    def _show(self, source: ItemSource[T], keep: bool, told: bool) -> None:
        """Take a source; say where the cursor is when that is news or asked for."""
        before = self._cursor_key
        self._extending = None
        self._take(source, keep)
        if self._marks:
            self.set_marks(self._marks.intersection(map(source.key, range(self._count))) if keep else ())
        if told or self._cursor_key != before:
            self._tell()
        self.refresh_bindings()

    def _tell(self) -> None:
        self.post_message(self.Highlighted(self, self._cursor_key, self.current))

    def _leave_keys(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._bindings.key_to_bindings.pop(key, None)

    # the cursor

    def watch_cursor(self, old: int, new: int) -> None:
        """Show where it is and say so."""
        if self._source is None:
            return
        self._cursor_key = self._source.key(new) if self._count else None
        self._drop(old)
        self._drop(new)
        self.scroll_to_cursor()
        self._tell()

    def go_to(self, key: int | None) -> None:
        """Put the cursor on an item.

        Args:
            key: Its key; one that is not in the list, or ``None``, changes nothing.
        """
        index = None if self._source is None or key is None else self._source.index(key)
        if index is not None:
            self._go(index)

    def _go(self, index: int) -> None:
        """Move the cursor there, or as near as there is an item."""
        self._extending = None
        self.cursor = index
        self.scroll_to_cursor()

    def _beside(self, rows: int) -> int:
        """The item so many rows away, in the same place of its row or the last one."""
        target = self.cursor + rows * self._across
        if target < 0:
            return self.cursor % self._across if rows < -1 else self.cursor
        if target >= self._count:
            last = self._count - 1
            return last if rows > 1 or last // self._across > self.cursor // self._across else self.cursor
        return target

    def action_go_rows(self, rows: int) -> None:
        """Up or down."""
        self._go(self._beside(rows))

    def action_go_pages(self, pages: int) -> None:
        """A screen up or down; the cursor stays where it is on the screen."""
        rows = max(1, self._view // self._tall)
        if pages * rows + self.cursor // self._across in range(self._row_count):
            self.scroll_to(y=self.scroll_offset.y + pages * rows * self._tall)
        self._go(self._beside(pages * rows))

    def action_go_first(self) -> None:
        """To the first item."""
        self._go(0)
        self.scroll_to(y=0)

    def action_go_last(self) -> None:
        """To the last item."""
        self._go(self._count - 1)

    def action_open(self) -> None:
        """Say that the item is to be opened."""
        if not self._count:
            raise SkipAction
        self.post_message(self.Opened(self, self._cursor_key, self.current))

    # the marks

    def _toggle(self, index: int) -> None:
        if self._source is not None and index < self._count:
            key = self._source.key(index)
            marks = self._marks ^ {key}
            self._marks = marks
            self._drop(index)
            self.post_message(self.MarksChanged(self, frozenset(marks)))
            self.refresh_bindings()

    def action_mark(self) -> None:
        """Mark the item or take its mark away, and go on to the next."""
        self._toggle(self.cursor)
        self._go(self.cursor + 1)

    def action_extend_rows(self, rows: int) -> None:
        """Mark up or down; going back takes the marks away again."""
        self._extend(self._beside(rows))

    def _extend(self, index: int) -> None:
        """Mark from where extending began to there."""
        if self._source is None or not self._count:
            return
        start, before = self._extending or (self.cursor, frozenset(self._marks))
        index = self.validate_cursor(index)
        first, last = sorted((start, index))
        self.set_marks(before.union(map(self._source.key, range(first, last + 1))))
        self.cursor = index
        self._extending = start, before

    def action_mark_all(self) -> None:
        """Mark every item."""
        self._extending = None
        if self._source is not None:
            self.set_marks(map(self._source.key, range(self._count)))

    def action_mark_others(self) -> None:
        """Mark what is not marked, and only that."""
        self._extending = None
        if self._source is not None:
            self.set_marks(set(map(self._source.key, range(self._count))) - self._marks)

    def action_unmark(self) -> None:
        """Take all marks away."""
        self._extending = None
        self.set_marks(())

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Keys that mean nothing here go on to the screen."""
        if action == "unmark":
            return bool(self._marks)
        if action in {"mark", "mark_all", "mark_others", "extend_rows", "extend_items"}:
            return self._marking and self._count > 0
        return True

    # what Textual tells

    def on_mount(self) -> None:
        """Leave the keys of convenience that something around the list binds."""
        bound: set[str] = set()
        for node in self.ancestors:
            for kind in type(node).__mro__:
                bound.update(one.key for one in Binding.make_bindings(kind.__dict__.get("BINDINGS", ())))
        self._leave_keys(bound & _CONVENIENT)

    def on_click(self, event: events.Click) -> None:
        """Move the cursor; open on a double click; mark with control, mark up to there with shift."""
        offset = event.get_content_offset(self)
        if offset is None or not self._count or offset.y < self._header:
            return
        row, line = divmod(offset.y - self._header + self.scroll_offset.y, self._tall)
        index = self._index_at(offset.x, row, line)
        if index is None or index >= self._count:
            return
        event.stop()
        if self._marking and event.shift:
            self._extend(index)
        elif self._marking and (event.ctrl or event.meta):
            self._go(index)
            self._toggle(index)
        else:
            self._go(index)
            if event.chain == 2:
                self.action_open()
