"""One line of a form: what a field is called, the editor of its value, and beside it the unit and the range, or what is wrong."""

from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.css.query import NoMatches
from textual.events import DescendantBlur, DescendantFocus, Key, Resize
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Select, Switch

from assetforge.domain.form_field import FormField
from assetforge.tui.words import plain

__all__ = ["FieldRow"]

CHANGED = "•"
"""Marks a value that differs from the default; the help says it in words."""

_NUMBER_WIDTH, _CHOICE_WIDTH, _SWITCH_WIDTH = 14, 22, 6
_LEAST_TEXT, _MOST_TEXT = 16, 48
_LEAST_HELP, _HELP_FROM = 44, 66
_LEAST_CHOICE = 10


_PROGRAMS_KEYS = {"ctrl+e", "ctrl+f"}
"""Keys of actions that Textual's input takes for itself, though it has ``end`` and ``ctrl+delete`` for the same."""


def _without_programs_keys() -> list[Binding]:
    return [one for one in Binding.make_bindings(Input.BINDINGS) if one.key not in _PROGRAMS_KEYS]


class _Entry(Input, inherit_bindings=False):
    """An input whose keys leave it where they cannot belong to its value."""

    BINDINGS: ClassVar[list[BindingType]] = [*_without_programs_keys()]

    def __init__(self, value: str, *, numeric: bool, **options: Any) -> None:
        super().__init__(value, compact=True, select_on_focus=numeric, **options)
        self._numeric = numeric

    async def _on_key(self, event: Key) -> None:
        # A slash or a question mark is never part of a number: they find and help as everywhere.
        if self._numeric and event.character in ("/", "?"):
            event.prevent_default()

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """Keys that the value cannot hold stay the program's."""
        return super().check_consume_key(key, character) and not (self._numeric and character in ("/", "?"))


class _Toggle(Switch):
    """A switch that is read at a glance, also where a block of colour would be all there is."""

    def render(self) -> Content:
        """Left is no, right is yes."""
        style = "$primary" if self.has_focus else "$foreground" if self.value else "$dim"
        return Content.assemble(("──●" if self.value else "●──", style))


