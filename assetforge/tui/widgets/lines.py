"""The first and the last line of every screen: where one is and how the film is doing; which keys matter here."""

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.css.query import NoMatches
from textual.reactive import reactive
from textual.screen import Screen
from textual.style import Style
from textual.widget import Widget
from textual.widgets import Static

__all__ = ["KeyLine", "TopLine"]

_MOST_KEYS = 8


class TopLine(Horizontal):
    """Where one is, on the left; how the film is doing, on the right; a rule below."""

    DEFAULT_CSS = """
    TopLine {
        height: 2; padding: 0 1; background: $background;
        border-bottom: solid $border-blurred;
        #place { width: 1fr; height: 1; text-style: bold; text-wrap: nowrap; text-overflow: ellipsis; }
        #doing { width: auto; max-width: 50%; height: 1; padding-left: 2; color: $text-muted; text-align: right; text-wrap: nowrap; text-overflow: ellipsis; }
    }
    """

    place: reactive[Content] = reactive(Content(""), layout=False)
    doing: reactive[Content] = reactive(Content(""), layout=False)

    def compose(self) -> ComposeResult:
        """Two texts."""
        yield Static(self.place, id="place", markup=False)
        yield Static(self.doing, id="doing", markup=False)

    def watch_place(self, place: Content) -> None:
        """Show it."""
        self._show("#place", place)

    def watch_doing(self, doing: Content) -> None:
        """Show it."""
        self._show("#doing", doing)

    def _show(self, where: str, what: Content) -> None:
        try:
            self.query_one(where, Static).update(what)
        except NoMatches:
            # Not composed yet; compose takes the values.
            return


class KeyLine(Widget):
    """The keys that matter here, at most eight, as many as fit; each can be clicked. The rest is in the help."""

    DEFAULT_CSS = """
    KeyLine {
        dock: bottom; height: 1; padding: 0 1; background: $background; color: $dim;
    }
    """

    ALLOW_SELECT = False
    # The keys have their own colours.
    auto_links = False

    def on_mount(self) -> None:
        """Follow the focus."""
        self.screen.bindings_updated_signal.subscribe(self, self._bindings_changed)

    def _bindings_changed(self, _screen: "Screen[object]") -> None:
        self.refresh()

    def render(self) -> Content:
        """As many keys as fit, the last place kept for the palette."""
        key_style, seen = "bold $footer-key-foreground", set[str]()
        parts: list[Content] = []
        always: list[Content] = []
        for active in self.screen.active_bindings.values():
            binding = active.binding
            if not binding.show or not active.enabled or binding.action in seen:
                continue
            seen.add(binding.action)
            key = self.app.get_key_display(binding)
            click = Style.from_meta({"@click": f"app.press({binding.key!r})"})
            part = Content.assemble((key, key_style), " ", binding.description).stylize(click)
            (always if binding.action == "app.palette" else parts).append(part)
        width, room = self.size.width - 2, _MOST_KEYS - len(always)
        used = sum(one.cell_length + 3 for one in always)
        shown: list[Content] = []
        for part in parts[:room]:
            if used + part.cell_length > width:
                break
            used += part.cell_length + 3
            shown.append(part)
        return Content("   ").join([*shown, *always])
