"""What people opened and voted on, what a decision asks of them, and what it keeps."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import select

from assetforge.actor import acting_as
from assetforge.db.models import AliasMove
from assetforge.db.models_jobs import Comparison
from assetforge.db.models_review import CellView, Vote
from assetforge.errors import CheckFailedError, NotFoundError, StorageError, TryAgainError, UsageError
from assetforge.services.activity import list_activity
from assetforge.services.comparison import read_scores, request_comparison
from assetforge.services.project_config import set_value
from assetforge.services.releases import alias_log, approve, reject
from assetforge.services.reviews import (
    blind_pairs,
    cast_vote,
    import_votes,
    next_pair,
    note_view,
    review_status,
    reviewed_comparison,
    worst_cells,
)
from assetforge.services.version_history import aliases_at, read_moment, version_history


@pytest.fixture
def compared(world):
    """mara/v1 is approved, and mara/v2 compared with it."""
    approve(world.project, "mara/v1", why="the first", review="skipped")
    return world.compare("mara/v2")


def judged(project, comparison_id, outcome, **more):
    """The comparison gets another verdict, as a suite with more prompts would give."""
    with project.write() as session:
        row = session.get_one(Comparison, comparison_id)
        verdict = {**row.summary["verdict"], "outcome": outcome, "headline": f"it is {outcome}", **more}
        row.summary = {**row.summary, "verdict": verdict}
        session.add(row)


def see_all(project, comparison_id):
    for one in worst_cells(project, comparison_id, 4):
        note_view(project, comparison_id, one.cell, 2.5)


def test_worst_cells_come_first_and_those_without_a_difference_never(world, compared):
    cells = worst_cells(world.project, compared.id)
    assert [one.rank for one in cells] == list(range(1, 8))
    assert [one.badness for one in cells] == sorted((one.badness for one in cells), reverse=True)
    zero = next(one["index"] for one in read_scores(world.project, compared.id)["cells"] if one["strength"] == 0)
    assert zero not in {one.cell for one in cells}
    assert worst_cells(world.project, compared.id, 3) == cells[:3]
    assert all(world.project.blobs.path(sha256).is_file() for one in cells for sha256 in one.pictures.values())
    with pytest.raises(NotFoundError):
        worst_cells(world.project, 99)


def test_a_first_version_is_looked_at_beside_the_bare_base(world):
    info = world.compare("mara/v1")
    assert set(worst_cells(world.project, info.id)[0].pictures) == {"new", "control"}
    with pytest.raises(UsageError, match="no two versions"):
        blind_pairs(world.project, info.id)
    with pytest.raises(UsageError, match="no two versions"):
        cast_vote(world.project, info.id, 1, left="new", choice="new")
    see_all(world.project, info.id)
    review = approve(world.project, "mara/v1", why="she is there")
    assert (review.evidence["baseline"], review.evidence["outcome"], len(review.evidence["opened"])) == ("", "", 4)
    assert "unseen" not in review.evidence


def test_opened_cells_are_kept_once_a_person_and_seconds_add_up(world, compared):
    note_view(world.project, compared.id, 3, 1.5)
    note_view(world.project, compared.id, 3, 2.0)
    with acting_as("ben"):
        note_view(world.project, compared.id, 3)
    with world.project.read() as session:
        views = session.exec(select(CellView).order_by(CellView.id)).all()
    assert [(view.cell_index, view.seconds) for view in views] == [(3, 3.5), (3, 0.0)]
    assert review_status(world.project, compared.id).opened == {views[0].actor: 1, "ben": 1}
    for cell, seconds in ((99, 1.0), (3, -1.0), (3, float("nan")), (3, float("inf"))):
        with pytest.raises(UsageError):
            note_view(world.project, compared.id, cell, seconds)
    waiting = request_comparison(world.project, "mara/v1")
    with pytest.raises(TryAgainError):
        note_view(world.project, waiting.id, 3)


def test_pairs_are_blind_reproducible_and_show_both_sides(world, compared):
    with acting_as("anna"):
        pairs = blind_pairs(world.project, compared.id)
        assert pairs == blind_pairs(world.project, compared.id)
        assert sorted(pair.left for pair in pairs[:4]) == ["baseline", "baseline", "new", "new"]
        for pair in pairs:
            sides = ("new", "baseline") if pair.left == "new" else ("baseline", "new")
            assert pair.pictures == tuple(pair.shown.pictures[side] for side in sides)
        first = next_pair(world.project, compared.id)
        assert first == pairs[0]
        cast_vote(world.project, compared.id, first.shown.cell, left=first.left, choice="tie", seconds=4)
        assert next_pair(world.project, compared.id) == pairs[1]
        for pair in pairs[1:]:
            cast_vote(world.project, compared.id, pair.shown.cell, left=pair.left, choice="new")
        assert next_pair(world.project, compared.id) is None
    with acting_as("ben"):
        assert next_pair(world.project, compared.id).shown == pairs[0].shown


def test_a_newer_vote_counts_and_every_vote_is_an_opened_cell(world, compared):
    for choice in ("baseline", "new"):
        cast_vote(world.project, compared.id, 2, left="new", choice=choice, seconds=1.0)
    status = review_status(world.project, compared.id)
    assert (status.poll.pooled.wins, status.poll.pooled.losses) == (1, 0)
    with world.project.read() as session:
        assert len(session.exec(select(Vote)).all()) == 2
        assert session.exec(select(CellView)).one().seconds == 2.0
    with pytest.raises(UsageError, match="That is no vote: choice"):
        cast_vote(world.project, compared.id, 2, left="new", choice="control")
    with pytest.raises(UsageError, match="has no cell 8"):
        cast_vote(world.project, compared.id, 8, left="new", choice="new")


def votes_of(compared, cells, choice="new"):
    votes = [{"cell": cell, "left": "baseline", "choice": choice, "seconds": 3.2} for cell in cells]
    return json.dumps({"comparison": compared.id, "votes": votes})


def test_votes_of_the_report_are_taken_in_once(world, compared, tmp_path):
    worst = [one.cell for one in worst_cells(world.project, compared.id, 4)]
    file = tmp_path / "votes.json"
    file.write_text(votes_of(compared, worst))
    with acting_as("anna"):
        assert import_votes(world.project, file) == (compared.id, 4, 4)
        assert import_votes(world.project, file) == (compared.id, 4, 0)
    with acting_as("ben"):
        assert import_votes(world.project, file)[2] == 4
        status = review_status(world.project, compared.id)
    assert status.missing == ()
    assert status.worst[0].opened == {"anna": pytest.approx(3.2), "ben": pytest.approx(3.2)}
    assert status.worst[0].votes == {"anna": "new", "ben": "new"}
    assert (status.poll.agreement, status.poll.pairs, status.poll.pooled.wins) == (1.0, 4, 4)
    said = list_activity(world.project, "mara", actor="anna")
    assert [(one.verb, one.detail["cells"]) for one in said] == [("voted", 4)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nothing", "holds no votes: "),
        ('{"votes": []}', "holds no votes: comparison"),
        ('{"comparison": 1, "votes": [{"cell": 1, "left": "control", "choice": "new"}]}', "votes.0.left"),
        ('{"comparison": 1, "votes": [{"cell": 1, "left": "new", "choice": "new", "seconds": -1}]}', "votes.0.seconds"),
    ],
)
def test_files_without_votes_are_refused(world, tmp_path, text, said):
    file = tmp_path / "votes.json"
    file.write_text(text)
    with pytest.raises(UsageError, match=said):
        import_votes(world.project, file)
    with pytest.raises(NotFoundError):
        import_votes(world.project, tmp_path / "none.json")


def test_one_wrong_cell_keeps_all_votes_out(world, compared, tmp_path):
    with pytest.raises(UsageError, match="has no cell 77"):
        import_votes(world.project, tmp_path, votes_of(compared, [1, 2, 77]))
    with world.project.read() as session:
        assert session.exec(select(Vote)).all() == session.exec(select(CellView)).all() == []


def test_whoever_approves_has_opened_the_worst_cells(world, compared):
    worst = [one.cell for one in worst_cells(world.project, compared.id, 4)]
    with acting_as("ben"):
        see_all(world.project, compared.id)
    with acting_as("anna"):
        for cell in worst[:3]:
            note_view(world.project, compared.id, cell, 2.0)
        with pytest.raises(CheckFailedError, match=f"anna opened 3 of the 4 worst .* cells {worst[3]} ") as refused:
            approve(world.project, "mara/v2", why="good")
        assert "assetforge review mara/v2" in refused.value.hint
        with pytest.raises(CheckFailedError, match="anna opened 3 of the 4"):
            reject(world.project, "mara/v2", why="bad")
        cast_vote(world.project, compared.id, worst[3], left="new", choice="new", seconds=6.0)
        evidence = approve(world.project, "mara/v2", why="good").evidence
    assert evidence["worst"] == worst
    assert evidence["opened"] == {**{str(cell): 2.0 for cell in worst[:3]}, str(worst[3]): 6.0}
    assert evidence["votes"]["people"]["anna"]["wins"] == evidence["votes"]["pooled"]["wins"] == 1
    assert evidence["outcome"] == compared.summary["verdict"]["outcome"]
    primary = compared.summary["verdict"]["metrics"][0]
    assert evidence["primary"]["effect"] == primary["effect"]
    assert evidence["primary"]["interval"] == primary["interval"]
    assert alias_log(world.project, "mara", "approved")[0].evidence == json.loads(json.dumps(evidence))


def test_a_film_may_ask_for_more_or_fewer_pictures(world, compared):
    worst = [one.cell for one in worst_cells(world.project, compared.id)]
    note_view(world.project, compared.id, worst[0])
    set_value(world.project.paths.config, "approval.worst_cells", 50)
    with pytest.raises(CheckFailedError, match="1 of the 7 worst"):
        approve(world.project, "mara/v2", why="good")
    set_value(world.project.paths.config, "approval.worst_cells", 1)
    assert approve(world.project, "mara/v2", why="good").stage == "approved"


def test_deciding_without_looking_is_said_and_kept(world, compared):
    review = approve(world.project, "mara/v2", why="in a hurry", review="skipped")
    assert review.evidence["unseen"] == "decided without looking"
    assert (review.evidence["comparison"], review.evidence["opened"]) == (compared.id, {})


def test_who_looked_did_not_decide_unseen_whatever_was_said(world, compared):
    see_all(world.project, compared.id)
    assert "unseen" not in approve(world.project, "mara/v2", why="good", review="skipped").evidence


def test_scores_that_cannot_be_read_keep_nobody_from_deciding_unseen(world, compared):
    path = world.project.blobs.path(compared.scores)
    path.chmod(0o644)
    path.write_bytes(b"rubbish")
    with pytest.raises(StorageError):
        approve(world.project, "mara/v2", why="good")
    evidence = approve(world.project, "mara/v2", why="good", review="skipped").evidence
    assert evidence["unseen"] == "decided without looking"


def test_a_version_that_was_never_compared_is_approved_only_in_words(world):
    with pytest.raises(CheckFailedError, match="No comparison of mara/v1 is finished") as refused:
        approve(world.project, "mara/v1", why="good")
    assert "assetforge compare mara/v1 --wait" in refused.value.hint
    request_comparison(world.project, "mara/v1")
    with pytest.raises(CheckFailedError):
        approve(world.project, "mara/v1", why="good")
    assert approve(world.project, "mara/v1", why="good", review="skipped").evidence == {
        "unseen": "decided without looking"
    }
    # What cannot even be rendered can still be rejected.
    assert reject(world.project, "mara/v2", why="it is black").evidence == {}


def test_against_the_verdict_only_in_words(world, compared):
    judged(world.project, compared.id, "regressed")
    see_all(world.project, compared.id)
    for review in ("required", "skipped"):
        with pytest.raises(CheckFailedError, match="speaks against mara/v2: it is regressed"):
            approve(world.project, "mara/v2", why="good", review=review)
    evidence = approve(world.project, "mara/v2", why="the director wants it", anyway=True).evidence
    assert (evidence["outcome"], evidence["anyway"]) == ("regressed", "approved against the verdict")


def test_the_comparison_with_the_approved_version_decides(world):
    approve(world.project, "mara/v1", why="first", review="skipped")
    with_approved = world.compare("mara/v2", "mara/v1")
    approve(world.project, "mara/v2", why="second", review="skipped")
    assert reviewed_comparison(world.project, "mara/v2") == with_approved.id
    back = world.compare("mara/v1", "mara/v2")
    alone = world.compare("mara/v2", "mara/v1", metrics=["probe"])
    assert reviewed_comparison(world.project, "mara/v2") == alone.id
    assert reviewed_comparison(world.project, "mara/v1") == back.id
    with pytest.raises(NotFoundError):
        reviewed_comparison(world.project, "mara/v9")


def test_without_a_finished_comparison_there_is_nothing_to_look_at(world):
    with pytest.raises(TryAgainError, match="nothing to look at"):
        reviewed_comparison(world.project, "mara/v2")


def test_what_was_seen_before_more_prompts_were_added_counts(world, compared):
    """The second look has the first one's cells; a row that extends the comparison stands for it here."""
    see_all(world.project, compared.id)
    with world.project.write() as session:
        row = session.get_one(Comparison, compared.id)
        values = row.model_dump(exclude={"id", "extends_id"})
        session.add(Comparison(**values, extends_id=compared.id))
    last = reviewed_comparison(world.project, "mara/v2")
    assert last != compared.id
    assert review_status(world.project, last).missing == ()


