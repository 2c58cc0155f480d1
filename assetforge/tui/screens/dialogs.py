"""Questions: a text, a choice, several fields, yes or no. Each is a small window; escape answers nothing."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from rich.cells import cell_len
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.events import DescendantFocus, Key
from textual.suggester import Suggester
from textual.widgets import Button, Input, OptionList, Select, Static
from textual.widgets.option_list import Option

from assetforge.errors import AssetForgeError
from assetforge.tui.hints import in_words
from assetforge.tui.screens.window import Window
from assetforge.tui.typed import ACTING
from assetforge.tui.widgets.fitting import fitted
from assetforge.tui.widgets.line_input import LineInput
from assetforge.tui.words import plain

if TYPE_CHECKING:
    from assetforge.tui.app import FilmApp

__all__ = ["OTHER", "Choice", "ChoiceDialog", "ConfirmDialog", "Field", "FieldsDialog", "TextDialog", "WhyDialog"]

A = TypeVar("A")

OTHER = "other"
"""What a :class:`ConfirmDialog` gives for its other yes."""

_TITLE = 160
_CHOICE = 48
_CHOICE_ALL = 132
"""Cells of a choice with what is said about it: two lines."""


class _Dialog(Window[object]):
    """A window in the middle with a title."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "cancel", id="dialog.cancel")]

    def __init__(self, title: str, about: Content | str = "") -> None:
        super().__init__()
        self._title, self._about = title, about

    def _head(self) -> ComposeResult:
        yield Static(Content(plain(self._title, _TITLE)), classes="dialog-title")
        if self._about:
            about = self._about if isinstance(self._about, Content) else _lines(self._about)
            yield Static(about, classes="dialog-about")

    def action_cancel(self) -> None:
        """Answer nothing."""
        self.dismiss(None)


class _Asking(_Dialog, Generic[A]):
    """A window that something is written in.

    Args:
        title: What is asked.
        about: More about it.
        take: Does what the answer asks for; what it gives is given instead of the answer. What it refuses is said in the window, and what was written still stands there.
    """

    def __init__(
        self, title: str, about: Content | str = "", *, take: Callable[[A], Coroutine[Any, Any, object]] | None = None
    ) -> None:
        super().__init__(title, about)
        self._take, self._taking = take, False

    def _answer(self, answer: A, problem: str) -> None:
        """Give an answer, or say what is wrong with it."""
        if self._taking:
            return
        self._say(problem)
        if problem:
            return
        if self._take is None:
            self.dismiss(answer)
        else:
            self._taking = True
            # The program's: whoever leaves while something takes long is told what went wrong.
            work = cast("Any", partial(self._do, self._take(answer)))
            self.app.run_worker(work, group="taking", description=ACTING, exit_on_error=False)

    async def _do(self, work: Coroutine[Any, Any, object]) -> None:
        try:
            self.dismiss(await work)
        except AssetForgeError as error:
            if self.is_current:
                self._say(in_words(error))
            else:
                cast("FilmApp", self.app).tell_error(error)
        except Exception as error:  # noqa: BLE001 - whatever a service or a plugin raises, what was written stays
            cast("FilmApp", self.app).tell_error(error)
        finally:
            self._taking = False

    def _say(self, problem: str) -> None:
        self.query_one(".dialog-problem", Static).update(_lines(problem))


def _lines(text: str) -> Content:
    """A text of several lines, each of them harmless."""
    return Content("\n".join(plain(line) for line in text.splitlines()))


