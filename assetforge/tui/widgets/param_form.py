"""A form that is made from fields: names, editors, help of the focused field, what differs from the default, what is wrong, and a way to find one of many."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.events import Click, Key
from textual.geometry import NULL_OFFSET, Region, Size, Spacing
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Select, Static

from assetforge.domain.form_field import FormCheck, FormField
from assetforge.tui.widgets.param_row import FieldRow
from assetforge.tui.words import count_of, plain

__all__ = ["ParamForm"]

_TWO_COLUMNS = 140
_ALL_LINES = 40
"""So tall and in two columns, everything fits: nothing is folded."""
_FIND_FROM = 13
"""Forms of fewer fields need no line to find one."""
_LABEL_MOST = 30


class _Columns(Layout):
    """Blocks one below the other, in two columns where there is room; the first is filled first, so that reading goes on as the focus does."""

    name = "form-columns"

    def arrange(self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True) -> ArrangeResult:  # noqa: ARG002 - signature of Textual
        """Place the blocks."""
        parent.pre_layout(self)
        split = parent.split if isinstance(parent, _Blocks) else 0
        columns = 2 if size.width >= _TWO_COLUMNS and split else 1
        gap = 3 if columns > 1 else 0
        width = (size.width - gap * (columns - 1)) // columns
        viewport = parent.app.viewport_size
        heights = [child.get_content_height(Size(width, size.height), viewport, width) + 1 for child in children]
        placements, x, y = [], 0, 0
        for at, (child, height) in enumerate(zip(children, heights, strict=True)):
            if at == split and columns > 1:
                x, y = width + gap, 0
            placements.append(
                WidgetPlacement(Region(x, y, width, height - 1), NULL_OFFSET, Spacing(), child, 0, False, False, False)  # noqa: FBT003 - positional in Textual
            )
            y += height
        return placements


_COLUMNS = _Columns()


class _Blocks(Vertical):
    """The groups of a form.

    Args:
        heights: Lines of every group, those included that are still to come.
    """

    def __init__(self, heights: Sequence[int]) -> None:
        super().__init__()
        # The second column begins where the longer of the two is as short as can be.
        self.split = min(range(1, len(heights)), key=lambda at: max(sum(heights[:at]), sum(heights[at:])), default=0)

    @property
    def layout(self) -> Layout:
        """Our own, which style sheets cannot name."""
        return _COLUMNS


class _Group(Vertical):
    """Fields under a heading; advanced ones are made when somebody asks for them."""

    def __init__(self, title: str, rows: Sequence[FieldRow], folded: Sequence[FormField]) -> None:
        super().__init__()
        self.title, self.rows, self.folded = title, list(rows), list(folded)

    def compose(self) -> ComposeResult:
        """Heading, rows, and a line for what is folded."""
        if self.title:
            yield Static(Content(plain(self.title)), classes="group-title")
        yield from self.rows
        if self.folded:
            yield _Fold(self.folded)


class _Fold(Static, can_focus=True):
    """Stands for fields that are seldom needed; enter, space or a click shows them."""

    class Opened(Message):
        """Show them."""

        def __init__(self, fold: "_Fold") -> None:
            super().__init__()
            self.fold = fold

    def __init__(self, folded: Sequence[FormField]) -> None:
        names = ", ".join(plain(one.title).lower() for one in folded)
        super().__init__(
            Content.assemble(("  ▸ ", "$primary"), f"{len(folded)} more", (f"  {names}", "$dim")), classes="fold"
        )

    def on_key(self, event: Key) -> None:
        """Open."""
        if event.key in ("enter", "space", "right"):
            event.stop()
            self.post_message(self.Opened(self))

    def on_click(self, _event: Click) -> None:
        """Open."""
        self.post_message(self.Opened(self))


class ParamForm(Widget):
    """A form.

    Up and down (and tab) go from field to field, enter in a text confirms, ``/`` finds a field by its name or help, ctrl+r puts the default of the focused field back.

    Args:
        fields: The fields, in order; those of one group stand under a heading.
        values: Values that differ from the defaults, by name.
        check: Says what is wrong with all values, and which fields have no say; see :func:`assetforge.services.param_fields.checker_of`.
        notes: A dim word beside fields, by name.
        find: Whether there is a line to find fields; by default where there are many.
        empty: What is said where there is no field.
    """

    DEFAULT_CSS = """
    ParamForm {
        width: 1fr; height: 1fr;
        #form-head { height: 1; margin-bottom: 1; }
        #form-find { width: 40; height: 1; border: none; padding: 0 1; background: $surface; }
        #form-find:focus { background: $panel; border: none; }
        #form-sum { width: 1fr; height: 1; padding: 0 1; color: $text-muted; text-align: right; text-wrap: nowrap; text-overflow: ellipsis; }
        #form-scroll { height: 1fr; scrollbar-size-vertical: 1; }
        _Blocks { height: auto; padding-right: 1; }
        _Group { height: auto; }
        .group-title { height: 1; text-style: bold; padding: 0 2; color: $foreground; }
        .fold { height: 1; color: $text-muted; text-wrap: nowrap; text-overflow: ellipsis; }
        .fold:focus { background: $panel; color: $foreground; }
        #form-help { height: 4; padding: 0 2; border-top: solid $border-blurred; }
        .form-nothing { height: auto; padding: 1 2; color: $text-muted; }
    }
    """

    class Changed(Message):
        """A value changed, or what is wrong.

        Attributes:
            form: The form.
            values: What differs from the defaults.
            errors: Sentences by field.
        """

        def __init__(self, form: "ParamForm", values: dict[str, Any], errors: dict[str, str]) -> None:
            super().__init__()
            self.form, self.values, self.errors = form, values, errors

        @property
        def control(self) -> "ParamForm":
            """The form."""
            return self.form

    class Submitted(Changed):
        """Somebody pressed enter in a field."""

    def __init__(
        self,
        fields: Sequence[FormField],
        values: Mapping[str, Any] | None = None,
        *,
        check: Callable[[Mapping[str, Any]], FormCheck] | None = None,
        notes: Mapping[str, str] | None = None,
        find: bool | None = None,
        empty: str = "Nothing to set here.",
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.fields = tuple(fields)
        self._given = {one.name: (values or {}).get(one.name, one.default) for one in self.fields}
        self._check, self._notes, self._empty = check, notes or {}, empty
        self._with_find = len(self.fields) >= _FIND_FROM if find is None else find
        self._label_width = min(_LABEL_MOST, max((len(plain(one.title)) for one in self.fields), default=0) + 4)
        self._groups: list[_Group] = []
        self._rows: dict[str, FieldRow] = {}
        self._found = FormCheck()
        self._last: tuple[dict[str, Any], dict[str, str]] | None = None
        self._focused = ""

    def compose(self) -> ComposeResult:
        """The line to find fields, the groups, the help."""
        self._groups = self._make_groups()
        if self._with_find:
            with Horizontal(id="form-head"):
                yield Input(id="form-find", placeholder="/  find by name", compact=True)
                yield Static(id="form-sum", markup=False)
        with VerticalScroll(id="form-scroll", can_focus=False):
            if not self.fields:
                yield Static(Content(self._empty), classes="form-nothing")
            with _Blocks([len(one.rows) + bool(one.folded) + bool(one.title) + 1 for one in self._groups]):
                yield from self._next_groups(self.app.size.height)
        yield Static(id="form-help", markup=False)

    def _make_groups(self) -> list[_Group]:
        size = self.app.size
        roomy = size.width >= _TWO_COLUMNS and size.height >= _ALL_LINES
        groups = []
        for title in dict.fromkeys(one.group for one in self.fields):
            inside = [one for one in self.fields if one.group == title]
            folded = [
                one for one in inside if not roomy and one.advanced and one.same(self._given[one.name], one.default)
            ]
            if len(folded) == len(inside) == len(self.fields):
                folded = []
            groups.append(_Group(title, [self._row(one) for one in inside if one not in folded], folded))
        return groups

    def _next_groups(self, lines: int) -> Iterable[_Group]:
        """The groups that are not there yet, as many as fill so many lines. A long form is made piece by piece, so that its first lines need not wait for the last."""
        while self._groups and lines > 0:
            group = self._groups.pop(0)
            lines -= len(group.rows) + 2
            self._rows |= {row.field.name: row for row in group.rows}
            yield group

    def _go_on(self) -> None:
        if self._groups:
            self.query_one(_Blocks).mount(*self._next_groups(1))
            self.call_after_refresh(self._go_on)
        else:
            self._look_at_all(tell=False)

    def _finish(self) -> None:
        """Make at once what is not there yet."""
        if self._groups:
            self.query_one(_Blocks).mount(*self._next_groups(10_000))

    def _row(self, field: FormField) -> FieldRow:
        return FieldRow(
            field,
            self._given[field.name],
            label_width=self._label_width,
            note=self._notes.get(field.name, ""),
        )

    def on_mount(self) -> None:
        """Say what is wrong already; make the rest of a long form."""
        self._look_at_all(tell=False)
        self.call_after_refresh(self._go_on)

    # what others ask

    @property
    def errors(self) -> dict[str, str]:
        """What is wrong, by field; what concerns no single one stands under the empty name."""
        wrong = {name: row.wrong for name, row in self._rows.items() if row.wrong}
        return {**self._found.errors, **wrong}

    def values(self) -> dict[str, Any]:
        """The values that differ from their defaults and can be read, by name."""
        return {
            one.name: value
            for one in self.fields
            if not one.same(value := self._value(one.name), one.default) and not self._wrong(one.name)
        }

    def all_values(self) -> dict[str, Any]:
        """Every value that can be read, by name."""
        return {one.name: self._value(one.name) for one in self.fields if not self._wrong(one.name)}

    @property
    def focused(self) -> FormField | None:
        """The field that has, or had last, the focus."""
        return next((one for one in self.fields if one.name == self._focused), None)

    def focus_field(self, name: str = "") -> bool:
        """Put the focus on a field, by default the first; one that is folded is shown first.

        Returns:
            Whether there is such a field.
        """
        if not name:
            row = next((one for one in self.query(FieldRow) if one.display), None)
            if row is not None:
                row.take_focus()
            return row is not None
        if name not in self._given:
            return False
        if name in self._rows:
            self._rows[name].take_focus()
        else:
            self._open_folds()
            self._rows[name].take_focus()
        return True

    def reset_field(self, name: str = "") -> None:
        """Put the default of a field back, by default of the focused one."""
        row = self._rows.get(name or self._focused)
        if row is not None:
            row.reset()

    def set_value(self, name: str, value: Any) -> None:
        """Put a value into a field."""
        if name in self._rows:
            self._rows[name].set_value(value)
        elif name in self._given:
            self._given[name] = value
            self._look_at_all()

    def find(self) -> None:
        """Go to the line that finds fields."""
        if self._with_find:
            self.query_one("#form-find", Input).focus()

    def clear_find(self) -> bool:
        """Show all fields again.

        Returns:
            Whether some were hidden.
        """
        if not self._with_find or not self.query_one("#form-find", Input).value:
            return False
        self.query_one("#form-find", Input).value = ""
        self.focus_field(self._focused)
        return True

    # what happens

    def on_key(self, event: Key) -> None:
        """Go from field to field; find."""
        at = self.screen.focused
        if isinstance(at, Select) and at.expanded:
            return
        if event.key in ("down", "up"):
            event.stop()
            event.prevent_default()
            self._go(1 if event.key == "down" else -1)
        elif event.character == "/" and self._with_find:
            event.stop()
            event.prevent_default()
            self.find()
        elif event.key == "enter" and isinstance(at, Input) and at.id == "form-find":
            event.stop()
            self.focus_field()

    def _go(self, step: int) -> None:
        stops = "ParamForm Input, ParamForm Select, ParamForm Switch, ParamForm .fold"
        if step > 0:
            self.screen.focus_next(stops)
        else:
            self.screen.focus_previous(stops)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show only fields whose name or help has the words."""
        if event.input.id != "form-find":
            return
        event.stop()
        words = event.value.lower().split()
        if words:
            self._open_folds()
        self.call_after_refresh(self._show_only, words)

    def _show_only(self, words: Sequence[str]) -> None:
        for group in self.query(_Group):
            shown = 0
            for row in group.query(FieldRow):
                one = row.field
                text = f"{one.name} {one.title} {one.group} {one.help}".lower()
                row.display = all(word in text for word in words)
                shown += row.display
            group.display = bool(shown) or not words
        self._write_sum(words)

    def on__fold_opened(self, event: _Fold.Opened) -> None:
        """Show what was folded."""
        event.stop()
        names = [one.name for one in event.fold.parent.folded] if isinstance(event.fold.parent, _Group) else []
        self._open(event.fold)
        if names:
            self._rows[names[0]].take_focus()

    def _open_folds(self) -> None:
        self._finish()
        for fold in self.query(_Fold):
            self._open(fold)

    def _open(self, fold: _Fold) -> None:
        group = fold.parent
        if isinstance(group, _Group) and group.folded:
            rows = [self._row(one) for one in group.folded]
            self._rows |= {row.field.name: row for row in rows}
            group.folded = []
            group.mount_all(rows, before=fold)
            fold.remove()
            self.call_after_refresh(self._look_at_all, tell=False)

    def on_field_row_edited(self, event: FieldRow.Edited) -> None:
        """Look at all values again."""
        event.stop()
        self._look_at_all()

    def on_field_row_entered(self, event: FieldRow.Entered) -> None:
        """Pass it on."""
        event.stop()
        self.post_message(self.Submitted(self, self.values(), self.errors))

    def on_field_row_reached(self, event: FieldRow.Reached) -> None:
        """Help for it."""
        event.stop()
        self._focused = event.row.field.name
        self._write_help()

    def _value(self, name: str) -> Any:
        row = self._rows.get(name)
        return self._given[name] if row is None else row.value

    def _wrong(self, name: str) -> str:
        row = self._rows.get(name)
        return row.wrong if row is not None else ""

    def _look_at_all(self, *, tell: bool = True) -> None:
        self._found = self._check(self.all_values()) if self._check else FormCheck()
        for name, row in self._rows.items():
            row.set_state(problem=self._found.errors.get(name, ""), idle=name in self._found.idle)
        self._write_help()
        self._write_sum()
        now = (self.values(), self.errors)
        if tell and now != self._last:
            self.post_message(self.Changed(self, *now))
        self._last = now

    def _write_sum(self, words: Sequence[str] = ()) -> None:
        if not self._with_find:
            return
        changed = sum(1 for one in self.fields if not one.same(self._value(one.name), one.default))
        wrong = len(self.errors)
        parts = [Content(count_of(len(self.fields), "parameter"))]
        if words:
            parts = [Content(f"{sum(row.display for row in self._rows.values())} of {len(self.fields)}")]
        parts.append(Content.assemble(("• ", "$primary"), f"{changed} changed") if changed else Content("none changed"))
        if wrong:
            parts.append(Content.assemble((f"✕ {wrong} cannot be", "$error")))
        self.query_one("#form-sum", Static).update(Content("  ·  ").join(parts))

    def _write_help(self) -> None:
        one = self.focused
        row = self._rows.get(self._focused)
        if one is None or row is None:
            whole = self._found.errors.get("", "")
            self.query_one("#form-help", Static).update(Content.styled(plain(whole), "$error"))
            return
        facts: list[tuple[str, str]] = []
        if row.error:
            facts.append((f"✕ {plain(row.error)}", "$error"))
        elif self._found.errors.get(""):
            facts.append((f"✕ {plain(self._found.errors[''])}", "$error"))
        if row.changed and not one.required:
            default = plain(one.show(one.default), 60) or "empty"
            facts.append((f"• changed, default {default} {one.unit if one.numeric else ''}".rstrip(), "$primary"))
            facts.append(("ctrl+r resets", "$dim"))
        elif not one.required:
            facts.append(("default", "$dim"))
        if row.idle:
            facts.append(("has no say with the other values", "$dim"))
        if not one.affects_result:
            facts.append(("never changes the result", "$dim"))
        head = Content("   ").join(
            [Content.styled(text, style) for text, style in [(plain(one.title), "bold"), *facts]]
        )
        self.query_one("#form-help", Static).update(Content("\n").join([head, Content(plain(one.help))]))
