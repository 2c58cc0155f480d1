import math

import pytest

from assetforge.db.browse.lineage import deciding_figures, newest_renders, version_sources


@pytest.fixture
def film(rows, now):
    """mara with a version of each kind: trained, approved, trained with odd parameters, imported."""
    rows.put("asset", id=1, name="mara", type="character", trigger="mrvale", created_at=now)
    rows.put("base_model", id=1, name="sdxl-1.0", family="sdxl", digest="d", resolution=1024, registered_at=now)
    rows.put("suite", id=1, name="core")
    rows.put("dataset_version", id=7, asset_id=1, number=3, tree_hash="t", created_at=now)
    params = {"rank": 32, "alpha": 16.0, "steps": 1900, "learning_rate": 1e-4}
    for number, chosen in ((1, params), (2, params), (3, {"rank": "many", "steps": True})):
        rows.put(
            "run",
            id=40 + number,
            asset_id=1,
            dataset_id=7,
            base_model_id=1,
            recipe="r",
            params=chosen,
            state="succeeded",
        )
        rows.put(
            "version",
            id=10 + number,
            asset_id=1,
            number=number,
            run_id=40 + number,
            parent_id=9 + number if number > 1 else None,
            family="sdxl",
            stage="approved" if number == 2 else "candidate",
            created_at=now,
        )
    rows.put("version", id=14, asset_id=1, number=4, family="sdxl", stage="candidate", origin="x", created_at=now)
    rows.put("alias", asset_id=1, name="approved", version_id=12)
    rows.put("alias", asset_id=1, name="hero", version_id=12)
    return rows


def test_every_version_once_with_what_it_stands_on(film, empty):
    imported, odd, approved, first = version_sources(empty, 1)
    assert (imported.number, imported.parent, imported.dataset, imported.run) == (4, None, None, None)
    assert (odd.rank, odd.steps, odd.approved) == (None, None, False)
    assert (approved.parent, approved.dataset, approved.run, approved.approved) == (1, 3, 42, True)
    assert (first.rank, first.alpha, first.steps, first.learning_rate, first.base) == (32, 16.0, 1900, 1e-4, "sdxl-1.0")
    assert version_sources(empty, 2) == []


def test_the_figure_of_a_verdict_and_none_where_there_is_no_verdict(film, empty, now):
    metric = {"title": "Identity", "effect": 0.04, "interval": {"low": 0.01, "high": 0.07}, "prompts": 24}
    summaries = (
        {"verdict": {"outcome": "pass", "metrics": [metric]}},
        {"verdict": {"outcome": "pass", "metrics": [{**metric, "interval": None}]}},
        {"sentence": "no baseline"},
        {"verdict": {"metrics": [{**metric, "effect": math.nan}]}},
    )
    for number, summary in enumerate(summaries, start=1):
        film.put(
            "comparison",
            id=number,
            asset_id=1,
            version_id=11,
            evaluation_id=1,
            state="succeeded",
            summary=summary,
            created_at=now,
        )
    found = deciding_figures(empty, [1, 2, 3, 4, 99])
    assert found == {1: ("Identity", 0.04, 0.01, 0.07, 24), 2: ("Identity", 0.04, None, None, 24)}
    assert deciding_figures(empty, [1]) == {1: found[1]}


def test_the_newest_renders_show_each_prompt_once_at_full_strength_first(film, empty, now):
    for evaluation, state in ((1, "succeeded"), (2, "succeeded"), (3, "queued")):
        film.put(
            "evaluation",
            id=evaluation,
            asset_id=1,
            version_id=11,
            suite_id=1,
            base_model_id=1,
            renderer="r",
            plan_digest=str(evaluation),
            plan={},
            state=state,
            created_at=now,
        )
    cells = (("rain", 1, 0.5), ("rain", 1, 1.0), ("rain", 2, 1.0), ("night", 1, 1.0))
    for evaluation in (1, 2):
        for index, (prompt, seed, strength) in enumerate(cells):
            film.put(
                "render",
                evaluation_id=evaluation,
                cell_index=index,
                block="core",
                prompt=prompt,
                seed=seed,
                strength=strength,
                sha256=f"{evaluation}-{index}",
            )
    assert [one.sha256 for one in newest_renders(empty, 11, 6)] == ["2-1", "2-3", "2-0"]
    assert len(newest_renders(empty, 11, 1)) == 1
    assert newest_renders(empty, 12, 6) == []
