"""A new run: a form made from what its trainer declares, and beside it what would run, for how long, and whether it was done already."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Static

from assetforge.errors import AssetForgeError
from assetforge.tui.actions import bindings
from assetforge.tui.hints import in_words
from assetforge.tui.screens.base import FilmScreen, acting, crumbs
from assetforge.tui.screens.dialogs import Choice, ChoiceDialog, ConfirmDialog
from assetforge.tui.screens.new_run_plan import PLAN, Plan, Wish, plan_run, wish_of
from assetforge.tui.screens.new_run_words import preview_words
from assetforge.tui.widgets.param_form import ParamForm
from assetforge.tui.words import dim, plain

if TYPE_CHECKING:
    from assetforge.db.browse.pulse import Pulse
    from assetforge.services.projects import Project
    from assetforge.services.training import TrainingRequest
    from assetforge.services.training_preview import TrainingPreview
    from assetforge.tui.app import FilmApp

__all__ = ["NewRunScreen"]

_TYPING_S = 0.3
_REMADE = (f"{PLAN}recipe", f"{PLAN}base")
"""Fields that others follow from: the form is made anew."""

_FIELDS = "ParamForm Input, ParamForm Select, ParamForm Switch, ParamForm .fold"


class NewRunScreen(FilmScreen):
    """The form of a run.

    Args:
        asset: Name of the asset to train.
    """

    SCOPE = "newrun"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("newrun")]
    HELP = """\
