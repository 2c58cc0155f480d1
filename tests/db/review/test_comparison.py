import pytest
from sqlmodel import select

from assetforge.db.models import BaseModelRecord, DatasetItemRow, Run
from assetforge.db.models_jobs import Comparison, Evaluation, Job
from assetforge.domain.canonical import digest
from assetforge.errors import JobError, NotFoundError, TryAgainError, UsageError
from assetforge.services import comparison, rendering
from assetforge.services.assets import set_asset
from assetforge.services.comparison import get_comparison, list_comparisons, read_scores, request_comparison
from assetforge.services.releases import approve


def test_the_whole_way_from_a_wish_to_figures(world):
    info = world.compare("mara/v2", "mara/v1")
    assert info.state == "succeeded"
    summary = info.summary
    figures = summary["verdict_inputs"]["probe"]
    assert summary["primary"] == "probe"
    # v2 is painted nearer to the references' colour than v1, and both nearer than the bare base.
    assert figures["core"]["delta"] > 0
    assert figures["core"]["nearer_than_control"] == {"new": {"yes": 4, "of": 4}, "baseline": {"yes": 4, "of": 4}}
    similarity = figures["core"]["similarity"]
    assert similarity["control"] < similarity["baseline"] < similarity["new"] < figures["ceiling"]["similarity"] <= 1
    assert figures["bleed"]["distance_to_control"]["new"] < 0.1
    assert figures["overall"]["cells"] == 6
    assert [entry["seeds"] for entry in figures["prompts"] if entry["block"] == "core"] == [2, 2]
    assert summary["engines"]["equal"]
    assert summary["references"]["used"] == 3
    assert summary["counts"] == {
        "cells": 8,
        "prompts": 4,
        "strength_zero": 1,
        "strength_zero_identical": 1,
        "identical_to_baseline": 1,
    }
    assert (
        "mara/v2 is nearer to the held-out references than the bare base in 4 of 4 core pictures (mara/v1: 4 of 4)"
        in summary["sentence"]
    )
    assert 0 < summary["pixels"]["pairs"]["ssim"]["new|baseline"] < 1
    assert not any(metric["gates"] for metric in summary["metrics"] if metric["name"] != "probe")
    assert {metric["name"] for metric in summary["metrics"]} >= {"probe", "ssim", "sharpness"}
    assert not {"style-only", "other-base"} & {metric["name"] for metric in summary["metrics"]}


def test_scores_are_kept_whole(world):
    info = world.compare("mara/v2", "mara/v1")
    scores = read_scores(world.project, info.id)
    assert len(scores["cells"]) == 8
    zero = next(cell for cell in scores["cells"] if cell["strength"] == 0)
    assert zero["identical"] == {"new|baseline": True, "new|control": True, "baseline|control": True}
    assert zero["pixels"]["ssim"]["new|control"] == pytest.approx(1.0)
    assert zero["embeddings"]["probe"]["distance_to_control"]["new"] == pytest.approx(0.0, abs=1e-9)
    assert zero["control_index"] == 0
    assert len(scores["raw"]["probe"]["new/0000"]) == 3
    assert world.project.blobs.verify(info.scores)


def test_nobody_has_to_stay_for_the_score_job(world, tmp_path):
    """Renders that are registered queue the score job by themselves: the asker may be gone."""
    info = request_comparison(world.project, "mara/v2", "mara/v1")
    (render_job,) = info.jobs
    result = world.render_result(render_job, tmp_path)
    rendering.register_result(world.project, render_job, result, tmp_path)
    rendering.register_result(world.project, render_job, result, tmp_path)
    world.finish(render_job)
    waiting = get_comparison(world.project, info.id)
    assert waiting.state == "queued"
    assert [world.job(job).kind for job in waiting.jobs] == ["score"]
    score = world.score_result(waiting.jobs[0])
    comparison.register_result(world.project, waiting.jobs[0], score, tmp_path)
    done = get_comparison(world.project, info.id)
    comparison.register_result(world.project, waiting.jobs[0], score, tmp_path)
    assert get_comparison(world.project, info.id).summary == done.summary


def test_asking_again_does_nothing_anew(world):
    first = world.compare("mara/v2", "mara/v1")
    second = request_comparison(world.project, "mara/v2", "mara/v1")
    assert (second.id, second.state, second.jobs) == (first.id, "succeeded", ())
    # Only the other metrics are scored; nothing is rendered.
    third = request_comparison(world.project, "mara/v2", "mara/v1", metrics=["probe"])
    assert third.id != first.id
    assert [world.job(job).kind for job in third.jobs] == ["score"]
    assert [info.id for info in list_comparisons(world.project, "mara/v2")] == [third.id, first.id]


