"""The retrain policy: every reason it can give, what must never happen, and months of a film in fast motion."""

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assetforge.domain.retrain import AssetChanges, Budget, Decision, RetrainRules, Spent, decide, parse_hours
from assetforge.errors import UsageError

NOON = datetime(2025, 6, 2, 12, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
NO_LIMIT = Budget()
AUTO = RetrainRules(mode="auto", hours=())
FITS = AssetChanges(
    references=20,
    new=5,
    novel=5,
    last_change_at=NOON - timedelta(hours=2),
    last_run=7,
    last_run_ended_at=NOON - timedelta(days=1),
    last_run_state="succeeded",
)
SAME = replace(FITS, new=0, novel=0)
MIDNIGHT = NOON + timedelta(hours=12)


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def codes(decision: Decision) -> list[str]:
    return [reason.code for reason in decision.reasons]


def text(decision: Decision, code: str) -> str:
    return next(reason.text for reason in decision.reasons if reason.code == code)


def test_trains_when_everything_fits() -> None:
    decision = decide(AUTO, NO_LIMIT, FITS, Spent(), NOON)
    assert decision == Decision(outcome="train", reasons=(), not_before=None, because="5 new pictures")


def test_asks_when_everything_fits_and_a_person_has_to_say_yes() -> None:
    decision = decide(replace(AUTO, mode="ask"), NO_LIMIT, FITS, Spent(), NOON)
    assert (decision.outcome, codes(decision), decision.not_before) == ("ask", ["ask"], None)


@pytest.mark.parametrize(
    ("code", "outcome", "not_before", "says", "rules", "budget", "changes", "spent"),
    [
        ("off", "no", None, "retraining is off", {"mode": "off"}, {}, {}, {}),
        ("problem", "no", None, "no base model", {}, {}, {"problem": "there is no base model"}, {}),
        ("open-run", "wait", None, "run 8 is not finished yet", {}, {}, {"open_run": 8}, {}),
        ("few-references", "no", None, "20 references of 30 needed", {"min_references": 30}, {}, {}, {}),
        (
            "rights",
            "no",
            None,
            "1 reference has no word about rights",
            {"require_rights": True},
            {},
            {"without_rights": 1},
            {},
        ),
        ("few-new", "no", None, "5 new pictures of 6 needed", {"min_new": 6}, {}, {}, {}),
        ("few-new", "no", None, "5 new pictures, of which 2 look new, of 3 needed", {}, {}, {"novel": 2}, {}),
        (
            "few-changed",
            "no",
            None,
            "1 changed reference of 3 needed",
            {},
            {},
            {"new": 0, "novel": 0, "changed": 1},
            {},
        ),
        (
            "few-removed",
            "no",
            None,
            "1 removed reference of 2 needed",
            {"min_removed": 2},
            {},
            {"new": 0, "novel": 0, "removed": 1},
            {},
        ),
        ("no-reason-new", "no", None, "new pictures are no reason to train here", {"min_new": 0}, {}, {}, {}),
        (
            "no-reason-changed",
            "no",
            None,
            "changed references are no reason",
            {"min_changed": 0},
            {},
            {"new": 0, "novel": 0, "changed": 9},
            {},
        ),
        (
            "no-reason-removed",
            "no",
            None,
            "removed references are no reason",
            {"min_removed": 0},
            {},
            {"new": 0, "novel": 0, "removed": 9},
            {},
        ),
        (
            "quiet",
            "wait",
            NOON + minutes(6),
            "quiet for 4 of 10 minutes",
            {},
            {},
            {"last_change_at": NOON - minutes(4)},
            {},
        ),
        (
            "cool-down",
            "wait",
            NOON + minutes(15),
            "cool-down after run 7 for 45 of 60 minutes",
            {},
            {},
            {"last_run_ended_at": NOON - minutes(45)},
            {},
        ),
        (
            "hours",
            "wait",
            NOON + timedelta(hours=8),
            "trains at 20:00-08:00 only, and it is 12:00",
            {"hours": ((1200, 480),)},
            {},
            {},
            {},
        ),
        (
            "runs-today",
            "wait",
            MIDNIGHT,
            "2 of 2 runs of today are used",
            {},
            {"runs_per_day": 2},
            {},
            {"runs_today": 2},
        ),
        (
            "hours-today",
            "wait",
            MIDNIGHT,
            "9.5 of 10 hours of today are used, and this run needs about 2",
            {},
            {"hours_per_day": 10.0},
            {},
            {"hours_today": 9.5, "cost_hours": 2.0},
        ),
        (
            "hours-today",
            "wait",
            MIDNIGHT,
            "10 of 10 hours of today are used",
            {},
            {"hours_per_day": 10.0},
            {},
            {"hours_today": 10.0},
        ),
        ("runs-a-day", "no", None, "allows no run a day", {}, {"runs_per_day": 0}, {}, {}),
        ("hours-a-day", "no", None, "a day has 0 hours in the budget", {}, {"hours_per_day": 0.0}, {}, {}),
        (
            "hours-a-day",
            "no",
            None,
            "a day has 1 hour in the budget, and this run needs about 3",
            {},
            {"hours_per_day": 1.0},
            {},
            {"cost_hours": 3.0},
        ),
        ("runs-film", "no", None, "1 of 1 run of the film are used", {}, {"runs_per_film": 1}, {}, {"runs_ever": 1}),
        (
            "hours-film",
            "no",
            None,
            "99 of 100 hours of the film are used, and this run needs about 1.5",
            {},
            {"hours_per_film": 100.0},
            {},
            {"hours_ever": 99.0, "cost_hours": 1.5},
        ),
        ("quarantined", "train", None, "2 pictures wait for a decision", {}, {}, {"quarantined": 2}, {}),
    ],
)
def test_every_reason_alone(
    code: str,
    outcome: str,
    not_before: datetime | None,
    says: str,
    rules: dict,
    budget: dict,
    changes: dict,
    spent: dict,
) -> None:
    decision = decide(replace(AUTO, **rules), Budget(**budget), replace(FITS, **changes), Spent(**spent), NOON)
    assert codes(decision) == [code]
    assert says in text(decision, code)
    assert (decision.outcome, decision.not_before) == (outcome, not_before)


@pytest.mark.parametrize(
    ("state", "code", "says"),
    [
        ("succeeded", "unchanged", "nothing changed since run 7"),
        ("failed", "ended-badly", "run 7 on exactly these references failed; change them, or start it by hand"),
        ("cancelled", "ended-badly", "was cancelled"),
        ("lost", "ended-badly", "was lost"),
        ("", "unchanged", "nothing changed since run 7"),
    ],
)
def test_nothing_is_trained_on_twice_however_the_run_ended(state: str, code: str, says: str) -> None:
    decision = decide(AUTO, NO_LIMIT, replace(SAME, last_run_state=state), Spent(), NOON)
    assert (decision.outcome, decision.not_before, decision.because) == ("no", None, "")
    assert codes(decision) == [code]
    assert says in text(decision, code)


def test_an_empty_asset_has_nothing_to_train_on() -> None:
    decision = decide(AUTO, NO_LIMIT, AssetChanges(references=0), Spent(), NOON)
    assert codes(decision) == ["unchanged", "few-references"]
    assert text(decision, "unchanged") == "there is nothing to train on"


def test_everything_that_applies_is_named_and_the_strictest_decides() -> None:
    rules = replace(AUTO, mode="off", hours=((0, 60),), require_rights=True, min_new=9, min_references=30)
    changes = replace(
        FITS,
        without_rights=2,
        quarantined=1,
        open_run=8,
        last_change_at=NOON - minutes(1),
        last_run_ended_at=NOON - minutes(1),
        problem="the base model is missing",
    )
    budget = Budget(runs_per_day=1, hours_per_day=2.0, runs_per_film=3, hours_per_film=4.0)
    decision = decide(rules, budget, changes, Spent(runs_today=1, hours_today=2, runs_ever=3, hours_ever=4), NOON)
    assert decision.outcome == "no"
    assert decision.not_before is None
    assert codes(decision) == [
        *("off", "problem", "open-run", "few-references", "rights", "quarantined", "few-new"),
        *("quiet", "cool-down", "runs-today", "hours-today", "runs-film", "hours-film", "hours"),
    ]


def test_the_earliest_moment_is_the_latest_of_all_pushed_into_the_hours() -> None:
    rules = replace(AUTO, hours=((13 * 60, 14 * 60), (22 * 60, 23 * 60)))
    changes = replace(FITS, last_change_at=NOON - minutes(1), last_run_ended_at=NOON + minutes(75) - timedelta(hours=1))
    assert decide(rules, NO_LIMIT, changes, Spent(), NOON).not_before == NOON + minutes(75)
    late = replace(changes, last_run_ended_at=NOON + minutes(125) - timedelta(hours=1))
    assert decide(rules, NO_LIMIT, late, Spent(), NOON).not_before == NOON + timedelta(hours=10)
    used = decide(rules, Budget(runs_per_day=1), changes, Spent(runs_today=1), NOON)
    assert used.not_before == NOON + timedelta(hours=25)


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"new": 1, "novel": 1}, "1 new picture"),
        ({"new": 5, "novel": 3, "changed": 2}, "5 new pictures (3 look new), 2 references changed"),
        ({"removed": 1}, "1 reference removed"),
        ({"new": 12, "novel": 12, "last_run": None}, "first run: 12 new pictures"),
    ],
)
def test_the_cause_is_one_sentence(changes: dict, because: str) -> None:
    assert decide(AUTO, NO_LIMIT, replace(SAME, **changes), Spent(), NOON).because == because


