"""A verdict that is left open has the suite's reserve rendered and is asked for again over everything; the answer as an exit code."""

import json

import pytest
from sqlmodel import select

from assetforge.cli.app import run as run_words
from assetforge.cli.exit_codes import ExitCode
from assetforge.db.models import Activity, Run, Version
from assetforge.db.models_jobs import Comparison, Evaluation, Job
from assetforge.errors import NotFoundError, TryAgainError, UsageError
from assetforge.services import comparison, rendering
from assetforge.services.auto_approval import objections
from assetforge.services.comparison import get_comparison, list_comparisons, read_scores, request_comparison
from assetforge.services.extension import ask_for_more
from assetforge.services.project_config import set_value
from assetforge.services.releases import approve
from assetforge.services.report import write_report
from assetforge.services.retraining import CAUSE
from assetforge.services.reviews import reviewed_comparison
from assetforge.services.sequels import Sequels
from assetforge.services.suites import add_suite

FIRST, RESERVE = 2, 6
PLACES = [f"{{trigger}} {{class}} at place {number}" for number in range(FIRST + RESERVE)]


def suite(name, prompts, reserve=()):
    return (
        f'name = "{name}"\nfamily = "sd15"\nasset_types = ["character"]\nsteps = 2\nwidth = 32\nheight = 32\n'
        f'[[blocks]]\nname = "core"\nprompts = {json.dumps(list(prompts))}\nseeds = [1]\n'
        f"reserve = {json.dumps(list(reserve))}\nquick = 1\n"
    )


@pytest.fixture
def film(world, tmp_path):
    """Suites of the film: two prompts and six in reserve, and all eight of them at once."""
    for name, prompts, reserve in (("patient", PLACES[:FIRST], PLACES[FIRST:]), ("whole", PLACES, ())):
        file = tmp_path / f"{name}.toml"
        file.write_text(suite(name, prompts, reserve))
        add_suite(world.project, file)
    return world


def settle(world, info):
    """Do everything that is queued, also what follows from a verdict."""
    while info.jobs or info.extended_by is not None:
        for job in info.jobs:
            hand = {"render": world.render, "score": world.score}[world.job(job).kind]
            hand(job, world.folder / f"job{job}")
        info = get_comparison(world.project, info.id if info.extended_by is None else info.extended_by)
    return info


def look(world, new="mara/v2", base="mara/v1", **about):
    return settle(world, request_comparison(world.project, new, base, **{"suite": "patient", **about}))


def test_an_open_verdict_asks_for_the_reserve_by_itself(film):
    last = look(film)
    first = get_comparison(film.project, last.extends)
    assert (first.outcome, first.extended_by) == ("inconclusive", last.id)
    assert last.outcome == "pass"
    assert first.summary["plan"]["looks"] == last.summary["plan"]["looks"] == 2
    assert first.summary["rounds"] == [first.id]
    assert last.summary["rounds"] == [first.id, last.id]
    assert (first.summary["counts"]["cells"], last.summary["counts"]["cells"]) == (FIRST, FIRST + RESERVE)
    # Only what is new was rendered and scored.
    with film.project.read() as session:
        row = session.get_one(Comparison, last.id)
        cells = session.get_one(Evaluation, row.evaluation_id).plan["cells"]
    assert [cell["index"] for cell in cells] == list(range(FIRST, FIRST + RESERVE))
    assert last.summary["engines"]["equal"]
    # Whoever asks again is told the last word, and nothing is done again.
    again = request_comparison(film.project, "mara/v2", "mara/v1", suite="patient")
    assert (again.id, again.jobs) == (last.id, ())
    assert len(list_comparisons(film.project)) == 2


def test_its_figures_are_those_of_both_rounds_together(film):
    last = look(film)
    whole = look(film, suite="whole")
    assert whole.extends is None
    one, other = (info.summary["verdict"]["metrics"][0] for info in (last, whole))
    assert one["prompts"] == other["prompts"] == FIRST + RESERVE
    assert one["effect"] == pytest.approx(other["effect"])
    assert last.summary["verdict_inputs"]["probe"]["core"]["similarity"] == pytest.approx(
        whole.summary["verdict_inputs"]["probe"]["core"]["similarity"]
    )
    guards, others = (
        {one["name"]: one["value"] for one in info.summary["verdict"]["guards"]} for info in (last, whole)
    )
    assert guards == pytest.approx(others)
    # Each of two looks gets half of the chance of a wrong claim, so its interval is no narrower.
    width, single = (one["interval"]["high"] - one["interval"]["low"] for one in (one, other))
    assert width >= single
    scores = read_scores(film.project, last.id)
    assert [cell["index"] for cell in scores["cells"]] == list(range(FIRST + RESERVE))
    assert len([key for key in scores["raw"]["probe"] if key.startswith("new/")]) == FIRST + RESERVE


