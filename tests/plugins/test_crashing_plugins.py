"""A plugin that ends the whole process is found by the marks it leaves, and left out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from assetforge.extension.crashes import count_crashes, marked_as_loading
from assetforge.extension.discovery import Candidate

FOLDER = Path(__file__).parent / "broken" / "exits_hard"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "assetforge", "plugin", *words, "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(FOLDER), "ASSETFORGE_PLUGINS": "exits-hard"},
    )


def test_the_third_start_works_without_it_and_names_it(home) -> None:
    assert [run("list").returncode for _ in range(2)] == [3, 3]
    result = run("list")
    assert result.returncode == 0, result.stderr
    plugins = {plugin["name"]: plugin for plugin in json.loads(result.stdout)["plugins"]}
    assert plugins["exits-hard"]["state"] == "quarantined"
    assert "ended the whole program 2 times" in plugins["exits-hard"]["reason"]
    assert plugins["builtin"]["state"] == "active"
    assert run("enable", "exits-hard").returncode == 0
    assert run("list").returncode == 3


def test_disabling_needs_no_loading(home) -> None:
    assert run("disable", "exits-hard").returncode == 0
    assert run("list").returncode == 0


def test_one_end_is_forgiven_and_forgotten_after_a_good_load(with_plugins, find, home) -> None:
    candidate = Candidate(name="listener", distribution="assetforge-listener", version="1.0", target="af_listener")
    with marked_as_loading(candidate):
        (mark,) = (home / "data" / "loading").iterdir()
        killed = mark.with_name(mark.name.replace(f".{os.getpid()}.", ".999999999."))
    assert not mark.exists()
    killed.write_text("1.0")
    assert count_crashes(candidate) == 1
    assert find(with_plugins("listener"), "listener").state == "active"
    assert not killed.exists()


@pytest.mark.parametrize("version", ["0.9", ""])
def test_the_ends_of_another_version_do_not_count(home, version) -> None:
    folder = home / "data" / "loading"
    folder.mkdir(parents=True)
    for pid in (999999998, 999999999):
        (folder / f"{os.uname().nodename}.{pid}.listener").write_text(version)
    candidate = Candidate(name="listener", distribution="assetforge-listener", version="1.0", target="af_listener")
    assert count_crashes(candidate) == 0


def test_a_process_that_still_loads_is_no_evidence(home) -> None:
    folder = home / "data" / "loading"
    folder.mkdir(parents=True)
    (folder / f"{os.uname().nodename}.{os.getppid()}.listener").write_text("1.0")
    candidate = Candidate(name="listener", distribution="assetforge-listener", version="1.0", target="af_listener")
    assert count_crashes(candidate) == 0
