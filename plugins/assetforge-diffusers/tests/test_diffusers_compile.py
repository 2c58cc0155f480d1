"""Compiled blocks train the same."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny.flux1 import tiny_flux1
from tiny.sd3 import tiny_sd3
from tiny.z_image import tiny_z_image

from assetforge.errors import JobError, UsageError
from assetforge_diffusers import regions
from assetforge_diffusers.ladder import ladder
from assetforge_diffusers.params import LoraTrainerParams
from assetforge_diffusers.preparation import prepare
from assetforge_diffusers.trainer import LoraTrainer
from diffusers_world import FolderContext, fresh_workdir, tiny_base, write_pictures

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:The .grad attribute of a Tensor that is not a leaf"
    ),  # dynamo looks at it itself
    pytest.mark.filterwarnings("ignore:.*autograd.function.Function'> should not be instantiated"),
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated"),
    pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`-wrapped function"),
]
TINY = {"steps": 3, "rank": 2, "batch_size": 2, "learning_rate": 1e-2, "resolutions": (16, 32)}
BASES = {"sd15": tiny_base, "flux1": tiny_flux1, "sd3": tiny_sd3, "z-image": tiny_z_image}


@pytest.fixture(autouse=True)
def _fresh_compiler() -> None:
    torch._dynamo.reset()


def trained(family: str, base: Path, workdir: Path, **settings: object) -> dict[str, torch.Tensor]:
    context = FolderContext(workdir, base, LoraTrainerParams(**{**TINY, **settings}), family=family)
    assert LoraTrainer().train(context).metrics["export_difference"] == 0.0
    return load_file(context.outputs / "zork-v001.safetensors")


def check(family: str, tmp_path: Path, **settings: object) -> None:
    base = BASES[family](tmp_path / "base")
    write_pictures(tmp_path / "plain" / "inputs", 3)
    plain = trained(family, base, tmp_path / "plain", **settings)
    workdir = fresh_workdir(tmp_path / "plain", tmp_path / "compiled")
    with torch._dynamo.config.patch(recompile_limit=1, fail_on_recompile_limit_hit=True):
        compiled = trained(family, base, workdir, compile=True, **settings)
    assert plain.keys() == compiled.keys()
    for name, tensor in plain.items():
        torch.testing.assert_close(compiled[name], tensor, rtol=2e-2, atol=2e-4)


@pytest.mark.parametrize(
    "family",
    [pytest.param(name, marks=pytest.mark.slow) for name in ("sd15", "flux1", "sd3", "z-image")],
)
def test_blocks_are_captured_whole_and_learn_the_same(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(regions, "_BACKEND", "aot_eager")  # captures and differentiates, and generates no code
    check(family, tmp_path)
    counters = torch._dynamo.utils.counters
    assert counters["stats"]["unique_graphs"] > 0
    assert not counters["graph_break"]


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"gradient_checkpointing": True}, {"quantize": "int8"}, {"dropout": 0.1}])
def test_compiling_goes_with(settings: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "_BACKEND", "aot_eager")
    check("sd15", tmp_path, resolutions=(32,), **settings)


def test_what_does_not_go_together_is_refused_and_never_a_measure(tmp_path: Path) -> None:
    write_pictures(tmp_path / "work" / "inputs", 2)
    asked = LoraTrainerParams(**TINY, compile=True)
    params = asked.model_copy(update={"gradient_checkpointing": True, "quantize": "int8"})
    with pytest.raises(UsageError, match="cannot be computed twice"):
        LoraTrainer().train(FolderContext(tmp_path / "work", tiny_base(tmp_path / "base"), params))
    for rung in ladder(asked, "cuda"):
        assert rung.params.compile == (rung.params.quantize == "none")


@pytest.mark.slow
def test_generated_code_learns_the_same(tmp_path: Path) -> None:
    check("sd15", tmp_path, resolutions=(32,))


def test_every_family_says_what_it_repeats(tmp_path: Path) -> None:
    for family, make in BASES.items():
        base = make(tmp_path / family)
        write_pictures(tmp_path / f"{family}-work" / "inputs", 1)
        context = FolderContext(tmp_path / f"{family}-work", base, LoraTrainerParams(**TINY), family=family)
        opened = prepare(context).family
        assert regions.compile_regions(opened.denoiser, opened.regions, 1) > 1


def test_a_compiler_that_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*inputs: object, **more: object) -> object:
        raise torch._dynamo.exc.Unsupported("no working C++ compiler")

    monkeypatch.setattr(regions, "_BACKEND", broken)
    write_pictures(tmp_path / "work" / "inputs", 2)
    context = FolderContext(tmp_path / "work", tiny_base(tmp_path / "base"), LoraTrainerParams(**TINY, compile=True))
    with pytest.raises(JobError, match="cannot be compiled here") as caught:
        LoraTrainer().train(context)
    assert "compile to false" in caught.value.hint
