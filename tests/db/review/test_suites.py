import dataclasses

import pytest

from assetforge.api.specs import BaseModelSpec
from assetforge.errors import NotFoundError, UsageError
from assetforge.extension.discovery import Candidate
from assetforge.extension.manager import LoadedPlugin
from assetforge.services.assets import get_asset, set_asset
from assetforge.services.rendering import request_render
from assetforge.services.suites import add_suite, default_suite, get_suite, list_suites
from tests.db.review.conftest import SUITE

OWN = """
name = "rain"
title = "Rain tests"
family = "sd15"
asset_types = ["character"]
steps = 3
cfg = 4
width = 32
height = 32

[[blocks]]
name = "own"
prompts = ["{trigger} in heavy rain", "{trigger} under a bridge"]
seeds = [7, 8]
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "rain.toml"
    path.write_text(OWN)
    return path


def test_plugin_suites_and_own_suites_stand_side_by_side(world, file):
    suite, changed = add_suite(world.project, file)
    assert (suite.cells, suite.controls, changed) == (4, 4, True)
    assert [(one.name, one.source) for one in list_suites(world.project)][:2] == [
        ("rain", "film"),
        ("tiny-core", "review-plugin"),
    ]
    assert add_suite(world.project, file)[1] is False


def test_a_changed_file_changes_nothing_until_it_is_added_again(world, file):
    before, _ = add_suite(world.project, file)
    file.write_text(OWN.replace("seeds = [7, 8]", "seeds = [7, 8, 9]"))
    assert get_suite(world.project, "rain").cells == 4
    after, changed = add_suite(world.project, file)
    assert changed
    assert after.digest != before.digest
    assert get_suite(world.project, "rain").cells == 6
    file.write_text(OWN)
    add_suite(world.project, file)
    assert get_suite(world.project, "rain").digest == before.digest


def test_the_asset_s_choice_goes_first(world, file):
    add_suite(world.project, file)
    set_asset(world.project, "mara", suite="rain")
    assert default_suite(world.project, get_asset(world.project, "mara"), "sd15").name == "rain"
    assert request_render(world.project, "mara/v1").suite == "rain"
    with pytest.raises(UsageError, match="is for sd15 models"):
        default_suite(world.project, get_asset(world.project, "mara"), "sdxl")


def test_the_plugin_that_brings_the_base_model_knows_what_it_can_draw(world, file, registry):
    doll = BaseModelSpec(name="doll", title="Doll", family="sd15", locate="doll_plugin:folder", resolution=32)
    suite = dataclasses.replace(SUITE, name="doll-core")
    candidate = Candidate(name="doll", distribution="doll-plugin", version="1.0", target="doll_plugin")
    registry.add(LoadedPlugin(candidate, specs={"base_model": (doll,), "suite": (suite,)}))
    mara = get_asset(world.project, "mara")
    assert default_suite(world.project, mara, "sd15").name == "tiny-core"
    assert default_suite(world.project, mara, "sd15", "tiny").name == "tiny-core"
    assert default_suite(world.project, mara, "sd15", "doll").name == "doll-core"
    add_suite(world.project, file)
    assert default_suite(world.project, mara, "sd15", "doll").name == "rain"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("{trigger} in heavy", "{triger} in heavy"), "{triger}"),
        (("seeds = [7, 8]", "seeds = [7, 7]"), "twice"),
        (("steps = 3", "stepz = 3"), "stepz"),
        (('name = "rain"', 'name = "Rain!"'), "name"),
        (("cfg = 4", "cfg = "), "cannot be read as TOML"),
        (("[[blocks]]", "[blocks]"), "blocks"),
    ],
)
def test_a_wrong_file_says_where(world, file, change, says):
    file.write_text(OWN.replace(*change))
    with pytest.raises(UsageError) as caught:
        add_suite(world.project, file)
    assert says in str(caught.value)
    assert str(file) in str(caught.value)


def test_what_is_missing_is_said(world, tmp_path):
    with pytest.raises(NotFoundError):
        add_suite(world.project, tmp_path / "no.toml")
    with pytest.raises(NotFoundError):
        get_suite(world.project, "nope")
    with pytest.raises(NotFoundError, match="No suite fits"):
        default_suite(world.project, get_asset(world.project, "mara"), "sdxl")