def test_pauses_are_told_in_the_unit_that_suits() -> None:
    changes = replace(FITS, last_change_at=NOON - timedelta(seconds=12))
    assert (
        text(decide(replace(AUTO, quiet_s=30), NO_LIMIT, changes, Spent(), NOON), "quiet")
        == "quiet for 12 of 30 seconds"
    )
    decision = decide(replace(AUTO, quiet_s=86400), NO_LIMIT, FITS, Spent(), NOON)
    assert text(decision, "quiet") == "quiet for 2 of 24 hours"
    decision = decide(AUTO, Budget(hours_per_film=2500), FITS, Spent(hours_ever=2499.9, cost_hours=1200), NOON)
    assert text(decision, "hours-film") == "2499.9 of 2500 hours of the film are used, and this run needs about 1200"


def test_the_time_needs_a_zone() -> None:
    with pytest.raises(ValueError, match="zone"):
        decide(AUTO, NO_LIMIT, FITS, Spent(), NOON.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("written", "hours"),
    [
        ("", ()),
        ("  ", ()),
        ("20:00-08:00", ((1200, 480),)),
        (" 12:00 - 13:00,20:00-8:00 ", ((720, 780), (1200, 480))),
        ("00:00-24:00", ((0, 1440),)),
    ],
)
def test_hours_are_read(written: str, hours: tuple) -> None:
    assert parse_hours(written) == hours


