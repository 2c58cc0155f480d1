from datetime import timedelta

import pytest

from assetforge.db.browse.versions import find_anything, version_ids, version_rows


@pytest.fixture
def film(rows, now):
    """mara with three versions on two datasets, one approved, and ilse with one imported."""
    for number, name in ((1, "mara"), (2, "ilse")):
        rows.put("asset", id=number, name=name, type="character", trigger=f"{name[:3]}qt", created_at=now)
    rows.put("suite", id=1, name="core")
    rows.put("base_model", id=1, name="sdxl-1.0", family="sdxl", digest="d", resolution=1024, registered_at=now)
    for number, lines in (
        (1, {"aa": "rain", "bb": "night"}),
        (2, {"aa": "rain, red coat", "cc": "lamp", "dd": "quay"}),
    ):
        rows.put(
            "dataset_version",
            id=number,
            asset_id=1,
            number=number,
            tree_hash=str(number),
            train_count=len(lines),
            held_out_count=0,
            created_at=now,
        )
        for sha256, caption in lines.items():
            rows.put(
                "dataset_item", dataset_id=number, sha256=sha256, caption=caption, repeats=1, split="train", crop=""
            )
    params = {"rank": 32, "alpha": 16.0, "steps": 1900, "learning_rate": 1e-4}
    for number, dataset in ((1, 1), (2, 2), (3, 2)):
        rows.put(
            "run",
            id=40 + number,
            asset_id=1,
            dataset_id=dataset,
            base_model_id=1,
            recipe="character-sdxl",
            params=params if number < 3 else {"rank": "many", "steps": True},
            state="succeeded",
            cause="by hand",
        )
        rows.put(
            "version",
            id=number,
            asset_id=1,
            number=number,
            run_id=40 + number,
            parent_id=number - 1 or None,
            stage=("rejected", "approved", "candidate")[number - 1],
            family="sdxl",
            created_at=now - timedelta(days=3 - number),
        )
    rows.put(
        "version",
        id=4,
        asset_id=2,
        number=1,
        family="sd15",
        origin="bought [x].safetensors",
        stage="candidate",
        created_at=now,
    )
    rows.put("alias", asset_id=1, name="approved", version_id=2)
    rows.put("alias", asset_id=1, name="hero", version_id=2)
    rows.put(
        "alias_move", asset_id=1, name="rejected", to_version_id=1, actor="director", why="the scar is gone", at=now
    )
    rows.put("alias_move", asset_id=1, name="approved", to_version_id=2, actor="director", why="older", at=now)
    rows.put(
        "alias_move", asset_id=1, name="approved", to_version_id=2, actor="lead", why="the scar is right now", at=now
    )
    rows.put("alias_move", asset_id=1, name="hero", to_version_id=2, actor="lead", why="poster", at=now)
    for path in ("loras/mara/mara-v002.safetensors", "loras/mara/old.safetensors", "loras/mara/mara-v002.safetensors"):
        rows.put("publication", version_id=2, path=path, at=now)
    rows.put("evaluation", id=1, asset_id=1, version_id=3, suite_id=1, state="succeeded", plan={})
    rows.put(
        "comparison",
        id=7,
        asset_id=1,
        version_id=3,
        baseline_id=2,
        evaluation_id=1,
        state="succeeded",
        summary={"verdict": {"outcome": "pass", "headline": "not worse"}, "sentence": "s"},
    )
    return rows


