"""The captions of an asset: one beside its picture, many at once by rule, with the change shown before it is made and undone as a whole."""

from array import array
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Input, Static

from assetforge.db.browse.reference_address import reference_at
from assetforge.db.browse.references import ReferenceRow, caption_tags, reference_ids, reference_rows
from assetforge.domain.search_language import REFERENCE_FIELDS, parse_search
from assetforge.tui.actions import bindings
from assetforge.tui.rereading import Rereading
from assetforge.tui.screens.base import Pane, acting
from assetforge.tui.screens.caption_dialogs import ask_change, confirm_change
from assetforge.tui.screens.dialogs import Choice, ChoiceDialog
from assetforge.tui.widgets.caption_text import CaptionText
from assetforge.tui.widgets.items import VirtualItems
from assetforge.tui.widgets.line_input import LineInput
from assetforge.tui.widgets.picture import Picture
from assetforge.tui.widgets.sources import KeyedSource
from assetforge.tui.widgets.virtual_table import Column, VirtualTable
from assetforge.tui.words import ago, count_of, dim, number, plain, strong

if TYPE_CHECKING:
    from assetforge.domain.captions import CaptionChange
    from assetforge.services.caption_words import TokenCounter

__all__ = ["CaptionsPane"]

_TYPING_S = 0.12
_CARD_S = 0.06
_TAGS = 200
_COLUMNS = (
    Column("file", "file", 16, minimum=10, sortable=False, priority=2),
    Column("caption", "caption", 0, minimum=20, sortable=False),
    Column("tokens", "tokens", 7, "right", sortable=False, priority=1),
)
_HOW = Content.assemble(
    ("enter", "bold"), (" saves, on to the next   ", "$dim"), ("esc", "bold"), (" leaves it", "$dim")
)
_NOTHING = "No references yet, so there is nothing to caption. i in the first tab imports pictures."


