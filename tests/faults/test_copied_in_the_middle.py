"""A film's folder that is copied while it trains: the original ends its run undisturbed, and the copy can go on with its own."""

import subprocess
import threading

import pytest
from sqlmodel import select

from assetforge import agent
from assetforge.db.models import Run, Version
from assetforge.db.models_jobs import Job
from assetforge.extension.registry import reset_registry
from assetforge.jobs.control import get_job, retry_job
from assetforge.jobs.driver import Pace
from assetforge.jobs.supervisor import Supervisor
from assetforge.services.assets import add_asset
from assetforge.services.datasets import freeze
from assetforge.services.ingest import add_references
from assetforge.services.maintenance import check_project
from assetforge.services.project_config import set_value
from assetforge.services.projects import open_project
from assetforge.services.training import request_training
from assetforge.testing.executor_contract import end_processes, wait_until

pytest.importorskip("assetforge_example")
PACE = Pace(poll_s=0.05, cancel_s=0.1, backoff_s=0.05, guard_s=0.5)


class Working:
    """A supervisor on a film for the length of a block."""

    def __init__(self, film):
        self.said = []
        self.supervisor = Supervisor(film, pace=PACE, say=self.said.append)
        self.thread = threading.Thread(target=self.supervisor.run, kwargs={"until_idle": True})

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.supervisor.stop()
        self.thread.join()


@pytest.fixture
def training(project, make_png, tmp_path, monkeypatch):
    monkeypatch.setenv("ASSETFORGE_PLUGINS", "example")
    reset_registry()
    set_value(project.paths.config, "queue.min_free_gb", 0.0)
    add_asset(project, "coat", "costume", trigger="rdcoat", class_word="outfit")
    for seed in range(6):
        make_png(tmp_path / "pictures" / f"{seed}.png", seed)
    add_references(project, "coat", [tmp_path / "pictures"])
    freeze(project, "coat")
    yield project, request_training(project, "coat", overrides={"steps": 6000, "checkpoint_every": 500})
    reset_registry()


def weights(project):
    with project.read() as session:
        return [one.tensor_hash for one in session.exec(select(Version))]


@pytest.mark.slow
def test_both_end_with_the_same_weights(training, tmp_path):
    film, request = training
    workdir = film.paths.job(request.job)
    copied_workdir = tmp_path / "copy" / ".assetforge" / "jobs" / workdir.name
    try:
        with Working(film) as original:
            wait_until(lambda: list(workdir.glob("checkpoints/*.state.json")), "it has saved once")
            # Files that are renamed away meanwhile are complained about, as they are to any person who does this.
            subprocess.run(["cp", "-r", str(film.root), str(tmp_path / "copy")], check=False, capture_output=True)
            with open_project(tmp_path / "copy") as copy:
                assert get_job(copy, request.job).state == "lost"
                with copy.read() as session:
                    assert session.exec(select(Run.state)).all() == ["lost"]
                assert agent.read_status(workdir)["state"] == "running"
                assert agent.read_status(copied_workdir)["state"] == "lost"
                retry_job(copy, request.job)
                with Working(copy) as second:
                    wait_until(lambda: not second.thread.is_alive(), "the copy ends its run", 120.0)
                    wait_until(lambda: not original.thread.is_alive(), "the original ends its run", 120.0)
                assert get_job(copy, request.job).state == "succeeded", second.said
                assert len(weights(copy)) == 1
                assert check_project(copy, level="deep").problems == ()
                assert weights(copy) == weights(film)
        job = get_job(film, request.job)
        assert (job.state, job.attempt) == ("succeeded", 1), original.said
        starts = [
            agent.parse(line)["resumed_from"]
            for _, line in agent.read_lines(copied_workdir, 0)
            if agent.parse(line).get("kind") == "started"
        ]
        assert starts[-1] > 0, "the copy resumed from the checkpoint that came along"
        with film.read() as session:
            assert session.get_one(Job, request.job).handle["workdir"] == str(workdir)
    finally:
        for folder in (workdir, copied_workdir):
            if folder.is_dir():
                end_processes(folder)