class TextDialog(_Asking[str]):
    """Asks for one text; gives it, or ``None``.

    Args:
        title: What is asked.
        about: More about it.
        value: What stands there at first.
        placeholder: What could stand there.
        check: Says in a sentence why a text cannot be, or nothing.
        empty: Whether nothing is an answer.
        take: Does what the text asks for.
    """

    def __init__(
        self,
        title: str,
        about: Content | str = "",
        *,
        value: str = "",
        placeholder: str = "",
        check: Callable[[str], str] | None = None,
        empty: bool = False,
        take: Callable[[str], Coroutine[Any, Any, object]] | None = None,
    ) -> None:
        super().__init__(title, about, take=take)
        self._value, self._placeholder, self._check, self._empty = value, placeholder, check, empty

    def compose(self) -> ComposeResult:
        """Title, text, what is wrong with it."""
        with Vertical(classes="dialog asking"):
            yield from self._head()
            yield LineInput(self._value, placeholder=plain(self._placeholder))
            yield Static("", classes="dialog-problem", markup=False)
            yield Static(Content("enter  take it      esc  cancel"), classes="dialog-keys")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take it when it can be."""
        problem = self._check(event.value) if self._check else ""
        if not problem and not event.value.strip() and not self._empty:
            problem = "Write something, or leave with escape."
        self._answer(event.value, problem)


class WhyDialog(TextDialog):
    """Asks for the reason of a decision."""

    def __init__(
        self, title: str, about: Content | str = "", placeholder: str = "why, for those who ask later"
    ) -> None:
        super().__init__(title, about, placeholder=placeholder)


class ConfirmDialog(_Dialog):
    """Yes or no; gives ``True`` or ``None``. No is focused.

    Args:
        title: What is asked.
        about: More about it.
        yes: What the yes does.
        other: A key and what it does, for another yes, which gives :data:`OTHER`.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "yes", "yes", id="dialog.yes"),
        Binding("n", "cancel", "no", id="dialog.no"),
    ]

    def __init__(
        self, title: str, about: Content | str = "", yes: str = "Yes", other: tuple[str, str] | None = None
    ) -> None:
        super().__init__(title, about)
        self._yes, self._other = yes, other

    def compose(self) -> ComposeResult:
        """Title and the buttons."""
        keys = [f"y  {self._yes.lower()}", "n, esc  no"]
        with Vertical(classes="dialog"):
            yield from self._head()
            with Horizontal(classes="dialog-buttons"):
                yield Button("No", id="no", compact=True)
                if self._other is not None:
                    key, label = self._other
                    keys.insert(1, f"{key}  {label.lower()}")
                    yield Button(Content(plain(label)), id=OTHER, compact=True)
                yield Button(Content(plain(self._yes)), id="yes", compact=True, variant="primary")
            yield Static(Content("      ".join(keys)), classes="dialog-keys")

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """One of them."""
        self.dismiss({"yes": True, OTHER: OTHER}.get(event.button.id or ""))

    def on_key(self, event: Key) -> None:
        """The other yes."""
        if self._other is not None and event.key == self._other[0]:
            event.stop()
            self.dismiss(OTHER)

    def action_yes(self) -> None:
        """Yes."""
        self.dismiss(True)  # noqa: FBT003 - the answer


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several.

    Attributes:
        id: What is given back.
        title: What is read.
        about: More, dim, on the same line.
    """

    id: str
    title: str
    about: str = ""


class ChoiceDialog(_Dialog):
    """One of several; gives its id, or ``None``."""

    def __init__(self, title: str, choices: Sequence[Choice], about: Content | str = "", selected: str = "") -> None:
        super().__init__(title, about)
        self._choices, self._selected = list(choices), selected

    def compose(self) -> ComposeResult:
        """Title and the list."""
        with Vertical(classes="dialog asking"):
            yield from self._head()
            width = min(_CHOICE, max((cell_len(one.title) for one in self._choices), default=0)) + 3
            yield OptionList(
                *(
                    Option(
                        Content.assemble(
                            fitted(one.title, width), (plain(one.about, max(24, _CHOICE_ALL - width)), "$dim")
                        ),
                        id=str(at),
                    )
                    for at, one in enumerate(self._choices)
                ),
                markup=False,
                compact=True,
            )
            yield Static(Content("enter  choose      esc  cancel"), classes="dialog-keys")

    def on_mount(self) -> None:
        """Begin at what is chosen now."""
        at = next((at for at, one in enumerate(self._choices) if one.id == self._selected), 0)
        self.query_one(OptionList).highlighted = at

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """That one."""
        self.dismiss(self._choices[event.option_index].id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field of a :class:`FieldsDialog`.

    Attributes:
        name: Key in the answer.
        title: What is read beside it.
        value: What stands there at first.
        placeholder: What could stand there.
        choices: Pairs of title and value; empty is a text.
        required: It cannot be left empty.
        suggester: Offers the rest of a text.
    """

    name: str
    title: str
    value: str = ""
    placeholder: str = ""
    choices: Sequence[tuple[str, str]] = field(default_factory=tuple)
    required: bool = False
    suggester: Suggester | None = None


