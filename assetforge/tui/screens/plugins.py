"""Plugins: what is loaded, what went wrong and why, what a film's own plugin may do. Works without an open film and with every plugin broken."""

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from assetforge.errors import AssetForgeError
from assetforge.tui.actions import bindings
from assetforge.tui.hints import in_words
from assetforge.tui.screens.base import FilmScreen, acting, crumbs
from assetforge.tui.screens.dialogs import ConfirmDialog
from assetforge.tui.screens.plugin_facts import (
    COLUMNS,
    PluginRow,
    plugin_cells,
    plugin_facts,
    plugin_gives,
    plugin_trace,
    read_plugins,
    summary,
)
from assetforge.tui.session import in_thread
from assetforge.tui.widgets.items import ListSource, VirtualItems
from assetforge.tui.widgets.virtual_table import VirtualTable
from assetforge.tui.words import plain

__all__ = ["PluginsScreen"]

_LATER = "New jobs and commands follow at once, this program from its next start on."


class PluginsScreen(FilmScreen):
    """All plugins at the left, one of them in full at the right."""

    SCOPE = "plugins"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("plugins")]
    HELP = """Plugins bring trainers, renderers, metrics and more. One that fails is quarantined and harms nothing else; its reason and traceback stand at the
    right. Installed plugins are trusted by being installed; one that lies inside a film runs only when you trust exactly its code. ↻ marks what changes
    at the next start of this program."""
    DEFAULT_CSS = """
    PluginsScreen {
        #plugins-line { height: 1; padding: 0 1; margin-bottom: 1; text-wrap: nowrap; text-overflow: ellipsis; }
        #plugins-problem { height: auto; max-height: 4; padding: 0 1; margin-bottom: 1; color: $error; }
        #plugins-panes { height: 1fr; }
        #plugins-table { width: 1fr; }
        #plugins-side { width: 46%; border-left: solid $border-blurred; padding: 0 1 0 2; scrollbar-size-vertical: 1; }
        #plugins-side:focus { border-left: solid $primary; }
        #plugins-facts { height: auto; }
        #plugins-gives { height: auto; margin-top: 1; text-wrap: nowrap; text-overflow: ellipsis; }
        #plugins-trace { height: auto; margin-top: 1; }
        &.-narrow #plugins-side { width: 52%; padding: 0 0 0 1; }
        &.-low #plugins-line { margin-bottom: 0; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[PluginRow] = []

    def content(self) -> Iterable[Widget]:
        """A line on how many there are, the table, one in full."""
        yield Static("", id="plugins-line", markup=False)
        yield Static("", id="plugins-problem", markup=False)
        with Horizontal(id="plugins-panes"):
            yield VirtualTable[PluginRow](
                COLUMNS,
                plugin_cells,
                empty="No plugin.",
                opening="Looking at plugins …",
                dim=lambda row: row.report.state in ("disabled", "skipped"),
                marking=False,
                id="plugins-table",
            )
            with VerticalScroll(id="plugins-side"):
                yield Static("", id="plugins-facts", markup=False)
                yield Static("", id="plugins-gives", markup=False)
                yield Static("", id="plugins-trace", markup=False)

    def place(self) -> Content:
        """The film, when one is open, and the word."""
        return crumbs(self.film_app.film_title or "assetforge", "plugins")

    def on_mount(self) -> None:
        """Begin at the table."""
        self.query_one("#plugins-problem").display = False
        self.table.focus()

    def on_screen_resume(self) -> None:
        """Read them; a command may have decided something meanwhile."""
        self._read_soon()

    def film_changed(self) -> None:
        """Plugins are in no database."""

    @property
    def table(self) -> "VirtualTable[PluginRow]":
        """All plugins."""
        return self.query_one("#plugins-table", VirtualTable)

    @property
    def film(self) -> Path | None:
        """The folder of the open film."""
        session = self.film_app.session
        return session.root if session is not None else None

    def _read_soon(self) -> None:
        self.run_worker(self._read(), group="read", exclusive=True, exit_on_error=False)

    async def _read(self) -> None:
        shown, problem = self.query_one("#plugins-problem", Static), ""
        try:
            self._rows = await in_thread(read_plugins, self.film)
        except AssetForgeError as error:
            problem = f"✕ {plain(in_words(error))}"
        shown.display = bool(problem)
        shown.update(Content(problem))
        self.query_one("#plugins-line", Static).update(summary(self._rows))
        self.table.set_source(ListSource[PluginRow](self._rows, key=lambda row: row.key))
        self._show_one()

    def on_virtual_items_highlighted(self, _event: VirtualItems.Highlighted) -> None:
        """Show it in full, from its top."""
        self._show_one()
        self.query_one("#plugins-side", VerticalScroll).scroll_home(animate=False)

    def on_virtual_items_opened(self, event: VirtualItems.Opened) -> None:
        """Enter goes to the side, to read on."""
        event.stop()
        self.query_one("#plugins-side").focus()

    def _show_one(self) -> None:
        row = self.table.current
        parts = {"facts": plugin_facts, "gives": plugin_gives, "trace": plugin_trace}
        for name, part in parts.items():
            shown, text = self.query_one(f"#plugins-{name}", Static), part(row) if row is not None else Content("")
            shown.display = bool(text.plain)
            shown.update(text)

    # decisions

    @acting
    async def action_trust(self) -> None:
        """Let a film's own plugin run as it is now, or no longer."""
        row, film = self.table.current, self.film
        if row is None:
            return
        if not row.is_film or film is None:
            self.film_app.tell(
                "Only plugins that lie inside a film need trust; installed ones are trusted by being installed."
            )
            return
        name = plain(row.report.name)
        code = Content.assemble(
            (plain(row.report.path), "$foreground"),
            "\n",
            ("SHA-256 ", "$dim"),
            (row.content_hash, "$foreground"),
            "\n\n",
        )
        if row.trusted:
            about = Content.assemble(code, "It does not run any more from the next start on.")
            question = ConfirmDialog(f"Take the trust in {name} back?", about, "Take it back")
        else:
            about = Content.assemble(
                code,
                "This code came with the film. It will run in this program and in commands, and can do whatever you can: read it first. "
                "Any change to it asks again.",
            )
            question = ConfirmDialog(f"Trust {name} and let its code run?", about, "Trust it")
        if await self.app.push_screen_wait(question):
            await in_thread(_trust, film, row.report.name, row.content_hash, revoke=row.trusted)
            self.film_app.tell(f"{name} is {'no longer trusted' if row.trusted else 'trusted as it is now'}. {_LATER}")
            self._read_soon()

    @acting
    async def action_disable(self) -> None:
        """Do not load it any more."""
        row = self.table.current
        if row is None:
            return
        if row.report.source == "builtin":
            self.film_app.tell("The builtin plugin cannot be disabled: it is assetforge itself.")
        elif row.disabled:
            self.film_app.tell(f"{row.report.name} is disabled already; e enables it.")
        else:
            await in_thread(_disable, row.report.name)
            self.film_app.tell(f"{row.report.name} is disabled. {_LATER}")
            self._read_soon()

    @acting
    async def action_enable(self) -> None:
        """Load it again, or try it again."""
        row = self.table.current
        if row is None:
            return
        crashed = any(failure.stage == "crash" for failure in row.report.failures)
        if not row.disabled and not crashed:
            self.film_app.tell(_not_to_enable(row))
            return
        await in_thread(_enable, row.report.name)
        self.film_app.tell(f"{row.report.name} is enabled. {_LATER}")
        self._read_soon()


