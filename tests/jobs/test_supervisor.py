"""The supervisor: whatever is killed, every job ends once, with the weights of an undisturbed run, and never with two writers."""

import os
import random
import signal
import time
from contextlib import suppress

import pytest
from sqlmodel import select

from assetforge import agent
from assetforge.db.models_jobs import Job, JobAttempt
from assetforge.errors import UsageError
from assetforge.jobs.background import wait_for_job
from assetforge.jobs.control import cancel_job, follow_log, get_job, list_jobs, retry_job
from assetforge.testing.executor_contract import final_weights, read_lines, wait_until, writer_blocks

HANDLERS = {"train": "fake_training"}


@pytest.fixture
def state(project):
    def read(job):
        with project.read() as session:
            return session.get_one(Job, job).state

    return read


@pytest.fixture
def notes(project):
    def read():
        path = project.root / "notes.txt"
        return path.read_text().splitlines() if path.is_file() else []

    return read


def status(project, job):
    return agent.read_json(project.paths.job(job) / "status.json")


def attempts(project, job):
    with project.read() as session:
        rows = session.exec(select(JobAttempt).where(JobAttempt.job_id == job).order_by(JobAttempt.number)).all()
        return [(row.number, row.outcome) for row in rows]


def no_double_writers(project, job):
    blocks = writer_blocks(project.paths.job(job))
    assert len(blocks) == len(set(blocks)), f"two processes wrote at once: {blocks}"


def writes(project, job):
    return len(writer_blocks(project.paths.job(job))) > 0


def test_jobs_run_to_their_end_in_their_slots(project, queue_job, supervise, state, notes):
    jobs = [queue_job(steps=10) for _ in range(4)]
    supervise("--until-idle", "--slots=2").finish()
    assert [state(job) for job in jobs] == ["succeeded"] * 4
    assert len({line.split()[2] for line in notes()}) == 1, "same seed, same weights"
    assert sorted(int(line.split()[1]) for line in notes()) == jobs
    spans = []
    for job in jobs:
        events = read_lines(project.paths.job(job) / "events.jsonl")
        spans.append((events[0]["t"], events[-1]["t"]))
    assert max(sum(start <= at <= end for start, end in spans) for at, _ in spans) <= 2
    assert all(attempts(project, job) == [(1, "succeeded")] for job in jobs)
    info = get_job(project, jobs[0])
    assert (info.state, info.attempt, info.error) == ("succeeded", 1, "")
    assert info.attempts[0].finished_at >= info.attempts[0].started_at


def test_a_failure_is_not_tried_again(project, queue_job, supervise, state, notes):
    job = queue_job(fail_at=3)
    supervise("--until-idle").finish()
    assert state(job) == "failed"
    assert attempts(project, job) == [(1, "failed")]
    assert get_job(project, job).error == "the fake trainer was told to fail"
    assert notes() == [f"closed {job} failed"]


def test_what_cannot_be_planned_fails_with_its_reason(project, queue_job, supervise, state, notes):
    bad, good = queue_job(unplannable=True), queue_job(steps=2)
    supervise("--until-idle").finish()
    assert (state(bad), state(good)) == ("failed", "succeeded")
    assert get_job(project, bad).error == "This job cannot be planned."


def test_an_unknown_executor_fails_its_jobs(project, queue_job, supervise, state):
    job = queue_job()
    with project.write() as session:
        session.get_one(Job, job).executor = "moon"
    supervise("--until-idle").finish()
    assert state(job) == "failed"
    assert "moon" in get_job(project, job).error


def test_a_killed_child_resumes(project, queue_job, supervise, state, notes):
    plain, killed = queue_job(), queue_job(kill_at=13)
    supervise("--until-idle").finish()
    assert (state(plain), state(killed)) == ("succeeded", "succeeded")
    assert attempts(project, killed) == [(1, "interrupted"), (2, "succeeded")]
    assert final_weights(project.paths.job(plain)) == final_weights(project.paths.job(killed))
    no_double_writers(project, killed)


def test_attempts_are_used_up(project, queue_job, supervise, state, notes):
    job = queue_job(kill_at=3, max_attempts=1)
    supervise("--until-idle").finish()
    assert state(job) == "lost"
    assert notes() == [f"closed {job} lost"]
    retry_job(project, job)
    supervise("--until-idle").finish()
    assert state(job) == "succeeded"
    assert attempts(project, job) == [(1, "lost"), (2, "succeeded")]


