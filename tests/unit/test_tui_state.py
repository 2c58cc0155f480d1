"""What the terminal program keeps between two starts."""

import json
import multiprocessing
import subprocess
import sys

import pytest

from assetforge.tui.state import EVERYWHERE, State, state_file


def test_what_was_put_is_there_at_the_next_start(home):
    state = State.load()
    assert state.get("f", "sort.assets") is None
    assert state.put("f", "sort.assets", ["name", True])
    assert state.put(EVERYWHERE, "film", "/films/[red] \U0001f3ac")
    assert not state.put("f", "sort.assets", ["name", True])
    assert state.changed
    assert state.save()
    assert not state.changed
    again = State.load()
    assert again.get("f", "sort.assets") == ["name", True]
    assert again.get(EVERYWHERE, "film") == "/films/[red] \U0001f3ac"
    assert again.films() == ["f"]
    assert state_file().stat().st_mode & 0o777 == 0o600


def test_values_are_copies_and_of_the_type_of_the_default(home):
    state = State.load()
    state.put("f", "saved_filters", {"a": "b"})
    state.get("f", "saved_filters")["a"] = "c"
    assert state.get("f", "saved_filters", {}) == {"a": "b"}
    state.put("f", "tile", "large")
    assert state.get("f", "tile", 3) == 3
    with pytest.raises(TypeError):
        state.put("f", "x", {1, 2})


@pytest.mark.parametrize(
    "garbage", [b"", b"{", b"[]", b'{"films": 3}', b'{"films": {"f": 3}}', b"\xff\xfe", b"[" * 5000]
)
def test_garbage_counts_as_nothing_and_is_replaced(home, garbage):
    state_file().parent.mkdir(parents=True)
    state_file().write_bytes(garbage)
    state = State.load()
    assert state.get("f", "tile", 2) == 2
    state.put("f", "tile", 4)
    assert state.save()
    assert State.load().get("f", "tile", 2) == 4


def test_what_a_newer_program_wrote_stays(home):
    state_file().parent.mkdir(parents=True)
    state_file().write_text(json.dumps({"format": 9, "future": [1], "films": {"f": {"new": {"x": 1}, "tile": 1}}}))
    state = State.load()
    state.put("f", "tile", 4)
    state.save()
    assert json.loads(state_file().read_text()) == {
        "format": 9,
        "future": [1],
        "films": {"f": {"new": {"x": 1}, "tile": 4}},
    }


def test_none_forgets(home):
    state = State.load()
    state.put("f", "filter.assets", "tag:rain")
    state.save()
    state.put("f", "filter.assets", None)
    state.save()
    assert json.loads(state_file().read_text())["films"] == {"f": {}}


def test_two_programs_keep_what_the_other_one_put(home):
    one, other = State.load(), State.load()
    one.put("f", "tile", 1)
    one.put("g", "tile", 5)
    other.put("f", "sort.assets", "name")
    other.put("f", "tile", 2)
    one.save()
    other.save()
    state = State.load()
    assert (state.get("f", "tile"), state.get("f", "sort.assets"), state.get("g", "tile")) == (2, "name", 5)
    one.put("g", "view.assets", "table")
    one.save()
    assert one.get("f", "tile") == 2


def _put_many(kind):
    for number in range(20):
        state = State.load()
        state.put("f", f"{kind}{number}", number)
        state.save()


def test_two_processes_at_once(home):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_put_many, args=(kind,)) for kind in "ab"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(json.loads(state_file().read_text())["films"]["f"]) == 40


def test_a_place_that_cannot_be_written_is_no_error(home):
    (home / "data").write_text("a file where a folder should be")
    state = State.load()
    state.put("f", "tile", 1)
    assert not state.save()
    assert state.changed
    assert state.get("f", "tile") == 1


def test_films_of_long_ago_go(home):
    state = State.load()
    state.put(EVERYWHERE, "film", "x")
    for number in range(250):
        state.put(f"film{number}", "tile", 1)
    state.save()
    assert len(State.load().films()) == 200
    assert State.load().get(EVERYWHERE, "film") == "x"
    assert State.load().films()[-1] == "film249"


def test_nothing_heavy_is_imported():
    code = (
        "import sys, assetforge.tui.state, assetforge.tui.preferences as p; p.read_preferences(); "
        "print(sorted({'pydantic', 'sqlmodel', 'PIL', 'numpy', 'rich', 'textual', 'tomlkit'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