@pytest.mark.parametrize(
    "written",
    ["20-8", "20:00", "20:00-", "25:00-08:00", "20:60-08:00", "24:00-08:00", "08:00-08:00", "20:00-08:00,", "x"],
)
def test_hours_that_cannot_be_meant_are_refused(written: str) -> None:
    with pytest.raises(UsageError):
        parse_hours(written)


@pytest.mark.parametrize(
    ("clock", "allowed"),
    [
        *(("11:59", False), ("12:00", True), ("12:59", True), ("13:00", False), ("19:59", False)),
        *(("20:00", True), ("23:59", True), ("00:00", True), ("07:59", True), ("08:00", False)),
    ],
)
def test_hours_begin_with_their_first_minute_and_end_before_their_last(clock: str, allowed: bool) -> None:
    local = datetime.fromisoformat(f"2025-06-03T{clock}").replace(tzinfo=UTC)
    rules = replace(AUTO, hours=parse_hours("12:00-13:00, 20:00-08:00"))
    assert (decide(rules, NO_LIMIT, FITS, Spent(), local).outcome == "train") is allowed


@pytest.mark.parametrize(
    ("now", "hours", "expected"),
    [
        # The clock goes from 02:00 to 03:00 on the last Sunday of March ...
        ("2025-03-29T21:00", "02:15-02:45", "2025-03-31T02:15"),
        ("2025-03-29T21:00", "02:30-04:00", "2025-03-30T03:00"),
        ("2025-03-29T21:00", "03:30-04:00", "2025-03-30T03:30"),
        # ... and from 03:00 back to 02:00 on the last Sunday of October.
        ("2025-10-25T21:00", "02:30-02:40", "2025-10-26T02:30"),
        ("2025-10-26T02:50", "02:37-02:40", "2025-10-26T02:37+01:00"),
        ("2025-10-26T02:50", "01:30-02:20", "2025-10-26T02:00+01:00"),
        ("2025-10-25T23:30", "22:00-23:00", "2025-10-26T22:00"),
    ],
)
def test_hours_follow_the_clock_when_it_is_changed(now: str, hours: str, expected: str) -> None:
    local = datetime.fromisoformat(now).replace(tzinfo=BERLIN)
    at = datetime.fromisoformat(expected)
    at = at if at.tzinfo else at.replace(tzinfo=BERLIN)
    changes = replace(FITS, last_change_at=None, last_run_ended_at=None)
    decision = decide(replace(AUTO, hours=parse_hours(hours)), NO_LIMIT, changes, Spent(), local)
    assert decision.not_before == at.astimezone(UTC)


