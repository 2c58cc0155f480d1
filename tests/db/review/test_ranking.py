"""Rankings of versions, from the wish to the table."""

import json

import pytest
from sqlmodel import select

from assetforge.cli.app import run as run_words
from assetforge.cli.exit_codes import ExitCode
from assetforge.db.models import Alias, Run, Version
from assetforge.db.models_jobs import Comparison, Job
from assetforge.errors import JobError, TryAgainError, UsageError
from assetforge.services import comparison, rendering
from assetforge.services.assets import set_asset
from assetforge.services.comparison import get_comparison
from assetforge.services.ranking import ranking, ranking_jobs, request_ranking
from assetforge.services.suites import add_suite

PROMPTS = 12


@pytest.fixture
def film(world, tmp_path):
    """mara/v1 to v4: the more, the nearer to the references, and v4 paints nothing but their colour. A suite of many prompts."""
    words = ", ".join(f'"{{trigger}} {{class}} at place {number}"' for number in range(PROMPTS))
    file = tmp_path / "wide.toml"
    file.write_text(
        'name = "wide"\nfamily = "sd15"\nasset_types = ["character"]\nsteps = 2\nwidth = 32\nheight = 32\n'
        f'[[blocks]]\nname = "core"\nprompts = [{words}]\nseeds = [1]\n'
        '[[blocks]]\nname = "bleed"\nprompts = ["a {class}"]\nseeds = [1]\n'
    )
    add_suite(world.project, file)
    with world.project.write() as session:
        first = session.exec(select(Run).where(Run.id == 2)).one()
        for number in (3, 4):
            world.add_version(session, first.asset_id, number, first.dataset_id, first.base_model_id, rank=16)
    return world


def finish(world, request):
    while jobs := ranking_jobs(world.project, request):
        for job in jobs:
            workdir = world.folder / f"job{job}"
            if world.job(job).state == "queued":
                {"render": world.render, "score": world.score}[world.job(job).kind](job, workdir)
    return ranking(world.project, request)


def ask(world, *numbers, **kwargs):
    return request_ranking(world.project, [f"mara/v{number}" for number in numbers], suite="wide", **kwargs)


def approve(world, number):
    with world.project.write() as session:
        version = session.exec(select(Version).where(Version.number == number)).one()
        version.stage = "approved"
        session.add(version)
        session.add(Alias(asset_id=version.asset_id, name="approved", version_id=version.id))


def test_candidates_are_rendered_once_and_ranked(film):
    request = ask(film, 1, 2, 3, baseline="mara/v1")
    with pytest.raises(TryAgainError):
        ranking(film.project, request)
    found = finish(film, request)
    with film.project.read() as session:
        assert len(session.exec(select(Job).where(Job.kind == "render")).all()) == 1
    rows = found.ranking.rows
    assert [row.name for row in rows] == ["mara/v3", "mara/v2", "mara/v1"]
    assert [row.claim for row in rows] == ["better", "better", "reference"]
    assert rows[0].prompts == PROMPTS
    assert (found.ranking.comparisons, found.ranking.pairs) == (2, 3)
    assert (found.suite, found.metric) == ("wide", "Probe")
    # Asking again finds everything.
    assert ask(film, 1, 2, 3, baseline="mara/v1") == request
    assert ranking(film.project, request) == found


def test_the_scores_are_those_of_the_comparisons(film):
    request = ask(film, 1, 2, baseline="mara/v1")
    found = finish(film, request)
    info = get_comparison(film.project, request.comparisons["mara/v2"])
    figures = info.summary["verdict_inputs"]["probe"]["core"]
    best = found.ranking.rows[0]
    assert best.score == pytest.approx(figures["similarity"]["new"])
    assert best.effect == pytest.approx(figures["delta"])


def test_the_reference_is_the_approved_version_then_the_longest_trained(film):
    with film.project.write() as session:
        for version in session.exec(select(Version)).all():
            version.step = {1: 100, 2: 300, 3: 200, 4: 200}[version.number]
            session.add(version)
    assert ask(film, 1, 2, 3).reference == "mara/v2"
    approve(film, 4)
    request = ask(film, 1, 2, 3)
    assert (request.reference, sorted(request.comparisons)) == ("mara/v4", ["mara/v1", "mara/v2", "mara/v3"])
    found = finish(film, request)
    assert "mara/v4" not in [row.name for row in found.ranking.rows]
    assert ask(film, 1, 2, 3, baseline="mara/v1").reference == "mara/v1"


