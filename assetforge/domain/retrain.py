"""Whether an asset would be trained now, and why or why not.

Every rule that speaks against it is named, not only the first, and each says whether it goes away by itself (wait) or needs more changes or a person (no).
Changes are counted against the dataset of the newest run whatever became of that run, so no set of references is ever trained on twice by itself.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from assetforge.errors import UsageError

__all__ = [
    "AssetChanges",
    "Budget",
    "Decision",
    "Effect",
    "Hours",
    "Mode",
    "Outcome",
    "Reason",
    "RetrainRules",
    "Spent",
    "decide",
    "parse_hours",
]

Mode = Literal["off", "ask", "auto"]
Outcome = Literal["train", "ask", "wait", "no"]
Effect = Literal["note", "wait", "no"]

Hours = tuple[tuple[int, int], ...]
"""Spans of the day in minutes after local midnight; the end is the first minute outside, and a span may pass midnight."""

_DAY = 24 * 60
_SPAN = re.compile(r"\s*(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})\s*", re.ASCII)
_HOURS_HINT = "Write them as 20:00-08:00, or several as 12:00-13:00, 20:00-08:00; empty is always."
_DAYS_AHEAD = 3
_QUARTER = timedelta(minutes=15)
_ROUNDING = 1e-9
_ENDED_BADLY = {"failed": "failed", "cancelled": "was cancelled", "lost": "was lost"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainRules:
    """The rules of one asset.

    Attributes:
        mode: ``off``: never by itself; ``ask``: a person says yes; ``auto``: by itself.
        quiet_s: Seconds for which nothing may have changed.
        min_references: Fewest references to train on at all.
        min_new: Fewest new pictures that are a reason; 0 makes them none.
        min_changed: Fewest changed references that are a reason; 0 makes them none.
        min_removed: Fewest removed references that are a reason; 0 makes them none.
        cooldown_s: Seconds from the end of a run to the next one.
        hours: When runs may start, see :func:`parse_hours`; empty is always.
        require_rights: References without a word about rights keep it from training.
    """

    mode: Mode = "ask"
    quiet_s: float = 600.0
    min_references: int = 5
    min_new: int = 3
    min_changed: int = 3
    min_removed: int = 1
    cooldown_s: float = 3600.0
    hours: Hours = ()
    require_rights: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What automatic runs of the film may cost; ``None`` is no limit.

    Attributes:
        runs_per_day: Runs in a calendar day, local time.
        hours_per_day: Hours of running in a calendar day.
        runs_per_film: Runs, ever.
        hours_per_film: Hours, ever.
    """

    runs_per_day: int | None = None
    hours_per_day: float | None = None
    runs_per_film: int | None = None
    hours_per_film: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetChanges:
    """How an asset stands against the dataset of its newest run, whatever became of that run; without a run, everything is new.

    Attributes:
        references: Active ones now.
        new: Pictures that the newest run did not have.
        novel: Those of them that count, see :mod:`assetforge.domain.novelty`.
        changed: References whose caption, crop, mask, repeats or split differ.
        removed: Pictures that the newest run had and that are gone.
        without_rights: Active ones without a word about rights.
        quarantined: Pictures that wait for a decision; they are not among the others.
        last_change_at: When anything changed last, in UTC.
        open_run: Number of a queued or running run of the asset.
        last_run: Number of the newest run.
        last_run_ended_at: When it ended, in UTC.
        last_run_state: How it ended: ``succeeded``, ``failed``, ``cancelled``, ``lost``, or empty.
        problem: A sentence why the asset cannot be trained at all, such as a missing base model; empty is none.
    """

    references: int
    new: int = 0
    novel: int = 0
    changed: int = 0
    removed: int = 0
    without_rights: int = 0
    quarantined: int = 0
    last_change_at: datetime | None = None
    open_run: int | None = None
    last_run: int | None = None
    last_run_ended_at: datetime | None = None
    last_run_state: str = ""
    problem: str = ""

    @property
    def pending(self) -> bool:
        """Something is different from what the newest run was trained on."""
        return bool(self.new or self.changed or self.removed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What automatic runs of the film have cost, with those that are queued or running, whose hours are estimates.

    Attributes:
        runs_today: Runs of this calendar day, local time.
        hours_today: Hours of this calendar day.
        runs_ever: Runs since the film began.
        hours_ever: Hours since the film began.
        cost_hours: Estimate for the run that is asked about; ``None`` when nobody knows, and then any room is enough.
    """

    runs_today: int = 0
    hours_today: float = 0.0
    runs_ever: int = 0
    hours_ever: float = 0.0
    cost_hours: float | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that matters for the decision.

    Attributes:
        code: Stable short name.
        text: A sentence for people, without a full stop.
        effect: ``wait`` goes away by itself, ``no`` does not, a ``note`` keeps nothing from training.
    """

    code: str
    text: str
    effect: Effect


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether an asset would be trained now.

    Attributes:
        outcome: ``train``; ``ask``: everything fits and a person has to say yes; ``wait``: it will happen by itself; ``no``: more changes or a person are needed.
        reasons: Everything that speaks against it, and notes.
        not_before: The earliest moment, in UTC, at which time alone leads to ``train`` or ``ask``; ``None`` when it is there already or time alone does not help.
        because: Which changes are the cause; empty when nothing changed.
    """

    outcome: Outcome
    reasons: tuple[Reason, ...]
    not_before: datetime | None
    because: str


def parse_hours(text: str) -> Hours:
    """The spans that a text such as ``20:00-08:00`` or ``12:00-13:00, 20:00-08:00`` names; an empty text names none, which is always.

    Raises:
        UsageError: It is not a list of spans, a time does not exist, or a span starts and ends at the same time.
    """
    if not text.strip():
        return ()
    spans = []
    for part in text.split(","):
        match = _SPAN.fullmatch(part)
        if not match:
            raise UsageError(f"{part.strip()!r} is no span of hours.", hint=_HOURS_HINT)
        first_hour, first_minute, last_hour, last_minute = (int(number) for number in match.groups())
        start, end = first_hour * 60 + first_minute, last_hour * 60 + last_minute
        if first_minute > 59 or last_minute > 59 or start >= _DAY or end > _DAY:
            raise UsageError(f"{part.strip()!r} names a time that does not exist.", hint=_HOURS_HINT)
        if start == end:
            raise UsageError(
                f"{part.strip()!r} starts and ends at the same time.", hint="00:00-24:00 is the whole day."
            )
        spans.append((start, end))
    return tuple(spans)


def decide(rules: RetrainRules, budget: Budget, changes: AssetChanges, spent: Spent, now: datetime) -> Decision:
    """Whether the asset would be trained now, and everything that speaks against it.

    Args:
        rules: Of the asset.
        budget: Of the film.
        changes: How the asset stands.
        spent: What the film has spent.
        now: The time in the zone whose clock hours and days follow; a ``ZoneInfo`` knows when clocks are changed.

    Raises:
        ValueError: ``now`` has no zone.
    """
    if now.tzinfo is None:
        raise ValueError("now must have a time zone")
    reasons = [*_standing(rules, changes)]
    times: list[datetime] = []
    if changes.pending:
        reasons += _too_few(rules, changes)
        for reason, until in (*_pauses(rules, changes, now), *_budget_of_day(budget, spent, now)):
            reasons.append(reason)
            if until is not None:
                times.append(until)
        reasons += _budget_of_film(budget, spent)
        if not _in_hours(rules.hours, now):
            shown = " and ".join(f"{_clock(start)}-{_clock(end)}" for start, end in rules.hours)
            reasons.append(Reason("hours", f"trains at {shown} only, and it is {now:%H:%M}", "wait"))
    effects = {reason.effect for reason in reasons}
    not_before = None
    if effects >= {"wait"} and "no" not in effects and changes.open_run is None:
        not_before = _next_in_hours(rules.hours, max([now, *times], key=_utc), now)
    outcome: Outcome = "ask" if rules.mode == "ask" else "train"
    if "no" in effects:
        outcome = "no"
    elif "wait" in effects:
        outcome = "wait"
    elif outcome == "ask":
        reasons.append(Reason("ask", "everything fits, and a person has to say yes", "note"))
    return Decision(outcome=outcome, reasons=tuple(reasons), not_before=not_before, because=_cause(changes))


def _standing(rules: RetrainRules, changes: AssetChanges) -> Iterator[Reason]:
    """What does not depend on how much changed, or when."""
    if rules.mode == "off":
        yield Reason("off", "retraining is off for this asset", "no")
    if changes.problem:
        yield Reason("problem", changes.problem, "no")
    if not changes.pending:
        yield _unchanged(changes)
    if changes.open_run is not None:
        yield Reason("open-run", f"run {changes.open_run} is not finished yet", "wait")
    if changes.references < rules.min_references:
        needed = rules.min_references
        yield Reason("few-references", f"{_count(changes.references, 'reference')} of {needed} needed", "no")
    if rules.require_rights and changes.without_rights:
        verb = "has" if changes.without_rights == 1 else "have"
        text = f"{_count(changes.without_rights, 'reference')} {verb} no word about rights"
        yield Reason("rights", text, "no")
    if changes.quarantined:
        verb = "waits" if changes.quarantined == 1 else "wait"
        text = f"{_count(changes.quarantined, 'picture')} {verb} for a decision and would be left out"
        yield Reason("quarantined", text, "note")


def _unchanged(changes: AssetChanges) -> Reason:
    if changes.last_run is None:
        return Reason("unchanged", "there is nothing to train on", "no")
    ended = _ENDED_BADLY.get(changes.last_run_state)
    if ended is None or changes.open_run is not None:
        return Reason("unchanged", f"nothing changed since run {changes.last_run}", "no")
    text = f"run {changes.last_run} on exactly these references {ended}; change them, or start it by hand"
    return Reason("ended-badly", text, "no")


def _too_few(rules: RetrainRules, changes: AssetChanges) -> Iterator[Reason]:
    """Why the changes are no reason; nothing when one kind of them is."""
    kinds = (
        ("new", "new picture", changes.new, changes.novel, rules.min_new),
        ("changed", "changed reference", changes.changed, changes.changed, rules.min_changed),
        ("removed", "removed reference", changes.removed, changes.removed, rules.min_removed),
    )
    if any(0 < least <= counting for _, _, _, counting, least in kinds):
        return
    for code, words, found, counting, least in kinds:
        if not found:
            continue
        if least == 0:
            yield Reason(f"no-reason-{code}", f"{words}s are no reason to train here", "no")
        elif counting < found:
            text = f"{_count(found, words)}, of which {counting} look new, of {least} needed"
            yield Reason(f"few-{code}", text, "no")
        else:
            yield Reason(f"few-{code}", f"{_count(found, words)} of {least} needed", "no")


def _pauses(rules: RetrainRules, changes: AssetChanges, now: datetime) -> Iterator[tuple[Reason, datetime]]:
    if changes.last_change_at is not None:
        until = _utc(changes.last_change_at) + timedelta(seconds=rules.quiet_s)
        if _utc(now) < until:
            passed = _passed(changes.last_change_at, now, rules.quiet_s)
            yield Reason("quiet", f"quiet for {passed}", "wait"), until
    if changes.last_run_ended_at is not None:
        until = _utc(changes.last_run_ended_at) + timedelta(seconds=rules.cooldown_s)
        if _utc(now) < until:
            passed = _passed(changes.last_run_ended_at, now, rules.cooldown_s)
            which = "the last run" if changes.last_run is None else f"run {changes.last_run}"
            yield Reason("cool-down", f"cool-down after {which} for {passed}", "wait"), until


def _budget_of_day(budget: Budget, spent: Spent, now: datetime) -> Iterator[tuple[Reason, datetime | None]]:
    """What exceeds the budget of the day, and when the next day begins; ``None`` where no day is long enough."""
    if budget.runs_per_day == 0 or not _fits(0.0, spent.cost_hours, budget.hours_per_day):
        if budget.runs_per_day == 0:
            yield Reason("runs-a-day", "the budget allows no run a day", "no"), None
        if not _fits(0.0, spent.cost_hours, budget.hours_per_day):
            needed = _needed(spent.cost_hours)
            yield Reason("hours-a-day", f"a day has {_hours(budget.hours_per_day)} in the budget{needed}", "no"), None
        return
    tomorrow = _midnight_after(now)
    if budget.runs_per_day is not None and spent.runs_today >= budget.runs_per_day:
        used = f"{spent.runs_today} of {_count(budget.runs_per_day, 'run')} of today are used"
        yield Reason("runs-today", used, "wait"), tomorrow
    if not _fits(spent.hours_today, spent.cost_hours, budget.hours_per_day):
        used = f"{_number(spent.hours_today)} of {_hours(budget.hours_per_day)} of today are used"
        yield Reason("hours-today", f"{used}{_needed(spent.cost_hours)}", "wait"), tomorrow


def _budget_of_film(budget: Budget, spent: Spent) -> Iterator[Reason]:
    if budget.runs_per_film is not None and spent.runs_ever >= budget.runs_per_film:
        used = f"{spent.runs_ever} of {_count(budget.runs_per_film, 'run')} of the film are used"
        yield Reason("runs-film", used, "no")
    if not _fits(spent.hours_ever, spent.cost_hours, budget.hours_per_film):
        used = f"{_number(spent.hours_ever)} of {_hours(budget.hours_per_film)} of the film are used"
        yield Reason("hours-film", f"{used}{_needed(spent.cost_hours)}", "no")


def _fits(spent: float, cost: float | None, limit: float | None) -> bool:
    if limit is None:
        return True
    return spent < limit and (cost is None or spent + cost <= limit + _ROUNDING)


def _cause(changes: AssetChanges) -> str:
    parts = []
    if changes.new:
        counting = "" if changes.novel == changes.new else f" ({changes.novel} look new)"
        parts.append(f"{_count(changes.new, 'new picture')}{counting}")
    if changes.changed:
        parts.append(f"{_count(changes.changed, 'reference')} changed")
    if changes.removed:
        parts.append(f"{_count(changes.removed, 'reference')} removed")
    first = "first run: " if parts and changes.last_run is None else ""
    return first + ", ".join(parts)


def _in_hours(hours: Hours, local: datetime) -> bool:
    minute = local.hour * 60 + local.minute
    return not hours or any(
        start <= minute < end if start < end else minute >= start or minute < end for start, end in hours
    )


def _next_in_hours(hours: Hours, earliest: datetime, now: datetime) -> datetime | None:
    """The first moment from ``earliest`` on, in UTC, at which the clock of ``now`` is within the hours.

    Clocks are changed at full quarters of an hour, which may lead into the middle of a span.
    """
    zone = now.tzinfo
    begin = _utc(earliest)
    local = begin.astimezone(zone)
    if _in_hours(hours, local):
        return begin
    moments: set[datetime] = set()
    for days in range(_DAYS_AHEAD):
        day = (local + timedelta(days=days)).replace(hour=0, minute=0, second=0, microsecond=0)
        for start, _ in hours:
            moments.update(_utc(day.replace(hour=start // 60, minute=start % 60, fold=fold)) for fold in (0, 1))
    if (begin + timedelta(days=_DAYS_AHEAD)).astimezone(zone).utcoffset() != local.utcoffset():
        quarter = begin.replace(minute=begin.minute // 15 * 15, second=0, microsecond=0)
        moments.update(quarter + number * _QUARTER for number in range(_DAYS_AHEAD * 96))
    return next((at for at in sorted(moments) if at > begin and _in_hours(hours, at.astimezone(zone))), None)


def _midnight_after(now: datetime) -> datetime:
    """The first moment of the next calendar day, in UTC; where the clock skips midnight, the moment at which it does."""
    tomorrow = now.date() + timedelta(days=1)
    return _utc(datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=now.tzinfo))


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


def _passed(since: datetime, now: datetime, of: float) -> str:
    """Such as ``4 of 10 minutes``, in the unit that suits the whole."""
    passed = max(0.0, (_utc(now) - _utc(since)).total_seconds())
    unit, length = ("second", 1) if of < 120 else ("minute", 60) if of < 2 * 3600 else ("hour", 3600)
    shown = math.floor(passed / length * 10) / 10 if unit == "hour" else passed // length
    return f"{_number(shown)} of {_number(of / length)} {unit}s"


def _count(number: int, words: str) -> str:
    return f"{number} {words}{'' if number == 1 else 's'}"


def _hours(limit: float | None) -> str:
    return f"{_number(limit or 0.0)} hour{'' if limit == 1 else 's'}"


def _needed(cost: float | None) -> str:
    return "" if cost is None else f", and this run needs about {_number(cost)}"


def _number(value: float) -> str:
    """With two places at most, and none that says nothing."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
