"""Apps of one list, for the tests of the lists: what happened to them is kept, and a picture source that works in real threads."""

import threading
from collections.abc import Callable, Collection, Sequence
from typing import Any, ClassVar

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip

from assetforge.tui.theme import THEMES
from assetforge.tui.widgets.items import VirtualItems
from assetforge.tui.widgets.virtual_table import VirtualTable

NASTY = (
    "a[/b] [red",
    "line\nbreak\ttab",
    "\x1b[31mred\x07",
    "日本語の名前がとても長いので切られる",
    "e\u0301\u0301 combined",
    "👩\u200d🚀 joined, x\u200dy not",
    "❤\ufe0f 👍🏽 🇩🇪",
    "\u202eevil\u202c שלום עולם مرحبا",
    "\u0301leading and trailing\u200d",
    "नमस्ते 한글 \ufdfa",
    "",
    "a long name that surely does not fit into a column of any width at all, however wide the terminal may be made by anybody ever",
)


class ListApp(App[None]):
    """One list that fills the screen."""

    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key, f"left('{key}')", key) for key in ("escape", "space", "ctrl+a", "enter", "left", "right")
    ]

    def __init__(self, items: VirtualItems[Any]) -> None:
        super().__init__()
        self.items = items
        self.heard: list[Message] = []
        self.keys: list[str] = []

    def compose(self) -> ComposeResult:
        yield self.items

    def on_mount(self) -> None:
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = "safelight"
        self.items.focus()

    def on_virtual_items_highlighted(self, event: VirtualItems.Highlighted) -> None:
        self.heard.append(event)

    def on_virtual_items_opened(self, event: VirtualItems.Opened) -> None:
        self.heard.append(event)

    def on_virtual_items_marks_changed(self, event: VirtualItems.MarksChanged) -> None:
        self.heard.append(event)

    def on_virtual_table_sort_requested(self, event: VirtualTable.SortRequested) -> None:
        self.heard.append(event)

    def action_left(self, key: str) -> None:
        """What the list left to its surroundings."""
        self.keys.append(key)

    def of(self, kind: type[Message]) -> list[Any]:
        """Messages of a kind so far."""
        return [one for one in self.heard if isinstance(one, kind)]


def lines(items: VirtualItems[Any]) -> list[str]:
    """What is on the screen; every line is exactly as wide as the list."""
    strips = [items.render_line(y) for y in range(items.size.height)]
    assert {strip.cell_length for strip in strips} == {items.wide}
    for strip in strips:
        # The length that a strip believes is the one of its text.
        assert Strip(list(strip)).cell_length == items.wide, strip.text
        assert not [char for char in strip.text if char in "\n\r\t\x1b\x07\u202e\u202c"]
    return [strip.text for strip in strips]


class ThreadedPictures:
    """Pictures of one colour made in a thread when they are wanted, and handed over on the UI thread when the test lets go of them."""

    def __init__(self, app: Callable[[], App[None]], held: bool = False, broken: Collection[str] = ()) -> None:
        self._app = app
        self._ready: dict[tuple[str, int, int], list[Strip]] = {}
        self._gate = threading.Event()
        self._broken = set(broken)
        self.wanted: list[tuple[str, int, int]] = []
        self.skipped: list[set[tuple[str, int, int]]] = []
        self.threads: list[threading.Thread] = []
        if not held:
            self._gate.set()

    def strips(self, sha256: str, width: int, height: int) -> Sequence[Strip] | None:
        return self._ready.get((sha256, width, height))

    def want(self, sha256: str, width: int, height: int, ready: Callable[[], None]) -> None:
        place = (sha256, width, height)
        self.wanted.append(place)
        thread = threading.Thread(target=self._load, args=(place, ready), daemon=True)
        self.threads.append(thread)
        thread.start()

    def skip(self, wanted: Collection[tuple[str, int, int]]) -> None:
        self.skipped.append(set(wanted))

    def release(self) -> None:
        """Let all that is wanted become ready."""
        self._gate.set()

    def forget(self) -> None:
        """As if they had never been loaded."""
        self._ready.clear()
        self._gate.clear()
        self.wanted.clear()

    def _load(self, place: tuple[str, int, int], ready: Callable[[], None]) -> None:
        self._gate.wait(20)
        sha256, width, height = place
        if sha256 not in self._broken:
            style = Style(color=Color.from_rgb(*sha256.encode()[:3].ljust(3, b"z")))
            self._ready[place] = [Strip([Segment("▀" * width, style)], width) for _ in range(height)]
        self._app().call_from_thread(ready)
