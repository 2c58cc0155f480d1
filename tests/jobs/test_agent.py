"""The agent's own command line, as a remote machine would use it."""

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from assetforge import agent
from assetforge.jobs.bundle import write_bundle
from assetforge.store.blobs import BlobStore
from assetforge.testing.executor_contract import end_processes, trainer_plan, wait_until, writer_blocks


@pytest.fixture
def bundle(tmp_path):
    made = []

    def write(**params):
        workdir = tmp_path / f"work-{len(made)}"
        write_bundle(trainer_plan(1, **params), workdir, BlobStore(tmp_path / "blobs"), tmp_path / "trash")
        made.append(workdir)
        return workdir

    yield write
    for workdir in made:
        end_processes(workdir)


def call(workdir, command, *words, stdin=None):
    # Isolated (-I): nothing of ours can be imported by accident.
    return subprocess.run(
        [sys.executable, "-I", str(workdir / "agent.py"), command, str(workdir), *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        input=stdin,
    )


def test_it_is_old_python_and_imports_nothing_of_ours():
    source = Path(agent.__file__).read_text()
    tree = ast.parse(source, feature_version=(3, 8))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported - {"__future__"} <= set(sys.stdlib_module_names)


def test_older_pythons_run_it(bundle):
    old = [path for name in ("python3.8", "python3.9", "python3.10") if (path := shutil.which(name))]
    pythons = [
        path for path in old if subprocess.run([path, "-c", ""], check=False, capture_output=True).returncode == 0
    ]
    if not pythons:
        pytest.skip("no older Python here")
    workdir = bundle()
    subprocess.run([pythons[0], str(workdir / "agent.py"), "run", str(workdir)], check=True, timeout=60)
    assert agent.read_status(workdir)["state"] == "succeeded"


def test_run_in_the_foreground_counts_attempts_itself(bundle):
    workdir = bundle(kill_at=7)
    assert call(workdir, "run").returncode == agent.TRY_AGAIN
    assert call(workdir, "run").returncode == 0
    status = json.loads(call(workdir, "status").stdout)
    assert (status["attempt"], status["state"]) == (2, "succeeded")
    assert call(workdir, "run").returncode == 0, "what succeeded is not run again"
    assert len(writer_blocks(workdir)) == 2


def test_start_returns_at_once_and_lets_go_of_the_caller(bundle):
    workdir = bundle(steps=150)
    before = time.monotonic()
    done = call(workdir, "start", "--attempt", "1")
    assert time.monotonic() - before < 2.5, "it kept the pipes open"
    assert json.loads(done.stdout) == {"started": True, "attempt": 1}
    status = agent.read_status(workdir)
    assert os.getsid(status["agent"]["pid"]) != os.getsid(0)
    wait_until(lambda: agent.read_status(workdir)["state"] == "succeeded", "it ends")


def test_a_full_disk_is_told_as_the_reason_of_an_interruption(bundle):
    workdir = bundle(full_at=3)
    assert call(workdir, "run").returncode == agent.TRY_AGAIN
    status = agent.read_status(workdir)
    assert (status["state"], status["error"]) == ("interrupted", "no space left for the fake trainer")
    assert call(workdir, "run").returncode == 0


def test_a_second_writer_is_refused(bundle):
    workdir = bundle(steps=300)
    call(workdir, "start", "--attempt", "1")
    refused = call(workdir, "run")
    assert (refused.returncode, "another writer" in refused.stderr) == (agent.TRY_AGAIN, True)
    again = json.loads(call(workdir, "start", "--attempt", "1").stdout)
    assert again["started"] is False


def test_a_late_submission_of_an_old_attempt_is_refused(bundle):
    workdir = bundle()
    call(workdir, "run", "--attempt", "3")
    late = call(workdir, "start", "--attempt", "2")
    assert (late.returncode, "later attempt" in late.stderr) == (agent.TRY_AGAIN, True)


def test_following_from_any_cursor_is_exact(bundle):
    workdir = bundle(steps=40, seconds=0.01)
    call(workdir, "start", "--attempt", "1")
    lines = call(workdir, "follow").stdout.splitlines()
    events = [line.split(" ", 2)[1:] for line in lines if line.startswith("E ")]
    on_disk = (workdir / "events.jsonl").read_text().splitlines()
    assert [event for _, event in events] == on_disk
    assert json.loads(lines[-1][2:])["state"] == "succeeded"
    for number, (cursor, _) in enumerate(events):
        if number % 10 == 0:
            rest = call(workdir, "follow", cursor, "--once").stdout.splitlines()
            assert [line.split(" ", 2)[2] for line in rest if line.startswith("E ")] == on_disk[number + 1 :]


def test_half_lines_are_never_given_and_never_glued(bundle, tmp_path):
    workdir = bundle(steps=2)
    (workdir / "events.jsonl").write_bytes(b'{"kind": "progress", "st')
    assert agent.read_events(workdir, 0) == ([], 0)
    call(workdir, "run")
    kinds = [event["kind"] for event in agent.read_events(workdir, 0)[0]]
    assert kinds == ["started", "progress", "progress", "finished"]


def test_missing_and_materialise_bring_only_what_is_not_there(bundle, tmp_path):
    workdir = bundle()
    store, remote = BlobStore(tmp_path / "remote"), tmp_path / "far"
    entries = agent.manifest(workdir)
    asked = "".join(f"{entry['sha256']} {entry['size']}\n" for entry in entries)
    command = [sys.executable, str(workdir / "agent.py"), "missing", str(store.root)]
    said = subprocess.run(command, input=asked, capture_output=True, text=True, check=True).stdout
    assert said == asked
    for entry in entries:
        store.put_file(workdir / entry["path"])
    assert subprocess.run(command, input=asked, capture_output=True, text=True, check=True).stdout == ""
    remote.mkdir()
    for name in ("job.json", "manifest.jsonl", "agent.py"):
        shutil.copy(workdir / name, remote)
    assert call(remote, "materialise", "--blobs", str(store.root)).returncode == 0
    assert call(remote, "run").returncode == 0


def test_a_manifest_that_leaves_the_folder_is_refused(bundle):
    workdir = bundle()
    entry = {"path": "../elsewhere", "sha256": "0" * 64, "size": 0}
    (workdir / "manifest.jsonl").write_text(json.dumps(entry) + "\n")
    assert call(workdir, "run").returncode == 1
    assert "outside" in agent.read_status(workdir)["error"]


def test_a_process_number_alone_proves_nothing():
    me = agent.identify(os.getpid())
    assert agent.is_alive(me)
    assert not agent.is_alive({**me, "start": "1"})
    assert not agent.is_alive({**me, "boot": "another"})
    zombie = subprocess.Popen([sys.executable, "-c", ""])
    known = agent.identify(zombie.pid)
    wait_until(lambda: not agent.is_alive(known), "a zombie counts as dead")
    zombie.wait()


def test_what_a_killed_child_left_behind_is_ended_before_the_next_attempt(bundle):
    workdir = bundle(steps=500)
    script = workdir / "inputs" / "fake_trainer.py"
    starts = (
        b"__import__('subprocess').Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n    sys.exit(main())"
    )
    data = script.read_bytes().replace(b"sys.exit(main())", starts)
    script.unlink()
    script.write_bytes(data)
    line = {"path": "inputs/fake_trainer.py", "sha256": agent.file_digest(script), "size": script.stat().st_size}
    (workdir / "manifest.jsonl").write_text(json.dumps(line) + "\n")
    call(workdir, "start", "--attempt", "1")
    wait_until(lambda: writer_blocks(workdir) != [], "it runs")
    child = agent.read_status(workdir)["child"]
    assert len(agent.survivors(child, workdir)) == 2
    os.kill(child["pid"], signal.SIGKILL)
    wait_until(lambda: agent.read_status(workdir)["state"] == "interrupted", "the agent notices")
    assert agent.survivors(child, workdir) == []


def test_an_orphan_is_stopped_by_cancelling(bundle):
    workdir = bundle(steps=5000, deaf=True, grace_s=0.5)
    call(workdir, "start", "--attempt", "1")
    wait_until(lambda: writer_blocks(workdir) != [], "it runs")
    os.kill(agent.read_status(workdir)["agent"]["pid"], signal.SIGKILL)
    wait_until(lambda: agent.read_status(workdir)["state"] == "orphaned", "it is orphaned")
    call(workdir, "cancel", "--attempt", "1", "--grace", "0.5")
    wait_until(lambda: agent.read_status(workdir)["state"] == "lost", "the orphan is killed")
