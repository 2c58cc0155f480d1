"""Settings: sections at the left, the form of one at the right, and above them which file a change is written to and what is wrong in the files."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.events import Key
from textual.widget import Widget
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from assetforge.domain.form_field import FormCheck, FormField
from assetforge.tui.actions import bindings
from assetforge.tui.preferences import Preferences, read_preferences
from assetforge.tui.screens.base import FilmScreen, acting, crumbs
from assetforge.tui.session import in_thread
from assetforge.tui.widgets.param_form import ParamForm
from assetforge.tui.words import count_of, plain

if TYPE_CHECKING:
    from pathlib import Path

    from assetforge.paths import ProjectPaths
    from assetforge.services.settings_file import SettingChange, SettingInfo, SettingsFile

__all__ = ["SettingsScreen"]

Where = Literal["film", "user"]

_SETTLE_S = 0.08
"""A form is made when the cursor rests on a section, not for every section it passes."""

_WHOSE = {"film": "this film", "user": "you, in all films"}


@dataclass(frozen=True, slots=True)
class _Read:
    """What the files say now."""

    infos: "tuple[SettingInfo, ...]" = ()
    files: "tuple[SettingsFile, ...]" = ()

    def section(self, name: str) -> "list[SettingInfo]":
        return [info for info in self.infos if info.section == name]

    def sections(self) -> list[str]:
        return list(dict.fromkeys(info.section for info in self.infos))


class SettingsScreen(FilmScreen):
    """Settings of the film and of the user. Nothing is written before it is saved; what was changed in one section stays while others are looked at."""

    SCOPE = "settings"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("settings")]
    HELP = """\