class _Choices(Select[str]):
    """A choice among fields: enter goes on, as it does in a text; down opens the list."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "screen.next", "next", show=False, id="dialog.next")]


def _options(choices: Sequence[tuple[str, str]]) -> list[tuple[Text, str]]:
    """Of rich's text: among those, typing finds."""
    return [(Text(title), value) for title, value in choices]


class FieldsDialog(_Asking[dict[str, str]]):
    """Several fields at once; gives a dict of texts by name, or ``None``.

    Args:
        title: What is asked.
        fields: The fields; enter goes to the next, and takes all at the last.
        about: More about it.
        check: Says in a sentence why these values cannot be, or nothing.
        take: Does what they ask for.
    """

    def __init__(
        self,
        title: str,
        fields: Sequence[Field],
        about: Content | str = "",
        *,
        check: Callable[[dict[str, str]], str] | None = None,
        take: Callable[[dict[str, str]], Coroutine[Any, Any, object]] | None = None,
    ) -> None:
        super().__init__(title, about, take=take)
        self._fields, self._check = list(fields), check

    def compose(self) -> ComposeResult:
        """Title and the fields, one a line."""
        with Vertical(classes="dialog asking"):
            yield from self._head()
            with VerticalScroll(classes="dialog-fields", can_focus=False):
                for one in self._fields:
                    with Horizontal(classes="dialog-field"):
                        yield Static(Content(plain(one.title)), classes="dialog-label")
                        if one.choices:
                            yield _Choices(
                                _options(one.choices),
                                value=one.value or one.choices[0][1],
                                allow_blank=False,
                                id=f"field-{one.name}",
                                compact=True,
                            )
                        else:
                            yield LineInput(
                                one.value,
                                placeholder=plain(one.placeholder),
                                id=f"field-{one.name}",
                                suggester=one.suggester,
                            )
            yield Static("", classes="dialog-problem", markup=False)
            keys = "enter  next, at the last take it      "
            keys += "↓  choose      " if any(one.choices for one in self._fields) else ""
            yield Static(Content(f"{keys}esc  cancel"), classes="dialog-keys")

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """The title of the field that the keys go to stands out."""
        for row in self.query(".dialog-field"):
            row.set_class(row in event.widget.ancestors, "-here")

    def offer(self, name: str, choices: Sequence[tuple[str, str]]) -> None:
        """Other choices for a field, for what is only known when the question is asked already; what was chosen stays."""
        self._fields = [replace(one, choices=choices) if one.name == name else one for one in self._fields]
        for select in self.query(f"#field-{name}").results(_Choices):
            chosen, listed = select.value, select.query_one(OptionList)
            at = listed.highlighted
            select.set_options(_options(choices))
            if chosen in {value for _title, value in choices}:
                select.value = chosen
            if select.expanded:
                listed.highlighted = at

    def on_input_submitted(self, _event: Input.Submitted) -> None:
        """Enter in a text."""
        self.action_next()

    def action_next(self) -> None:
        """The next field, or the answer."""
        if self.focused is self.query_one(f"#field-{self._fields[-1].name}"):
            self._finish()
        else:
            self.focus_next()

    def _finish(self) -> None:
        values = {one.name: self._value(one) for one in self._fields}
        missing = next((one.title for one in self._fields if one.required and not values[one.name].strip()), "")
        problem = f"{missing.capitalize()} is needed." if missing else self._check(values) if self._check else ""
        self._answer(values, problem)

    def _value(self, one: Field) -> str:
        widget = self.query_one(f"#field-{one.name}")
        return widget.value if isinstance(widget, Input) else str(widget.value) if isinstance(widget, Select) else ""