def test_a_clear_verdict_needs_no_second_look(film, tmp_path):
    file = tmp_path / "clear.toml"
    file.write_text(suite("clear", PLACES, ["{trigger} {class} elsewhere"]))
    add_suite(film.project, file)
    info = look(film, suite="clear")
    assert (info.outcome, info.summary["plan"]["looks"], info.extended_by) == ("pass", 2, None)
    assert len(list_comparisons(film.project)) == 1


@pytest.mark.parametrize("why", ["not wished", "not in this film", "too many renders", "quick", "no baseline"])
def test_when_there_is_no_second_look(film, why):
    about = {}
    if why == "not wished":
        about = {"second_look": False}
    elif why == "not in this film":
        set_value(film.project.paths.config, "regression.extend", False)
    elif why == "too many renders":
        set_value(film.project.paths.config, "regression.max_renders", FIRST + RESERVE - 1)
    elif why == "quick":
        about = {"quick": True}
    info = look(film, "mara/v1", "", **about) if why == "no baseline" else look(film, **about)
    assert (info.state, info.extended_by, info.extends) == ("succeeded", None, None)
    assert info.summary["plan"]["looks"] == 1
    assert len(list_comparisons(film.project)) == 1


def test_a_reserve_that_just_fits_is_used(film):
    set_value(film.project.paths.config, "regression.max_renders", FIRST + RESERVE)
    assert look(film).summary["rounds"][1:]


def first_round(world):
    """The comparison after its first verdict, and its second look that is queued."""
    info = request_comparison(world.project, "mara/v2", "mara/v1", suite="patient")
    while info.extended_by is None:
        (job, *_) = info.jobs
        hand = {"render": world.render, "score": world.score}[world.job(job).kind]
        hand(job, world.folder / f"job{job}")
        info = get_comparison(world.project, info.id)
    return info, get_comparison(world.project, info.extended_by)


@pytest.mark.parametrize("stage", ["renders", "scores"])
def test_a_second_look_that_failed_is_asked_for_again(film, stage):
    first, second = first_round(film)
    (job,) = second.jobs
    if stage == "scores":
        film.render(job, film.folder / "again")
        (job,) = get_comparison(film.project, second.id).jobs
        comparison.close_job(film.project, job, "failed", "the metric raised")
    else:
        rendering.close_job(film.project, job, "failed", "out of memory")
    film.finish(job, "failed")
    failed = get_comparison(film.project, second.id)
    assert (failed.state, failed.jobs) == ("failed", ())
    again = request_comparison(film.project, "mara/v2", "mara/v1", suite="patient")
    assert (again.id, again.state) == (second.id, "queued")
    assert again.jobs
    done = settle(film, again)
    assert (done.outcome, done.summary["rounds"]) == ("pass", [first.id, second.id])


def test_killed_between_the_verdict_and_the_wish_it_is_asked_for_once(film, monkeypatch):
    def killed(*_args):
        raise KeyboardInterrupt

    info = request_comparison(film.project, "mara/v2", "mara/v1", suite="patient")
    film.render(info.jobs[0], film.folder / "first")
    (job,) = get_comparison(film.project, info.id).jobs
    result = film.score_result(job)
    with monkeypatch.context() as patch:
        patch.setattr(comparison, "extend", killed)
        with pytest.raises(KeyboardInterrupt):
            comparison.register_result(film.project, job, result, film.folder)
    halfway = get_comparison(film.project, info.id)
    assert (halfway.outcome, halfway.extended_by) == ("inconclusive", None)
    for _ in range(3):
        comparison.register_result(film.project, job, result, film.folder)
    film.finish(job)
    with film.project.read() as session:
        rows = session.exec(select(Comparison).order_by(Comparison.id)).all()
    assert [(row.id, row.extends_id) for row in rows] == [(info.id, None), (info.id + 1, info.id)]
    assert get_comparison(film.project, info.id).summary == halfway.summary
    assert settle(film, get_comparison(film.project, info.id)).outcome == "pass"


