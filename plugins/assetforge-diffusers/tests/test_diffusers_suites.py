"""A film on Stable Diffusion 1.x is asked questions of its own size, also when the toybox is installed."""

import re

import pytest

from assetforge.domain.suite import SuiteDefinition
from assetforge.extension.registry import reset_registry
from assetforge.services.assets import add_asset
from assetforge.services.suites import default_suite, suite_cells
from assetforge_diffusers.plugin import RENDERER
from assetforge_diffusers.suites import SUITES


def test_every_family_has_a_suite_for_every_asset_type_with_a_sampler_it_knows() -> None:
    assert {(suite.family, *suite.asset_types) for suite in SUITES} == {
        (family, asset_type) for family in RENDERER.families for asset_type in ("character", "prop", "style")
    }
    assert all(suite.width % 16 == suite.height % 16 == 0 for suite in SUITES)


@pytest.mark.parametrize("spec", SUITES, ids=lambda spec: spec.name)
def test_every_suite_has_prompts_enough_for_a_verdict(spec) -> None:
    suite = SuiteDefinition.from_spec(spec)
    sizes = {
        block.name: (len(block.prompts), len(block.reserve), len(block.seeds), block.quick) for block in suite.blocks
    }
    assert sizes == {
        "core": (12, 12, 2, 6),
        "core-out": (12, 12, 2, 6),
        "strength": (4, 0, 1, 0),
        "bleed": (6, 6, 2, 0),
        "pairs": (4, 0, 2, 0),
    }
    assert {block.name: block.strengths for block in suite.blocks if block.strengths != (1.0,)} == {
        "strength": (0.0, 0.4, 0.6, 0.8, 1.0, 1.2)
    }
    assert (suite.cell_count, suite.quick().cell_count, suite.reserve_count) == (92, 24, 60)


@pytest.mark.parametrize("spec", SUITES[:3], ids=lambda spec: spec.name)
def test_prompts_call_what_they_are_about_and_say_nothing_twice(spec) -> None:
    asked = [prompt for block in spec.blocks if block.name != "strength" for prompt in (*block.prompts, *block.reserve)]
    assert len(set(asked)) == len(asked)
    for block in spec.blocks:
        for prompt in (*block.prompts, *block.reserve):
            assert ("{trigger}" in prompt) == (block.name != "bleed"), prompt
            assert ("{other}" in prompt) == (block.name == "pairs"), prompt
            assert not re.search(r"\b(he|she|his|her|him)\b", prompt), prompt


@pytest.mark.parametrize("asset_type", ["character", "prop", "style"])
def test_the_default_suite_of_a_real_film(asset_type, tmp_path, monkeypatch) -> None:
    from assetforge.services.projects import create_project

    monkeypatch.setenv("ASSETFORGE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ASSETFORGE_PLUGINS", "diffusers,toybox")
    reset_registry()
    with create_project("film", folder=tmp_path / "film") as project:
        asset = add_asset(project, "mara", asset_type, trigger="mrvale", class_word="thing")
        suite = default_suite(project, asset, "sd15")
        # What the toybox cannot draw, nobody asks of it.
        assert default_suite(project, asset, "sd15", "toybox").name == f"{asset_type}-toybox"
        cells = suite_cells(suite.definition, asset)
    reset_registry()
    assert (suite.name, suite.definition.width) == (f"{asset_type}-sd15", 512)
    # A film with one asset has nobody to put beside it.
    assert {"core", "core-out", "strength", "bleed"} == {cell.block for cell in cells}
    assert all("mrvale" in cell.prompt for cell in cells if cell.block.startswith("core"))
    assert not any("mrvale" in cell.prompt for cell in cells if cell.block == "bleed")