def test_versions_with_where_they_come_from_and_what_was_said(film, empty, now):
    assert list(version_ids(empty, 1)) == [3, 2, 1]
    assert list(version_ids(empty, 1, descending=False)) == [1, 2, 3]
    assert list(version_ids(empty, None)) == [4, 3, 2, 1]
    assert list(version_ids(empty, None, stages=("candidate",))) == [4, 3]
    assert list(version_ids(empty, 5)) == []
    found = version_rows(empty, [1, 2, 3, 4, 99])
    assert list(found) == [1, 2, 3, 4]
    first, second, third, bought = found.values()
    assert (first.address, first.stage, first.decision, first.reason, first.actor) == (
        "mara/v1",
        "rejected",
        "rejected",
        "the scar is gone",
        "director",
    )
    assert (first.parent, first.dataset, first.dataset_size, first.added, first.removed) == ("", "mara/d1", 2, 0, 0)
    assert (second.dataset, second.added, second.removed, second.recaptioned) == ("mara/d2", 2, 1, 1)
    assert (second.aliases, second.decision, second.reason, second.actor) == (
        ("approved", "hero"),
        "approved",
        "the scar is right now",
        "lead",
    )
    assert second.published == ("loras/mara/mara-v002.safetensors", "loras/mara/old.safetensors")
    assert (second.rank, second.alpha, second.steps, second.learning_rate, second.base) == (
        32,
        16.0,
        1900,
        1e-4,
        "sdxl-1.0",
    )
    assert (third.parent, third.added, third.removed, third.recaptioned) == ("mara/v2", 0, 0, 0)
    assert (third.outcome, third.headline, third.comparison, third.decision, third.decided_at) == (
        "pass",
        "not worse",
        7,
        "",
        "",
    )
    assert (third.rank, third.steps, third.learning_rate, third.run, third.recipe) == (
        None,
        None,
        None,
        43,
        "character-sdxl",
    )
    assert (bought.address, bought.dataset, bought.run, bought.base, bought.origin) == (
        "ilse/v1",
        "",
        None,
        "sd15",
        "bought [x].safetensors",
    )
    assert bought.created_at == now.isoformat()


def titles(reader, text, limit=10):
    return [one.title for one in find_anything(reader, text, limit)]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("mara", "mara"),
        ("MAR", "mara"),
        ("mra", "mara"),
        ("ilsqt", "ilse"),
        ("mara v2", "mara/v2"),
        ("mara/v2", "mara/v2"),
        ("mara 2", "mara/v2"),
        ("mar v3", "mara/v3"),
        ("mara v", "mara/v3"),
        ("mara@approved", "mara/v2"),
        ("mara@her", "mara/v2"),
        ("mara@latest", "mara/v3"),
        ("run 41", "run 41"),
        ("run41", "run 41"),
        ("#42", "run 42"),
        ("43", "run 43"),
    ],
)
def test_anything_is_found_by_a_few_letters(film, empty, text, first):
    assert titles(empty, text)[0] == first


def test_references_by_digits_and_file_name(film, empty):
    film.put("reference", asset_id=1, sha256="3f9a1c" + "0" * 58, file_name="Quay [50%] rain.png", state="active")
    film.put("reference", asset_id=2, sha256="3f9a1c" + "0" * 58, file_name="", state="excluded")
    (first, second) = find_anything(empty, "3f9a1c", 5)
    assert {first.address, second.address} == {"mara/ref/3f9a1c", "ilse/ref/3f9a1c"}
    assert {first.kind, second.kind} == {"reference"}
    assert [one.address for one in find_anything(empty, "mara/ref/3f9a", 5)] == ["mara/ref/3f9a1c"]
    assert [one.address for one in find_anything(empty, "ilse/3f9a", 5)] == ["ilse/ref/3f9a1c"]
    for text in ("quay", "50%", "RAIN", "[50"):
        assert titles(empty, text) == ["Quay [50%] rain.png"], text
    assert titles(empty, "rain_") == []


def test_nothing_and_nonsense_find_nothing(film, empty):
    for text in (
        "",
        "   ",
        "zzzz",
        "@",
        "/",
        "mara@",
        "run",
        "run 99999999999",
        "mara v99",
        "'",
        "\x00",
        "[a-z]*",
        "é",
    ):
        for one in find_anything(empty, text, 5):
            assert 0 < one.score <= 1, text
    assert titles(empty, "zzzz") == titles(empty, "mara v99") == titles(empty, "@") == []
    assert find_anything(empty, "mara", 0) == []
    assert len(find_anything(empty, "a", 1)) == 1


def test_a_larger_film(reader):
    ids = version_ids(reader, None)
    found = version_rows(reader, ids)
    assert [row.address for row in found.values()] == [one.address for one in version_rows(reader, list(ids)).values()]
    for row in found.values():
        assert row.rank == 32
    assert sum(row.added for row in found.values()) > 0
    assert sum(row.dataset_size > 0 for row in found.values()) > len(found) / 2
    assert titles(reader, "character-000 v3")[0] == "character-000/v3"
    assert find_anything(reader, "prop", 3)[0].kind == "asset"