@pytest.mark.parametrize(
    ("zone", "now", "begins"),
    [
        (BERLIN, "2025-10-26T12:00", "2025-10-26T23:00+00:00"),
        (BERLIN, "2025-10-25T12:00", "2025-10-25T22:00+00:00"),
        # In Santiago the clock goes from 24:00 to 01:00.
        (ZoneInfo("America/Santiago"), "2025-09-06T12:00", "2025-09-07T04:00+00:00"),
    ],
)
def test_the_day_of_the_budget_begins_at_local_midnight(zone: tzinfo, now: str, begins: str) -> None:
    local = datetime.fromisoformat(now).replace(tzinfo=zone)
    changes = replace(FITS, last_change_at=None, last_run_ended_at=None)
    decision = decide(AUTO, Budget(runs_per_day=1), changes, Spent(runs_today=1), local)
    assert decision.not_before == datetime.fromisoformat(begins)


counts = st.integers(0, 6)
limits = st.none() | st.integers(0, 3)
hour_limits = st.none() | st.sampled_from([0.0, 0.5, 2.0, 8.0])
spans = st.tuples(st.integers(0, 1439), st.integers(0, 1440)).filter(lambda span: span[0] != span[1])
zones = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), BERLIN, ZoneInfo("Australia/Lord_Howe")])
moments = st.integers(0, 365 * 86400).map(lambda second: datetime(2025, 1, 1, tzinfo=UTC) + timedelta(seconds=second))
some_rules = st.builds(
    RetrainRules,
    mode=st.sampled_from(["off", "ask", "auto", "auto", "auto"]),
    quiet_s=st.sampled_from([0.0, 600.0]),
    min_references=st.integers(1, 4),
    min_new=counts,
    min_changed=counts,
    min_removed=counts,
    cooldown_s=st.sampled_from([0.0, 3600.0, 100_000.0]),
    hours=st.lists(spans, max_size=2).map(tuple),
    require_rights=st.booleans(),
)
some_budgets = st.builds(
    Budget, runs_per_day=limits, hours_per_day=hour_limits, runs_per_film=limits, hours_per_film=hour_limits
)
some_spent = st.builds(
    Spent,
    runs_today=counts,
    hours_today=st.sampled_from([0.0, 0.25, 1.0, 5.0]),
    runs_ever=counts,
    hours_ever=st.sampled_from([0.0, 0.25, 1.0, 5.0]),
    cost_hours=st.none() | st.sampled_from([0.1, 0.5, 3.0]),
)
ages = st.none() | st.integers(0, 200_000)


