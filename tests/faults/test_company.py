"""Two watchers, somebody who reads along and somebody at the command line, while pictures arrive: nobody is locked out, nothing is there twice."""

import json
import random
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from sqlmodel import select

pytest.importorskip("assetforge_example")
sys.path.insert(0, str(Path(__file__).parent))
from faulted_film import ON_PATH, FaultedFilm, use_plugins, wait_for

from assetforge.db.models import Activity, Reference
from assetforge.db.models_watch import WatchedFile
from assetforge.services.maintenance import check_project
from assetforge.services.project_config import set_value
from assetforge.services.references import get_reference

SETTLED = 10


@pytest.fixture
def film(home, monkeypatch):
    use_plugins(monkeypatch)
    opened = FaultedFilm(random.Random(7))
    set_value(opened.project.paths.config, "retrain.mode", "ask")
    yield opened
    opened.end()


class Commands:
    """Somebody who gives one command after another.

    Attributes:
        seconds: How long they took, by kind.
    """

    def __init__(self, film: FaultedFilm) -> None:
        self.film, self.seconds = film, defaultdict(list)
        self.captions: dict[str, str] = {}

    def give(self, *words: str) -> dict:
        started = time.monotonic()
        command = [sys.executable, "-P", "-m", "assetforge", "--project", str(self.film.root), *words, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (words, done.returncode, done.stderr)
        assert "locked" not in done.stderr
        assert "Traceback" not in done.stderr
        self.seconds[" ".join(words[:2])].append(time.monotonic() - started)
        return json.loads(done.stdout)

    def go_on(self, until: float) -> None:
        """All of them, again and again; in the end every reference is active."""
        everything = self.give("ref", "list", "coat", "--limit", "1000")["references"]
        theirs = [one["address"] for one in everything if one["file_name"].startswith("stays")]
        number = 0
        while time.monotonic() < until:
            address, number = theirs[number % len(theirs)], number + 1
            self.captions[address] = f"in place {number}"
            self.give("caption", "set", address, self.captions[address])
            self.give("ref", "exclude", address, "--why", "too dark")
            self.give("dataset", "freeze", "coat")
            self.give("ref", "restore", address)
            self.give("watch", "--explain")
            self.give("ref", "list", "coat", "--limit", "50")


def arrivals(film: FaultedFilm, over: threading.Event) -> None:
    """Pictures come, and now and then something else happens to one."""
    rng = random.Random(3)
    while not over.wait(0.25):
        film.inbox.drop(1)
        if rng.random() < 0.2:
            film.inbox.change()


def folder_is_database(film: FaultedFilm) -> bool:
    there = film.inbox.hashes()
    with film.project.read() as session:
        files = session.exec(select(WatchedFile.sha256).where(WatchedFile.state == "taken")).all()
    active = {one for one, state in film.references().items() if state == "active"}
    return Counter(files) == there and active == set(there)


def until_somebody_takes_in(film: FaultedFilm) -> float:
    """Seconds until a further picture becomes a reference."""
    started, before = time.monotonic(), film.references().keys()
    assert wait_for(lambda: film.references().keys() - before, 30.0), "nobody took over"
    return time.monotonic() - started


@pytest.mark.parametrize(
    "seconds", [pytest.param(20, marks=pytest.mark.slow), pytest.param(600, marks=pytest.mark.soak)]
)
def test_nobody_is_locked_out_and_nothing_is_there_twice(film, seconds):
    for number in range(SETTLED):
        film.inbox.put(f"stays {number}.png")
    leader = film.start("watch")
    assert wait_for(lambda: len(film.references()) == SETTLED, 30.0)
    second = film.start("watch")
    reading = subprocess.Popen(
        [sys.executable, str(ON_PATH / "read_along.py"), str(film.root), str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    commands, over, until = Commands(film), threading.Event(), time.monotonic() + seconds
    arriving = threading.Thread(target=arrivals, args=(film, over))
    arriving.start()
    failures: list[BaseException] = []

    def type_commands() -> None:
        try:
            commands.go_on(until)
        except BaseException as error:
            failures.append(error)

    typing = threading.Thread(target=type_commands)
    typing.start()
    time.sleep(seconds / 2)
    assert second.poll() is None
    assert "standing by" in film.logs[1].read_text()
    leader.kill()
    leader.wait(30)
    taken_over = until_somebody_takes_in(film)
    leader = film.start("watch")
    typing.join()
    over.set()
    arriving.join()
    said, complaints = reading.communicate(timeout=60)
    assert (reading.returncode, complaints, failures) == (0, "", [])
    assert wait_for(lambda: folder_is_database(film), 60.0, 0.5)
    for one in (leader, second):
        one.terminate()
        assert one.wait(30) == 0
    everything_once(film, commands)
    assert taken_over < 15.0
    figures = {
        "seconds": seconds,
        "reader, ms": json.loads(said),
        "commands": {what: len(some) for what, some in commands.seconds.items()},
        "slowest, s": {what: round(max(some), 1) for what, some in commands.seconds.items()},
        "median, s": {what: round(statistics.median(some), 1) for what, some in commands.seconds.items()},
        "references": len(film.references()),
        "taken over after, s": round(taken_over, 1),
    }
    print(json.dumps(figures, indent=1))


def everything_once(film: FaultedFilm, commands: Commands) -> None:
    logs = {log.name: log.read_text() for log in film.logs}
    for name, text in logs.items():
        assert "Traceback" not in text, (name, text)
        assert "locked" not in text, (name, text)
    with film.project.read() as session:
        rows = session.exec(select(Reference)).all()
        told = session.exec(select(Activity).where(Activity.verb == "added references")).all()
    assert Counter(row.sha256 for row in rows).most_common(1)[0][1] == 1
    assert {row.sha256 for row in rows} <= film.inbox.whole
    assert sum(one.detail["added"] for one in told) <= len(rows), "something was added twice"
    captions = {row.sha256: row.caption for row in rows}
    for address, caption in commands.captions.items():
        assert captions[get_reference(film.project, address).sha256] == caption
    assert not check_project(film.project, level="deep").problems
    assert film.processes() == []
