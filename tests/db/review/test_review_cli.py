"""``assetforge review`` and the history of decisions, as people and scripts use them."""

import io
import json
import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from assetforge.cli.app import run as run_words
from assetforge.cli.exit_codes import ExitCode
from assetforge.services.releases import approve
from assetforge.services.report import write_report
from assetforge.services.reviews import blind_pairs, review_status, worst_cells

SIZE, GAP = 32, 8


@pytest.fixture(autouse=True)
def anna(monkeypatch, tmp_path):
    monkeypatch.setenv("ASSETFORGE_ACTOR", "anna")
    # Folders of pictures that nobody named are made where this test's are.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def compared(world):
    approve(world.project, "mara/v1", why="the first", review="skipped")
    return world.compare("mara/v2")


@pytest.fixture
def run(world, capsys):
    """``run(words) -> (exit code, document or None, stdout, stderr)``."""

    def go(*words):
        capsys.readouterr()
        code = run_words([*words, "--project", "film"])
        out, err = capsys.readouterr()
        return code, json.loads(out) if "--json" in words else None, out, err

    return go


def halves(file):
    pixels = np.asarray(Pillow.open(file).convert("RGB"))
    assert pixels.shape == (SIZE, 2 * SIZE + GAP, 3)
    return pixels[:, :SIZE], pixels[:, SIZE + GAP :]


def stored(world, sha256):
    return np.asarray(Pillow.open(world.project.blobs.path(sha256)).convert("RGB"))


def test_the_worst_pictures_lie_side_by_side_at_their_real_size(run, world, compared, tmp_path):
    code, document, _, err = run("review", "mara/v2", "--out", str(tmp_path / "look"), "--json")
    assert code == ExitCode.OK
    assert document["schema"] == "assetforge/review/1"
    worst = worst_cells(world.project, compared.id, 4)
    assert [one["cell"] for one in document["worst"]] == [one.cell for one in worst]
    for rank, (one, shown) in enumerate(zip(document["worst"], worst, strict=True), start=1):
        assert one["file"] == str(tmp_path / "look" / f"{rank:02d}-cell-{shown.cell:04d}.png")
        left, right = halves(one["file"])
        assert (left == stored(world, shown.pictures["new"])).all()
        assert (right == stored(world, shown.pictures["baseline"])).all()
    # Written files are not looked at yet.
    assert "nothing counts as opened" in err
    assert document["missing"] == [one.cell for one in worst]
    _, document, *_ = run("review", "mara/v2", "--count", "2", "--json")
    folder = Path(document["worst"][0]["file"]).parent
    assert len(list(folder.iterdir())) == 2
    assert run("review", "mara/v2", "--count", "-1")[0] == ExitCode.USAGE


def test_a_first_version_stands_beside_the_bare_base(run, world, tmp_path):
    info = world.compare("mara/v1")
    _, document, *_ = run("review", "mara/v1", "--out", str(tmp_path), "--json")
    worst = worst_cells(world.project, info.id, 1)[0]
    assert (halves(document["worst"][0]["file"])[1] == stored(world, worst.pictures["control"])).all()
    code, _, _, err = run("review", "mara/v1", "--blind")
    assert code == ExitCode.USAGE
    assert "no two versions" in err
    assert run("review", "mara/v2")[0] == ExitCode.TRY_AGAIN
    assert run("review", "mara/v9")[0] == ExitCode.NOT_FOUND