@st.composite
def situations(draw: st.DrawFn) -> tuple[RetrainRules, Budget, AssetChanges, Spent, datetime]:
    now = draw(moments).astimezone(draw(zones))
    new = draw(counts)
    changed_ago, ended_ago = draw(ages), draw(ages)
    changes = AssetChanges(
        references=draw(st.integers(0, 12)),
        new=new,
        novel=draw(st.integers(0, new)),
        changed=draw(counts),
        removed=draw(counts),
        without_rights=draw(st.sampled_from([0, 0, 2])),
        last_change_at=None if changed_ago is None else now.astimezone(UTC) - timedelta(seconds=changed_ago),
        open_run=draw(st.sampled_from([None, None, None, 9])),
        last_run=draw(st.sampled_from([None, 4])),
        last_run_ended_at=None if ended_ago is None else now.astimezone(UTC) - timedelta(seconds=ended_ago),
        last_run_state=draw(st.sampled_from(["succeeded", "failed", "cancelled", "lost", ""])),
        problem=draw(st.sampled_from(["", "", "", "no base model"])),
    )
    return draw(some_rules), draw(some_budgets), changes, draw(some_spent), now


def inside(hours: tuple[tuple[int, int], ...], local: datetime) -> bool:
    """The plain reading of the hours, minute by minute."""
    minute = local.hour * 60 + local.minute
    allowed: set[int] = set()
    for start, end in hours:
        allowed.update(range(start, end) if start < end else (*range(start, 1440), *range(end)))
    return not hours or minute in allowed


def within(spent: float, cost: float | None, limit: float | None) -> bool:
    return limit is None or (spent < limit and spent + (cost or 0.0) <= limit + 1e-6)


@settings(deadline=None, derandomize=True, max_examples=250)
@given(situations())
def test_what_must_never_happen(situation: tuple) -> None:
    rules, budget, changes, spent, now = situation
    decision = decide(rules, budget, changes, spent, now)
    effects = {reason.effect for reason in decision.reasons}
    expected = "no" if "no" in effects else "wait" if "wait" in effects else "train"
    assert decision.outcome == ("ask" if expected == "train" and rules.mode == "ask" else expected)
    assert len(set(codes(decision))) == len(decision.reasons)
    if decision.outcome in ("train", "ask"):
        assert rules.mode != "off"
        assert decision.because
        assert changes.new or changes.changed or changes.removed
        assert changes.open_run is None
        assert inside(rules.hours, now)
        assert budget.runs_per_day is None or spent.runs_today < budget.runs_per_day
        assert budget.runs_per_film is None or spent.runs_ever < budget.runs_per_film
        assert within(spent.hours_today, spent.cost_hours, budget.hours_per_day)
        assert within(spent.hours_ever, spent.cost_hours, budget.hours_per_film)
        assert not (rules.require_rights and changes.without_rights)
    if decision.outcome != "wait" or changes.open_run is not None:
        assert decision.not_before is None


@settings(deadline=None, derandomize=True, max_examples=250)
@given(situations())
def test_waiting_ends_at_the_moment_named_and_no_minute_earlier(situation: tuple) -> None:
    rules, budget, changes, spent, now = situation
    decision = decide(rules, budget, changes, spent, now)
    if decision.outcome != "wait" or changes.open_run is not None:
        return
    # A span that the clock skips on one day comes on the next; nothing else makes waiting last for ever.
    assert decision.not_before is not None
    assert decision.not_before > now

    def later(at: datetime) -> Decision:
        local = at.astimezone(now.tzinfo)
        left = spent if local.date() == now.date() else replace(spent, runs_today=0, hours_today=0.0)
        return decide(rules, budget, changes, left, local)

    assert later(decision.not_before).outcome in ("train", "ask")
    step = max(minutes(1), (decision.not_before - now) / 50)
    at = now.astimezone(UTC)
    while at < decision.not_before:
        assert later(at).outcome == "wait"
        at += step
    assert later(decision.not_before - timedelta(seconds=1)).outcome == "wait"


