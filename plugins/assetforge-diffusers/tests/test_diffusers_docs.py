"""The README's tables are those of the code."""

from pathlib import Path

import pytest

from assetforge.api.params import Params
from assetforge_diffusers.params import LoraTrainerParams, RendererParams


@pytest.mark.parametrize("model", [LoraTrainerParams, RendererParams])
def test_the_readme_lists_every_parameter(model: type[Params]) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    for name, info in model.model_fields.items():
        unit = info.json_schema_extra["unit"]
        default = f"`{info.default}` {unit}".strip()
        assert f"| `{name}` | {default} | {info.description} |" in readme, name
