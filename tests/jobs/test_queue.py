"""The queue: exactly once, fenced, in order, whatever several supervisors do at once."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing

import pytest
from sqlalchemy import text
from sqlmodel import select

from assetforge.db.models_jobs import Job
from assetforge.db.queue_rows import enqueue
from assetforge.errors import BusyError, NotFoundError, UsageError
from assetforge.jobs import queue
from assetforge.services.projects import Project

ANY = ("auto", "cpu")


def put(project: Project, count: int = 1, **values) -> list[int]:
    with project.write() as session:
        return [enqueue(session, **{"kind": "train", "subject": "mara", "payload": {}, **values}) for _ in range(count)]


def take(project: Project, owner: str = "me", slot: str = "cpu:0", devices=ANY, lease_s: float = 60.0):
    with project.write() as session:
        return queue.claim(session, owner, "local", slot, devices, lease_s)


def row(project: Project, job: int) -> Job:
    with project.read() as session:
        return session.get_one(Job, job)


def test_urgent_jobs_go_first_then_older_ones(project):
    (low,) = put(project)
    (high,) = put(project, priority=5)
    (also_low,) = put(project)
    taken = [take(project, slot=f"cpu:{number}").job for number in range(3)]
    assert taken == [high, low, also_low]
    assert take(project, slot="cpu:9") is None


def test_a_job_waits_for_its_time_its_device_and_its_executor(project):
    put(project, device="cuda")
    put(project, executor="ssh")
    (later,) = put(project)
    with project.write() as session:
        session.get_one(Job, later).not_before = time.time() + 60
    assert take(project) is None
    assert take(project, slot="cuda:0", devices=("auto", "cpu", "cuda")) is not None


def test_a_slot_holds_one_job(project):
    put(project, 2)
    assert take(project, slot="cpu:0")
    assert take(project, "somebody else", slot="cpu:0") is None
    assert take(project, "somebody else", slot="cpu:1")


def test_a_dedupe_key_joins_only_open_jobs(project):
    (first,) = put(project, dedupe_key="k")
    assert put(project, dedupe_key="k") == [first]
    with project.write() as session:
        queue.finish(session, queue.claim(session, "me", "local", "cpu:0", ANY), "failed", "broken")
    (second,) = put(project, dedupe_key="k")
    assert second != first
    with pytest.raises(BusyError), project.write() as session:
        queue.retry(session, first)


def test_unknown_kinds_are_refused(project):
    with pytest.raises(UsageError):
        put(project, kind="dance")


def test_a_stale_owner_changes_nothing(project):
    (job,) = put(project)
    stale = take(project, "old", lease_s=-1)
    with project.write() as session:
        (fresh,) = queue.adopt(session, "new")
    assert (fresh.job, fresh.attempt) == (job, 1)
    before = row(project, job).model_dump()
    with project.write() as session:
        assert not queue.finish(session, stale, "succeeded")
        assert not queue.requeue(session, stale, "lost", "", 0)
        assert not queue.enter(session, stale, "running")
        assert not queue.begin_attempt(session, stale, "b", {"a": 1})
        assert queue.is_cancelled(session, stale) is None
    assert row(project, job).model_dump() == before
    with project.write() as session:
        assert queue.finish(session, fresh, "succeeded")


def test_the_fence_is_the_attempt_too(project):
    put(project)
    first = take(project)
    with project.write() as session:
        assert queue.requeue(session, first, "lost", "gone", 0)
    second = take(project)
    assert (second.owner, second.attempt) == (first.owner, 2)
    with project.write() as session:
        assert not queue.finish(session, first, "succeeded")
        assert queue.finish(session, second, "succeeded")


def test_a_living_owner_keeps_its_job_and_a_dead_one_does_not(project):
    (job,) = put(project)
    sleeper = subprocess.Popen(
        [sys.executable, "-c", "from assetforge.jobs.queue import new_owner; print(new_owner(), flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with sleeper:
        owner = sleeper.stdout.readline().strip()
        take(project, owner)
        with project.write() as session:
            assert queue.adopt(session, "me") == []
        sleeper.kill()
    with project.write() as session:
        assert [held.job for held in queue.adopt(session, "me")] == [job]
    assert not queue.owner_is_dead("elsewhere|boot|1|2")
    assert not queue.owner_is_dead(queue.new_owner())


def test_renewing_keeps_a_lease(project):
    put(project)
    take(project, "a", lease_s=0.2)
    with project.write() as session:
        queue.renew(session, "a", 60)
    time.sleep(0.3)
    with project.write() as session:
        assert queue.adopt(session, "b") == []


def test_cancelling_and_trying_again(project):
    queued, running = put(project, 2)
    with project.write() as session:
        held = queue.request_cancel(session, queued, "me")
        assert queue.finish(session, held, "cancelled")
    assert row(project, queued).state == "cancelled"
    held = take(project)
    assert held.job == running
    with project.write() as session:
        assert queue.is_cancelled(session, held) is False
        assert queue.request_cancel(session, running, "other") is None
        assert queue.is_cancelled(session, held) is True
        queue.finish(session, held, "cancelled")
    with pytest.raises(UsageError), project.write() as session:
        queue.request_cancel(session, running, "me")
    with pytest.raises(NotFoundError), project.write() as session:
        queue.request_cancel(session, 999, "me")
    with project.write() as session:
        queue.retry(session, running)
    again = take(project)
    assert (again.job, again.attempt, again.max_attempts) == (running, 2, 4)
    with project.read() as session:
        assert queue.is_cancelled(session, again) is False


CLAIMER = """
from pathlib import Path
import sys
from assetforge.jobs import queue
from assetforge.services.projects import open_project
with open_project(Path(sys.argv[1])) as project:
    while True:
        with project.write() as session:
            held = queue.claim(session, f"owner-{sys.argv[2]}", "local", f"cpu:{sys.argv[2]}", ("auto",))
        if held is None:
            break
        with project.write() as session:
            assert queue.finish(session, held, "succeeded")
        print(held.job, held.attempt)
