import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from assetforge.db.browse.films import film_cards
from assetforge.services.assets import add_asset
from assetforge.services.ingest import add_references
from assetforge.services.projects import create_project


def test_films_the_one_used_last_first_and_what_is_wrong_with_others(home, make_png, tmp_path, monkeypatch):
    folder = tmp_path / "projects"
    for name in ("alpha", "beta", "broken", "older", "torn"):
        create_project(name, title=name.title()).close()
    with create_project("gamma", title="[red]Gamma[/b]\n") as project:
        add_asset(project, "mara", "character")
        make_png(tmp_path / "one.png", 1)
        add_references(project, "mara", [tmp_path / "one.png"])
    (folder / "broken" / ".assetforge" / "forge.db").write_bytes(b"nothing" * 999)
    (folder / "torn" / "project.toml").write_text("name = ")
    with closing(sqlite3.connect(folder / "older" / ".assetforge" / "forge.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0003'")
    cards = film_cards(folder)
    assert cards == film_cards()
    assert cards[0].name == "gamma"
    gamma = cards[0]
    assert (gamma.title.strip(), gamma.assets, gamma.references, gamma.problem) == ("[red]Gamma[/b]", 1, 1, "")
    assert len(gamma.picture) == 64
    problems = {card.name: card.problem for card in cards if card.problem}
    assert set(problems) == {"broken", "older", "torn"}
    assert "older than this program" in problems["older"]
    assert [card.name for card in cards if card.older] == ["older"]
    assert "cannot be read" in problems["broken"]
    assert "project.toml cannot be read" in problems["torn"]
    assert film_cards(tmp_path / "nowhere") == []


@pytest.fixture
def card(rows, now):
    """A function that gives the card of the film that ``rows`` writes into."""
    root = rows.database.parent.parent
    (root / "project.toml").write_text('name = "empty"\ntitle = "Empty"\n')

    def read():
        (found,) = film_cards(root.parent, now=now)
        return found

    return read


def test_what_needs_a_person_is_counted(rows, card, now):
    for number in range(1, 5):
        rows.put(
            "asset",
            id=number,
            name=f"a{number}",
            type="prop",
            trigger="t",
            created_at=now,
            archived_at=now if number == 4 else None,
        )
        rows.put("version", id=number, asset_id=number, number=1, stage="candidate", created_at=now)
        rows.put(
            "evaluation",
            id=number,
            asset_id=number,
            version_id=number,
            suite_id=1,
            plan={},
            plan_digest=str(number),
            state="succeeded",
        )
        rows.put("render", evaluation_id=number, cell_index=0, block="core", strength=1.0, sha256=f"r{number}")
    rows.put("suite", id=1, name="core")
    rows.put(
        "comparison",
        asset_id=1,
        version_id=1,
        evaluation_id=1,
        baseline_id=9,
        state="succeeded",
        summary={"verdict": {"outcome": "regressed", "headline": "worse"}},
    )
    rows.put("run", id=1, asset_id=1, state="failed", params={}, finished_at=now - timedelta(days=2))
    rows.put("run", id=2, asset_id=2, state="failed", params={}, finished_at=now - timedelta(days=8))
    rows.put("run", id=3, asset_id=3, state="lost", params={}, finished_at=now - timedelta(days=1))
    rows.put("run", id=4, asset_id=3, state="succeeded", params={}, finished_at=now)
    rows.put("watch_root", id=1, asset_id=1, path="in", state="ok")
    rows.put("watch_root", id=2, asset_id=1, path="on", state="lost")
    rows.put("watched_file", root_id=1, path=b"1", state="quarantined")
    rows.put("job", kind="render", state="running", payload={})
    rows.put("job", kind="render", state="queued", payload={})
    found = card()
    assert (found.review, found.regressed, found.failed, found.quarantined, found.watch_problems, found.running) == (
        2,
        1,
        1,
        1,
        1,
        1,
    )
    assert found.open_jobs == 2
    assert found.picture.startswith("r")
    assert found.problem == ""


def test_the_picture_is_of_an_approved_version_if_there_is_one(rows, card, now):
    for number in (1, 2):
        rows.put(
            "asset", id=number, name=f"a{number}", type="prop", trigger="t", created_at=now + timedelta(days=number)
        )
        rows.put("version", id=number, asset_id=number, number=1, stage="candidate", created_at=now)
        rows.put(
            "evaluation",
            id=number,
            asset_id=number,
            version_id=number,
            suite_id=1,
            plan={},
            plan_digest=str(number),
            state="succeeded",
        )
        rows.put("render", evaluation_id=number, cell_index=0, block="core", strength=1.0, sha256=f"r{number}")
    assert card().picture == "r2"
    rows.put("alias", asset_id=1, name="approved", version_id=1)
    assert card().picture == "r1"


def test_a_film_of_another_user_says_why(rows, card):
    assert card().problem == ""
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    rows.database.chmod(0)
    assert "cannot be read" in card().problem


def test_now_is_the_present_by_default(rows, card):
    rows.put("asset", id=1, name="a", type="prop", trigger="t")
    rows.put("run", id=1, asset_id=1, state="failed", params={}, finished_at=datetime.now(UTC) - timedelta(days=1))
    root = rows.database.parent.parent
    card()
    (found,) = film_cards(root.parent)
    assert found.failed == 1
