"""Working without a terminal: the plain daemon, and the unit for systemd."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from assetforge import agent
from assetforge.cli.app import run
from assetforge.errors import BusyError, JobError, NotFoundError
from assetforge.jobs.background import supervisor_is_here
from assetforge.jobs.daemon import daemon_pid, start_daemon, stop_daemon
from assetforge.jobs.systemd_unit import install_unit, remove_unit, unit_status, unit_text
from assetforge.services.projects import create_project
from assetforge.testing.executor_contract import wait_until


@pytest.fixture
def no_daemon_left(project):
    yield
    pid = daemon_pid(project)
    if pid:
        os.kill(pid, signal.SIGKILL)


def document(capsys, *words):
    code = run([*words, "--json"])
    said = capsys.readouterr()
    return code, json.loads(said.out), said.err


def test_a_daemon_works_alone_and_ends_when_asked(project, no_daemon_left, capsys):
    code, told, _ = document(capsys, "work", "--daemon", "--slots", "1")
    assert (code, told["schema"]) == (0, "assetforge/work-daemon/1")
    assert told["pid"] == daemon_pid(project) == int((project.paths.logs / "work.pid").read_text())
    assert supervisor_is_here(project)
    assert os.getsid(told["pid"]) == told["pid"], "it hangs on this terminal"
    code, refused, said = document(capsys, "work", "--daemon")
    assert (code, refused["error"]) == (6, "BusyError")
    assert f"already: process {told['pid']}" in said
    process = agent.identify(told["pid"])
    code, ended, _ = document(capsys, "work", "--stop")
    assert (code, ended["pid"]) == (0, told["pid"])
    wait_until(lambda: not agent.is_alive(process), "it is gone")
    assert (daemon_pid(project), supervisor_is_here(project)) == (0, False)
    assert document(capsys, "work", "--stop")[0] == 3
    assert document(capsys, "work", "--stop", "--daemon")[0] == 2


def test_a_killed_daemon_is_no_obstacle_and_its_old_number_is_not_touched(project, no_daemon_left):
    (project.paths.logs / "work.pid").write_text(f"{os.getpid()}\n")
    with pytest.raises(NotFoundError):
        stop_daemon(project)
    first = start_daemon(project)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: daemon_pid(project) == 0, "the lock is free")
    second = start_daemon(project)
    assert second == daemon_pid(project) != first
    with pytest.raises(BusyError):
        start_daemon(project)
    assert stop_daemon(project) == second


def test_a_daemon_that_ends_at_once_says_why(project, no_daemon_left):
    with pytest.raises(JobError, match="no-such-option"):
        start_daemon(project, ["--no-such-option"])


@pytest.fixture
def units(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "systemd" / "user"


def test_the_unit_leaves_jobs_alone_and_takes_every_word_literally(home):
    with create_project("film", folder=home / 'the "50 %" $HOME film') as project:
        text = unit_text(project, {"ASSETFORGE_HOME": "/a b", "SECRET": "x", "HF_HOME": "/h"})
    lines = text.splitlines()
    words = f'"{home}/the \\"50 %%\\" $$HOME film"'
    assert f"ExecStart={sys.executable} -P -m assetforge --project {words} watch" in lines
    assert [line for line in lines if line.startswith("Environment=")] == [
        'Environment="ASSETFORGE_HOME=/a b"',
        "Environment=HF_HOME=/h",
    ]
    assert {"KillMode=process", "Restart=on-failure", "OOMPolicy=continue", "WantedBy=default.target"} <= set(lines)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_takes_the_unit(home):
    with create_project("film", folder=home / "a film") as project:
        text = unit_text(project, {"ASSETFORGE_HOME": str(home)})
    (home / "assetforge-film.service").write_text(text)
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(home)}
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", str(home / "assetforge-film.service")],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )
    ours = [line for line in done.stderr.splitlines() if "assetforge-film" in line]
    assert ours == []


def test_a_unit_is_installed_looked_at_and_removed(project, units, home):
    called = []

    def systemctl(words):
        called.append(" ".join(words))
        return "ActiveState=active\nUnitFileState=enabled\n" if words[0] == "show" else ""

    with pytest.raises(NotFoundError):
        remove_unit(project, systemctl)
    path = install_unit(project, systemctl)
    assert path == units / "assetforge-film.service"
    assert path.read_text() == unit_text(project)
    assert called == [
        "show-environment",
        "daemon-reload",
        "enable assetforge-film.service",
        "restart assetforge-film.service",
    ]
    known = unit_status(project, systemctl)
    assert (known.installed, known.enabled, known.active) == (True, True, "active")
    install_unit(project, systemctl)
    with create_project("film", folder=home / "elsewhere") as twin:
        with pytest.raises(BusyError):
            install_unit(twin, systemctl)
        assert not unit_status(twin, systemctl).installed
    remove_unit(project, systemctl)
    assert not path.exists()
    assert called[-2:] == ["disable --now assetforge-film.service", "daemon-reload"]


def test_a_systemd_that_does_not_answer_leaves_nothing_behind(project, units):
    def deaf(words):
        raise JobError("no bus")

    with pytest.raises(JobError):
        install_unit(project, deaf)
    assert not units.exists()


def test_without_systemd_nothing_is_written(project, units, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    code, told, _ = document(capsys, "service", "install")
    assert (code, "--daemon" in told["hint"]) == (3, True)
    assert not units.exists()
    code, told, _ = document(capsys, "service", "status")
    assert (code, told["service"]["installed"], told["service"]["active"]) == (0, False, "")
    code, told, _ = document(capsys, "service", "print")
    assert (code, "KillMode=process" in told["text"]) == (0, True)