def _not_to_enable(row: PluginRow) -> str:
    name = row.report.name
    match row.report.state:
        case "quarantined":
            return f"{name} is enabled and does not work. It is tried again at every start; repair or upgrade it."
        case "untrusted":
            return f"{name} is enabled and not trusted; t trusts it."
        case "skipped":
            return f"{name} is left out by the variable ASSETFORGE_PLUGINS."
        case _:
            return f"{name} is enabled already."


def _trust(film: Path, name: str, content_hash: str, *, revoke: bool) -> None:
    from assetforge.errors import UsageError
    from assetforge.extension.film_plugins import find_film_plugins, trust_film_plugin

    now = {one.name: one.content_hash for one in find_film_plugins(film)}
    if not revoke and name in now and now[name] != content_hash:
        raise UsageError(f"The code of {name} changed meanwhile.", hint="Read it again, then decide.")
    trust_film_plugin(film, name, revoke=revoke)


def _disable(name: str) -> None:
    from assetforge.extension.decisions import change_decisions

    with change_decisions() as decisions:
        decisions.disabled.add(name)


def _enable(name: str) -> None:
    from assetforge.extension.crashes import forget_crashes
    from assetforge.extension.decisions import change_decisions

    with change_decisions() as decisions:
        decisions.disabled.discard(name)
    forget_crashes(name)