def test_a_killed_supervisor_leaves_the_run_and_the_next_adopts_it(project, queue_job, supervise, state, notes):
    job = queue_job(steps=60)
    first = supervise()
    wait_until(lambda: writes(project, job), "it runs")
    first.kill()
    child = status(project, job)["child"]
    assert agent.is_alive(child), "the run went down with its supervisor"
    assert state(job) == "running"
    supervise("--until-idle").finish()
    assert state(job) == "succeeded"
    assert writer_blocks(project.paths.job(job)) == [child["pid"]], "it was started anew"
    assert attempts(project, job) == [(1, "succeeded")]
    assert len(notes()) == 1


def test_a_run_that_ended_without_a_supervisor_is_registered(project, queue_job, supervise, state, notes):
    job = queue_job(steps=20)
    first = supervise()
    wait_until(lambda: writes(project, job), "it runs")
    first.kill()
    wait_until((project.paths.job(job) / "result.json").is_file, "it ends by itself")
    supervise("--until-idle").finish()
    assert state(job) == "succeeded"
    assert len(writer_blocks(project.paths.job(job))) == 1


def test_a_supervisor_asked_to_stop_leaves_runs_going(project, queue_job, supervise, state):
    job = queue_job(steps=100)
    first = supervise()
    wait_until(lambda: state(job) == "running" and writes(project, job), "it runs")
    started = time.monotonic()
    first.kill(signal.SIGTERM)
    assert first.process.returncode == 0
    assert time.monotonic() - started < 5
    assert agent.is_alive(status(project, job)["child"])
    assert state(job) == "running"
    supervise("--until-idle").finish()
    assert len(writer_blocks(project.paths.job(job))) == 1


def test_a_killed_agent_leads_to_a_resumed_run(project, queue_job, supervise, state, notes):
    plain = queue_job(steps=60)
    job = queue_job(steps=60)
    supervisor = supervise("--until-idle")
    wait_until(lambda: writes(project, job), "it runs")
    os.kill(status(project, job)["agent"]["pid"], signal.SIGKILL)
    supervisor.finish()
    assert state(job) == "succeeded"
    assert attempts(project, job) == [(1, "lost"), (2, "succeeded")]
    assert final_weights(project.paths.job(job)) == final_weights(project.paths.job(plain))
    no_double_writers(project, job)


def test_two_supervisors_run_nothing_twice(project, queue_job, supervise, state, notes):
    jobs = [queue_job(steps=5) for _ in range(12)]
    both = [supervise("--until-idle", "--slots=3") for _ in range(2)]
    for one in both:
        one.finish()
    assert {state(job) for job in jobs} == {"succeeded"}
    assert all(len(writer_blocks(project.paths.job(job))) == 1 for job in jobs)
    assert sorted(int(line.split()[1]) for line in notes()) == jobs


def test_a_lease_that_runs_out_moves_the_job_not_the_run(project, queue_job, supervise, state, notes):
    job = queue_job(steps=150)
    first = supervise("--lease=1")
    wait_until(lambda: state(job) == "running" and writes(project, job), "it runs")
    os.kill(first.process.pid, signal.SIGSTOP)
    second = supervise("--until-idle", "--lease=1")
    before = owner(project, job)
    wait_until(lambda: owner(project, job) not in (before, ""), "the second takes over")
    os.kill(first.process.pid, signal.SIGCONT)
    second.finish()
    assert state(job) == "succeeded"
    assert len(writer_blocks(project.paths.job(job))) == 1
    assert len(notes()) == 1, "a stale owner registered it too"


def owner(project, job):
    with project.read() as session:
        return session.get_one(Job, job).owner


def test_cancelling_a_waiting_job_is_immediate(project, queue_job, state, notes):
    job = queue_job()
    assert cancel_job(project, job, handlers=HANDLERS, supervise=lambda _: None) == "cancelled"
    assert state(job) == "cancelled"
    assert notes() == [f"closed {job} cancelled"]


def test_cancelling_a_running_job_saves_and_stops(project, queue_job, supervise, state, notes):
    job = queue_job(steps=5000)
    supervisor = supervise("--until-idle")
    wait_until(lambda: writes(project, job), "it runs")
    cancel_job(project, job, handlers=HANDLERS, supervise=lambda _: None)
    supervisor.finish()
    assert state(job) == "cancelled"
    assert notes() == [f"closed {job} cancelled"]
    assert any((project.paths.job(job) / "checkpoints").glob("step-*.state.json"))


