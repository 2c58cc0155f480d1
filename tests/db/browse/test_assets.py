import json
from datetime import timedelta

import pytest

from assetforge.db.browse import asset_facts, verdicts
from assetforge.db.browse.assets import (
    ATTENTION,
    STATUSES,
    asset_counts,
    asset_table,
    select_assets,
    sort_assets,
)
from assetforge.db.browse.reader import Reader
from assetforge.domain.search_language import ASSET_FIELDS, parse_search
from assetforge.services.assets import add_asset, set_asset
from assetforge.services.captions import set_caption
from assetforge.services.datasets import freeze
from assetforge.services.ingest import add_references
from assetforge.services.references import exclude_reference, list_references, restore_reference


@pytest.fixture
def film(rows, now):
    """mara with two versions, the first one approved."""
    rows.put(
        "asset",
        id=1,
        name="mara",
        type="character",
        trigger="mrvale",
        class_word="woman",
        created_at=now - timedelta(days=9),
    )
    rows.put("suite", id=1, name="core")
    rows.put("suite", id=2, name="core-quick")
    for number in (1, 2):
        rows.put(
            "run",
            id=number,
            asset_id=1,
            state="succeeded",
            cause="by hand",
            finished_at=now - timedelta(days=5 - number),
            params={},
        )
        rows.put(
            "version",
            id=number,
            asset_id=1,
            number=number,
            run_id=number,
            stage="approved" if number == 1 else "candidate",
            created_at=now - timedelta(days=5 - number),
        )
    rows.put("alias", asset_id=1, name="approved", version_id=1)
    return rows


def one(empty):
    (row,) = asset_table(empty)
    return row


def judge(film, outcome, *, baseline=1, suite=1, number=1, state="succeeded", sentence="It gained."):
    film.put(
        "evaluation",
        id=number,
        asset_id=1,
        version_id=2,
        suite_id=suite,
        plan={},
        state="succeeded",
        plan_digest=str(number),
    )
    verdict = {"outcome": outcome, "headline": f"it is {outcome}"} if outcome else None
    film.put(
        "comparison",
        id=number,
        asset_id=1,
        version_id=2,
        baseline_id=baseline,
        evaluation_id=number,
        state=state,
        summary={"verdict": verdict, "sentence": sentence},
    )


def render(film, version, sha256, *, evaluation, block="core", strength=1.0, cell=0):
    film.put("render", evaluation_id=evaluation, cell_index=cell, block=block, strength=strength, sha256=sha256)


def test_constants_are_those_of_the_modules_that_cannot_be_imported_quickly():
    from assetforge.domain.suite import CORE_PREFIX, QUICK_SUFFIX
    from assetforge.services.versions import CALIBRATION

    assert (asset_facts.CORE_PREFIX, asset_facts.CALIBRATION) == (CORE_PREFIX, CALIBRATION)
    assert verdicts.QUICK_SUFFIX == QUICK_SUFFIX
    assert set(STATUSES) == set(ASSET_FIELDS["status"].choices)


def test_an_asset_without_versions_is_collected(rows, empty):
    rows.put("asset", name="mara", type="character", trigger="mrvale")
    row = one(empty)
    assert (row.status, row.latest, row.approved, row.dataset, row.picture, row.progress) == (
        "collecting",
        "",
        "",
        "",
        "",
        None,
    )


def test_a_candidate_without_renders_then_with_them_then_with_a_verdict(film, empty):
    row = one(empty)
    assert (row.status, row.latest, row.latest_stage, row.approved) == ("candidate", "mara/v2", "candidate", "mara/v1")
    assert row.versions == 2
    film.put("evaluation", id=9, asset_id=1, version_id=2, suite_id=1, plan={}, plan_digest="nine", state="succeeded")
    render(film, 2, "aa", evaluation=9)
    assert one(empty).status == "review"
    judge(film, "pass")
    row = one(empty)
    assert (row.status, row.outcome, row.headline, row.verdict_due) == ("review", "pass", "it is pass", "review")
    judge(film, "regressed", number=2)
    row = one(empty)
    assert (row.status, row.outcome, row.verdict_due) == ("regressed", "regressed", "regressed")
    film.run("UPDATE version SET stage = 'rejected' WHERE id = 2")
    row = one(empty)
    assert (row.status, row.latest_stage, row.verdict_due) == ("approved", "rejected", "")


