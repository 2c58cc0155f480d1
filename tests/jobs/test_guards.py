"""What keeps jobs from starting and what ends them early: space, silence, people. Nothing of it costs work that is done."""

import hashlib
import os
import signal

import pytest
from sqlmodel import select

from assetforge import agent
from assetforge.db.models_jobs import JobAttempt
from assetforge.domain.priorities import AUTOMATIC_PRIORITY, PERSON_PRIORITY
from assetforge.errors import JobError, NotFoundError, UsageError
from assetforge.jobs import queue
from assetforge.jobs.control import cancel_job, get_job, retry_job, set_priority
from assetforge.jobs.guards import LifeSigns, QueueGuard
from assetforge.services.project_config import set_value
from assetforge.testing.executor_contract import final_weights, read_lines, wait_until, writer_blocks

HANDLERS = {"train": "fake_training"}


@pytest.fixture
def attempts(project):
    def read(job):
        with project.read() as session:
            rows = session.exec(select(JobAttempt).where(JobAttempt.job_id == job).order_by(JobAttempt.number)).all()
            return [(row.number, row.outcome, row.error) for row in rows]

    return read


@pytest.fixture
def free(tmp_path):
    """A function that says how much space there is, in GB, to supervisors started with ``free.word``."""

    def tell(gigabytes):
        path.with_suffix(".new").write_text(str(gigabytes))
        path.with_suffix(".new").replace(path)

    path = tmp_path / "free"
    tell.word = f"--free={path}"
    return tell


def runs(project, job):
    return len(writer_blocks(project.paths.job(job))) > 0


def undisturbed(steps):
    """Hash of the weights that the fake trainer makes when nobody disturbs it."""
    weights = hashlib.sha256(b"7").digest()
    for step in range(1, steps + 1):
        weights = hashlib.sha256(weights + b"%d" % step).digest()
    return hashlib.sha256(weights).hexdigest()


def resumed_from(project, job):
    events = read_lines(project.paths.job(job) / "events.jsonl")
    return [event["resumed_from"] for event in events if event["kind"] == "started"]


def test_a_job_waits_for_space_and_uses_up_no_attempt(project, queue_job, supervise, attempts, free):
    free(1.9)
    job = queue_job(steps=3)
    supervisor = supervise("--until-idle", free.word)
    wait_until(lambda: get_job(project, job).error != "", "it says why it waits")
    told = get_job(project, job)
    assert (told.state, told.attempt) == ("queued", 0)
    assert told.error.startswith("Only 1.9 GB are free where ")
    assert "min_free_gb" in told.error
    free(2.1)
    supervisor.finish()
    assert (get_job(project, job).state, get_job(project, job).error) == ("succeeded", "")
    assert [(number, outcome) for number, outcome, _ in attempts(job)] == [(1, "succeeded")]
    assert supervisor.log.read_text().count("GB are free") == 1


def test_a_running_job_saves_when_space_runs_out_and_goes_on_later(project, queue_job, supervise, attempts, free):
    free(50)
    job = queue_job(steps=60, max_attempts=1)
    supervisor = supervise("--until-idle", free.word)
    wait_until(lambda: runs(project, job), "it runs")
    free(1.5)
    wait_until(lambda: len(read_lines(project.paths.job(job) / "events.jsonl")) > 20, "between the limits it goes on")
    assert get_job(project, job).state == "running"
    free(0.9)
    wait_until(lambda: get_job(project, job).state == "queued", "it is back in the queue")
    (first,) = attempts(job)
    assert (first[:2], first[2].startswith("Only 0.9 GB are free")) == ((1, "interrupted"), True)
    free(50)
    supervisor.finish()
    assert get_job(project, job).state == "succeeded"
    assert [one[:2] for one in attempts(job)] == [(1, "interrupted"), (2, "succeeded")]
    assert resumed_from(project, job)[1] > 0
    assert final_weights(project.paths.job(job)) == undisturbed(60)


def test_a_stop_for_space_is_understood_by_the_next_supervisor(project, queue_job, supervise, attempts, free):
    free(50)
    job = queue_job(steps=200, seconds=0.05, deaf=True, grace_s=1.0)
    first = supervise(free.word)
    wait_until(lambda: runs(project, job), "it runs")
    free(0.1)
    wait_until(agent.cancel_marker(project.paths.job(job), 1).exists, "it is asked to stop")
    first.kill()
    free(50)
    second = supervise(free.word)
    wait_until(lambda: len(attempts(job)) == 2, "it is tried again")
    assert attempts(job)[0][1] == "interrupted"
    cancel_job(project, job, handlers=HANDLERS, supervise=lambda _: None)
    wait_until(lambda: get_job(project, job).state == "cancelled", "it is cancelled")
    second.kill(signal.SIGTERM)


def test_the_real_disk_is_asked(project, queue_job, supervise):
    set_value(project.paths.config, "queue.min_free_gb", 10**6)
    job = queue_job(steps=2)
    supervisor = supervise("--until-idle")
    wait_until(lambda: "GB are free" in get_job(project, job).error, "it waits for a petabyte")
    set_value(project.paths.config, "queue.min_free_gb", 0)
    supervisor.finish()
    assert get_job(project, job).state == "succeeded"


def test_a_disk_that_does_not_answer_and_a_broken_file_stop_nothing(project):
    def broken(_folder):
        raise OSError("stale handle")

    guard = QueueGuard(project, broken, every_s=0.0)
    assert (guard.why_not_start(), guard.why_stop()) == ("", "")
    guard = QueueGuard(project, lambda _folder: 0, every_s=0.0)
    assert "0.0 GB" in guard.why_not_start()
    project.paths.config.write_text("[queue]\nmin_free_gb = 0\n[[[")
    assert "0.0 GB" in guard.why_stop(), "what was known counts"