def test_blind_pairs_name_no_version_and_scripts_vote_in_letters(run, world, compared, tmp_path):
    code, document, *_ = run("review", "mara/v2", "--blind", "--out", str(tmp_path), "--json")
    assert code == ExitCode.OK
    pairs = blind_pairs(world.project, compared.id)[:4]
    assert not re.search(r"baseline|\bnew\b|left|v1|v2", json.dumps(document["cells"]).replace(str(tmp_path), ""))
    assert [one["cell"] for one in document["cells"]] == [pair.shown.cell for pair in pairs]
    for one, pair in zip(document["cells"], pairs, strict=True):
        assert (halves(one["file"])[0] == stored(world, pair.pictures[0])).all()
        assert Path(one["file"]).name.endswith("-blind.png")
    words = [
        f"--vote={pair.shown.cell}={'a' if pair.left == 'new' else 'b'}" for pair in pairs[:3]
    ]  # always for the new version
    code, document, *_ = run(
        "review", "mara/v2", "--comparison", str(compared.id), *words, "--vote", f"{pairs[3].shown.cell}=tie", "--json"
    )
    assert code == ExitCode.OK
    assert (document["votes"]["pooled"]["wins"], document["votes"]["pooled"]["ties"], document["missing"]) == (3, 1, [])
    assert document["worst"][0]["votes"] == {"anna": "new"}
    assert document["worst"][0]["file"] is None
    # What was voted on is not asked again.
    _, document, *_ = run("review", "mara/v2", "--blind", "--json")
    assert document["cells"] == []
    assert "anna voted on all of them" in run("review", "mara/v2", "--blind")[2]
    assert run("approve", "mara/v2", "--why", "better")[0] == ExitCode.OK


@pytest.mark.parametrize("vote", ["3", "3=c", "=a", "99=a", "x=a"])
def test_votes_that_are_none(run, compared, vote):
    assert run("review", "mara/v2", "--vote", vote)[0] == ExitCode.USAGE
    assert run("review", "status", "mara/v2", "--json")[1]["votes"]["people"] == {}


def test_a_comparison_of_another_version_is_refused(run, world, compared):
    other = world.compare("mara/v1", "mara/v2")
    code, _, _, err = run("review", "mara/v2", "--comparison", str(other.id), "--vote", "1=a")
    assert code == ExitCode.USAGE
    assert "is of mara/v1" in err


def test_refusals_say_what_is_missing_and_how_to_open_it(run, compared):
    code, _, _, err = run("approve", "mara/v2", "--why", "better")
    assert code == ExitCode.NO
    assert "anna opened 0 of the 4 worst pictures of mara/v2" in err
    assert "`assetforge review mara/v2`" in err
    assert run("reject", "mara/v2", "--why", "worse")[0] == ExitCode.NO
    code, document, *_ = run("approve", "mara/v2", "--why", "better", "--unseen", "--json")
    assert code == ExitCode.OK
    assert document["evidence"]["unseen"] == "decided without looking"
    assert "decided without looking" in run("alias", "log", "mara")[2]


def test_the_votes_of_the_report_are_taken_in(run, world, compared, tmp_path, monkeypatch):
    report = write_report(world.project, compared.id).read_text()
    assert "assetforge review import -" in report
    cells = [one.cell for one in worst_cells(world.project, compared.id, 4)]
    votes = [{"cell": cell, "left": "new", "choice": "baseline", "seconds": 2.1} for cell in cells]
    text = json.dumps({"comparison": compared.id, "votes": votes})
    file = tmp_path / "votes.json"
    file.write_text(text)
    code, document, *_ = run("review", "import", str(file), "--json")
    assert code == ExitCode.OK
    assert (document["given"], document["new"], document["missing"]) == (4, 4, [])
    monkeypatch.setenv("ASSETFORGE_ACTOR", "ben")
    monkeypatch.setattr(sys, "stdin", io.StringIO(text + "\n"))
    code, _, out, _ = run("review", "import", "-")
    assert code == ExitCode.OK
    assert out.startswith("4 of 4 votes on mara/v2 are new. All together: new preferred in 0 of 4 (0%, 0 to 49)")
    assert "2 people, agreeing in 100% of 4" in out
    _, _, out, _ = run("review", "status", "mara/v2")
    assert "anna 2 s, ben 2 s" in out
    assert "anna baseline, ben baseline" in out
    assert run("review", "import", str(tmp_path / "none.json"))[0] == ExitCode.NOT_FOUND