def test_a_whole_suite_and_the_approved_version_decide(film, empty):
    judge(film, "pass", number=1)
    judge(film, "regressed", number=2, suite=2)
    assert one(empty).outcome == "pass"
    judge(film, "regressed", number=3, baseline=7)
    assert one(empty).outcome == "pass"
    judge(film, "regressed", number=4, state="failed")
    assert one(empty).outcome == "pass"
    judge(film, "inconclusive", number=5)
    assert (one(empty).outcome, one(empty).status) == ("inconclusive", "review")


def test_without_a_verdict_the_figures_speak(film, empty):
    judge(film, "", baseline=None)
    row = one(empty)
    assert (row.outcome, row.headline, row.status) == ("", "It gained.", "review")


def test_a_summary_that_sqlite_cannot_read_has_no_verdict(film, empty):
    judge(film, "pass")
    film.run(
        "UPDATE comparison SET summary = ?", json.dumps({"verdict": None, "sentence": "x", "figure": float("nan")})
    )
    row = one(empty)
    assert (row.outcome, row.headline) == ("", "")


def test_an_approved_newest_version(film, empty):
    film.run("UPDATE version SET stage = 'approved' WHERE id = 2")
    film.run("UPDATE alias SET version_id = 2")
    assert one(empty).status == "approved"


def test_everything_rejected_is_collecting_again(film, empty):
    film.run("UPDATE version SET stage = 'rejected'")
    film.run("DELETE FROM alias")
    assert one(empty).status == "collecting"


def test_versions_that_measure_and_retired_ones_are_not_the_latest(film, empty, now):
    film.put("run", id=3, asset_id=1, state="succeeded", cause="calibration of mara/v1", params={}, finished_at=now)
    film.put("version", id=3, asset_id=1, number=3, run_id=3, stage="candidate", created_at=now)
    film.put("version", id=4, asset_id=1, number=4, stage="retired", created_at=now)
    row = one(empty)
    assert (row.latest, row.versions) == ("mara/v2", 4)


def test_open_jobs_wait_or_run_and_progress_is_read_from_their_events(film, empty):
    job = film.put("job", kind="train", state="queued", subject="mara", run_id=2, payload={"run": 2})
    assert (one(empty).status, one(empty).open_jobs) == ("waiting", 1)
    film.run("UPDATE job SET state = 'running'")
    assert (one(empty).status, one(empty).progress) == ("running", None)
    folder = film.database.parent / "jobs" / f"{job:06d}"
    folder.mkdir(parents=True)
    events = [{"kind": "progress", "step": step, "total": 200} for step in (10, 50)] + [{"kind": "log", "line": "x"}]
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    assert one(empty).progress == 0.25
    (folder / "events.jsonl").write_bytes(b"\xff\xfe nonsense\n")
    assert one(empty).progress is None
    film.run("UPDATE job SET state = 'succeeded'")
    assert (one(empty).status, one(empty).open_jobs) == ("candidate", 0)


def test_render_and_score_jobs_belong_to_their_asset(film, empty):
    judge(film, "pass", state="queued")
    render_job = film.put("job", kind="render", state="queued", payload={"evaluations": [1]})
    film.run("UPDATE evaluation SET job_id = ?", render_job)
    film.put("job", kind="score", state="running", payload={"comparison": 1})
    film.put("job", kind="score", state="running", payload={"comparison": 99})
    assert (one(empty).status, one(empty).open_jobs) == ("running", 2)


def test_a_failed_last_run_needs_somebody_until_something_comes_after(film, empty, now):
    film.put(
        "run",
        id=3,
        asset_id=1,
        state="failed",
        params={},
        cause="by hand",
        created_at=now - timedelta(days=1),
        finished_at=now - timedelta(hours=20),
    )
    assert one(empty).status == "failed"
    film.put("version", id=3, asset_id=1, number=3, origin="bought.safetensors", stage="candidate", created_at=now)
    assert one(empty).status == "candidate"
    film.put(
        "run",
        id=4,
        asset_id=1,
        state="lost",
        params={},
        cause="by hand",
        created_at=now,
        finished_at=now + timedelta(minutes=1),
    )
    assert one(empty).status == "failed"
    film.put("job", kind="train", state="queued", run_id=4, payload={"run": 4})
    assert one(empty).status == "waiting"
    film.run("UPDATE job SET state = 'cancelled'")
    film.put("run", id=5, asset_id=1, state="cancelled", params={}, cause="by hand", created_at=now)
    assert one(empty).status == "candidate"


