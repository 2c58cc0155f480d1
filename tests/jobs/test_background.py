"""The supervisor that `--wait` starts: detached, alone, and gone when there is nothing left to do."""

import subprocess
import sys
import time

import pytest

from assetforge.db.models_jobs import Job
from assetforge.errors import NotFoundError
from assetforge.jobs import background
from assetforge.jobs.background import ensure_supervisor, presence, supervisor_is_here, wait_for_job
from assetforge.jobs.control import get_job
from assetforge.testing.executor_contract import wait_until


def test_it_is_started_once_works_and_goes(project, queue_job, monkeypatch):
    monkeypatch.setattr(background, "_LINGER_S", 1.0)
    job = queue_job()
    with project.write() as session:
        session.get_one(Job, job).executor = "moon"
    before = time.monotonic()
    ensure_supervisor(project)
    assert time.monotonic() - before < 5, "it waited for the supervisor"
    wait_until(lambda: supervisor_is_here(project), "it is there")
    ensure_supervisor(project)
    # The job names no run, so its service refuses to close it; it ends all the same.
    assert wait_for_job(project, job, lambda _: None) == "failed"
    assert "moon" in get_job(project, job).error
    wait_until(lambda: not supervisor_is_here(project), "it goes by itself")
    assert (project.paths.logs / "supervisor.log").read_text().count(f"job {job}: failed") == 1


def test_a_second_background_supervisor_steps_back(project, queue_job):
    with presence(project):
        queue_job()
        command = [sys.executable, "-m", "assetforge.jobs.supervisor", str(project.root)]
        subprocess.run(command, check=True, timeout=30)
    assert get_job(project, 1).state == "queued"


def test_waiting_for_nothing_is_an_error(project):
    with pytest.raises(NotFoundError):
        wait_for_job(project, 1, lambda _: None, supervise=lambda _: None)