def test_the_baseline_is_the_approved_version_then_the_one_before(world):
    assert request_comparison(world.project, "mara/v2").baseline == "mara/v1"
    assert request_comparison(world.project, "mara/v1").baseline == ""
    approve(world.project, "mara/v2", why="better", review="skipped")
    assert request_comparison(world.project, "mara/v1").baseline == "mara/v2"
    assert request_comparison(world.project, "mara/v2").baseline == "mara/v1"


def test_a_first_version_is_compared_with_the_bare_base(world):
    info = world.compare("mara/v1")
    figures = info.summary["verdict_inputs"]["probe"]
    assert figures["core"]["delta"] is None
    assert figures["core"]["delta_to_control"] > 0
    assert info.summary["sentence"].endswith("there is no earlier version, other than rejected ones, to compare with.")


def test_references_that_the_baseline_learned_from_do_not_judge(world):
    with world.project.write() as session:
        held = session.exec(
            select(DatasetItemRow).where(DatasetItemRow.dataset_id == 1, DatasetItemRow.split == "held_out")
        ).first()
        held.split = "train"
        session.add(held)
    info = world.compare("mara/v2", "mara/v1")
    assert info.summary["references"] == {"dataset": "mara/d2", "used": 2, "leaked": 1}
    assert "leaked" in {flag["code"] for flag in info.summary["flags"]}


def test_without_held_out_references_it_says_so(world):
    with world.project.write() as session:
        for row in session.exec(select(DatasetItemRow)).all():
            row.split = "train"
            session.add(row)
    info = world.compare("mara/v2", "mara/v1")
    assert "no-held-out" in {flag["code"] for flag in info.summary["flags"]}
    assert "was not measured: no reference is held out" in info.summary["sentence"]


def test_without_an_embedding_metric_it_says_so(world):
    info = world.compare("mara/v2", "mara/v1", metrics=["ssim"])
    assert info.summary["primary"] == ""
    assert "identity-not-measured" in {flag["code"] for flag in info.summary["flags"]}
    assert "Structural similarity to mara/v1" in info.summary["sentence"]


def test_a_picture_with_nothing_to_measure_is_left_out_and_counted(world, tmp_path):
    info = request_comparison(world.project, "mara/v2", "mara/v1")
    world.render(info.jobs[0], tmp_path)
    (job,) = get_comparison(world.project, info.id).jobs
    result = world.score_result(job)
    result.scores["probe"]["new/0000"] = [0.0, 0.0, 0.0]
    result.scores["sharpness"]["new/0001"] = float("nan")
    comparison.register_result(world.project, job, result, tmp_path)
    summary = get_comparison(world.project, info.id).summary
    core = summary["verdict_inputs"]["probe"]["core"]
    assert (core["unmeasured"], core["nearer_than_control"]["new"]["of"]) == (1, 3)
    assert digest(summary)
    assert read_scores(world.project, info.id)["raw"]["sharpness"]["new/0001"] is None


def test_broken_and_strange_pictures_are_flagged(world, tmp_path):
    from assetforge.api.job import Result

    info = request_comparison(world.project, "mara/v2", "mara/v1")
    world.render(info.jobs[0], tmp_path)
    (job,) = get_comparison(world.project, info.id).jobs
    result: Result = world.score_result(job)
    result.scores["black-share"]["new/0002"] = 1.0
    result.scores["sharpness"]["new/0003"] = 1e-9
    comparison.register_result(world.project, job, result, tmp_path)
    flags = {flag["code"]: flag["cells"] for flag in get_comparison(world.project, info.id).summary["flags"]}
    assert flags["black"] == [2]
    assert 3 in flags["soft"]


