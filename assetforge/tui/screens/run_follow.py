"""One run as it goes, or as it went: how far, its curves, its log, the pictures it made, and what it was made of."""

from textwrap import wrap
from typing import TYPE_CHECKING, Literal, cast

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from assetforge.db.browse.jobs import QueueRow
from assetforge.tui.screens.run_words import (
    bar,
    going,
    is_open,
    named,
    place_of,
    state_of,
    subject_of,
    took,
    why_it_ended,
)
from assetforge.tui.widgets.log_tail import LogTail
from assetforge.tui.widgets.run_chart import RunChart, figure
from assetforge.tui.widgets.sample_wall import SampleWall
from assetforge.tui.words import ago, count_of, dim, number, plain, size

if TYPE_CHECKING:
    from assetforge.jobs.live import LiveUpdate
    from assetforge.tui.app import FilmApp
    from assetforge.tui.screens.run_facts import Follow, RunFacts

__all__ = ["RunFollow", "View"]

View = Literal["curves", "log", "samples"]

_LABEL = 11
_CHANGED_MOST = 12
_ASK_FOR_SAMPLES = " Its recipe says whether and how often it draws some."


class RunFollow(Widget):
    """The followed run. Whoever owns it tells it what was read; it asks for nothing but pictures.

    Attributes:
        row: The job; ``None`` when nothing is followed.
        view: What is shown of it.
        full: It has the screen for itself, so that there is room for everything that it was made of.
    """

    DEFAULT_CSS = """
    RunFollow {
        width: 1fr; height: 1fr; layout: vertical;
        .follow-line { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
        #follow-note { height: auto; max-height: 8; }
        #follow-body { height: 1fr; margin-top: 1; layout: vertical; }
        #follow-seen { height: 3fr; }
        #follow-said { height: 2fr; }
        #follow-rate { height: 5; margin-top: 1; }
        #follow-facts { height: auto; max-height: 40%; margin-top: 1; scrollbar-size-vertical: 1; }
        #follow-facts Static { height: auto; }
        #follow-log { height: 1fr; margin-top: 1; }
        &.-log #follow-seen, &.-samples #follow-loss, &.-samples #follow-rate, &.-curves #follow-samples, &.-log #follow-facts, &.-samples #follow-said, &.-quiet #follow-seen { display: none; }
        &.-log #follow-said, &.-quiet #follow-said { height: 1fr; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.row: QueueRow | None = None
        self.view: View = "curves"
        self.full = False
        self._update: LiveUpdate | None = None
        self._facts: RunFacts | None = None
        self._why = ""
        self._lines = 0

    def compose(self) -> ComposeResult:
        """Lines, curves or samples, facts and log."""
        yield Static(id="follow-title", classes="follow-line", markup=False)
        yield Static(id="follow-status", classes="follow-line", markup=False)
        yield Static(id="follow-bar", classes="follow-line", markup=False)
        yield Static(id="follow-note", markup=False)
        with Vertical(id="follow-body"):
            with Vertical(id="follow-seen"):
                yield RunChart("loss", id="follow-loss", empty="No loss was told yet.")
                yield RunChart("learning rate", smooth=False, from_zero=True, id="follow-rate")
                yield SampleWall(cast("FilmApp", self.app).terminal_pictures, id="follow-samples")
            with Vertical(id="follow-said"):
                with VerticalScroll(id="follow-facts", can_focus=False):
                    yield Static(id="follow-made", markup=False)
                yield LogTail(empty="It said nothing.", id="follow-log")

    def on_mount(self) -> None:
        """Nothing is followed yet."""
        self.show_view("curves")
        for name in ("facts", "note", "bar"):
            self.query_one(f"#follow-{name}").display = False

    @property
    def _samples(self) -> SampleWall:
        return self.query_one("#follow-samples", SampleWall)

    @property
    def log_tail(self) -> LogTail:
        """Its log."""
        return self.query_one("#follow-log", LogTail)

    def show_view(self, view: View) -> None:
        """Show curves, the log alone, or the pictures that it made."""
        self.view = view
        for one in ("curves", "log", "samples"):
            self.set_class(one == view, f"-{one}")
        self._show_words()
        self._show_facts()
        self._show_charts()
        self._show_samples()

    def follow(self, row: QueueRow | None, why: str = "") -> None:
        """Follow a job, or the same one in another state.

        Args:
            row: The job; ``None`` follows nothing.
            why: Why it waits.
        """
        if row is None or self.row is None or row.id != self.row.id:
            self._update, self._facts, self._lines = None, None, 0
            self._samples.clear()
            self.log_tail.clear()
        self.row, self._why = row, why
        self._show_words()
        self._show_facts()
        self._show_charts()

    def take(self, follow: "Follow") -> None:
        """Show what was read of the job."""
        update = follow.update
        if update is None:
            return
        before, self._update = self._update, update
        new = follow.lines_after(self._lines)
        self._lines = follow.count
        if new:
            self.log_tail.add(new)
        if before is None or update.changed or before.eta_s != update.eta_s:
            self._show_words()
        if before is None or update.changed:
            self._show_charts()
            self._show_samples()

    def take_facts(self, facts: "RunFacts") -> None:
        """Show what the run was made of."""
        self._facts = facts
        self._show_words()
        self._show_facts()

    def on_resize(self) -> None:
        """The bar is as long as there is room, and lines are broken anew."""
        self._show_words()
        self._show_facts()

    # words

    def _show_words(self) -> None:
        row = self.row
        title, words, note = Content(""), Content(""), Content("")
        if row is not None:
            parts = [Content.styled(named(row), "bold"), Content(subject_of(row)), dim(row.kind)]
            if self._facts is not None:
                run = self._facts.run
                parts[1:] = [Content(plain(run.dataset)), dim(plain(run.recipe))]
            parts.append(state_of(row, None))
            if is_open(row) and row.state != "queued":
                parts.append(place_of(row))
            title = Content("  ").join(parts)
            words, note = self._status(row), self._note(row)
        # Lines of a fixed height need no new layout, which is most of what an update costs.
        self.query_one("#follow-title", Static).update(title, layout=False)
        self.query_one("#follow-status", Static).update(words, layout=False)
        shown = self.query_one("#follow-note", Static)
        if note != shown.content:
            shown.display = bool(note.plain)
            shown.update(note)
        self._show_bar()

    def _show_bar(self) -> None:
        row, update, shown = self.row, self._update, self.query_one("#follow-bar", Static)
        shown.display = row is not None and row.state == "running" and update is not None and update.total > 0
        if shown.display and update is not None:
            shown.update(bar(update.step / update.total, self.size.width), layout=False)

    def _status(self, row: QueueRow) -> Content:
        update = self._update
        if row.state == "queued":
            return Content(plain(self._why))
        if is_open(row):
            words = going(row, update, memory=True)
            if update is None or not update.total:
                return Content("  ").join(words)
            share = Content(f"{update.step / update.total:.0%}".replace("%", " %"))
            return Content("  ").join([share, *words])
        words = [Content(took(row))] if took(row) else []
        if update is not None and update.total:
            words.append(Content.assemble(f"{number(update.step)}/{number(update.total)}", (" steps", "$dim")))
            if update.checkpoint is not None and row.state != "succeeded":
                words.append(Content.assemble(("checkpoint at ", "$dim"), number(update.checkpoint)))
        words.append(dim(ago(row.finished_at)))
        return Content("  ").join(words)

    def _note(self, row: QueueRow) -> Content:
        """What came of it, or what went wrong, in full."""
        lines: list[Content] = []
        if row.versions:
            made = Content(", ").join([Content.styled(plain(one), "bold") for one in row.versions])
            lines.append(Content.assemble(("→ ", "$success"), made, ("   v shows it", "$dim")))
        if row.error and row.state != "queued":
            failed = row.state in ("failed", "lost")
            lines.append(Content.styled(why_it_ended(row), "$error" if failed else "$warning"))
        update = self._update
        if update is not None and update.resumed_from and is_open(row):
            lines.append(dim(f"attempt {update.attempt}, went on from step {number(update.resumed_from)}"))
        if update is not None and update.samples and self.view != "samples":
            lines.append(Content.assemble(count_of(len(update.samples), "picture"), ("   s shows them", "$dim")))
        return Content("\n").join(lines)

    def _show_facts(self) -> None:
        box = self.query_one("#follow-facts")
        row, facts = self.row, self._facts
        box.display = facts is not None and row is not None and not is_open(row)
        if facts is None:
            return
        run = facts.run
        lines = []
        if facts.changed:
            shown = [
                f"{plain(name)} {_value(value)} (recipe {_value(before)})" for name, before, value in facts.changed
            ]
            more = len(shown) - _CHANGED_MOST
            lines.append(("differs", ", ".join(shown[:_CHANGED_MOST]) + (f" and {more} more" if more > 0 else "")))
        elif facts.changed is not None:
            lines.append(("differs", "in nothing from the recipe"))
        lines.append(("asked for", plain(f"{run.cause}, {run.requested_by}, {ago(run.created_at)}")))
        if self.full:
            lines += [
                ("base", plain(run.base)),
                ("trainer", plain(run.trainer)),
                ("engine", _engine(run.engine)),
                ("figures", _figures(run.metrics)),
            ]
        width = max(20, box.scrollable_content_region.width or self.size.width)
        content = [_hanging(name, text, width) for name, text in lines if text]
        self.query_one("#follow-made", Static).update(Content("\n").join(content))

    # curves and pictures

    def _show_charts(self) -> None:
        update, row = self._update, self.row
        loss, rate = self.query_one("#follow-loss", RunChart), self.query_one("#follow-rate", RunChart)
        trains = row is not None and row.kind == "train"
        pictures = self.view == "samples"
        self.set_class(not trains and not pictures, "-quiet")
        if self.view != "curves" or not trains:
            return
        if update is None:
            loss.show((), ())
            rate.show((), ())
            return
        loss.show(
            update.loss.steps,
            update.loss.values,
            last=update.loss.last,
            total=update.total,
            dotted=(update.validation.steps, update.validation.values),
            dotted_title="validation",
        )
        rate.show(
            update.learning_rate.steps, update.learning_rate.values, last=update.learning_rate.last, total=update.total
        )

    def _show_samples(self) -> None:
        if self.view == "samples":
            trains = self.row is not None and self.row.kind == "train"
            nothing = "It made no pictures yet." + (_ASK_FOR_SAMPLES if trains else "")
            self._samples.show(self._update.samples if self._update is not None else (), nothing)


def _hanging(name: str, text: str, width: int) -> Content:
    """A name, and beside it a text on as many lines as it needs."""
    lines = wrap(text, width - _LABEL) or [""]
    return Content.assemble((name.ljust(_LABEL), "$dim"), ("\n" + " " * _LABEL).join(lines))


def _engine(engine: "dict[str, object]") -> str:
    names = ("device_name", "device", "dtype", "precision", "torch", "diffusers")
    parts = {str(engine[name]): name for name in names if engine.get(name)}
    return plain(", ".join(f"{name} {value}" if name in names[4:] else value for value, name in parts.items()))


def _figures(metrics: "dict[str, object]") -> str:
    parts = []
    for name, value in metrics.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            shown = (
                size(round(value * 1_000_000))
                if name == "memory_mb"
                else number(value)
                if isinstance(value, int)
                else figure(value)
            )
            parts.append(f"{plain(name.removesuffix('_mb')).replace('_', ' ')} {shown}")
    return ", ".join(parts)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return plain(str(value), 40) or "empty"