@settings(deadline=None, derandomize=True, max_examples=100)
@given(situations())
def test_a_run_uses_its_changes_up(situation: tuple) -> None:
    """After the run, whatever became of it, the changes are gone; no time and no budget brings it back."""
    rules, _, changes, _, now = situation
    ended = now.astimezone(UTC)
    for state in ("succeeded", "failed", "cancelled", "lost"):
        after = replace(
            changes, new=0, novel=0, changed=0, removed=0, last_run=9, last_run_ended_at=ended, last_run_state=state
        )
        for days in (0, 1, 40):
            decision = decide(rules, NO_LIMIT, replace(after, open_run=None), Spent(), now + timedelta(days=days))
            assert (decision.outcome, decision.not_before) == ("no", None)


@dataclass
class Run:
    started: datetime
    ends: datetime
    cost: float
    asset: str
    dataset: frozenset[str]
    fails: bool


@dataclass
class Film:
    """Assets whose references come, change and go, and runs that take their time; the clock is whatever it is told."""

    zone: tzinfo
    rules: dict[str, RetrainRules]
    budget: Budget
    rng: random.Random
    now: datetime
    references: dict[str, frozenset[str]] = field(default_factory=dict)
    changed_at: dict[str, datetime] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    newest: dict[str, Run] = field(default_factory=dict)
    promised: dict[str, datetime] = field(default_factory=dict)
    made: int = 0

    def something_happens(self) -> None:
        asset = self.rng.choice(list(self.rules))
        have = sorted(self.references.get(asset, frozenset()))
        if have and self.rng.random() < 0.25:
            have = have[: -self.rng.randint(1, 2)]
        else:
            count = self.rng.randint(1, 5)
            have += [f"{self.made + number:05}" for number in range(count)]
            self.made += count
        self.references[asset] = frozenset(have)
        self.changed_at[asset] = self.now
        self.promised.pop(asset, None)

    def changes(self, asset: str) -> AssetChanges:
        have, last = self.references.get(asset, frozenset()), self.newest.get(asset)
        before = last.dataset if last else frozenset()
        is_open = last is not None and last.ends > self.now
        return AssetChanges(
            references=len(have),
            new=len(have - before),
            novel=len(have - before),
            removed=len(before - have),
            last_change_at=self.changed_at.get(asset),
            open_run=self.runs.index(last) if last and is_open else None,
            last_run=self.runs.index(last) if last else None,
            last_run_ended_at=last.ends if last and not is_open else None,
            last_run_state="" if last is None or is_open else "failed" if last.fails else "succeeded",
        )

    def spent(self, cost: float) -> Spent:
        today = self.now.astimezone(self.zone).date()
        of_today = [run for run in reversed(self.runs[-20:]) if run.started.astimezone(self.zone).date() == today]
        return Spent(
            runs_today=len(of_today),
            hours_today=sum(run.cost for run in of_today),
            runs_ever=len(self.runs),
            hours_ever=sum(run.cost for run in self.runs),
            cost_hours=cost,
        )

    def look(self, asset: str, cost: float) -> Decision:
        changes = self.changes(asset)
        decision = decide(self.rules[asset], self.budget, changes, self.spent(cost), self.now.astimezone(self.zone))
        if decision.outcome == "train":
            self.start(asset, cost, changes)
        elif decision.not_before is not None:
            self.promised[asset] = decision.not_before
        return decision

    def start(self, asset: str, cost: float, changes: AssetChanges) -> None:
        local, dataset = self.now.astimezone(self.zone), self.references[asset]
        before = self.newest.get(asset)
        assert inside(self.rules[asset].hours, local)
        assert changes.open_run is None
        if before is not None:
            assert dataset != before.dataset
            assert self.now - before.ends >= timedelta(seconds=self.rules[asset].cooldown_s)
        assert self.now - self.changed_at[asset] >= timedelta(seconds=self.rules[asset].quiet_s)
        ends = self.now + timedelta(hours=cost * self.rng.uniform(0.7, 1.3))
        run = Run(self.now, ends, cost, asset, dataset, self.rng.random() < 0.2)
        self.runs.append(run)
        self.newest[asset] = run
        self.promised.pop(asset, None)