def test_different_engines_are_never_compared_silently(world, tmp_path):
    first = rendering.request_render(world.project, "mara/v1")
    world.render(first.job_id, tmp_path / "a", engine={"device": "cpu", "torch": "2.13"})
    info = request_comparison(world.project, "mara/v2", "mara/v1")
    world.render(info.jobs[0], tmp_path / "b", engine={"device": "cpu", "torch": "2.14"})
    (job,) = get_comparison(world.project, info.id).jobs
    world.score(job, tmp_path)
    summary = get_comparison(world.project, info.id).summary
    assert not summary["engines"]["equal"]
    assert "engines" in {flag["code"] for flag in summary["flags"]}
    again = request_comparison(world.project, "mara/v2", "mara/v1", fresh=True)
    assert again.id != info.id
    world.render(again.jobs[0], tmp_path / "c")
    world.score(get_comparison(world.project, again.id).jobs[0], tmp_path)
    assert get_comparison(world.project, again.id).summary["engines"]["equal"]


def test_failed_renders_end_the_comparison_and_asking_again_starts_anew(world):
    info = request_comparison(world.project, "mara/v2", "mara/v1")
    rendering.close_job(world.project, info.jobs[0], "failed", "out of memory")
    world.finish(info.jobs[0], "failed")
    failed = get_comparison(world.project, info.id)
    assert (failed.state, failed.jobs) == ("failed", ())
    again = world.compare("mara/v2", "mara/v1")
    assert (again.id, again.state) == (info.id, "succeeded")


def test_a_failed_score_job_ends_the_comparison_and_asking_again_scores_anew(world, tmp_path):
    info = request_comparison(world.project, "mara/v2", "mara/v1")
    world.render(info.jobs[0], tmp_path)
    (job,) = get_comparison(world.project, info.id).jobs
    with pytest.raises(JobError, match="no scores of"):
        comparison.register_result(
            world.project, job, world.score_result(job).model_copy(update={"scores": {}}), tmp_path
        )
    comparison.close_job(world.project, job, "failed", "the metric raised")
    world.finish(job, "failed")
    failed = get_comparison(world.project, info.id)
    assert failed.state == "failed"
    assert failed.summary["error"] == "the metric raised"
    with pytest.raises(TryAgainError):
        read_scores(world.project, info.id)
    assert world.compare("mara/v2", "mara/v1").state == "succeeded"


def test_a_score_job_that_vanished_is_queued_anew(world, tmp_path):
    info = request_comparison(world.project, "mara/v2", "mara/v1")
    world.render(info.jobs[0], tmp_path)
    world.finish(get_comparison(world.project, info.id).jobs[0], "lost")
    again = request_comparison(world.project, "mara/v2", "mara/v1")
    assert [world.job(job).state for job in again.jobs] == ["queued"]


def test_what_cannot_be_compared_is_said(world):
    with pytest.raises(UsageError, match="same version"):
        request_comparison(world.project, "mara/v2", "mara@latest")
    with pytest.raises(NotFoundError):
        request_comparison(world.project, "mara/v2", "mara@approved")
    with pytest.raises(UsageError, match="says nothing about a character"):
        request_comparison(world.project, "mara/v2", metrics=["style-only"])
    with world.project.read() as session:
        assert session.exec(select(Comparison)).all() == []


def test_versions_on_two_base_models_each_get_their_own_and_it_is_said(world):
    with world.project.write() as session:
        other = BaseModelRecord(name="bigger", family="sd15", digest="c" * 64, path="/nowhere", resolution=32)
        session.add(other)
        session.flush()
        session.get_one(Run, 2).base_model_id = other.id
    info = world.compare("mara/v2", "mara/v1")
    assert info.state == "succeeded"
    assert "bases" in {flag["code"] for flag in info.summary["flags"]}
    with world.project.read() as session:
        row = session.get_one(Comparison, info.id)
        evaluations = [
            session.get_one(Evaluation, one)
            for one in (row.evaluation_id, row.baseline_evaluation_id, row.control_evaluation_id)
        ]
        names = [session.get_one(BaseModelRecord, one.base_model_id).name for one in evaluations]
        jobs = len(session.exec(select(Job).where(Job.kind == "render")).all())
    # The control is that of the new version; one job loads one base.
    assert names == ["bigger", "tiny", "bigger"]
    assert jobs == 2


def test_an_asset_may_choose_its_metrics(world):
    set_asset(world.project, "mara", settings={"metrics": ["ssim", "probe"]})
    info = world.compare("mara/v2", "mara/v1")
    assert [metric["name"] for metric in info.summary["metrics"]] == ["ssim", "probe"]
    assert info.summary["primary"] == "probe"
    set_asset(world.project, "mara", settings={"metrics": "ssim"})
    with pytest.raises(UsageError, match="not a list of names"):
        request_comparison(world.project, "mara/v2")