def test_asking_again_also_makes_up_for_a_second_look_that_was_never_asked_for(film, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(comparison, "extend", lambda *_args: None)
        first = look(film)
    assert (first.outcome, first.extended_by) == ("inconclusive", None)
    assert request_comparison(film.project, "mara/v2", "mara/v1", suite="patient").extends == first.id


def test_a_report_shows_both_rounds(film, tmp_path):
    last = look(film)
    page = write_report(film.project, last.id, tmp_path / "both.html").read_text(encoding="utf-8")
    for number in range(FIRST + RESERVE):
        assert f"at place {number}" in page
    document = json.loads(write_report(film.project, last.id, tmp_path / "both.json").read_text(encoding="utf-8"))
    assert document["schema"] == "assetforge/report/1"
    assert "pass" in json.dumps(document)
    assert write_report(film.project, last.id, tmp_path / "both.md").read_text(encoding="utf-8")


@pytest.fixture
def gate(film, capsys):
    """``gate(words) -> (exit code, document)`` of ``compare --gate`` over comparisons that are finished."""

    def go(*words):
        capsys.readouterr()
        code = run_words(["compare", *words, "--gate", "--json", "--project", "film"])
        return code, json.loads(capsys.readouterr().out)

    return go


def test_the_gate_answers_by_its_exit_code(film, gate):
    look(film)
    code, document = gate("mara/v2", "mara/v1", "--suite", "patient")
    assert (code, document["verdict"]) == (ExitCode.OK, "pass")
    # The other way around it is worse.
    look(film, "mara/v1", "mara/v2")
    code, document = gate("mara/v1", "mara/v2", "--suite", "patient")
    assert (code, document["verdict"]) == (ExitCode.NO, "regressed")
    assert int(code) == 1
    look(film, suite="tiny-core")
    code, document = gate("mara/v2", "mara/v1", "--suite", "tiny-core")
    assert (code, document["verdict"]) == (ExitCode.TRY_AGAIN, "inconclusive")
    assert int(code) == 75
    look(film, "mara/v1", "")
    code, document = gate("mara/v1", "--suite", "patient")
    assert (code, document["verdict"], document["baseline"]) == (ExitCode.TRY_AGAIN, "", "")


def test_a_decision_rests_on_a_whole_suite_where_there_was_one(film):
    quick = look(film, quick=True)
    assert reviewed_comparison(film.project, "mara/v2") == quick.id
    whole = look(film)
    look(film, quick=True, fresh=True)
    assert reviewed_comparison(film.project, "mara/v2") == whole.id


def test_quick_is_the_quick_size_and_never_more(film, gate):
    info = look(film, quick=True)
    code, document = gate("mara/v2", "mara/v1", "--suite", "patient", "--quick")
    assert (code, document["comparison"], document["suite"]) == (ExitCode.TRY_AGAIN, info.id, "patient-quick")
    assert document["summary"]["counts"]["cells"] == 1
    assert run_words(["compare", "mara/v2", "mara/v1", "--suite", "tiny-core", "--quick", "--project", "film"]) == (
        ExitCode.USAGE
    )


@pytest.fixture
def watcher(film):
    """What the watcher said about a version whose run was made because references changed, each time it is called."""
    with film.project.write() as session:
        run = session.exec(select(Run).join(Version, Version.run_id == Run.id).where(Version.number == 2)).one()
        run.cause = f"{CAUSE}2 new"
    said = []
    sequels = Sequels(film.project, said.append)

    def go():
        said.clear()
        sequels()
        return list(said)

    return go


def reports(world):
    return [one.report for one in reversed(list_comparisons(world.project))]


def test_the_watcher_writes_one_report_after_the_second_look(film, watcher):
    info = request_comparison(film.project, "mara/v2", "mara/v1", suite="patient")
    film.render(info.jobs[0], film.folder / "first")
    (job,) = get_comparison(film.project, info.id).jobs
    comparison.register_result(film.project, job, film.score_result(job), film.folder)
    film.finish(job)
    assert watcher() == []
    assert reports(film) == ["", ""]
    last = settle(film, get_comparison(film.project, info.id))
    assert last.outcome == "pass"
    (line,) = watcher()
    assert line.startswith("the report of mara/v2 is in ")
    assert reports(film) == ["", "reports/mara-v2-against-v1-patient.html"]
    assert watcher() == []


def test_the_watcher_waits_until_a_score_job_has_asked_for_its_second_look(film, watcher, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(comparison, "extend", lambda *_args: None)
        info = request_comparison(film.project, "mara/v2", "mara/v1", suite="patient")
        film.render(info.jobs[0], film.folder / "first")
        (job,) = get_comparison(film.project, info.id).jobs
        comparison.register_result(film.project, job, film.score_result(job), film.folder)
    assert get_comparison(film.project, info.id).state == "succeeded"
    assert watcher() == []
    # Nothing came of it, so what was found is the last word.
    film.finish(job)
    assert len(watcher()) == 1
    assert reports(film)[0]


def test_when_the_second_look_failed_the_first_is_reported(film, watcher):
    _first, second = first_round(film)
    (job,) = second.jobs
    rendering.close_job(film.project, job, "failed", "out of memory")
    film.finish(job, "failed")
    assert len(watcher()) == 1
    assert reports(film) == ["reports/mara-v2-against-v1-patient.html", ""]


def test_the_policy_is_quiet_until_the_second_look_is_done(film, watcher):
    set_value(film.project.paths.config, "approval.automatic", "when it passes")
    approve(film.project, "mara/v1", why="the first", review="skipped")
    _first, second = first_round(film)
    assert watcher() == []
    settle(film, second)
    assert any(line.startswith("mara/v2 waits for a person") or "follows from the policy" in line for line in watcher())


def unplanned(film):
    set_value(film.project.paths.config, "regression.extend", False)
    return look(film)


def test_a_person_asks_for_a_look_that_was_not_planned_and_the_figures_say_so(film):
    first = unplanned(film)
    assert (first.outcome, first.extended_by) == ("inconclusive", None)
    second = ask_for_more(film.project, first.id)
    assert ask_for_more(film.project, first.id) == second
    last = settle(film, get_comparison(film.project, second))
    assert (last.outcome, last.extends, last.summary["rounds"]) == ("pass", first.id, [first.id, second])
    assert (last.summary["plan"]["looks"], last.summary["plan"]["unplanned"]) == (2, True)
    (said,) = [one["message"] for one in last.summary["flags"] if one["code"] == "unplanned-look"]
    assert "whole 2.5%" in said
    assert "3.75% of cases" in said
    assert "unplanned-look" not in {one["code"] for one in first.summary["flags"]}
    # Whoever compares again is told the last word.
    assert request_comparison(film.project, "mara/v2", "mara/v1", suite="patient").id == second
    with film.project.read() as session:
        assert "the second look was not planned before the first" in objections(
            session, session.get_one(Comparison, second)
        )
        (noted,) = session.exec(select(Activity).where(Activity.verb == "extended")).all()
    assert (noted.detail["unplanned"], noted.detail["asset"]) == (True, "mara")


def test_a_planned_look_that_failed_is_asked_for_by_hand_as_it_was_planned(film):
    first, second = first_round(film)
    rendering.close_job(film.project, second.jobs[0], "failed", "no more memory")
    with film.project.write() as session:
        session.get_one(Job, second.jobs[0]).state = "failed"
        assert session.get_one(Comparison, second.id).state == "failed"
    assert ask_for_more(film.project, first.id) == second.id
    last = settle(film, get_comparison(film.project, second.id))
    assert (last.outcome, last.summary["plan"].get("unplanned")) == ("pass", None)


def test_no_more_is_had_where_it_would_not_be_honest(film, tmp_path):
    whole = look(film, suite="whole")
    with pytest.raises(UsageError, match="is pass; whoever looks again"):
        ask_for_more(film.project, whole.id)
    bare = look(film, "mara/v1", "")
    with pytest.raises(UsageError, match="has no verdict"):
        ask_for_more(film.project, bare.id)
    quick = look(film, quick=True)
    with pytest.raises(UsageError, match="no prompts in reserve"):
        ask_for_more(film.project, quick.id)
    waiting = request_comparison(film.project, "mara/v2", "mara/v1", suite="patient", second_look=False)
    with pytest.raises(TryAgainError, match="not finished"):
        ask_for_more(film.project, waiting.id)
    first = settle(film, waiting)
    last = settle(film, get_comparison(film.project, ask_for_more(film.project, first.id)))
    for one in (first, last):
        with film.project.write() as session:
            row = session.get_one(Comparison, one.id)
            row.summary = {
                **row.summary,
                "verdict": {**row.summary["verdict"], "outcome": "inconclusive", "more_prompts": 4},
            }
    for one in (first, last):
        with pytest.raises(UsageError, match="no third look"):
            ask_for_more(film.project, one.id)
    with pytest.raises(NotFoundError):
        ask_for_more(film.project, 999)


def test_more_on_the_command_line(film, capsys):
    assert run_words(["compare", "mara/v2", "--more"]) == ExitCode.NOT_FOUND
    first = unplanned(film)
    assert run_words(["compare", "mara/v2", "mara/v1", "--suite", "patient", "--more", "--json"]) == ExitCode.OK
    document = json.loads(capsys.readouterr().out)
    assert (document["state"], document["verdict"]) == ("queued", "")
    assert get_comparison(film.project, first.id).extended_by == document["comparison"]
    assert run_words(["compare", "mara/v2", "--suite", "whole", "--more"]) == ExitCode.NOT_FOUND
