"""``assetforge work`` and ``assetforge jobs``: the contract of their documents and exit codes."""

import json

import pytest

from assetforge.cli.app import run
from assetforge.db.queue_rows import enqueue


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