def test_worst_cells_stand_in_the_order_of_the_report(world, compared, tmp_path):
    report = json.loads(write_report(world.project, compared.id, tmp_path / "report.json").read_text())
    same = {cell["index"] for cell in report["cells"] if cell["identical"]}
    found = [one.cell for one in worst_cells(world.project, compared.id)]
    assert found == [index for index in report["worst"] if index not in same]


def test_history_and_what_was_approved_then(run, compared):
    run("review", "mara/v2", "--json")
    run("approve", "mara/v2", "--why", "the scar", "--unseen")
    code, document, *_ = run("version", "history", "mara", "--json")
    assert code == ExitCode.OK
    assert document["schema"] == "assetforge/version-history/1"
    newest = document["versions"][0]
    assert (newest["version"]["address"], newest["version"]["dataset"]) == ("mara/v2", "mara/d2")
    assert newest["judgements"][0]["comparison"] == compared.id
    assert (newest["decisions"][0]["actor"], newest["decisions"][0]["why"]) == ("anna", "the scar")
    assert newest["decisions"][0]["evidence"]["comparison"] == compared.id
    out = run("version", "history", "mara")[2]
    assert "mara/v2  approved (approved, latest)" in out
    assert "run 2 on mara/d2" in out
    assert f"comparison {compared.id} against mara/v1 through tiny-core: inconclusive." in out
    assert "approved by anna: the scar" in out
    _, document, *_ = run("version", "history", "mara", "--at", "2019-03-14", "--json")
    assert (document["approved"], document["aliases"]) == (None, {})
    _, document, *_ = run("version", "history", "mara", "--at", "2999-01-01", "--json")
    assert document["schema"] == "assetforge/version-history-at/1"
    assert document["approved"]["version"] == "mara/v2"
    assert run("version", "history", "mara", "--at", "14 March")[0] == ExitCode.USAGE
    assert "mara@approved named nothing on 2019-03-14." in run("version", "history", "mara", "--at", "2019-03-14")[2]
    out = run("alias", "at", "mara@approved", "2999-01-01")[2]
    assert out.startswith("mara@approved was mara/v2 on 2999-01-01.\n  since ")
    assert "by anna: the scar\n  inconclusive against mara/v1: " in out
    assert run("alias", "at", "mara", "2999-01-01")[0] == ExitCode.USAGE
    _, document, *_ = run("alias", "at", "mara@hero", "2999-01-01", "--json")
    assert document["entry"] is None


def in_a_terminal(answers, *words):
    """A command of its own with a real terminal before it, which gets the answers when it asks; returns what it wrote on stderr and stdout."""
    mine, theirs = pty.openpty()
    try:
        os.write(mine, answers.encode())
        done = subprocess.run(
            [sys.executable, "-m", "assetforge", *words, "--project", "film"],
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        os.close(mine)
        os.close(theirs)
    assert done.returncode == 0, done.stderr
    return done.stderr, done.stdout


def test_what_was_gone_through_in_a_terminal_counts_as_opened(world, compared, tmp_path):
    err, out = in_a_terminal("\n\nwhat\n\nq\n", "review", "mara/v2", "--out", str(tmp_path))
    assert "Left: mara/v2. Right: mara/v1." in err
    assert "4 of 4" in err
    status = review_status(world.project, compared.id)
    assert status.missing == (status.worst[3].shown.cell,)
    assert f"still to be opened by anna: cell {status.worst[3].shown.cell}" in out


def test_blind_answers_in_a_terminal(world, compared, tmp_path):
    err, out = in_a_terminal("a\nB\nn\nt\n", "review", "mara/v2", "--blind", "--out", str(tmp_path))
    assert "mara/v" not in err
    assert out == "3 votes of anna are kept.\n"
    status = review_status(world.project, compared.id)
    assert status.missing == ()
    sides = {pair.shown.cell: pair.left for pair in blind_pairs(world.project, compared.id)}
    other = {"new": "baseline", "baseline": "new"}
    first, second, third, fourth = status.worst
    assert first.votes == {"anna": sides[first.shown.cell]}
    assert second.votes == {"anna": other[sides[second.shown.cell]]}
    assert (third.votes, fourth.votes) == ({}, {"anna": "tie"})