def simulate(zone: tzinfo, begin: datetime, seed: int) -> Film:
    night = replace(AUTO, hours=parse_hours("12:00-13:00, 20:00-08:00"), min_new=3)
    film = Film(
        zone=zone,
        rules={"mara": night, "lamp": replace(AUTO, min_new=1), "ink": replace(night, cooldown_s=6 * 3600)},
        budget=Budget(runs_per_day=4, hours_per_day=3.0, runs_per_film=60, hours_per_film=45.0),
        rng=random.Random(seed),
        now=begin,
    )
    end = begin + timedelta(days=30)
    while film.now < end:
        if film.rng.random() < 0.015:
            film.something_happens()
        for asset in film.rules:
            late = film.promised.get(asset)
            decision = film.look(asset, cost=0.75)
            if late is not None and film.now >= late:
                # What was promised for this moment happens, or others have used up the budget meanwhile.
                blocked = {reason.code for reason in decision.reasons}
                assert decision.outcome == "train" or blocked & {"runs-today", "hours-today", "runs-film", "hours-film"}
                film.promised.pop(asset, None)
        # A step never passes over a moment that was promised: the span may be over a minute later.
        film.now = min(
            [film.now + minutes(film.rng.randint(3, 9)), *(at for at in film.promised.values() if at > film.now)]
        )
    return film


def check_budgets(film: Film) -> None:
    days: dict[object, list[Run]] = {}
    for run in film.runs:
        days.setdefault(run.started.astimezone(film.zone).date(), []).append(run)
    assert max(len(runs) for runs in days.values()) <= 4
    assert max(sum(run.cost for run in runs) for runs in days.values()) <= 3.0
    assert len(film.runs) <= 60
    assert sum(run.cost for run in film.runs) <= 45.0
    ordered = sorted(film.runs, key=lambda run: (run.asset, run.started))
    assert all((one.asset, one.dataset) != (other.asset, other.dataset) for one, other in pairwise(ordered))


@pytest.mark.parametrize(
    ("zone", "begin", "seed"),
    [
        (timezone(timedelta(hours=-7)), datetime(2025, 6, 1, 5, tzinfo=UTC), 1),
        (BERLIN, datetime(2025, 3, 15, 5, tzinfo=UTC), 2),
        (BERLIN, datetime(2025, 10, 12, 5, tzinfo=UTC), 3),
    ],
)
def test_a_month_of_a_film(zone: tzinfo, begin: datetime, seed: int) -> None:
    film = simulate(zone, begin, seed)
    check_budgets(film)
    assert len(film.runs) > 30
    assert {run.asset for run in film.runs} == set(film.rules)
    # Left alone and with money again, every asset with enough changes trains once, and then nothing more happens.
    film.budget = NO_LIMIT
    done = len(film.runs)
    waiting = {asset for asset in film.rules if film.look(asset, 0.75).outcome in ("train", "wait")}
    end = film.now + timedelta(days=2)
    while film.now < end:
        film.now += minutes(5)
        for asset in film.rules:
            film.look(asset, 0.75)
    assert sorted(run.asset for run in film.runs[done:]) == sorted(waiting)
    assert all(film.look(asset, 0.75).outcome == "no" for asset in film.rules)