def test_the_picture_is_the_approved_versions_first_core_picture_at_full_strength(film, empty):
    for evaluation, version in ((1, 2), (2, 1), (3, 1)):
        film.put(
            "evaluation",
            id=evaluation,
            asset_id=1,
            version_id=version,
            suite_id=1,
            plan={},
            plan_digest=str(evaluation),
            state="succeeded",
        )
    render(film, 2, "latest", evaluation=1, block="core-out", cell=3)
    assert one(empty).picture == "latest"
    render(film, 1, "bleed", evaluation=2, block="bleed")
    render(film, 1, "weak", evaluation=2, strength=0.6, cell=1)
    assert one(empty).picture == "latest"
    render(film, 1, "second", evaluation=2, cell=5)
    render(film, 1, "first", evaluation=2, cell=4)
    assert one(empty).picture == "first"
    render(film, 1, "newer", evaluation=3, cell=7)
    assert one(empty).picture == "newer"


def test_without_renders_the_sharpest_reference_shows(film, empty):
    for sha256, sharpness, state in (("aa", 10.0, "active"), ("bb", 90.0, "active"), ("cc", 500.0, "excluded")):
        film.put("image", sha256=sha256, sharpness=sharpness, width=8, height=8, phash=1)
        film.put("reference", asset_id=1, sha256=sha256, state=state)
    assert one(empty).picture == "bb"


def test_when_something_changed(film, empty, now):
    assert one(empty).trained_at == one(empty).changed_at == (now - timedelta(days=3)).isoformat()
    film.put("alias_move", asset_id=1, name="approved", to_version_id=1, at=now)
    assert one(empty).changed_at == now.isoformat()


def test_real_references_are_counted(project, make_png, tmp_path):
    add_asset(project, "mara", "character")
    for seed in range(5):
        make_png(tmp_path / "in" / f"{seed}.png", seed)
    add_references(project, "mara", [tmp_path / "in"])
    addresses = [one.address for one in list_references(project, "mara").items]
    set_caption(project, addresses[0], "in the rain")
    reader = Reader(project.paths.database)

    def counts():
        (row,) = asset_table(reader)
        return (
            row.references,
            row.excluded,
            row.unfrozen,
            row.without_caption,
            row.without_rights,
            row.dataset,
            row.dataset_size,
        )

    assert counts() == (5, 0, 5, 4, 5, "", 0)
    exclude_reference(project, addresses[4], "blurred")
    freeze(project, "mara")
    assert counts() == (4, 1, 0, 3, 4, "mara/d1", 4)
    restore_reference(project, addresses[4])
    make_png(tmp_path / "more" / "9.png", 9)
    add_references(project, "mara", [tmp_path / "more"])
    assert counts() == (6, 0, 2, 5, 6, "mara/d1", 4)
    freeze(project, "mara")
    assert counts() == (6, 0, 0, 5, 6, "mara/d2", 6)
    set_asset(project, "mara", archived=True)
    assert asset_table(reader)[0].archived
    reader.close()


def test_files_in_quarantine_are_counted(film, empty):
    root = film.put("watch_root", asset_id=1, path="in", state="ok")
    for number, state in enumerate(("quarantined", "quarantined", "taken", "discarded")):
        film.put("watched_file", root_id=root, path=f"{number}.png".encode(), state=state)
    assert one(empty).quarantined == 2


def names(reader, text, now, table=None):
    search = parse_search(text)
    assert not search.problems
    return [row.name for row in select_assets(reader, table or asset_table(reader), search, now)]