Settings stand in two files that you may also edit by hand: the film's `project.toml`, which goes with the film, and your own `config.toml`, which counts in all your
films where a film says nothing. Comments in both stay. `•` marks what differs from the default.
"""
    DEFAULT_CSS = """
    SettingsScreen {
        #settings-problems { height: auto; max-height: 6; padding: 0 1; margin-bottom: 1; color: $error; }
        #settings-sections { width: 25; height: 1fr; padding: 0 1 0 0; background: $background; border-right: solid $border-blurred; }
        #settings-right { width: 1fr; height: 1fr; padding: 0 0 0 1; }
        #settings-head { height: 2; padding: 0 2; margin-bottom: 1; text-wrap: nowrap; text-overflow: ellipsis; }
        &.-narrow #settings-sections { width: 23; }
        &.-low #settings-head { margin-bottom: 0; }
    }
    """

    def __init__(self, section: str = "") -> None:
        super().__init__()
        self._wanted = section
        self._section = section
        self._where: Where = "film"
        self._read = _Read()
        self._pending: dict[tuple[str, Where], dict[str, Any]] = {}
        self._warned = False
        self._made = 0

    def content(self) -> Iterable[Widget]:
        """Problems, sections, form."""
        yield Static(id="settings-problems", markup=False)
        with Horizontal():
            yield OptionList(id="settings-sections", markup=False, compact=True)
            with Vertical(id="settings-right"):
                yield Static(id="settings-head", markup=False)

    def place(self) -> Content:
        """The film and the word."""
        return crumbs(self.film_app.film_title or "assetforge", "settings")

    def on_mount(self) -> None:
        """Read the files once the screen is there."""
        self.query_one("#settings-problems").display = False
        self.query_one("#settings-sections").focus()
        self._reload()

    def on_screen_resume(self) -> None:
        """Somebody may have edited a file meanwhile."""
        if self._made and not self.unsaved:
            self._reload()

    def film_changed(self) -> None:
        """Settings are in no database."""

    # what is shown

    @property
    def film(self) -> "ProjectPaths | None":
        """The folder of the open film."""
        session = self.film_app.session
        return session.paths if session is not None else None

    @property
    def unsaved(self) -> int:
        """How many values were changed and not written."""
        self._keep_changes()
        return sum(len(values) for values in self._pending.values())

    @acting
    async def _reload(self) -> None:
        await self._read_again()

    async def _read_again(self, focus: str = "") -> None:
        self._read = await in_thread(_read_all, self.film)
        sections = self._read.sections()
        if self._section not in sections:
            self._section = self._wanted if self._wanted in sections else sections[0]
        self._show_problems()
        self._show_sections()
        await self._show_form(focus)

    def _show_problems(self) -> None:
        shown = self.query_one("#settings-problems", Static)
        problems = [problem for file in self._read.files for problem in file.problems]
        shown.display = bool(problems)
        shown.update(Content("\n").join([Content(f"✕ {plain(one)}") for one in problems]))

    def _show_sections(self) -> None:
        listed = self.query_one("#settings-sections", OptionList)
        options = []
        for name in self._read.sections():
            infos = self._read.section(name)
            wrong = any(info.problem for info in infos)
            said = sum(not info.field.same(info.value, info.default) for info in infos)
            mark = ("✕ ", "bold $error") if wrong else ("• ", "$primary") if self._is_pending(name) else ("  ", "")
            count = f" {said}" if said and name != "film" else ""
            options.append(Option(Content.assemble(mark, plain(infos[0].section_title), (count, "$dim")), id=name))
        at = self._read.sections().index(self._section)
        with self.prevent(OptionList.OptionHighlighted):
            listed.clear_options()
            listed.add_options(options)
            listed.highlighted = at

    def _is_pending(self, section: str) -> bool:
        return any(name == section and values for (name, _), values in self._pending.items())

    def _place_of(self, section: str) -> Where:
        """Where this section is written to: where the user wants, if it may stand there."""
        places = self._read.section(section)[0].places
        return self._where if self._where in places and (self._where == "user" or self.film) else places[0]

    async def _show_form(self, focus: str = "") -> None:
        infos = self._read.section(self._section)
        place = self._place_of(self._section)
        fields = [_field(info, place, self.film_app.available_themes) for info in infos]
        values = {info.field.name: _said(info, place) for info in infos if _said(info, place) is not None}
        kept = self._pending.get((self._section, place), {})
        form = ParamForm(
            fields,
            {**values, **{info.field.name: kept[info.key] for info in infos if info.key in kept}},
            check=await in_thread(_checker, self._section),
            notes={info.field.name: _note(info, place) for info in infos},
            find=False,
        )
        right = self.query_one("#settings-right", Vertical)
        async with self.batch():
            await right.query(ParamForm).remove()
            await right.mount(form)
        self._made += 1
        self._show_head()
        if focus:
            form.focus_field(focus)

    def _show_head(self) -> None:
        info = self._read.section(self._section)[0]
        place = self._place_of(self._section)
        path = next((file.path for file in self._read.files if file.where == place), None)
        title = Content.assemble((plain(info.section_title), "bold"), (f"   {plain(info.section_help)}", "$dim"))
        parts = [
            Content.assemble(("written for ", "$dim"), (_WHOSE[place], "$secondary"), (f"   {_shown(path)}", "$dim"))
        ]
        if self.unsaved:
            parts.insert(0, Content.assemble(("• ", "$primary"), f"{count_of(self.unsaved, 'change')} not saved"))
        self.query_one("#settings-head", Static).update(Content("\n").join([title, Content("   ").join(parts)]))

    # what is changed

    def _form(self) -> ParamForm | None:
        return next(iter(self.query(ParamForm)), None)

    def _keep_changes(self) -> None:
        """Take what the form holds that its file does not."""
        form = self._form()
        infos = self._read.section(self._section)
        if form is None or not infos or not self._made:
            return
        place = self._place_of(self._section)
        values = form.all_values()
        changed: dict[str, Any] = {}
        for info in infos:
            field = next((one for one in form.fields if one.name == info.field.name), None)
            if field is None or field.name not in values:
                continue
            said = _said(info, place)
            before = field.default if said is None else said
            if not field.same(values[field.name], before):
                changed[info.key] = values[field.name]
        self._pending[self._section, place] = changed

    def on_param_form_changed(self, event: ParamForm.Changed) -> None:
        """Say that it is not saved."""
        event.stop()
        self._warned = False
        self._show_head()

    def on_param_form_submitted(self, event: ParamForm.Submitted) -> None:
        """Enter saves."""
        event.stop()
        self.action_save()

    @acting
    async def action_save(self) -> None:
        """Write what was changed, each file in one step."""
        form = self._form()
        if form is None:
            return
        if form.errors:
            name, sentence = next(iter(form.errors.items()))
            title = next((one.title for one in form.fields if one.name == name), "Something")
            self.film_app.tell(f"Not saved: {title} {sentence}.", severity="error")
            form.focus_field(name)
            return
        self._keep_changes()
        told: list[str] = []
        focused = form.focused.name if form.focused else ""
        for place in ("film", "user"):
            wanted = {
                key: value
                for (_, where), values in self._pending.items()
                if where == place
                for key, value in values.items()
            }
            if wanted:
                told += [change.sentence for change in await self._write(wanted, place)]
        if not told:
            self.film_app.tell("Nothing was changed.")
            return
        self._pending.clear()
        self.film_app.tell(" ".join(told))
        await self._applied()
        self._forget_form()
        await self._read_again(focused)

    async def _write(self, wanted: Mapping[str, Any], place: Where) -> "list[SettingChange]":
        infos = {info.key: info for info in self._read.infos}
        changes, seen = {}, {}
        for key, value in wanted.items():
            info = infos[key]
            field = _field(info, place, ())
            # What is as it would be without a word in the file needs no word in the file.
            changes[key] = None if field.same(value, field.default) else value
            if info.kind != "secret":
                seen[key] = _said(info, place)
        return await in_thread(_change, changes, place, self.film, seen)

    @acting
    async def action_reset(self) -> None:
        """Remove the setting from the file that is shown, so that what is weaker counts."""
        form = self._form()
        if form is None or form.focused is None:
            return
        field = form.focused
        info = next(one for one in self._read.section(self._section) if one.field.name == field.name)
        place = self._place_of(self._section)
        form.reset_field(field.name)
        if _said(info, place) is None:
            return
        told = await in_thread(_change, {info.key: None}, place, self.film, None)
        self.film_app.tell(told[0].sentence)
        await self._applied()
        self._keep_changes()
        self._pending[self._section, place].pop(info.key, None)
        self._forget_form()
        await self._read_again(field.name)

    @acting
    async def action_where(self) -> None:
        """Write for the film, or for the user; what each says is shown."""
        self._keep_changes()
        places = self._read.section(self._section)[0].places
        if len(places) == 1 or self.film is None:
            whose = "your own" if self._place_of(self._section) == "user" else "the film's own"
            title = self._read.section(self._section)[0].section_title
            self.film_app.tell(
                f"{title} is {whose}; it stands in no other file." if len(places) == 1 else "No film is open."
            )
            return
        form = self._form()
        focused = form.focused.name if form and form.focused else ""
        self._where = "user" if self._place_of(self._section) == "film" else "film"
        self._forget_form()
        await self._show_form(focused)

    def _forget_form(self) -> None:
        """The form is about to be made anew from what was kept."""
        self._made = 0

    async def _applied(self) -> None:
        """Let what is seen at once be seen at once."""
        app = self.film_app
        before, now = app.preferences, await in_thread(read_preferences)
        app.preferences = now
        _apply(self.film_app, before, now)

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Show that section, when the cursor stays."""
        event.stop()
        name = event.option.id or ""
        self.set_timer(_SETTLE_S, lambda: self._go_to(name))

    @acting
    async def _go_to(self, name: str) -> None:
        listed = self.query_one("#settings-sections", OptionList)
        at = listed.highlighted
        if name == self._section or at is None or listed.get_option_at_index(at).id != name:
            return
        self._keep_changes()
        self._section = name
        self._forget_form()
        self._show_sections()
        await self._show_form()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Into the form."""
        event.stop()
        form = self._form()
        if form is not None:
            form.focus_field()

    def on_key(self, event: Key) -> None:
        """Right goes from the sections into the form."""
        form = self._form()
        if event.key == "right" and self.focused is self.query_one("#settings-sections") and form is not None:
            event.stop()
            form.focus_field()

    def clear_filter(self) -> bool:
        """Escape: changes that are not saved are not lost without a word.

        Returns:
            Whether there was something to say; the screen stays then.
        """
        unsaved = self.unsaved
        if unsaved and not self._warned:
            self._warned = True
            self.film_app.tell(
                f"{count_of(unsaved, 'change')} not saved. ctrl+s saves; escape once more leaves without.",
                severity="warning",
            )
            return True
        return False


def _read_all(film: "ProjectPaths | None") -> _Read:
    from assetforge.services.settings_file import describe_settings, settings_files

    return _Read(tuple(describe_settings(film)), tuple(settings_files(film)))


def _checker(section: str) -> Any:
    from assetforge.services.settings_file import section_checker
    from assetforge.services.settings_schema import HIDDEN

    check = section_checker(section)

    def without_secrets(values: Mapping[str, Any]) -> FormCheck:
        return check({name: value for name, value in values.items() if value is not None and value != HIDDEN})

    return without_secrets


def _change(
    changes: Mapping[str, Any], place: Where, film: "ProjectPaths | None", seen: Mapping[str, Any] | None
) -> "list[SettingChange]":
    from assetforge.services.settings_file import change_settings

    return change_settings(changes, place, film, expected=seen)


def _said(info: "SettingInfo", place: Where) -> Any:
    return info.film_value if place == "film" else info.user_value


def _field(info: "SettingInfo", place: Where, themes: Iterable[str]) -> FormField:
    """The field with what counts when the file at that place says nothing as its default."""
    field = info.field
    if place == "film" and info.user_value is not None and field.kind != "table":
        field = replace(field, default=info.user_value)
    if field.kind == "secret":
        field = replace(field, default=_said(info, place) or "")
    names = sorted(one for one in themes if not one.startswith("textual-ansi"))
    if info.key == "tui.theme" and names:
        field = replace(field, kind="choice", choices=tuple(names))
    return replace(field, advanced=False)


def _shown(path: "Path | None") -> str:
    """A file, its name first, since the folder is what may be cut."""
    return f"{path.name} in {plain(str(path.parent))}" if path else ""


def _note(info: "SettingInfo", place: Where) -> str:
    """Where the value that counts comes from, where that is not what is shown."""
    if info.source == "environment":
        return f"{info.variable} says {info.field.show(info.value) or 'nothing'}"
    if place == "user" and info.film_value is not None:
        return f"this film says {info.field.show(info.film_value) or 'nothing'}"
    if place == "film" and info.film_value is None and info.user_value is not None:
        return "yours"
    return "set here" if _said(info, place) is not None else ""


def _apply(app: Any, before: Preferences, now: Preferences) -> None:
    if now.theme != before.theme and now.theme in app.available_themes:
        app.theme = now.theme
    if now.motion != before.motion:
        app.animation_level = "full" if now.motion else "none"
    if now.keys != before.keys:
        app.set_keymap(now.keys)
