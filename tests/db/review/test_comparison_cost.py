"""What a comparison takes, told before anybody asks for it."""

import pytest

from assetforge.errors import NotFoundError, UsageError
from assetforge.services.comparison import list_comparisons, request_comparison
from assetforge.services.comparison_cost import comparison_cost


def test_the_cost_is_what_asking_queues_and_nothing_once_it_is_there(world):
    cost = comparison_cost(world.project, "mara/v2")
    assert (cost.version, cost.baseline, cost.suite) == ("mara/v2", "mara/v1", "tiny-core")
    assert (cost.pictures, cost.there, cost.reserve, cost.seconds) == (21, 0, 0, None)
    assert not list_comparisons(world.project)
    info = request_comparison(world.project, "mara/v2")
    queued = world.job(info.jobs[0])
    assert len(queued.payload["evaluations"]) == 3
    # What is being rendered is not asked for again.
    assert comparison_cost(world.project, "mara/v2").pictures == 0
    world.compare("mara/v2")
    after = comparison_cost(world.project, "mara/v2")
    assert (after.pictures, after.there, after.seconds) == (0, 21, 0.0)


def test_pictures_that_another_comparison_left_are_not_counted_again(world):
    world.compare("mara/v1")
    cost = comparison_cost(world.project, "mara/v2")
    assert (cost.pictures, cost.there) == (8, 13)
    assert cost.seconds == pytest.approx(0.8)


def test_what_cannot_be_compared_costs_nothing_but_a_sentence(world):
    with pytest.raises(NotFoundError):
        comparison_cost(world.project, "mara/v9")
    with pytest.raises(UsageError, match="same version"):
        comparison_cost(world.project, "mara/v1", "mara/v1")