def test_the_search_language_over_a_table(reader, now):
    table = asset_table(reader)
    everything = [row.name for row in table]
    assert names(reader, "", now) == everything
    assert names(reader, "type:char", now) == ["character-000", "character-004"]
    assert names(reader, "type:char,prop -name:004", now) == ["character-000", "prop-001", "prop-005"]
    assert names(reader, "CHARACTER", now) == ["character-000", "character-004"]
    assert names(reader, "trigger:trg3 film", now) == ["location-003"]
    assert names(reader, "refs:>100", now) == [row.name for row in table if row.references > 100] == ["character-000"]
    assert names(reader, "-refs:>100", now) == everything[1:]
    assert names(reader, "approved:yes", now) == [row.name for row in table if row.approved]
    assert names(reader, "dataset:none", now) == [row.name for row in table if not row.dataset]
    assert names(reader, "captions:missing", now) == [row.name for row in table if row.without_caption]
    assert names(reader, "rights:none", now) == [row.name for row in table if row.without_rights]
    assert names(reader, "trained:<3d", now) == [row.name for row in table if row.trained_at >= "2026-11-24T12"]
    assert names(reader, "trained:>3d", now) == []
    assert names(reader, "trained:2026-11-25", now) == [
        row.name for row in table if row.trained_at[:10] == "2026-11-25"
    ]
    assert set(names(reader, "status:review", now)) == {row.name for row in table if row.status == "review"}
    assert names(reader, "archived:yes", now) == []
    assert names(reader, "archived:any", now) == everything


def test_tags_are_whole_words_in_captions_of_references_in_use(film, empty, now):
    film.put("asset", id=2, name="ilse", type="character", trigger="ilsqt")
    captions = [
        (1, "active", "in the train, Close-Up, a red coat."),
        (2, "active", "rain; mÄdchen"),
        (2, "excluded", "snow"),
    ]
    for number, (asset, state, caption) in enumerate(captions):
        film.put("reference", asset_id=asset, sha256=f"{number}", state=state, caption=caption)
    found = {
        tag: names(empty, f"tag:{tag}", now)
        for tag in (
            "rain",
            "RAIN",
            "train",
            '"red coat"',
            "coat",
            "close-up",
            "close",
            "mädchen",
            "MÄDCHEN",
            "snow",
            "100%",
            "'a_b'",
        )
    }
    assert found == {
        "rain": ["ilse"], "RAIN": ["ilse"], "train": ["mara"], '"red coat"': ["mara"], "coat": ["mara"], "close-up": ["mara"], "close": [],
        "mädchen": ["ilse"], "MÄDCHEN": ["ilse"], "snow": [], "100%": [], "'a_b'": [],
    }  # fmt: skip
    assert names(empty, "-tag:rain", now) == ["mara"]
    assert names(empty, "tag:rain,train", now) == ["ilse", "mara"]


def test_archived_assets_are_only_shown_when_asked_for(film, empty, now):
    film.run("UPDATE asset SET archived_at = '2026-11-01 00:00:00.000000'")
    assert names(empty, "", now) == []
    assert names(empty, "archived:yes", now) == ["mara"]
    assert names(empty, "archived:no", now) == []
    counts = asset_counts(asset_table(empty))
    assert (counts.all, counts.archived, counts.by_type, counts.attention) == (0, 1, {}, 0)


def test_order_and_counts(reader):
    table = asset_table(reader)
    by_need = sort_assets(table, "status", descending=False)
    assert [STATUSES.index(row.status) for row in by_need] == sorted(STATUSES.index(row.status) for row in table)
    assert by_need[0].status in ATTENTION
    assert [row.name for row in sort_assets(table, "name", descending=True)] == sorted(
        (row.name for row in table), reverse=True
    )
    assert [row.references for row in sort_assets(table, "refs", descending=True)] == sorted(
        (row.references for row in table), reverse=True
    )
    for by in ("type", "changed", "trained", "version"):
        assert {row.id for row in sort_assets(table, by, descending=True)} == {row.id for row in table}
    equal = sort_assets(table, "type", descending=True)
    assert [row.name for row in equal if row.type == "prop"] == ["prop-001", "prop-005"]
    counts = asset_counts(table)
    assert (counts.all, counts.by_type) == (8, {"character": 2, "location": 2, "prop": 2, "style": 2})
    assert counts.attention == sum(row.status in ATTENTION for row in table)
