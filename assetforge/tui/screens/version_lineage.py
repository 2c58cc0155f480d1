"""What a version was made of, on a screen of its own: facts at the left, the references that changed in pictures at the right."""

from collections.abc import Iterable

from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from assetforge.db.browse.lineage import version_sources
from assetforge.db.browse.reader import Reader
from assetforge.domain.names import parse_version, version_address
from assetforge.errors import AssetForgeError
from assetforge.tui.hints import in_words
from assetforge.tui.rereading import Rereading
from assetforge.tui.screens.base import FilmScreen, acting, crumbs
from assetforge.tui.screens.datasets import Difference, differences
from assetforge.tui.screens.version_facts import MadeOf, made_of
from assetforge.tui.screens.version_lineage_text import difference_line, lineage_text
from assetforge.tui.screens.version_texts import short
from assetforge.tui.widgets.hanging_text import Entry, HangingText
from assetforge.tui.widgets.items import VirtualItems
from assetforge.tui.widgets.lineage import lineage_of
from assetforge.tui.widgets.sources import ListSource
from assetforge.tui.widgets.virtual_gallery import Tile, VirtualGallery
from assetforge.tui.words import dim, plain

__all__ = ["LineageScreen"]

_SPLITS = {"train": "trained on", "held_out": "held out"}


class LineageScreen(FilmScreen):
    """What one version was made of.

    Args:
        address: Such as ``mara/v7``.
        asset_id: Row id of the asset.
    """

    HELP = """Everything that the version was made of. At the right stand the references that changed against the version it goes on from; enter on one shows it
    among the asset's references. Tab goes from the pictures to the facts; esc goes back."""
    # The screen says by its classes how wide it is.
    SCOPED_CSS = False
    DEFAULT_CSS = """
    LineageScreen {
        #made-of { height: 1fr; }
        #made-facts { width: 1fr; height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
        #made-facts:focus { background: $background; }
        #made-pictures { width: 46%; border-left: solid $border-blurred; padding: 0 1; }
        #made-line { height: auto; margin-bottom: 1; }
        #made-change { height: auto; max-height: 6; }
    }
    LineageScreen.-narrow #made-of { layout: vertical; }
    LineageScreen.-narrow #made-pictures { width: 1fr; height: 13; border-left: none; border-top: solid $border-blurred; }
    LineageScreen.-narrow #made-line { margin-bottom: 0; }
    LineageScreen.-narrow #made-change { max-height: 1; }
    """

    def __init__(self, address: str, asset_id: int) -> None:
        super().__init__()
        self.address, self._asset_id = address, asset_id
        self._asset = address.partition("/")[0]
        self._reread = Rereading(self._read)

    def content(self) -> Iterable[Widget]:
        """Facts and pictures."""
        with Horizontal(id="made-of"):
            with VerticalScroll(id="made-facts"):
                yield HangingText(id="made-text")
            with Vertical(id="made-pictures"):
                yield Static("", id="made-line", markup=False)
                yield VirtualGallery[Difference](
                    _tile,
                    self.film_app.pictures,
                    tile_width=14,
                    picture_height=7,
                    lines=2,
                    empty="",
                    marking=False,
                    id="made-diff",
                )
                yield Static("", id="made-change", markup=False)

    def place(self) -> Content:
        """Film, asset, version."""
        where = crumbs(self.film_app.film_title, plain(self._asset), short(self.address))
        return Content.assemble(where, ("   what it was made of", "not bold $dim"))

    def on_mount(self) -> None:
        """Read it."""
        self.query_one("#made-diff").focus()
        self.film_changed()

    def film_changed(self) -> None:
        """Read it again: names move, and more is decided, rendered and published."""
        self.run_worker(self._reread(), group="read", exit_on_error=False)

    @property
    def _text(self) -> HangingText:
        return self.query_one("#made-text", HangingText)

    async def _read(self) -> None:
        session = self.session
        try:
            chain = await session.call(_chain_of, session.reader, self._asset_id, self.address)
            found = await session.run(made_of, self.address, chain)
        except AssetForgeError as error:
            self._text.update([Entry(None, Content(plain(in_words(error))))])
            return
        self._text.update(lineage_text(found))
        self._show_difference(found)

    def _show_difference(self, found: MadeOf) -> None:
        items = differences(found.difference) if found.difference is not None else []
        items += [
            Difference(one.sha256, "·", "$dim", _SPLITS.get(one.split, ""), "", one.caption) for one in found.unchanged
        ]
        self.query_one("#made-line", Static).update(difference_line(found, items))
        gallery = self.query_one("#made-diff", VirtualGallery)
        gallery.empty = "It was not trained here, so it is not known on what."
        source = ListSource(items, _key)
        gallery.set_source(source)

    def on_virtual_items_highlighted(self, event: VirtualItems.Highlighted) -> None:
        """A changed caption is shown in full."""
        event.stop()
        one, shown = event.item, Content("")
        if isinstance(one, Difference) and one.glyph == "·":
            shown = Content(plain(one.after))
        elif isinstance(one, Difference) and (one.before or one.after) and one.what != "mask":
            before, after = plain(one.before) or "nothing", plain(one.after) or "nothing"
            shown = Content.assemble(("before  ", "$dim"), before, "\n", ("after   ", "$dim"), after)
        self.query_one("#made-change", Static).update(shown)

    def on_virtual_items_opened(self, event: VirtualItems.Opened) -> None:
        """On to the reference."""
        event.stop()
        if isinstance(event.item, Difference):
            self._go(event.item.sha256)

    @acting
    async def _go(self, sha256: str) -> None:
        await self.film_app.go_to("reference", f"{self._asset}/ref/{sha256[:12]}")


def _chain_of(reader: Reader, asset_id: int, address: str) -> list[str]:
    """Addresses of what a version goes on from, the nearest first."""
    origins = lineage_of(version_sources(reader, asset_id)).origins
    found: list[str] = []
    at = origins.get(parse_version(address).number or 0)
    while at is not None:
        found.append(version_address(address.partition("/")[0], at))
        at = origins.get(at)
    return found


def _key(one: Difference) -> int:
    return hash((one.sha256, one.what))


def _tile(one: Difference) -> Tile:
    title = Content.assemble((f"{one.glyph} ", one.style), one.what)
    return Tile(one.sha256, title, [dim(plain(one.after, 60))])
