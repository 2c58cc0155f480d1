"""One asset in full: its best picture, its versions, its dataset, what was found."""

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from assetforge.tui.words import ago, count_of, dim, plain, status, strong

if TYPE_CHECKING:
    from assetforge.db.browse.assets import AssetRow
    from assetforge.tui.images.protocol import TerminalPictures
    from assetforge.tui.images.thumbnails import Thumbnails

__all__ = ["AssetCard"]

_NAME = 20


class AssetCard(Vertical):
    """The right pane of the film's assets."""

    DEFAULT_CSS = """
    AssetCard {
        #card-head { height: auto; margin-bottom: 1; }
        #card-picture { height: 1fr; min-height: 6; max-height: 18; }
        #card-facts { height: auto; margin-top: 1; }
    }
    """

    def compose(self) -> ComposeResult:
        """Head, picture (once it is known how), facts."""
        yield Static("", id="card-head", markup=False)
        yield Static("", id="card-facts", markup=False)

    async def prepare(self, pictures: "Thumbnails | None", terminal: "TerminalPictures") -> None:
        """Make room for the picture, once a film is open; that of another film goes."""
        from assetforge.tui.widgets.picture import Picture

        await self.query("#card-picture").remove()
        if pictures is not None:
            await self.mount(Picture(pictures, terminal, id="card-picture"), after="#card-head")

    def show(self, row: "AssetRow | None") -> None:
        """Show an asset, or nothing."""
        from assetforge.tui.widgets.picture import Picture

        self.query_one("#card-head", Static).update(_head(row) if row else Content(""))
        self.query_one("#card-facts", Static).update(_facts(row) if row else Content(""))
        for picture in self.query(Picture):
            picture.show(row.picture if row and row.picture else None)


def _head(row: "AssetRow") -> Content:
    name, trigger = strong(plain(row.name)), dim(f"{plain(row.type)} · trigger {plain(row.trigger)}")
    # A glyph and its word are never parted.
    gap = "   " if name.cell_length <= _NAME else "\n"
    lines = [Content.assemble(name, gap, status(row.status)), trigger]
    if row.description:
        lines.append(Content(plain(row.description, 120)))
    return Content("\n").join(lines)


def _facts(row: "AssetRow") -> Content:
    lines = []
    if row.latest:
        outcome = Content.assemble("  ", status(row.outcome)) if row.outcome else Content("")
        lines.append(Content.assemble((row.latest.rpartition("/")[2], "bold"), "  ", status(row.latest_stage), outcome))
        if row.headline:
            lines.append(dim(plain(row.headline)))
    if row.approved and row.approved != row.latest:
        lines.append(Content.assemble((row.approved.rpartition("/")[2], "bold"), "  ", status("approved")))
    refs = Content.assemble(
        (row.dataset.rpartition("/")[2] or "no dataset", "bold"), f"  {count_of(row.references, 'reference')}"
    )
    if row.unfrozen and row.dataset:
        refs = Content.assemble(refs, (f"  +{row.unfrozen} since", "$warning"))
    lines.append(refs)
    findings = [
        (row.without_caption, "without a caption"),
        (row.without_rights, "without rights"),
        (row.quarantined, "in quarantine"),
    ]
    lines += [Content.assemble((f"{count} {what}", "$warning")) for count, what in findings if count]
    if row.excluded:
        lines.append(dim(f"{row.excluded} excluded"))
    lines.append(dim(f"{count_of(row.versions, 'version')} · changed {ago(row.changed_at)}"))
    return Content("\n").join(lines)