"""


@pytest.mark.slow
def test_four_processes_take_600_jobs_exactly_once(project):
    jobs = put(project, 600)
    claimers = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIMER, str(project.root), str(number)], stdout=subprocess.PIPE, text=True
        )
        for number in range(4)
    ]
    told = [claimer.communicate(timeout=120)[0].split("\n")[:-1] for claimer in claimers]
    assert [claimer.returncode for claimer in claimers] == [0] * 4
    taken = [tuple(map(int, line.split())) for lines in told for line in lines]
    assert Counter(job for job, _ in taken) == Counter(jobs)
    assert {attempt for _, attempt in taken} == {1}
    assert sum(bool(lines) for lines in told) > 1, "one process did all of it"


def test_a_killed_claimer_loses_nothing(project):
    jobs = put(project, 30)
    script = (
        "import sys\nfrom pathlib import Path\nfrom assetforge.jobs import queue\n"
        "from assetforge.services.projects import open_project\n"
        "project = open_project(Path(sys.argv[1])); owner = queue.new_owner(); print('ready', flush=True)\n"
        "n = 0\n"
        "while True:\n"
        "    with project.write() as session:\n"
        "        held = queue.claim(session, owner, 'local', f'x:{n}', ('auto',)); n += 1\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(project.root)], stdout=subprocess.PIPE, text=True
    ) as claimer:
        claimer.stdout.readline()
        time.sleep(0.05)
        os.kill(claimer.pid, signal.SIGKILL)
    with project.write() as session:
        held = queue.adopt(session, "me")
    while one := take(project):
        held.append(one)
        with project.write() as session:
            queue.finish(session, one, "succeeded")
    assert sorted(one.job for one in held) == jobs
    with closing(sqlite3.connect(project.paths.database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_claiming_uses_the_index(project):
    put(project, 50)
    with project.read() as session:
        plan = session.execute(
            text("EXPLAIN QUERY PLAN SELECT id FROM job WHERE state='queued' ORDER BY priority DESC, id LIMIT 1")
        ).all()
        assert session.exec(select(Job)).first()
    assert any("ix_job_queue" in str(line) for line in plan)