A run learns from one dataset version by a recipe; `•` marks what differs from the recipe. At the right stands what would run and what earlier runs took for it. Nothing
is queued and nothing frozen before ctrl+s. `/` finds a parameter by its name.
"""
    DEFAULT_CSS = """
    NewRunScreen {
        #newrun-panes { height: 1fr; }
        #newrun-left { width: 1fr; height: 1fr; }
        #newrun-right { width: 46; height: 1fr; border-left: solid $border-blurred; padding: 0 1 0 2; scrollbar-size-vertical: 1; }
        #newrun-right Static { height: auto; }
        #newrun-problem { color: $error; margin-bottom: 1; }
        #newrun-state { color: $dim; margin-top: 1; }
        &.-wide #newrun-right { width: 60; }
        &.-narrow #newrun-panes { layout: vertical; }
        &.-narrow #newrun-state { margin-top: 0; }
        &.-narrow #newrun-right { width: 1fr; height: 8; border-left: none; border-top: solid $border-blurred; padding: 0 2; }
    }
    """

    def __init__(self, asset: str) -> None:
        super().__init__()
        self.asset = asset
        self.preview: TrainingPreview | None = None
        self._plan: Plan | None = None
        self._previewing = self._stale = self._starting = False
        self._typing: Timer | None = None
        self._pulse: Pulse | None = None

    def content(self) -> Iterable[Widget]:
        """Form and preview."""
        with Horizontal(id="newrun-panes"):
            yield Vertical(id="newrun-left")
            with VerticalScroll(id="newrun-right", can_focus=False):
                yield Static(id="newrun-problem", markup=False)
                yield Static(id="newrun-preview", markup=False)
                yield Static("Reading …", id="newrun-state", markup=False)

    def place(self) -> Content:
        """The film, the asset, the word."""
        return crumbs(self.film_app.film_title, plain(self.asset), "new run")

    def on_mount(self) -> None:
        """Make the form."""
        self._pulse = self.film_app.pulse
        self._say("")
        self._make("", "")

    def film_changed(self) -> None:
        """A run was queued or has ended, so that it may have been done already; not every beat of a job that runs."""
        pulse = self.film_app.pulse
        if pulse != self._pulse:
            self._pulse = pulse
            self._look_soon()

    # the form

    @property
    def form(self) -> ParamForm | None:
        """The form, once it is there."""
        return next(iter(self.query(ParamForm)), None)

    @acting
    async def _make(self, recipe: str, base: str) -> None:
        """Make the form of a recipe and a base; what was chosen besides stays where the new form has it too."""
        try:
            await self._replace(recipe, base)
        except AssetForgeError as error:
            self._say(in_words(error))
            self._state("")

    async def _replace(self, recipe: str, base: str) -> None:
        old = self.form
        kept = old.values() if old is not None else {}
        focused = old.focused.name if old is not None and old.focused is not None else f"{PLAN}recipe"
        plan = await self.session.run(plan_run, self.asset, recipe, base)
        names = {one.name for one in plan.fields}
        values = {name: value for name, value in kept.items() if name in names and name not in _REMADE}
        if plan.base and base and plan.base != base:
            values[f"{PLAN}base"] = plan.base
        form = ParamForm(plan.fields, values, check=plan.check, notes=plan.notes)
        left = self.query_one("#newrun-left", Vertical)
        async with self.batch():
            await left.query(ParamForm).remove()
            await left.mount(form)
        self._plan = plan
        form.focus_field(focused)
        self._look()

    def on_param_form_changed(self, event: ParamForm.Changed) -> None:
        """Another recipe makes another form; anything else another preview."""
        event.stop()
        plan = self._plan
        if plan is None or event.form is not self.form:
            return
        values = event.form.all_values()
        recipe, base = (str(values.get(name) or "") for name in _REMADE)
        if recipe != plan.recipe:
            # Another recipe may be for another family; its own base counts unless somebody says otherwise.
            self._make(recipe, "")
        elif base != plan.base:
            self._make(recipe, base)
        else:
            self._look_soon()

    def on_param_form_submitted(self, event: ParamForm.Submitted) -> None:
        """On to the next field."""
        event.stop()
        self.focus_next(_FIELDS)

    def clear_filter(self) -> bool:
        """Escape shows all parameters again before it leaves."""
        form = self.form
        return form is not None and form.clear_find()

    def wish(self) -> Wish | None:
        """What the form asks for; nothing before it is there."""
        form = self.form
        return wish_of(self.asset, form.all_values(), form.values()) if form is not None else None

    # the preview

    def _look_soon(self) -> None:
        if self._typing is not None:
            self._typing.stop()
        self._typing = self.set_timer(_TYPING_S, self._look)

    def _look(self) -> None:
        form = self.form
        if form is None:
            return
        if form.errors:
            self._say(self._wrong(form))
            self._state("Nothing can start like this.")
        elif self._previewing:
            self._stale = True
        else:
            self._previewing = True
            self.run_worker(self._preview(), group="preview", exit_on_error=False)

    async def _preview(self) -> None:
        """Look until nothing changed meanwhile; never twice at once, since a look cannot be taken back."""
        self._stale = True
        try:
            while self._stale:
                self._stale = False
                await self._preview_once()
        finally:
            self._previewing = False

    async def _preview_once(self) -> None:
        wish = self.wish()
        if wish is None:
            return
        self._state("Looking …")
        try:
            self.preview = await self.session.run(_preview_of, self.asset, wish, self._tell_hashing)
        except AssetForgeError as error:
            self.preview = None
            self._show_preview()
            self._say(in_words(error))
            self._state("Nothing can start like this.")
            return
        form = self.form
        if form is not None and form.errors:
            return
        self._say("")
        self._show_preview()
        self._state("ctrl+s starts it")

    def on_resize(self) -> None:
        """Break its lines anew."""
        self.call_after_refresh(self._show_preview)

    def _show_preview(self) -> None:
        shown = self.query_one("#newrun-preview", Static)
        brief = self.has_class("-narrow")
        shown.update(preview_words(self.preview, shown.size.width, brief=brief) if self.preview is not None else "")

    def _tell_hashing(self, done: int, total: int) -> None:
        """Called in other threads."""
        share = f"Reading the base model once, {done / total:.0%} …" if total else "Reading the base model once …"
        self.film_app.call_soon(lambda: self._state(share))

    def _wrong(self, form: ParamForm) -> str:
        name, sentence = next(iter(form.errors.items()))
        title = next((plain(one.title) for one in form.fields if one.name == name), "")
        return f"✕ {title} {plain(sentence)}.".replace("  ", " ")

    def _say(self, problem: str) -> None:
        shown = self.query_one("#newrun-problem", Static)
        shown.display = bool(problem)
        shown.update(Content(plain(problem)))

    def _state(self, sentence: str) -> None:
        if self.is_attached:
            self.query_one("#newrun-state", Static).update(dim(sentence))

    # actions

    @acting
    async def action_start(self) -> None:
        """Queue the run and go to it; an answer that exists is taken unless somebody wants it again."""
        form, wish = self.form, self.wish()
        if form is None or wish is None or self._starting:
            return
        if form.errors:
            name = next(iter(form.errors))
            self.film_app.tell(f"Not started: {self._wrong(form).removeprefix('✕ ')}", severity="error")
            form.focus_field(name)
            return
        self._starting = True
        try:
            await self._start(wish)
        finally:
            self._starting = False

    async def _start(self, wish: Wish) -> None:
        app = self.film_app
        preview = await self.session.run(_preview_of, self.asset, wish, self._tell_hashing)
        again = False
        if preview.reused:
            title = f"{preview.reused} was trained on exactly this."
            about = "The same dataset, recipe, base and seed give the same weights. Train it again all the same?"
            if not await app.push_screen_wait(ConfirmDialog(title, about, yes="Train again")):
                return
            again = True
        asked = await self.session.run(_start, self.asset, wish, again)
        what = "does the same and is on its way" if asked.joined else f"is queued: {asked.asset} on {asked.dataset}"
        app.tell(f"Run {asked.run} {what}.", title="new run")
        # This screen goes, and what it runs goes with it: the program itself has to do the rest.
        app.run_worker(_leave(app, self, asked.run), exit_on_error=False)

    @acting
    async def action_recipe(self) -> None:
        """Choose another recipe."""
        plan, form = self._plan, self.form
        if plan is None or form is None:
            return
        choices = [Choice(name, plain(name), about) for name, about in plan.recipes]
        chosen = await self.app.push_screen_wait(
            ChoiceDialog(f"Train {plain(self.asset)} by which recipe?", choices, selected=plan.recipe)
        )
        if isinstance(chosen, str):
            form.set_value(f"{PLAN}recipe", chosen)

    def action_reset(self) -> None:
        """Put the recipe's value back."""
        if self.form is not None:
            self.form.reset_field()


async def _leave(app: "FilmApp", screen: NewRunScreen, run: int) -> None:
    if app.screen is screen:
        await app.pop_screen()
    await app.go_to("run", str(run))
    from assetforge.tui.screens.runs import RunsScreen

    if isinstance(app.screen, RunsScreen):
        app.screen.queue_attended()


def _preview_of(project: "Project", asset: str, wish: Wish, hashing: Any) -> "TrainingPreview":
    from assetforge.services.training_preview import preview_training

    return preview_training(
        project, asset, dataset=wish.dataset, freeze_first=not wish.dataset, hashing=hashing, **wish.arguments
    )


def _start(project: "Project", asset: str, wish: Wish, again: bool) -> "TrainingRequest":
    from assetforge.jobs.background import ensure_supervisor
    from assetforge.services.datasets import freeze
    from assetforge.services.training import request_training

    dataset = wish.dataset or freeze(project, asset).address
    asked = request_training(project, asset, dataset=dataset, again=again, **wish.arguments)
    ensure_supervisor(project)
    return asked
