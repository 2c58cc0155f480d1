"""What ``assetforge compare`` prints in a terminal: the outcome at a glance, aligned figures, no line that is too long."""

import io
import json
import random

import pytest
from rich.console import Console

from assetforge.cli import compare_text
from assetforge.cli.app import run as run_words
from assetforge.db.models_jobs import Comparison
from assetforge.domain.verdict import GuardEvidence, MetricEvidence, judge

SCREEN = 24


def grid(change, seed, spread=0.01, prompts=24):
    dice = random.Random(seed)
    return [[0.8 + change + dice.gauss(0, spread) for _ in range(2)] for _ in range(prompts)]


def verdict(change=0.0, bleed=0.0, unmeasured=False):
    """A verdict as a film of a real size gives it."""
    guards = [
        GuardEvidence(name="validity", title="number of broken pictures", limit=0.0, value=-0.0),
        GuardEvidence(
            name="diversity", title="difference between seeds", margin=0.1, new=grid(0, 3), baseline=grid(0, 4)
        ),
        GuardEvidence(
            name="stray",
            title="distance from the base without the trigger",
            margin=0.02,
            new=grid(bleed, 5, prompts=6),
            baseline=grid(0, 6, prompts=6),
        ),
        # The same pictures: nothing changed at all, which is written without a sign.
        GuardEvidence(name="still", title="colours", margin=0.01, new=grid(0, 7), baseline=grid(0, 7)),
    ]
    if unmeasured:
        guards.append(GuardEvidence(name="faces", title="faces", margin=0.1))
    return judge(
        "mara/v2",
        "mara/v1",
        MetricEvidence(name="probe", title="identity", new=grid(change, 1), baseline=grid(0, 2), minimum_margin=0.02),
        guards=guards,
    ).as_json()


@pytest.fixture
def shown(world, tmp_path, monkeypatch, capsys):
    """``shown(verdict, width=80, colour=False) -> text`` of a comparison with that verdict, as a terminal shows it."""
    info = world.compare("mara/v2")

    def go(given, *, width=80, colour=False):
        with world.project.write() as session:
            row = session.get_one(Comparison, info.id)
            headline = given["headline"] if given else ""
            row.summary = {
                **row.summary,
                "verdict": given,
                "sentence": f"{headline}. mara/v2 is nearer to the references.",
            }
            session.add(row)
        screen = io.StringIO()
        terminal = Console(
            file=screen,
            width=width,
            force_terminal=colour,
            no_color=not colour,
            color_system="standard" if colour else None,
            highlight=False,
            markup=False,
        )
        monkeypatch.setattr(compare_text, "console", lambda: terminal)
        monkeypatch.setattr(compare_text, "plain", lambda text: screen.write(text + "\n"))
        capsys.readouterr()
        run_words(["compare", "mara/v2", "--report", str(tmp_path / "sheet.html"), "--project", "film"])
        return screen.getvalue() + capsys.readouterr().out

    return go


@pytest.mark.parametrize("width", [80, 120])
def test_a_pass_is_a_screenful_with_the_outcome_first(shown, width):
    lines = shown(verdict(), width=width).splitlines()
    assert lines[0].rstrip() == "● PASS  mara/v2 against mara/v1  tiny-core"
    assert lines[1].startswith("mara/v2 is not worse than mara/v1: identity ")
    assert len(lines) <= SCREEN
    assert all(len(line.rstrip()) <= width for line in lines if not line.startswith("report"))
    assert lines[-1] == "look    assetforge review mara/v2"


def test_numbers_stand_under_numbers_and_nothing_is_minus_nothing(shown):
    text = shown(verdict(), width=120)
    lines = text.splitlines()
    head = next(line for line in lines if "tolerated" in line)
    rows = [line for line in lines if "≥ −" in line or "≤ " in line]
    assert len(rows) == 5
    end = head.index("tolerated") + len("tolerated")
    assert all(line[end - 1] != " " and line[end : end + 2] == "  " for line in rows)
    assert all(line[head.index("says")] in "●◐▲○" for line in rows)
    broken, still = (next(line for line in rows if line.startswith(title)) for title in ("number of broken", "colours"))
    assert broken.split() == ["number", "of", "broken", "pictures", "0", "≤", "0", "●", "clear"]
    assert still.split()[:2] == ["colours", "±0"]


@pytest.mark.parametrize(
    ("given", "first", "row"),
    [
        ({}, "\x1b[1;32m● PASS\x1b[0m", "\x1b[32m● clear"),
        ({"change": -0.06}, "\x1b[1;31m▲ REGRESSED\x1b[0m", "\x1b[31m▲ regressed"),
        ({"bleed": 0.1}, "\x1b[1;31m▲ REGRESSED\x1b[0m", "\x1b[31m▲ veto"),
        ({"change": -0.025}, "\x1b[1;33m◐ INCONCLUSIVE\x1b[0m", "\x1b[33m◐ inconclusive"),
    ],
)
def test_colour_goes_with_symbol_and_word(shown, given, first, row):
    text = shown(verdict(**given), colour=True)
    assert text.startswith(first)
    assert row in text


def test_without_a_verdict_the_blocks_are_shown(shown):
    text = shown(None)
    assert text.startswith("○ NOT JUDGED  mara/v2 against mara/v1")
    assert "nearer than base" in text
    assert "4 of 4" in text


def test_notes_that_do_not_fit_are_counted_and_stay_words(shown):
    given = verdict()
    given["reasons"] = [
        {"code": "retrain-unknown", "about": "probe", "text": f"note {number} [red]in \x1b[31m it"}
        for number in range(9)
    ]
    text = shown(given)
    assert "note 0 [red]in ␛[31m it" in text
    assert "note 8" not in text
    assert "more notes in the report" in text
    assert len(text.splitlines()) <= SCREEN


def test_what_was_not_measured_is_named_and_not_tabled(shown):
    given = verdict(unmeasured=True)
    given["metrics"][0]["informative"] = False
    text = shown(json.loads(json.dumps(given)))
    assert "○ not measured: faces" in text
    assert sum("faces" in line for line in text.splitlines()) == 1
    assert "○ decides nothing" in text
