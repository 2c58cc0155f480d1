"""A film on Stable Diffusion 1.x is asked questions of its own size, also when the toybox is installed."""

import pytest

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


@pytest.mark.parametrize("asset_type", ["character", "prop", "style"])
def test_the_default_suite_of_a_real_film(asset_type, tmp_path, monkeypatch) -> None:
    from assetforge.services.projects import create_project

    monkeypatch.setenv("ASSETFORGE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ASSETFORGE_PLUGINS", "diffusers,toybox")
    reset_registry()
    with create_project("film", folder=tmp_path / "film") as project:
        asset = add_asset(project, "mara", asset_type, trigger="mrvale", class_word="thing")
        suite = default_suite(project, asset, "sd15")
        cells = suite_cells(suite.definition, asset)
    reset_registry()
    assert (suite.name, suite.definition.width) == (f"{asset_type}-sd15", 512)
    assert {"core", "core-out", "strength", "bleed"} == {cell.block for cell in cells}
    assert all("mrvale" in cell.prompt for cell in cells if cell.block.startswith("core"))
    assert not any("mrvale" in cell.prompt for cell in cells if cell.block == "bleed")
