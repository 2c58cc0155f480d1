"""The dataset versions of an asset, and in pictures what changed between any two of them."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Static

from assetforge.db.browse.references import reference_names
from assetforge.tui.actions import bindings
from assetforge.tui.rereading import Rereading
from assetforge.tui.screens.asset_actions import frozen
from assetforge.tui.screens.base import Pane, acting
from assetforge.tui.screens.dialogs import Field, FieldsDialog, TextDialog
from assetforge.tui.widgets.items import VirtualItems
from assetforge.tui.widgets.path_suggester import PathSuggester
from assetforge.tui.widgets.sources import ListSource
from assetforge.tui.widgets.virtual_gallery import Tile, VirtualGallery
from assetforge.tui.widgets.virtual_table import Column, VirtualTable
from assetforge.tui.words import ago, count_of, dim, plain, strong

if TYPE_CHECKING:
    from assetforge.domain.dataset_diff import DatasetDiff
    from assetforge.services.datasets import DatasetInfo
    from assetforge.services.projects import Project

__all__ = ["DatasetsPane", "Difference", "differences"]

_COLUMNS = (
    Column("number", "version", 8, sortable=False),
    Column("train", "train", 6, "right", sortable=False),
    Column("held", "held out", 9, "right", sortable=False, priority=2),
    Column("note", "note", 0, sortable=False, minimum=8, priority=1),
    Column("by", "by", 10, sortable=False, priority=3),
    Column("at", "frozen", 12, "right", sortable=False),
)
_NOTHING = "No dataset version yet. f freezes what is active now: pictures, captions, crops and who is held out, as one immutable list."


class Difference(NamedTuple):
    """A reference that differs between two dataset versions.

    Attributes:
        sha256: Its picture.
        glyph: ``+``, ``−`` or ``~``.
        style: Theme token of the glyph.
        what: In words.
        before: Value in the older one.
        after: Value in the newer one.
        name: Its file's name; empty when the asset has it no more.
    """

    sha256: str
    glyph: str
    style: str
    what: str
    before: str = ""
    after: str = ""
    name: str = ""


def differences(found: "DatasetDiff") -> list[Difference]:
    """Everything that differs, what came first."""
    items = [Difference(one, "+", "$success", "added") for one in found.added]
    items += [Difference(one, "−", "$error", "removed") for one in found.removed]
    changes = (
        ("caption", found.recaptioned),
        ("crop", found.recropped),
        ("mask", found.remasked),
        ("split", found.resplit),
        ("repeats", found.repeats),
    )
    items += [
        Difference(one.sha256, "~", "$warning", what, one.before, one.after)
        for what, several in changes
        for one in several
    ]
    return items


def in_order(items: Sequence[Difference], names: Mapping[str, str]) -> list[Difference]:
    """The same with file names by picture, and in the order of these within each kind."""
    kinds = {what: at for at, what in enumerate(dict.fromkeys(item.what for item in items))}
    named = [item._replace(name=names.get(item.sha256, "")) for item in items]
    return sorted(named, key=lambda item: (kinds[item.what], item.name.casefold(), item.sha256))


def _tile(one: Difference) -> Tile:
    title = Content.assemble((f"{one.glyph} ", one.style), one.what)
    if one.what in ("added", "removed"):
        return Tile(one.sha256, title, [dim(plain(one.name, 60))])
    before, after = (plain(value.replace("_", " "), 60) or "nothing" for value in (one.before, one.after))
    if one.what == "mask":
        before, after = ("a mask" if value else "none" for value in (one.before, one.after))
    return Tile(one.sha256, title, [Content.styled(f"{before}", "$dim"), Content(f"→ {after}")])


def _cells(row: "DatasetInfo") -> Sequence[Content | str]:
    return (
        strong(row.address.rpartition("/")[2]),
        str(row.train_count),
        str(row.held_out_count),
        dim(plain(row.note, 200)),
        dim(plain(row.created_by)),
        dim(ago(row.created_at)),
    )


class DatasetsPane(Pane):
    """The third tab of an asset.

    Args:
        asset: Name of the asset.
        asset_id: Its row id.
    """

    SCOPE = "datasets"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("datasets")]
    HELP = """Dataset versions, newest first. At the right stands what changed against the one before; mark two with space to see what differs between them."""
    DEFAULT_CSS = """
    DatasetsPane {
        Horizontal { height: 1fr; }
        #datasets-table { width: 42%; }
        #datasets-side { width: 1fr; border-left: solid $border-blurred; padding: 0 1; }
        #datasets-line { height: auto; margin-bottom: 1; }
        #datasets-change { height: auto; max-height: 6; margin-top: 1; }
    }
    """

    def __init__(self, asset: str, asset_id: int) -> None:
        super().__init__()
        self.asset, self._asset_id = asset, asset_id
        self._rows: list[DatasetInfo] = []
        self._wanted = ""
        self._reread = Rereading(self._read)

    def compose(self) -> ComposeResult:
        """Versions at the left, the difference in pictures at the right."""
        with Horizontal():
            yield VirtualTable(_COLUMNS, _cells, empty=_NOTHING, id="datasets-table")
            with Vertical(id="datasets-side"):
                yield Static("", id="datasets-line", markup=False)
                yield VirtualGallery[Difference](
                    _tile,
                    self.film_app.pictures,
                    tile_width=16,
                    picture_height=8,
                    lines=3,
                    empty="",
                    marking=False,
                    id="datasets-diff",
                )
                yield Static("", id="datasets-change", markup=False)

    def on_mount(self) -> None:
        """Read what there is."""
        self.film_changed()

    @property
    def _table(self) -> "VirtualTable[DatasetInfo]":
        return self.query_one("#datasets-table", VirtualTable)

    def film_changed(self) -> None:
        """Read the versions again."""
        self.run_beside(self._reread.read, group="read")

    async def _read(self) -> None:
        from assetforge.services.datasets import DatasetInfo, list_datasets

        self._rows = await self.session.run(list_datasets, self.asset)
        self._table.set_source(ListSource[DatasetInfo](self._rows, key=lambda row: row.id))
        if not self._rows:
            # Nothing is being opened there.
            self.query_one("#datasets-diff", VirtualGallery).set_source(ListSource[Difference]((), key=hash))
        if self._wanted:
            self.show_address(self._wanted)

    def show_address(self, address: str) -> None:
        """Put the cursor on a dataset version, once it was read when it is not there yet."""
        found = next((row.id for row in self._rows if row.address == address), None)
        self._wanted = "" if self._rows else address
        if found is not None:
            self._table.go_to(found)

    def on_virtual_items_highlighted(self, event: VirtualItems.Highlighted) -> None:
        """A version shows what changed in it; a difference shows its values in full."""
        if event.control.id == "datasets-diff":
            self._show_change(event.item)
        elif not self._table.marks:
            self._compare()

    def on_virtual_items_marks_changed(self, event: VirtualItems.MarksChanged) -> None:
        """Two marked ones are compared."""
        if len(event.marks) in (0, 2):
            self._compare()
        else:
            said = "Mark a second one." if len(event.marks) == 1 else f"{len(event.marks)} are marked; mark two."
            self.query_one("#datasets-line", Static).update(dim(said))

    def on_virtual_items_opened(self, event: VirtualItems.Opened) -> None:
        """On to the pictures; on a picture to the reference."""
        event.stop()
        if event.control.id == "datasets-diff" and event.item is not None:
            self._go(event.item.sha256)
        else:
            self.query_one("#datasets-diff", VirtualGallery).focus()

    @acting
    async def _go(self, sha256: str) -> None:
        await self.film_app.go_to("reference", f"{self.asset}/ref/{sha256[:12]}")

    def _compare(self) -> None:
        marked = [row for row in self._rows if row.id in self._table.marks]
        current = self._table.current
        if len(marked) == 2:
            newer, older = sorted(marked, key=lambda row: row.number, reverse=True)
            pair = (newer.address, older.address)
        elif current is not None:
            pair = (current.address, "")
        else:
            return
        self.run_beside(partial(self._show, *pair), group="diff", exclusive=True)

    async def _show(self, newer: str, older: str) -> None:
        from assetforge.services.datasets import diff

        one, other, found = await self.session.run(diff, newer, older)
        items = differences(found)
        pictures = [item.sha256 for item in items]
        items = in_order(items, await self.session.call(reference_names, self.session.reader, self._asset_id, pictures))
        against = f"against {other.address.rpartition('/')[2]}" if other else "the first"
        parts = [strong(one.address.rpartition("/")[2]), dim(against)]
        counts = (
            ("+", len(found.added), "added", "$success"),
            ("−", len(found.removed), "removed", "$error"),
            ("~", len(items) - len(found.added) - len(found.removed), "changed", "$warning"),
        )
        parts += [Content.styled(f"{glyph}{count} {word}", style) for glyph, count, word, style in counts if count]
        line = Content("   ").join(parts)
        if one.note:
            line = Content("\n").join([line, dim(plain(one.note, 300))])
        self.query_one("#datasets-line", Static).update(line)
        gallery = self.query_one("#datasets-diff", VirtualGallery)
        gallery.empty = "The two are the same."
        gallery.set_source(ListSource[Difference](items, key=lambda item: hash(item[:4])), keep=False)
        self._show_change(gallery.current)

    def _show_change(self, one: Difference | None) -> None:
        shown = dim(plain(one.name, 200)) if one is not None else Content("")
        if one is not None and (one.before or one.after) and one.what != "mask":
            shown = Content.assemble(
                *((shown, "\n") if one.name else ()),
                ("before  ", "$dim"),
                plain(one.before) or "nothing",
                "\n",
                ("after   ", "$dim"),
                plain(one.after) or "nothing",
            )
        self.query_one("#datasets-change", Static).update(shown)

    def action_diff(self) -> None:
        """What changed in the chosen one, or between the two marked ones."""
        self._compare()

    @acting
    async def action_freeze(self) -> None:
        """Make a dataset version of what is active now."""
        from assetforge.services.datasets import freeze

        note = await self.app.push_screen_wait(
            TextDialog("Freeze what is active now", "A note for later, or nothing.", empty=True)
        )
        if not isinstance(note, str):
            return
        info = await self.session.run(freeze, self.asset, note=note.strip())
        self.film_app.tell(frozen(info))
        for remark in info.remarks:
            self.film_app.tell(remark, severity="warning")

    @acting
    async def action_export(self) -> None:
        """Write the version in another tool's form."""
        from assetforge.services.dataset_export import check_destination, export_dataset

        row = self._table.current
        if row is None:
            return

        async def chosen(answer: dict[str, str]) -> tuple[str, Path]:
            return answer["exporter"], await self.session.call(check_destination, Path(answer["folder"].strip()))

        exporters = await self.session.run(_exporters)
        answer = await self.app.push_screen_wait(
            FieldsDialog(
                f"Export {row.address}",
                [
                    Field(name="exporter", title="for", choices=[(name, name) for name in exporters]),
                    Field(
                        name="folder",
                        title="folder",
                        placeholder=f"~/{row.address.replace('/', '-')}",
                        required=True,
                        suggester=PathSuggester(files=False),
                    ),
                ],
                "The folder must not exist yet, or be empty. Captions get the trigger, as in training.",
                take=chosen,
            )
        )
        if isinstance(answer, tuple):
            report = await self.session.run(export_dataset, row.address, *answer)
            self.film_app.tell(f"{count_of(report.pictures, 'picture')} of {report.dataset} in {report.destination}.")


def _exporters(_project: "Project") -> list[str]:
    from assetforge.api.specs import ExporterSpec
    from assetforge.extension.registry import get_registry

    return [one.spec.name for one in get_registry().every(ExporterSpec) if one.spec.exports == "dataset"]