def test_cancelling_while_no_supervisor_lives(project, queue_job, supervise, state):
    job = queue_job(steps=5000)
    first = supervise()
    wait_until(lambda: writes(project, job), "it runs")
    first.kill()
    cancel_job(project, job, handlers=HANDLERS, supervise=lambda _: None)
    supervise("--until-idle").finish()
    assert state(job) == "cancelled"
    assert not agent.is_alive(status(project, job)["child"])


def test_cancelling_at_any_moment_ends_it_one_way(project, queue_job, supervise, state, notes):
    supervisor = supervise()
    rng = random.Random(3)
    for _ in range(6):
        job = queue_job(steps=12)
        time.sleep(rng.uniform(0, 0.5))
        with suppress(UsageError):
            cancel_job(project, job, handlers=HANDLERS, supervise=lambda _: None)
        wait_until(lambda job=job: state(job) in ("cancelled", "succeeded"), "it ends")
        told = [line for line in notes() if line.split()[1] == str(job)]
        assert len(told) == 1
        assert told[0].startswith("registered" if state(job) == "succeeded" else "closed")
        assert not agent.is_alive(status(project, job).get("child"))
    supervisor.kill(signal.SIGTERM)


def test_a_damaged_output_is_refused_and_can_be_made_again(project, queue_job, supervise, state, notes):
    job = queue_job(steps=40)
    first = supervise()
    wait_until(lambda: writes(project, job), "it runs")
    first.kill()
    workdir = project.paths.job(job)
    wait_until((workdir / "result.json").is_file, "it ends by itself")
    (workdir / "outputs" / "weights.safetensors").write_bytes(b"other bytes")
    supervise("--until-idle").finish()
    assert state(job) == "failed"
    assert "changed" in get_job(project, job).error
    retry_job(project, job)
    supervise("--until-idle").finish()
    assert state(job) == "succeeded"


def test_waiting_follows_to_the_end(project, queue_job, supervise):
    job = queue_job(steps=15)
    supervise("--until-idle")
    events = []
    assert wait_for_job(project, job, events.append, supervise=lambda _: None) == "succeeded"
    assert [event["step"] for event in events if event["kind"] == "progress"] == list(range(1, 16))
    assert events == read_lines(project.paths.job(job) / "events.jsonl")
    assert list(follow_log(project, job, follow=True)) == []
    assert [(info.id, info.state) for info in list_jobs(project)] == [(job, "succeeded")]
    assert list_jobs(project, state="open") == []


def torture(project, queue_job, supervise, state, notes, rounds, seed):
    """Kill child, agent or supervisor at random moments; a supervisor always comes back."""
    rng = random.Random(seed)
    plain, job = queue_job(steps=50, seconds=0.02, save_every=5), queue_job(steps=50, save_every=5, max_attempts=1000)
    supervisor = supervise()
    for _ in range(rounds):
        time.sleep(rng.uniform(0.0, 0.6))
        if state(job) == "succeeded":
            break
        victim = rng.choice(["child", "agent", "supervisor"])
        if victim == "supervisor":
            supervisor.kill()
            supervisor = supervise()
        else:
            process = status(project, job).get(victim)
            if process and agent.is_alive(process):
                os.kill(process["pid"], signal.SIGKILL)
    supervisor.kill()
    supervise("--until-idle").finish()
    assert (state(plain), state(job)) == ("succeeded", "succeeded")
    assert final_weights(project.paths.job(job)) == final_weights(project.paths.job(plain))
    no_double_writers(project, job)
    assert sorted(int(line.split()[1]) for line in notes()) in ([plain, job], [plain, job, job], [plain, plain, job])
    steps = [int(line.split()[1]) for line in (project.paths.job(job) / "writers.log").read_text().splitlines()]
    assert set(steps) == set(range(1, 51)), "a step was lost"


@pytest.mark.slow
def test_random_kills(project, queue_job, supervise, state, notes):
    torture(project, queue_job, supervise, state, notes, rounds=5, seed=random.randrange(10**9))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_many_random_kills(project, queue_job, supervise, state, notes, seed):
    torture(project, queue_job, supervise, state, notes, rounds=30, seed=seed)
