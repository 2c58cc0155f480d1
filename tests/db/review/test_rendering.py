import threading

import pytest
from sqlmodel import col, select

from assetforge.api.job import RenderPayload
from assetforge.db.models_jobs import Engine, Evaluation, Job, Render
from assetforge.errors import JobError, NotFoundError, UsageError
from assetforge.services import rendering
from assetforge.services.rendering import request_render, request_renders

CELLS, CONTROLS = 8, 5


def count(project, model):
    with project.read() as session:
        return len(session.exec(select(model)).all())


def test_version_and_control_become_one_job_and_are_rendered_once(world, tmp_path):
    project = world.project
    request = request_render(project, "mara/v2")
    assert [(one.subject, one.control, one.cells) for one in request.evaluations] == [
        ("mara/v2", False, CELLS),
        ("base tiny", True, CONTROLS),
    ]
    assert len(request.jobs) == 1
    assert request_render(project, "mara@latest").jobs == request.jobs

    plan = rendering.plan_job(project, request.job_id)
    payload = RenderPayload.model_validate(plan.spec.payload)
    lora = payload.passes[0].lora
    assert [(one.path, one.sha256) for one in plan.inputs] == [(lora.file, lora.sha256)]
    assert payload.passes[1].lora is None
    assert {cell.strength for cell in payload.passes[1].cells} == {0.0}
    assert payload.settings.width == 32
    assert plan == rendering.plan_job(project, request.job_id)

    world.render(request.job_id, tmp_path / "work")
    again = request_render(project, "mara/v2")
    assert again.job_id is None
    assert again.reused == 2
    assert count(project, Render) == CELLS + CONTROLS
    assert count(project, Engine) == 1
    with project.read() as session:
        for render in session.exec(select(Render)).all():
            assert project.blobs.verify(render.sha256)


def test_another_version_shares_the_control(world, tmp_path):
    first = request_render(world.project, "mara/v1")
    world.render(first.job_id, tmp_path / "work")
    second = request_render(world.project, "mara/v2")
    assert second.reused == 1
    assert second.evaluations[1].id == first.evaluations[1].id
    payload = RenderPayload.model_validate(rendering.plan_job(world.project, second.job_id).spec.payload)
    assert [one.lora.name for one in payload.passes] == ["mara/v2"]


def test_registering_twice_changes_nothing(world, tmp_path):
    request = request_render(world.project, "mara/v2")
    result = world.render_result(request.job_id, tmp_path)
    rendering.register_result(world.project, request.job_id, result, tmp_path)
    rendering.register_result(world.project, request.job_id, result, tmp_path)
    assert count(world.project, Render) == CELLS + CONTROLS


def tamper(path, one, cell):
    if cell.index == 3 and one.lora is not None:
        path.unlink()


def test_a_missing_picture_refuses_the_whole_result(world, tmp_path):
    request = request_render(world.project, "mara/v2")
    result = world.render_result(request.job_id, tmp_path, spoil=tamper)
    with pytest.raises(JobError, match=r"lacks 1 of 8 pictures \(first: cell 3\)"):
        rendering.register_result(world.project, request.job_id, result, tmp_path)
    assert count(world.project, Render) == 0


def test_changed_bytes_are_refused(world, tmp_path):
    request = request_render(world.project, "mara/v2")
    result = world.render_result(request.job_id, tmp_path)
    victim = tmp_path / result.cells[0].file
    victim.write_bytes(victim.read_bytes() + b"x")
    with pytest.raises(JobError, match="changed after"):
        rendering.register_result(world.project, request.job_id, result, tmp_path)


@pytest.mark.parametrize(("data", "says"), [(b"not a picture", "not a PNG"), (None, "64 x 48 pixels")])
def test_pictures_of_the_wrong_kind_or_size_are_refused(world, tmp_path, make_png, data, says):
    def spoil(path, one, cell):
        if cell.index == 0:
            path.write_bytes(data) if data else make_png(path)

    request = request_render(world.project, "mara/v2")
    result = world.render_result(request.job_id, tmp_path, spoil=spoil)
    with pytest.raises(JobError, match=says):
        rendering.register_result(world.project, request.job_id, result, tmp_path)


def test_a_failed_job_is_queued_anew_when_asked_again(world, tmp_path):
    request = request_render(world.project, "mara/v2")
    rendering.close_job(world.project, request.job_id, "failed", "out of memory")
    world.finish(request.job_id, "failed")
    again = request_render(world.project, "mara/v2")
    assert again.job_id not in (None, request.job_id)
    assert [one.id for one in again.evaluations] == [one.id for one in request.evaluations]
    # The old job's late end must not touch what the new one owns.
    rendering.close_job(world.project, request.job_id, "lost", "")
    with world.project.read() as session:
        assert {row.state for row in session.exec(select(Evaluation)).all()} == {"queued"}


def test_devices_are_different_evaluations(world):
    first = request_render(world.project, "mara/v2", device="cpu")
    second = request_render(world.project, "mara/v2", device="cuda")
    assert first.evaluations[0].id != second.evaluations[0].id
    assert world.job(second.job_id).device == "cuda"


def test_without_control_only_the_version_is_rendered(world):
    request = request_renders(world.project, ["mara/v1", "mara/v2"], with_control=False)
    assert [one.subject for one in request.evaluations] == ["mara/v1", "mara/v2"]
    assert len(request.jobs) == 1


def test_what_cannot_be_rendered_is_said(world):
    with pytest.raises(NotFoundError, match="mara/v9"):
        request_render(world.project, "mara/v9")
    with pytest.raises(NotFoundError, match="no suite named 'nope'"):
        request_render(world.project, "mara/v1", suite="nope")
    with pytest.raises(NotFoundError, match="no renderer"):
        request_render(world.project, "mara/v1", renderer="nope")
    with pytest.raises(UsageError, match="no parameter"):
        request_render(world.project, "mara/v1", params={"stepz": 3})
    with world.project.read() as session:
        assert session.exec(select(Job).where(col(Job.kind) == "render")).all() == []


def test_a_job_that_was_put_back_by_hand_is_joined(world, tmp_path):
    request = request_render(world.project, "mara/v2")
    rendering.close_job(world.project, request.job_id, "failed", "out of memory")
    world.finish(request.job_id, "queued")
    assert request_render(world.project, "mara/v2").jobs == request.jobs
    world.render(request.job_id, tmp_path)
    assert request_render(world.project, "mara/v2").reused == 2


def test_two_askers_at_once_queue_one_job(world):
    found = []

    def ask():
        found.append(request_render(world.project, "mara/v2").jobs)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    assert count(world.project, Evaluation) == 2


def test_fresh_renders_stand_beside_the_old_ones_and_are_what_is_used_from_then_on(world, tmp_path):
    first = request_render(world.project, "mara/v2")
    world.render(first.job_id, tmp_path / "a", engine={"driver": "1"})
    fresh = request_render(world.project, "mara/v2", fresh=True)
    assert fresh.reused == 0
    assert {one.id for one in fresh.evaluations}.isdisjoint(one.id for one in first.evaluations)
    # Asking twice while it is queued does not queue a third time.
    assert request_render(world.project, "mara/v2", fresh=True).jobs == fresh.jobs
    world.render(fresh.job_id, tmp_path / "b", engine={"driver": "2"})
    usual = request_render(world.project, "mara/v2")
    assert [one.id for one in usual.evaluations] == [one.id for one in fresh.evaluations]
    assert count(world.project, Engine) == 2
    assert count(world.project, Render) == 2 * (CELLS + CONTROLS)