class CaptionsPane(Pane):
    """The second tab of an asset.

    Args:
        asset: Name of the asset.
        asset_id: Its row id.
    """

    SCOPE = "captions"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("captions")]
    HELP = """Captions, without the trigger: training puts that in. Enter edits one; in the field enter saves and goes on to the next, esc leaves it as it was.
    Changes by rule work on the marked captions, or on all when none is marked, and are shown before they are made."""
    DEFAULT_CSS = """
    CaptionsPane {
        #cap-line { height: 1; color: $dim; padding: 0 1; margin-bottom: 1; }
        #cap-panes { height: 1fr; }
        #cap-table { width: 1fr; padding: 0 1; }
        #cap-side { width: 46%; max-width: 100; border-left: solid $border-blurred; padding: 0 1; }
        #cap-picture { height: 1fr; min-height: 5; }
        #cap-text { height: 7; margin-top: 1; background: $surface; border: none; padding: 0 1; }
        #cap-text:focus { background: $panel; border: none; }
        #cap-about { height: auto; margin-top: 1; }
    }
    """

    def __init__(self, asset: str, asset_id: int) -> None:
        super().__init__()
        self.asset, self._asset_id = asset, asset_id
        self._ids: array[int] = array("q")
        self._filter = ""
        self._counter: TokenCounter | None = None
        self._tokens: dict[str, int] = {}
        self._typing: Timer | None = None
        self._card: Timer | None = None
        self._edited: int | None = None
        self._unsaved: dict[int, str] = {}
        self._wanted = ""
        self._problems = ""
        self._reread = Rereading(self._read)

    def compose(self) -> ComposeResult:
        """Captions at the left; picture and text of one at the right."""
        app = self.film_app
        yield LineInput(placeholder="words  tag:rain  caption:missing", id="cap-filter")
        yield Static("", id="cap-line", markup=False)
        with Horizontal(id="cap-panes"):
            yield VirtualTable[ReferenceRow](_COLUMNS, self._cells, empty=_NOTHING, leave=("enter",), id="cap-table")
            with Vertical(id="cap-side"):
                if app.pictures is not None:
                    yield Picture(app.pictures, app.terminal_pictures, id="cap-picture")
                yield CaptionText(id="cap-text")
                yield Static("", id="cap-about", markup=False)

    def on_mount(self) -> None:
        """Read what there is; learn to count tokens beside that."""
        self.query_one("#cap-filter").display = False
        self.film_changed()
        self.run_beside(self._learn_to_count, group="count")

    async def _learn_to_count(self) -> None:
        from assetforge.services.caption_words import token_counter

        self._counter = await self.session.run(token_counter, self.asset)
        self._table.refresh_items()
        self._show_about()

    @property
    def _table(self) -> "VirtualTable[ReferenceRow]":
        return self.query_one("#cap-table", VirtualTable)

    def _cells(self, row: ReferenceRow) -> Sequence[Content | str]:
        caption: Content | str = plain(row.caption, 600) if row.caption else Content.styled("no caption", "$warning")
        return dim(plain(row.file_name, 60)), caption, self._count_cell(row.caption)

    def _count_cell(self, caption: str) -> Content:
        counter = self._counter
        if counter is None:
            return dim("")
        tokens = self._count(caption)
        if counter.limit is not None and tokens > counter.limit:
            return Content.styled(f"{tokens}!", "$error")
        return dim(str(tokens))

    def _count(self, caption: str) -> int:
        if self._counter is None:
            return 0
        if caption not in self._tokens:
            if len(self._tokens) > 5000:
                self._tokens.clear()
            self._tokens[caption] = self._counter.count(caption)
        return self._tokens[caption]

    def film_changed(self) -> None:
        """Read the ids again; a caption that is being written stays as it is."""
        self.run_beside(self._reread.read, group="read")

    async def _read(self) -> None:
        session, search = self.session, parse_search(f"{self._filter} -state:excluded", REFERENCE_FIELDS)
        self._ids = await session.call(
            reference_ids, session.reader, self._asset_id, search, "file", descending=False, now=datetime.now(UTC)
        )
        self._table.empty = "No caption fits the filter. Escape clears it." if self._filter else _NOTHING
        self._table.set_source(KeyedSource(self._ids, self.fetching(reference_rows)))
        self._problems = plain(" ".join(search.problems))
        self._write_line()
        if self._wanted:
            self.show_address(self._wanted)

    def _write_line(self) -> None:
        if self._problems:
            parts = [Content.styled(self._problems, "$warning")]
        else:
            parts = [Content.styled(count_of(len(self._ids), "caption"), "$foreground")]
            if marks := len(self._table.marks):
                parts.append(Content.styled(f"◆ {number(marks)} marked", "$primary"))
            parts.append(dim("the trigger is put in when it is trained"))
        self.query_one("#cap-line", Static).update(Content("   ").join(parts), layout=False)

    def on_virtual_items_marks_changed(self, _event: VirtualItems.MarksChanged) -> None:
        """Say how many."""
        self._write_line()

    def show_address(self, address: str) -> None:
        """Put the cursor on a reference, once it was read when it is not there yet."""
        self._wanted = "" if self._ids else address
        if self._ids:
            self._table.go_to(reference_at(self.session.reader, self._asset_id, address.rpartition("/")[2]))

    def on_virtual_items_highlighted(self, _event: VirtualItems.Highlighted) -> None:
        """Show it a moment later."""
        if self._card is not None:
            self._card.stop()
        self._card = self.set_timer(_CARD_S, self._show_card)

    def _show_card(self) -> None:
        row, text = self._table.current, self._text
        for picture in self.query(Picture):
            picture.show(row.sha256 if row else None)
        if not text.has_focus:
            self._put(row)
        self._show_about()

    def _put(self, row: ReferenceRow | None) -> None:
        """Have a caption in the field, or what was written and could not be saved."""
        self._edited = row.id if row else None
        self._text.text = self._unsaved.get(row.id, plain(row.caption)) if row else ""

    def _show_about(self) -> None:
        row, counter = self._table.current, self._counter
        if row is None:
            self.query_one("#cap-about", Static).update(Content(""))
            return
        lines = [_HOW] if self._text.has_focus else []
        if counter is not None:
            tokens = self._count(self._text.text)
            limit = f" of {counter.limit}" if counter.limit is not None else ""
            over = counter.limit is not None and tokens > counter.limit
            lines.append(
                Content.styled(
                    f"{tokens}{limit} tokens{', the end is cut off' if over else ''}",
                    "$error" if over else "$foreground",
                )
            )
            lines.append(dim(plain(counter.says)))
        lines.append(dim(f"{plain(row.file_name, 60)}, written by {plain(row.caption_source) or 'nobody'}"))
        self.query_one("#cap-about", Static).update(Content("\n").join(lines))

    def on_descendant_focus(self) -> None:
        """Say how what is written is kept."""
        self._show_about()

    def on_descendant_blur(self) -> None:
        """Nothing is written any more."""
        self._show_about()

    def on_text_area_changed(self, event: CaptionText.Changed) -> None:
        """Count while it is written."""
        if event.text_area.has_focus:
            self._show_about()

    def on_caption_text_left(self, event: CaptionText.Left) -> None:
        """Enter saves and goes on to the next, escape takes back."""
        event.stop()
        key, written = self._edited, " ".join(self._text.text.split())
        self._table.focus()
        if not event.save:
            if key is not None:
                self._unsaved.pop(key, None)
            self._table.go_to(key)
            self._put(self._table.current)
            return
        # The next one is there at once; what is typed meanwhile must not land in this one.
        self._table.go_to(key)
        self._table.action_go_rows(1)
        if self._table.current_key != key:
            self.action_edit()
        if key is not None:
            self._save(key, written)

    @acting
    async def _save(self, key: int, written: str) -> None:
        from assetforge.services.captions import set_caption

        row = reference_rows(self.session.reader, [key]).get(key)
        if row is None or written == plain(row.caption):
            return
        self._unsaved[key] = written
        await self.session.run(set_caption, row.address, written)
        if self._unsaved.get(key) == written:
            del self._unsaved[key]

    @property
    def _text(self) -> CaptionText:
        return self.query_one("#cap-text", CaptionText)

    def action_edit(self) -> None:
        """Write the caption under the cursor."""
        row, text = self._table.current, self._text
        if row is not None:
            self._put(row)
            text.focus()
            text.move_cursor(text.document.end)
            self._show_about()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's signature
        """Undo belongs to the list: in a line that is being written nobody means captions. Nor does enter begin what is being written."""
        focused = self.screen.focused
        if action == "edit":
            return not isinstance(focused, CaptionText)
        return action not in ("undo", "redo") or not isinstance(focused, Input)

    def action_filter(self) -> None:
        """Write a filter."""
        field = self.query_one("#cap-filter", Input)
        field.display = True
        field.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while it is written."""
        self._filter = event.value
        if self._typing is not None:
            self._typing.stop()
        self._typing = self.set_timer(_TYPING_S, self.film_changed)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Back to the captions, filtered."""
        event.stop()
        event.input.display = bool(event.value)
        self._table.focus()

    def clear_filter(self) -> bool:
        """What escape does first; says whether there was a filter."""
        field = self.query_one("#cap-filter", Input)
        if not field.display:
            return False
        field.value, field.display = "", False
        self._table.focus()
        return True

    def _addresses(self) -> list[str]:
        """The marked ones; those of the filter when one is written; none means all."""
        keys: Sequence[int] = self._table.marked() if self._table.marks else self._ids if self._filter else ()
        rows: Mapping[int, ReferenceRow] = reference_rows(self.session.reader, keys)
        return [rows[key].address for key in keys if key in rows]

    async def _change(self, change: "CaptionChange | None") -> None:
        """Show what would change, make it when that is right."""
        from assetforge.services.caption_edits import edit_captions

        if change is None:
            return
        addresses = self._addresses()
        planned = await self.session.run(edit_captions, self.asset, change, addresses=addresses, dry_run=True)
        if not planned.pairs:
            self.film_app.tell(f"Nothing would change in {count_of(planned.looked_at, 'caption')}.")
        elif await confirm_change(self.film_app, planned):
            made = await self.session.run(edit_captions, self.asset, change, addresses=addresses)
            self.film_app.tell(f"{plain(made.what)}: {count_of(len(made.pairs), 'caption')} changed; u undoes it.")

    @acting
    async def action_replace(self) -> None:
        """Find and replace."""
        await self._change(await ask_change(self.film_app, "replace"))

    @acting
    async def action_prefix(self) -> None:
        """Words before or behind."""
        await self._change(await ask_change(self.film_app, "prefix"))

    @acting
    async def action_tag(self) -> None:
        """Add or remove a tag."""
        await self._change(await ask_change(self.film_app, "tag"))

    @acting
    async def action_trigger(self) -> None:
        """Write the trigger into captions, or take it out."""
        await self._change(await ask_change(self.film_app, "trigger"))

    @acting
    async def action_undo(self) -> None:
        """Take the newest change back as a whole."""
        from assetforge.services.caption_undo import undo_captions

        undone = await self.session.run(undo_captions, self.asset)
        kept = f" {len(undone.kept)} were changed since and stay." if undone.kept else ""
        self.film_app.tell(f"Undone: {plain(undone.change.what)}, {count_of(len(undone.pairs), 'caption')}.{kept}")

    @acting
    async def action_redo(self) -> None:
        """Make it again."""
        from assetforge.services.caption_undo import redo_captions

        done = await self.session.run(redo_captions, self.asset)
        self.film_app.tell(f"Made again: {plain(done.change.what)}, {count_of(len(done.pairs), 'caption')}.")

    @acting
    async def action_tags(self) -> None:
        """Which tags there are; one of them becomes the filter."""
        counted = await self.session.call(caption_tags, self.session.reader, self._asset_id, _TAGS)
        if not counted:
            self.film_app.tell("No caption has a tag yet.")
            return
        most = counted[0][1]
        choices = [
            Choice(tag, plain(tag, 40), f"{count:>5}  {'▪' * max(1, round(20 * count / most))}")
            for tag, count in counted
        ]
        tag = await self.app.push_screen_wait(
            ChoiceDialog(f"Tags of {self.asset}", choices, "Enter shows the captions with that tag.")
        )
        if isinstance(tag, str):
            field = self.query_one("#cap-filter", Input)
            field.display, field.value = True, f'tag:"{tag}"' if " " in tag else f"tag:{tag}"
            self._table.focus()

    @acting
    async def action_history(self) -> None:
        """Earlier captions of the reference; one of them can be taken again."""
        from assetforge.services.captions import caption_history, set_caption

        row = self._table.current
        if row is None:
            return
        past = await self.session.run(caption_history, row.address)
        choices = [
            Choice(str(at), plain(one.text, 70) or "no caption", f"{ago(one.at)}, {plain(one.author)}")
            for at, one in enumerate(past)
        ]
        if not choices:
            self.film_app.tell("Nobody wrote a caption for it yet.")
            return
        about = Content.assemble(strong(plain(row.file_name, 60)), dim("   enter takes that caption again"))
        chosen = await self.app.push_screen_wait(ChoiceDialog("Earlier captions", choices, about))
        if isinstance(chosen, str):
            await self.session.run(set_caption, row.address, past[int(chosen)].text)