class FieldRow(Widget):
    """A field of a form.

    Args:
        field: The field.
        value: Its value at first.
        label_width: Cells for the name.
        note: A dim word at the end of the line, such as where the value comes from.
    """

    DEFAULT_CSS = """
    FieldRow {
        height: 1; layout: horizontal; text-wrap: nowrap; text-overflow: ellipsis;
        &.-wrong { height: 2; }
        &:focus-within { background: $surface; }
        Input { height: 1; border: none; padding: 0 1; background: $surface; }
        Select.-textual-compact { height: 1; & > SelectCurrent { height: 1; border: none; padding: 0 1; background: $surface; } }
        Select.-textual-compact > SelectOverlay { border: none; background: $panel; scrollbar-size-vertical: 1; & > .option-list--option { padding: 0 1; } }
        Switch { height: 1; border: none; padding: 0 1; background: $surface; }
        Input:focus { background: $panel; border: none; }
        Select.-textual-compact:focus > SelectCurrent { background: $panel; border: none; color: $primary; }
        Select.-textual-compact.-expanded > SelectCurrent { background: $panel; }
        Switch:focus { background: $panel; border: none; }
        &.-idle Input, &.-idle SelectCurrent { color: $text-muted; }
    }
    """

    ALLOW_SELECT = False

    class Edited(Message):
        """The value, or what is wrong with it, changed."""

        def __init__(self, row: "FieldRow") -> None:
            super().__init__()
            self.row = row

    class Entered(Message):
        """The value was confirmed with enter."""

        def __init__(self, row: "FieldRow") -> None:
            super().__init__()
            self.row = row

    class Reached(Message):
        """The focus came to the field."""

        def __init__(self, row: "FieldRow") -> None:
            super().__init__()
            self.row = row

    def __init__(self, field: FormField, value: Any, *, label_width: int, note: str = "") -> None:
        super().__init__()
        self.field = field
        self.value = value
        self.wrong = ""
        self.problem = ""
        self.idle = False
        self._label_width, self._note = label_width, note
        self._shown_first = value
        self._drawn: object = None
        self._wants_focus = False

    @property
    def changed(self) -> bool:
        """Whether the value differs from the default."""
        return bool(self.wrong) or not self.field.same(self.value, self.field.default)

    @property
    def error(self) -> str:
        """What is wrong with the value, if anything."""
        return self.wrong or self.problem

    @property
    def editor(self) -> Input | Select[Any] | Switch:
        """What holds the focus."""
        found = next(iter(self.children))
        assert isinstance(found, Input | Select | Switch)  # noqa: S101 - composed below
        return found

    def compose(self) -> ComposeResult:
        """The editor; everything else is drawn."""
        field, value = self.field, self.value
        if field.kind == "bool":
            yield _Toggle(bool(value), animate=False)
        elif field.kind == "choice":
            options = [(Content(plain(str(one))), one) for one in field.choices]
            known = value in field.choices
            yield Select(
                options if known or value is None else [*options, (Content(plain(str(value), 40)), value)],
                value=Select.NULL if value is None else value,
                allow_blank=value is None,
                prompt="choose" if field.required else "none",
                compact=True,
            )
        else:
            secret = field.kind == "secret"
            yield _Entry(
                "" if secret else plain(field.show(value)),
                numeric=field.numeric,
                password=secret,
                placeholder=self._placeholder(value),
            )

    def _placeholder(self, value: Any) -> str:
        field = self.field
        if field.kind == "secret":
            return "is set; write another one" if value else "is not set"
        if field.kind == "table":
            return '{ name = "value" }' if not isinstance(field.default, list) else '[{ name = "value" }]'
        if field.kind == "list":
            return "one, two"
        return "needed" if field.required else "none" if field.optional else "empty"

    def on_resize(self, _event: Resize) -> None:
        """Give the editor what name and note leave."""
        self._fit()

    def on_mount(self) -> None:
        """Place the editor behind the name."""
        self._fit()
        if self._wants_focus:
            self.editor.focus()

    def take_focus(self) -> None:
        """Focus the editor, as soon as it is there."""
        if self.is_mounted:
            self.editor.focus()
        else:
            self._wants_focus = True

    def _fit(self) -> None:
        editor, kind = self.editor, self.field.kind
        room = max(self.size.width - self._label_width - 1, 8)
        if kind == "bool":
            width = _SWITCH_WIDTH
        elif self.field.numeric:
            width = min(_NUMBER_WIDTH, room)
        elif kind == "choice":
            longest = max((len(str(one)) for one in self.field.choices), default=0) + 5
            width = min(max(longest, _LEAST_CHOICE, min(_CHOICE_WIDTH, room)), room)
        else:
            width = min(max(room - self._aside().cell_length - 3, min(_LEAST_TEXT, room)), _MOST_TEXT)
        editor.styles.margin = (0, 0, 0, self._label_width)
        editor.styles.width = width
        self.refresh()

    def set_state(self, *, problem: str = "", idle: bool = False) -> None:
        """What the whole form says about the field: what is wrong, and whether it has no say."""
        self.problem, self.idle = problem, idle
        now = (self.error, idle, self.changed, bool(self.value))
        if now == self._drawn:
            return
        self._drawn = now
        self.set_class(bool(self.error), "-wrong")
        self.set_class(idle, "-idle")
        self.refresh()

    def set_value(self, value: Any) -> None:
        """Put another value into the editor."""
        editor = self.editor
        self.value, self.wrong = value, ""
        if isinstance(editor, Switch):
            editor.value = bool(value)
        elif isinstance(editor, Select):
            editor.value = Select.NULL if value is None else value
        else:
            editor.value = "" if self.field.kind == "secret" else plain(self.field.show(value))
            editor.cursor_position = len(editor.value)
            if self.field.numeric:
                editor.action_select_all()
        self.post_message(self.Edited(self))

    def reset(self) -> None:
        """Put the default back."""
        self.set_value(self.field.default)

    def on_switch_changed(self, event: Switch.Changed) -> None:
        """Take it."""
        event.stop()
        self._take(event.value)

    def on_select_changed(self, event: Select.Changed) -> None:
        """Take it."""
        event.stop()
        self._take(None if event.value is Select.NULL else event.value)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Read it; what cannot be read is told beside it."""
        event.stop()
        if self.field.kind == "secret" and not event.value:
            self._take(self._shown_first)
            return
        if event.value == plain(self.field.show(self.value)) and not self.wrong:
            return
        try:
            value = self.field.read(event.value)
            if value is None or (self.field.required and not event.value.strip()):
                self._take(value, "is needed" if self.field.required else "")
            else:
                self._take(value)
        except ValueError as error:
            self._take(self.value, str(error))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Somebody is done with it."""
        event.stop()
        self.post_message(self.Entered(self))

    def _take(self, value: Any, wrong: str = "") -> None:
        if wrong == self.wrong and type(value) is type(self.value) and value == self.value:
            return
        self.value, self.wrong = value, wrong
        self.set_state(problem=self.problem if not wrong else "", idle=self.idle)
        self.post_message(self.Edited(self))

    def on_descendant_focus(self, _event: DescendantFocus) -> None:
        """The name shows where one is."""
        self.refresh()
        self.post_message(self.Reached(self))

    def on_descendant_blur(self, _event: DescendantBlur) -> None:
        """The name is as any other again."""
        self.refresh()

    def render(self) -> Content:
        """Mark, name, and behind the editor what belongs to it."""
        width = self.size.width
        mark = (f"{CHANGED} ", "bold $primary") if self.changed else ("  ", "")
        name = plain(self.field.title)
        room = self._label_width - 3
        name = name if len(name) <= room else f"{name[: room - 1]}…"
        style = "$dim" if self.idle else "bold" if self.has_focus_within else ""
        label = Content.assemble(mark, (name, style), " " * max(0, self._label_width - 2 - len(name)))
        try:
            edited = int(self.editor.styles.width.value) if self.editor.styles.width else 0
        except (NoMatches, StopIteration):
            edited = 0
        aside = self._aside()
        line = Content.assemble(label, " " * (edited + 2), aside)
        room = width - max(line.cell_length, self._label_width + _HELP_FROM) - 3
        if self.field.help and room >= _LEAST_HELP:
            # Where there is room the help stands beside every field.
            gap = " " * (width - room - line.cell_length - 1)
            line = Content.assemble(
                line, gap, Content.styled(plain(self.field.help), "$dim").truncate(room, ellipsis=True)
            )
        line = line.truncate(width, ellipsis=True)
        if not self.error:
            return line
        told = Content.assemble(" " * self._label_width, ("✕ ", "bold $error"), (plain(self.error), "$error"))
        return Content("\n").join([line, told.truncate(width, ellipsis=True)])

    def _aside(self) -> Content:
        """Unit, range, where it comes from; all dim."""
        field = self.field
        words = []
        if field.kind == "bool":
            words.append(("yes" if self.value else "no", "" if self.value else "$dim"))
        if field.unit:
            words.append((field.unit, "$dim"))
        if field.range:
            words.append((field.range, "$dim"))
        if self.idle:
            words.append(("has no say now", "italic $dim"))
        if self._note:
            words.append((plain(self._note), "$secondary"))
        return Content("  ").join([Content.styled(text, style) for text, style in words])
