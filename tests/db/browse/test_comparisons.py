"""Comparisons of an asset as a list shows them."""

import pytest

from assetforge.db.browse.comparisons import comparison_stamp, comparisons_of
from assetforge.db.browse.reader import Reader
from assetforge.services.assets import get_asset
from assetforge.services.comparison import get_comparison, request_comparison
from assetforge.services.releases import approve, reject
from assetforge.services.reviews import note_view
from tests.db.review.conftest import registry, world  # noqa: F401


@pytest.fixture
def reader(world):  # noqa: F811
    opened = Reader(world.project.paths.database)
    yield opened
    opened.close()


def test_the_list_says_what_the_services_say(world, reader):  # noqa: F811
    first = world.compare("mara/v1")
    approve(world.project, "mara/v1", why="the first", review="skipped")
    second = world.compare("mara/v2")
    asset = get_asset(world.project, "mara")
    newest, oldest = comparisons_of(reader, asset.id)
    assert (newest.id, oldest.id) == (second.id, first.id)
    for row in (newest, oldest):
        info = get_comparison(world.project, row.id)
        assert (row.version, row.baseline, row.suite, row.state) == (
            info.version,
            info.baseline,
            info.suite,
            info.state,
        )
        assert (row.outcome, row.jobs) == (info.outcome, info.jobs)
    assert (newest.baseline_approved, newest.approved, oldest.approved) == (True, False, True)
    assert (newest.word, oldest.word) == ("inconclusive", "no verdict")
    metric = get_comparison(world.project, second.id).summary["verdict"]["metrics"][0]
    assert (newest.metric, newest.effect, newest.prompts) == (metric["title"], metric["effect"], metric["prompts"])
    assert newest.created_at.endswith("+00:00")
    assert comparisons_of(reader, asset.id + 1) == []


def test_jobs_that_are_open_are_named(world, reader):  # noqa: F811
    info = request_comparison(world.project, "mara/v2")
    (row,) = comparisons_of(reader, get_asset(world.project, "mara").id)
    assert row.jobs == info.jobs
    assert row.word == "running"
    world.finish(info.jobs[0], "cancelled")
    (row,) = comparisons_of(reader, get_asset(world.project, "mara").id)
    assert (row.jobs, row.word) == ((), "waiting")


def test_a_stamp_changes_with_what_is_shown_and_with_looks_apart_from_it(world, reader):  # noqa: F811
    info = world.compare("mara/v2")
    before = comparison_stamp(reader, info.id)
    note_view(world.project, info.id, 3, 1.0)
    looked = comparison_stamp(reader, info.id)
    assert looked != before
    assert looked.shown == before.shown
    reject(world.project, "mara/v2", why="no", review="skipped")
    assert comparison_stamp(reader, info.id).shown != before.shown
    assert comparison_stamp(reader, 99) is None