def test_a_child_that_says_nothing_is_ended_and_tried_again(project, queue_job, supervise, attempts):
    set_value(project.paths.config, "queue.stuck_minutes", 1.5 / 60)
    plain, job = queue_job(steps=12), queue_job(steps=12, save_every=2, hang_at=7, deaf=True, grace_s=0.3)
    supervise("--until-idle").finish()
    assert get_job(project, job).state == "succeeded"
    assert attempts(job)[0] == (1, "lost", "Stuck: it said nothing for 1.5 seconds.")
    assert attempts(job)[1][1] == "succeeded"
    assert attempts(plain) == [(1, "succeeded", "")]
    assert resumed_from(project, job) == [0, 6]


@pytest.mark.slow
def test_an_agent_without_a_heartbeat_is_ended_and_its_child_saves(project, queue_job, supervise, attempts):
    set_value(project.paths.config, "queue.stuck_minutes", 10 / 60)
    job = queue_job(steps=1500, grace_s=0.5)
    supervisor = supervise()
    wait_until(lambda: runs(project, job), "it runs")
    process = agent.read_status(project.paths.job(job))["agent"]
    os.kill(process["pid"], signal.SIGSTOP)
    wait_until(lambda: len(attempts(job)) == 2, "it is tried again", 40.0)
    assert not agent.is_alive(process)
    assert attempts(job)[0][1:] == ("lost", "Stuck: its agent gave no sign of life for 10 seconds.")
    wait_until(lambda: len(resumed_from(project, job)) == 2, "it resumes")
    assert resumed_from(project, job)[1] > 0
    cancel_job(project, job, handlers=HANDLERS, supervise=lambda _: None)
    wait_until(lambda: get_job(project, job).state == "cancelled", "it is cancelled")
    supervisor.kill(signal.SIGTERM)


def test_silence_counts_from_the_last_sign_and_zero_waits_for_ever(tmp_path):
    signs = LifeSigns(tmp_path, heartbeat=False)
    assert signs.why_stuck(0.0) == ""
    assert "said nothing" in signs.why_stuck(1e-9)
    (tmp_path / "events.jsonl").write_text("{}\n")
    assert signs.why_stuck(5.0) == ""
    signs.forget()
    assert signs.why_stuck(5.0) == ""


def test_stopping_saves_says_how_to_go_on_and_goes_on(project, queue_job, supervise):
    job = queue_job(steps=60)
    supervisor = supervise("--until-idle")
    wait_until(lambda: runs(project, job), "it runs")
    cancel_job(project, job, reason="Stopped; go on later.", handlers=HANDLERS, supervise=lambda _: None)
    supervisor.finish()
    assert (get_job(project, job).state, get_job(project, job).error) == ("cancelled", "Stopped; go on later.")
    retry_job(project, job)
    assert get_job(project, job).error == ""
    supervise("--until-idle").finish()
    assert resumed_from(project, job)[1] > 0
    assert final_weights(project.paths.job(job)) == undisturbed(60)


def test_a_persons_job_goes_before_an_automatic_one_and_can_be_hurried(project, queue_job):
    automatic, asked = queue_job(priority=AUTOMATIC_PRIORITY), queue_job(priority=PERSON_PRIORITY)
    late = queue_job(priority=AUTOMATIC_PRIORITY)
    set_priority(project, late, 1)
    taken = []
    for number in range(3):
        with project.write() as session:
            taken.append(queue.claim(session, "me", "local", f"cpu:{number}", ("auto",)))
    assert [held.job for held in taken] == [late, asked, automatic]
    with project.write() as session:
        queue.finish(session, taken[0], "failed")
    with pytest.raises(UsageError):
        set_priority(project, late, 2)
    with pytest.raises(NotFoundError):
        set_priority(project, 99, 2)


def test_leaving_lets_leases_lapse(project, queue_job):
    job = queue_job()
    with project.write() as session:
        queue.claim(session, "elsewhere|b|1|2", "local", "cpu:0", ("auto",))
        assert queue.adopt(session, "me") == []
        queue.leave(session, "elsewhere|b|1|2")
        assert [held.job for held in queue.adopt(session, "me")] == [job]


def test_an_attempt_that_could_not_be_started_is_tried_again(project, queue_job, monkeypatch):
    from assetforge.builtin.local_executor import LocalExecutor, LocalParams
    from assetforge.jobs.driver import Pace
    from assetforge.jobs.slots import Executors, Place
    from assetforge.jobs.supervisor import Supervisor

    start, refusals = LocalExecutor._start, ["no process could be made"]

    def refuse_once(self, *arguments):
        if refusals:
            raise JobError(refusals.pop())
        start(self, *arguments)

    monkeypatch.setattr(LocalExecutor, "_start", refuse_once)
    job = queue_job(steps=2)
    places = {"local": Place(LocalExecutor(LocalParams(slots=1)))}
    pace = Pace(poll_s=0.05, backoff_s=0.05)
    Supervisor(project, executors=Executors(places), handlers=HANDLERS, pace=pace).run(until_idle=True)
    info = get_job(project, job)
    assert (info.state, [one.outcome for one in info.attempts]) == ("succeeded", ["lost", "succeeded"])
    assert info.attempts[0].error == "no process could be made"
