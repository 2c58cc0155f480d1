"""Help for what is focused: every key that counts now, in words, and the command that does the same."""

from typing import ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from assetforge.tui.actions import ACTIONS
from assetforge.tui.screens.window import Window
from assetforge.tui.widgets.fitting import fitted

__all__ = ["KeysScreen"]

_TITLE = 64
_KEYS = 20
_BY_ID = {one.id: one for one in ACTIONS}


class KeysScreen(Window[None]):
    """Every key of a screen and of what is focused on it.

    Args:
        about: The screen that help is wanted for.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,f1", "dismiss(None)", "close", id="keys.close")
    ]

    def __init__(self, about: Screen[object]) -> None:
        super().__init__()
        self._rows = _rows(about)
        self._help = _help_of(about.focused)

    def compose(self) -> ComposeResult:
        """Here, everywhere, in lists."""
        with Vertical(classes="dialog wide"):
            yield Static(Content("Keys"), classes="dialog-title")
            with VerticalScroll():
                if self._help:
                    yield Static(Content(self._help), classes="dialog-about")
                for title, rows in self._rows:
                    yield Static(Content(title), classes="keys-group")
                    yield Static(Content("\n").join(rows), classes="keys-rows")
            yield Static(Content("esc  close      $ the command line that does the same"), classes="dialog-keys")


def _rows(screen: Screen[object]) -> list[tuple[str, list[Content]]]:
    """Groups of lines: what belongs to the screen, to the program, to what is focused."""
    keys: dict[str, list[str]] = {}
    found: dict[str, Binding] = {}
    for active in screen.active_bindings.values():
        binding = active.binding
        name = binding.id or binding.action
        if binding.description or binding.tooltip:
            found.setdefault(name, binding)
            keys.setdefault(name, []).append(screen.app.get_key_display(binding))
    wide = min(_KEYS, max((cell_len(", ".join(one)) for one in keys.values()), default=0))
    here: list[Content] = []
    everywhere: list[Content] = []
    moving: list[Content] = []
    for name, binding in found.items():
        action = _BY_ID.get(binding.id or "")
        text = action.title if action else binding.tooltip or binding.description
        line = Content.assemble((fitted(", ".join(keys[name]), wide, "right"), "bold $primary"), "  ", text)
        if action is None:
            moving.append(line)
            continue
        line = Content.assemble(line, " " * max(2, _TITLE - len(text)), (f"$ {action.twin}", "$dim"))
        (everywhere if action.scope == "app" else here).append(line)
    groups = (("Here", here), ("Everywhere", everywhere), ("In lists and fields", moving))
    return [(title, rows) for title, rows in groups if rows]


def _help_of(widget: Widget | None) -> str:
    """The help of what is focused, or of what it stands in."""
    node = widget
    while node is not None:
        text = getattr(node, "HELP", None)
        if text:
            return " ".join(str(text).split())
        node = node.parent if isinstance(node.parent, Widget) else None
    return ""
