"""Whoever is killed takes along the processes that decode pictures for it, and with them every lock that they inherited."""

import os
import subprocess
import sys
import time

import psutil
import pytest

from assetforge.durable import locked
from assetforge.services.assets import add_asset

PICTURES = 120


@pytest.fixture
def asset(project, make_png, tmp_path):
    added = add_asset(project, "mara", "character")
    picture = make_png(tmp_path / "picture.png", size=(1400, 1000)).read_bytes()
    for number in range(PICTURES):
        (added.references / f"{number}.png").write_bytes(picture + b"%d" % number)
    return added


def started(project, *words):
    command = [sys.executable, "-P", "-m", "assetforge", "--project", str(project.root), *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ))


def decoders(process):
    """Processes below one, without those that only wait to fork."""
    return [one for one in psutil.Process(process.pid).children(recursive=True) if one.cpu_times().user > 0.1]


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("ref", "add", "mara")),
        *(
            pytest.param(words, marks=pytest.mark.slow)
            for words in (("watch", "--once", "--no-train"), ("watch", "--no-train"))
        ),
    ],
)
def test_decoders_end_with_who_needs_them(project, asset, words):
    process = started(project, *words)
    deadline = time.monotonic() + 30
    while not (children := decoders(process)):
        assert time.monotonic() < deadline, "nothing decodes"
        time.sleep(0.05)
    below = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait(10)
    left = psutil.wait_procs(below, timeout=5.0)[1]
    assert [one.cmdline() for one in left if one.status() != psutil.STATUS_ZOMBIE] == []
    assert children
    with locked(project.paths.private / "watch.lock", wait=False):
        pass