def test_equal_versions_are_not_told_apart_and_the_earliest_is_suggested(film):
    def same(job_id, workdir):
        """v3 draws what v2 draws."""
        result = film.score_result(job_id)
        info = film.job(job_id).payload["comparison"]
        if get_comparison(film.project, info).version == "mara/v3":
            probe = result.scores["probe"]
            probe.update({key.replace("baseline", "new"): value for key, value in probe.items() if "baseline" in key})
        comparison.register_result(film.project, job_id, result, workdir)
        film.finish(job_id)

    with film.project.write() as session:
        for version in session.exec(select(Version)).all():
            version.step = 100 * version.number
            session.add(version)
    film.score = same
    found = finish(film, ask(film, 1, 3, 2, baseline="mara/v2"))
    assert set(found.ranking.beside_best) == {"mara/v2", "mara/v3"}
    assert found.ranking.suggestion == "mara/v2"
    assert "the earliest of them, mara/v2, is suggested" in found.ranking.sentence


def test_guard_rails_of_the_verdict_speak(film):
    request = ask(film, 1, 2, 3, baseline="mara/v1")
    finish(film, request)
    with film.project.write() as session:
        row = session.get_one(Comparison, request.comparisons["mara/v3"])
        guard = {"title": "copy risk", "outcome": "veto"}
        row.summary = {**row.summary, "verdict": {**(row.summary.get("verdict") or {}), "guards": [guard]}}
        session.add(row)
    found = ranking(film.project, request)
    assert found.ranking.rows[0].vetoes == ("copy risk",)
    assert found.ranking.suggestion == "mara/v2"
    with film.project.write() as session:
        row = session.get_one(Comparison, request.comparisons["mara/v3"])
        row.summary = {key: value for key, value in row.summary.items() if key != "verdict"}
        session.add(row)
    assert ranking(film.project, request).ranking.suggestion == "mara/v3"


def test_versions_that_are_judged_by_different_references_are_compared_by_their_differences(film):
    # v1 learned from d1 and the others from d2, which holds out one reference more.
    found = finish(film, ask(film, 1, 2, 3, baseline="mara/v2"))
    assert any("different held-out references" in note for note in found.ranking.notes)
    assert [row.name for row in found.ranking.rows] == ["mara/v3", "mara/v2", "mara/v1"]
    assert [row.claim for row in found.ranking.rows] == ["better", "reference", "worse"]


def test_what_cannot_be_ranked_is_said(film):
    with pytest.raises(UsageError, match="alone cannot be ranked"):
        ask(film, 2)
    with pytest.raises(UsageError, match="needs versions"):
        request_ranking(film.project, [])
    set_asset(film.project, "mara", settings={"metrics": ["ssim"]})
    with pytest.raises(UsageError, match="nothing to rank versions of mara by"):
        ask(film, 1, 2)
    with film.project.read() as session:
        assert session.exec(select(Job)).all() == []


def test_failed_renders_fail_the_ranking_and_asking_again_retries(film):
    request = ask(film, 1, 2, baseline="mara/v1")
    (job,) = ranking_jobs(film.project, request)
    rendering.close_job(film.project, job, "failed", "out of memory")
    film.finish(job, "failed")
    with pytest.raises(JobError, match=r"mara/v2 ended as failed: Its renders failed\."):
        ranking(film.project, request)
    assert finish(film, ask(film, 1, 2, baseline="mara/v1")).ranking.rows[0].name == "mara/v2"


def test_the_command_says_what_cannot_be_told_apart_and_leaves_the_picking_to_people(film, capsys):
    def rank(*words):
        capsys.readouterr()
        code = run_words(["rank", *words, "--suite", "wide", "--project", "film"])
        out, err = capsys.readouterr()
        return code, out, err

    words = ("mara/v1", "mara/v2", "mara/v3", "--against", "mara/v1")
    code, out, err = rank(*words, "--json")
    assert code == ExitCode.OK
    assert json.loads(out)["ranking"] is None
    assert "assetforge work" in err
    finish(film, ask(film, 1, 2, 3, baseline="mara/v1"))
    code, out, _ = rank(*words)
    assert code == ExitCode.OK
    assert "2 comparisons with mara/v1 and 3 among the candidates" in out
    assert "pick one with: assetforge approve mara/v" in out
    document = json.loads(rank(*words, "--json")[1])
    assert document["schema"] == "assetforge/rank/1"
    assert document["ranking"]["rows"][0]["name"] == "mara/v3"
    assert rank()[0] == ExitCode.USAGE
    assert rank("mara/v1", "--run", "1")[0] == ExitCode.USAGE
    with film.project.read() as session:
        assert {version.stage for version in session.exec(select(Version)).all()} == {"candidate"}
