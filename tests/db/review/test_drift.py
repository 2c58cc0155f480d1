"""Checks for drift, from the wish to the answer, with real files and real pictures."""

import json
import os

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file
from sqlmodel import select

from assetforge.cli.app import run as run_words
from assetforge.cli.exit_codes import ExitCode
from assetforge.db.models import Alias, BaseModelRecord, Version
from assetforge.db.models_jobs import Evaluation
from assetforge.db.models_review import DriftCheck
from assetforge.errors import NotFoundError, UsageError
from assetforge.services import rendering
from assetforge.services.drift import drift_checks, engine_noise, list_drift_checks, request_drift_checks
from assetforge.services.drift_files import digest_anew
from assetforge.services.rendering import request_render
from assetforge.store.model_digest import model_digest

ENGINE = {"device": "cuda", "device_name": "H100", "driver": "570", "torch": "2.13"}


@pytest.fixture
def base_file(world, tmp_path):
    """A base model with real files."""
    folder = tmp_path / "base"
    folder.mkdir()
    save_file({"x": np.zeros((700, 500), np.float32)}, folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    with world.project.write() as session:
        row = session.exec(select(BaseModelRecord)).one()
        row.path, row.digest = str(folder), model_digest(folder)
        session.add(row)
    return folder / "model.safetensors"


@pytest.fixture
def rendered(world, base_file, tmp_path):
    """mara/v2 is approved and was rendered."""
    request = request_render(world.project, "mara/v2")
    world.render(request.job_id, tmp_path / "first", engine=ENGINE)
    with world.project.write() as session:
        version = session.exec(select(Version).where(Version.number == 2)).one()
        version.stage = "approved"
        session.add(version)
        session.add(Alias(asset_id=version.asset_id, name="approved", version_id=version.id))
    return world


def ask(world, *versions, **kwargs):
    return request_drift_checks(world.project, versions, **kwargs).checks[0]


def again(world, check, folder, **kwargs):
    (job,) = check.jobs
    world.render(job, folder, **{"engine": ENGINE, **kwargs})
    return drift_checks(world.project, [check.id])[0]


def shifted(levels, only_lora=False):
    """A picture whose every level is other, as another engine might draw it."""

    def spoil(file, one, cell):
        if one.lora is not None or not only_lora:
            pixels = np.asarray(Image.open(file)).astype(int)
            Image.fromarray(np.clip(pixels + levels, 0, 255).astype(np.uint8)).save(file, format="PNG")

    return {"spoil": spoil}


def flip(path):
    """One bit of a file, which keeps its size and its dates, as a bad disk does it."""
    stat, mode = path.stat(), path.stat().st_mode
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    path.chmod(mode)


def test_the_same_engine_makes_the_same_pictures(rendered, tmp_path):
    check = ask(rendered)
    assert (check.version, check.outcome) == ("mara/v2", "queued")
    assert 4 <= check.pictures <= 8
    done = again(rendered, check, tmp_path / "again")
    assert done.outcome == "same"
    assert not done.drifted
    assert done.statement == f"All {check.pictures} pictures came out as before."
    assert {one["largest"] for one in done.detail["pictures"] + done.detail["controls"]} == {0}
    with rendered.project.read() as session:
        assert engine_noise(session) == [0.0]


def test_what_comparisons_use_stays_what_it_was(rendered, tmp_path):
    usual = request_render(rendered.project, "mara/v2")
    again(rendered, ask(rendered, pictures=100), tmp_path / "again", **shifted(3))
    assert request_render(rendered.project, "mara/v2") == usual
    # The next check looks at the pictures that approvals rest on, not at those of the check before.
    assert again(rendered, ask(rendered), tmp_path / "third").outcome == "same"


def test_another_engine_is_named_with_what_changed(rendered, tmp_path):
    check = ask(rendered)
    done = again(rendered, check, tmp_path / "again", engine={**ENGINE, "torch": "2.14"}, **shifted(2))
    assert (done.outcome, done.drifted) == ("engine", True)
    assert "ran.torch 2.13 -> 2.14" in done.statement
    assert "it is not the LoRA" in done.statement
    assert done.detail["engine"] == [{"name": "ran.torch", "before": "2.13", "after": "2.14"}]
    assert done.detail["finding"]["largest"] == 2
    with rendered.project.read() as session:
        assert engine_noise(session) == []


def test_when_the_bare_base_is_the_same_only_the_lora_path_changed(rendered, tmp_path):
    done = again(rendered, ask(rendered), tmp_path / "again", **shifted(4, only_lora=True))
    assert done.outcome == "unexplained"
    assert "only what wears the LoRA changed" in done.statement
    assert "ran.driver 570" in done.statement
    with rendered.project.read() as session:
        (noise,) = engine_noise(session, renderer="paint")
        assert 3 < noise <= 4
        assert engine_noise(session, renderer="other") == []


def test_a_changed_byte_of_the_base_is_found_though_size_and_date_are_the_same(rendered, base_file):
    recorded = model_digest(base_file.parent)
    flip(base_file)
    assert model_digest(base_file.parent) == recorded, "what is remembered does not see it"
    assert digest_anew(base_file.parent) != recorded
    check = ask(rendered)
    assert (check.outcome, check.jobs, check.pictures) == ("base", (), 0)
    assert "base model tiny changed" in check.statement
    flip(base_file)
    assert ask(rendered).outcome == "queued"


def test_a_base_that_changes_while_the_check_waits_is_not_called_a_failed_job(rendered, base_file):
    check = ask(rendered)
    base_file.unlink()
    rendering.close_job(rendered.project, check.jobs[0], "failed", "the base model is not the one")
    assert drift_checks(rendered.project, [check.id])[0].outcome == "base"


def test_a_flipped_bit_of_the_lora_is_found(rendered):
    with rendered.project.read() as session:
        weights = session.exec(select(Version).where(Version.number == 2)).one().weights
    flip(rendered.project.blobs.path(weights))
    check = ask(rendered)
    assert (check.outcome, check.jobs) == ("lora", ())
    assert "LoRA file of mara/v2 is damaged" in check.statement


def test_failed_renders_are_no_drift_and_asking_again_makes_them(rendered, tmp_path):
    check = ask(rendered)
    (job,) = check.jobs
    rendering.close_job(rendered.project, job, "failed", "out of memory")
    rendering.close_job(rendered.project, job, "failed", "out of memory")
    rendered.finish(job, "failed")
    failed = drift_checks(rendered.project, [check.id])[0]
    assert (failed.outcome, failed.drifted, failed.jobs) == ("failed", False, ())
    second = ask(rendered)
    assert (second.id, second.outcome) == (check.id, "queued")
    assert again(rendered, second, tmp_path / "again").outcome == "same"


def test_a_check_that_is_under_way_is_joined_and_registering_twice_changes_nothing(rendered, tmp_path):
    check = ask(rendered)
    assert ask(rendered).id == check.id
    (job,) = check.jobs
    result = rendered.render_result(job, tmp_path / "again", engine=ENGINE)
    rendering.register_result(rendered.project, job, result, tmp_path / "again")
    rendering.register_result(rendered.project, job, result, tmp_path / "again")
    with rendered.project.read() as session:
        assert [row.outcome for row in session.exec(select(DriftCheck)).all()] == ["same"]
    assert ask(rendered).id != check.id


def test_a_version_that_was_rendered_without_its_base_is_checked_alone(world, base_file, tmp_path):
    request = request_render(world.project, "mara/v1", with_control=False)
    world.render(request.job_id, tmp_path / "first", engine=ENGINE)
    check = ask(world, "mara/v1", pictures=5)
    assert check.pictures == 5
    done = again(world, check, tmp_path / "again", **shifted(2))
    assert done.outcome == "unexplained"
    assert done.detail["controls"] == []


def test_which_versions_are_checked(rendered, tmp_path):
    project = rendered.project
    with pytest.raises(NotFoundError, match="mara/v1 was never rendered"):
        request_drift_checks(project, ["mara/v1"])
    with pytest.raises(UsageError, match="at least 2"):
        request_drift_checks(project, pictures=1)
    request = request_render(project, "mara/v1")
    rendered.render(request.job_id, tmp_path / "v1", engine=ENGINE)
    assert [check.version for check in request_drift_checks(project).checks] == ["mara/v2"]
    both = request_drift_checks(project, everything=True)
    assert [check.version for check in both.checks] == ["mara/v1", "mara/v2"]
    assert [check.version for check in list_drift_checks(project, "mara/v1")] == ["mara/v1"]
    with project.read() as session:
        marked = [row for row in session.exec(select(Evaluation)).all() if row.plan.get("drift")]
    # Both versions stand on one bare base, which is drawn once.
    assert sum(row.version_id is None for row in marked) == 1


def test_the_command_answers_by_its_exit_code(rendered, tmp_path, capsys):
    def drift(*words):
        capsys.readouterr()
        code = run_words(["drift", *words, "--project", "film"])
        out, err = capsys.readouterr()
        return code, out, err

    code, out, err = drift("--json")
    document = json.loads(out)
    assert (code, document["schema"], document["drifted"]) == (ExitCode.OK, "assetforge/drift/1", [])
    assert "assetforge work" in err
    (job,) = document["checks"][0]["jobs"]
    rendered.render(job, tmp_path / "again", engine={**ENGINE, "driver": "580"}, **shifted(1))
    code, out, _ = drift("--log")
    assert code == ExitCode.OK
    assert "mara/v2" in out
    assert "ran.driver 570 -> 580" in out
    with rendered.project.read() as session:
        weights = session.exec(select(Version).where(Version.number == 2)).one().weights
    rendered.project.blobs.path(weights).unlink()
    code, out, _ = drift("mara@approved", "--wait")
    assert code == ExitCode.NO
    assert "LoRA file of mara/v2 is missing" in out
    assert drift("mara/v1")[0] == ExitCode.NOT_FOUND
