"""``assetforge work`` and ``assetforge jobs``: the contract of their documents and exit codes."""

import json

import pytest

from assetforge.cli.app import run
from assetforge.db.queue_rows import enqueue
from assetforge.extension.registry import reset_registry
from assetforge.services.assets import add_asset
from assetforge.services.datasets import freeze
from assetforge.services.ingest import add_references
from assetforge.services.training import request_training


@pytest.fixture
def job(project):
    with project.write() as session:
        return enqueue(session, kind="score", subject="mara/v1", payload={}, executor="moon")


def document(capsys, *words):
    code = run([*words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_jobs_are_listed_and_shown(project, job, capsys):
    code, listed = document(capsys, "jobs", "list")
    assert (code, listed["schema"], len(listed["jobs"])) == (0, "assetforge/jobs-list/1", 1)
    code, shown = document(capsys, "jobs", "show", str(job))
    assert (code, shown["job"]["state"], shown["job"]["subject"]) == (0, "queued", "mara/v1")
    assert document(capsys, "jobs", "list", "--state", "failed")[1]["jobs"] == []


def test_a_job_that_does_not_exist_is_exit_code_3(project, capsys):
    assert run(["jobs", "show", "9"]) == 3
    assert run(["jobs", "cancel", "9"]) == 3
    assert run(["jobs", "logs", "9"]) == 3


def test_a_waiting_job_is_cancelled_and_tried_again(project, job, capsys):
    assert document(capsys, "jobs", "cancel", str(job))[1]["state"] == "cancelled"
    assert run(["jobs", "cancel", str(job)]) == 2
    assert run(["jobs", "retry", str(job)]) == 0
    capsys.readouterr()
    assert document(capsys, "jobs", "show", str(job))[1]["job"]["state"] == "queued"


def test_working_until_idle_ends_and_says_why_a_job_failed(project, job, capsys):
    assert run(["work", "--until-idle"]) == 0
    assert "moon" in capsys.readouterr().err
    assert document(capsys, "jobs", "show", str(job))[1]["job"]["state"] == "failed"
    assert run(["work", "--until-idle"]) == 0


def test_a_waiting_job_is_hurried(project, job, capsys):
    code, told = document(capsys, "jobs", "priority", str(job), "-10")
    assert (code, told["priority"]) == (0, -10)
    assert document(capsys, "jobs", "show", str(job))[1]["job"]["priority"] == -10
    assert run(["jobs", "priority", "9", "1"]) == 3


def test_a_run_is_stopped_says_how_to_go_on_and_goes_on(project, make_png, tmp_path, monkeypatch, capsys):
    pytest.importorskip("assetforge_example")
    monkeypatch.setenv("ASSETFORGE_PLUGINS", "example")
    reset_registry()
    add_asset(project, "coat", "costume", trigger="rdcoat", class_word="outfit")
    for seed in range(3):
        make_png(tmp_path / "pictures" / f"{seed}.png", seed=seed)
    add_references(project, "coat", [tmp_path / "pictures"])
    freeze(project, "coat")
    number = str(request_training(project, "coat", overrides={"steps": 20}).run)
    assert document(capsys, "run", "priority", number, "3")[1]["priority"] == 3
    code, told = document(capsys, "run", "stop", number, "--wait")
    assert (code, told["schema"], told["state"]) == (0, "assetforge/run-stop/1", "cancelled")
    stopped = document(capsys, "run", "show", number)[1]["run"]
    assert (stopped["state"], f"`assetforge run resume {number}`" in stopped["error"]) == ("cancelled", True)
    assert run(["run", "resume", number]) == 0
    capsys.readouterr()
    assert document(capsys, "run", "show", number)[1]["run"]["state"] == "queued"
    reset_registry()