def test_comparisons_of_older_films_lack_a_verdict(world, compared):
    with world.project.write() as session:
        row = session.get_one(Comparison, compared.id)
        row.summary = {key: value for key, value in row.summary.items() if key not in ("verdict", "rounds")}
        session.add(row)
    see_all(world.project, compared.id)
    evidence = approve(world.project, "mara/v2", why="good").evidence
    assert (evidence["outcome"], evidence["headline"], evidence["primary"], evidence["guards"]) == ("", "", {}, {})
    assert review_status(world.project, compared.id).sentence == compared.summary["sentence"]


def back_in_time(project, days):
    with project.write() as session:
        for move in session.exec(select(AliasMove)).all():
            move.at = move.at - timedelta(days=days)
            session.add(move)


def test_what_was_approved_on_a_day(world, compared):
    back_in_time(world.project, 10)
    see_all(world.project, compared.id)
    approve(world.project, "mara/v2", why="better")
    reject(world.project, "mara/v1", why="old")
    now = datetime.now(UTC)
    assert aliases_at(world.project, "mara", now - timedelta(days=11)) == {}
    assert aliases_at(world.project, "mara", now - timedelta(days=9))["approved"].version == "mara/v1"
    assert {name: one.version for name, one in aliases_at(world.project, "mara", now).items()} == {
        "approved": "mara/v2"
    }
    past = version_history(world.project, "mara")
    assert [one.version.address for one in past] == ["mara/v2", "mara/v1"]
    assert [one.comparison for one in past[0].judgements] == [compared.id]
    assert past[0].judgements[0].baseline == "mara/v1"
    assert [entry.name for entry in past[1].decisions] == ["approved", "rejected"]
    with pytest.raises(NotFoundError):
        version_history(world.project, "nobody")


def test_moments(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        assert read_moment("2026-03-14") == datetime(2026, 3, 14, 22, 59, 59, 999999, tzinfo=UTC)
        # After the clocks were changed.
        assert read_moment("2026-03-29") == datetime(2026, 3, 29, 21, 59, 59, 999999, tzinfo=UTC)
        assert read_moment("2026-03-14T12:00") == datetime(2026, 3, 14, 11, tzinfo=UTC)
        assert read_moment("2026-03-14T12:00+05:00") == datetime(2026, 3, 14, 7, tzinfo=UTC)
    finally:
        monkeypatch.undo()
        time.tzset()
    for text in ("14 March", "", "2026-13-01", "yesterday"):
        with pytest.raises(UsageError, match="neither a date nor a time"):
            read_moment(text)
