"""Every family renders as its reference pipeline, wears LoRAs, takes every sampler of its kind, and gives the bare base back."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

from assetforge.api.job import BaseRef, Cell, LoraRef, RenderSettings
from assetforge.errors import UsageError
from assetforge_diffusers.families import FAMILIES, open_family
from assetforge_diffusers.params import RendererParams
from assetforge_diffusers.renderer import DiffusersRenderer
from assetforge_diffusers.samplers import FLOW_SAMPLERS, SAMPLERS
from diffusers_world import FolderContext, slow, tiny_base

pytestmark = [  # the reference pipelines' own warnings
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning"),
]

SIDE, STEPS, CFG = 32, 2, 3.0
CELLS = [
    Cell(index=0, block="core", prompt="zork robot", negative="blurry", seed=5),
    Cell(index=1, block="core", prompt="a robot on a hill in the rain", negative="text", seed=6),
]
FEW = [name if name in ("sd15", "sdxl", "flux1", "wan") else slow(name) for name in FAMILIES]
"""A diffusion model, one with two text encoders, a flow model and one that draws films; the rest are left to the long tests."""

SAID: dict[str, Callable[[Cell], dict[str, Any]]] = {  # how the reference pipelines are told the same in words
    "flux1": lambda cell: {"guidance_scale": CFG},
    "flux2": lambda cell: {"guidance_scale": CFG},
    "qwen-image": lambda cell: {"negative_prompt": cell.negative, "true_cfg_scale": CFG},
    "z-image": lambda cell: {"negative_prompt": cell.negative, "guidance_scale": CFG - 1},
    "wan": lambda cell: {"negative_prompt": cell.negative, "guidance_scale": CFG, "num_frames": 1},
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Tiny models by family, each built once."""
    built: dict[str, Path] = {}

    def base(family: str) -> Path:
        if family not in built:
            name = family.replace("-", "_")
            make = tiny_base if family == "sd15" else getattr(import_module(f"tiny.{name}"), f"tiny_{name}")
            built[family] = make(tmp_path_factory.mktemp(name))
        return built[family]

    return base


def ref(family: str, base: Path) -> BaseRef:
    return BaseRef(name="tiny", family=family, digest="0" * 64, path=str(base), resolution=SIDE)


def opened(family: str, base: Path, work: Path, sampler: str = "default", **params: Any) -> DiffusersRenderer:
    renderer = DiffusersRenderer()
    context = FolderContext(work, base, RendererParams(**{"batch_size": 1, **params}))
    settings = RenderSettings(steps=STEPS, cfg=CFG, width=SIDE, height=SIDE, sampler=sampler)
    renderer.record = renderer.open(ref(family, base), settings, context)
    return renderer


def pictures(renderer: DiffusersRenderer, cells: list[Cell] = CELLS) -> list[np.ndarray]:
    renderer._now.controls.clear()
    return list(renderer.render(cells))


def asked(family: str, base: Path, cell: Cell) -> np.ndarray:
    """The reference pipeline's picture, told in words."""
    pipeline = open_family(ref(family, base), base, torch.float32).pipeline
    said = SAID.get(family, lambda cell: {"negative_prompt": cell.negative, "guidance_scale": CFG})
    made = pipeline(
        prompt=cell.prompt,
        width=SIDE,
        height=SIDE,
        num_inference_steps=STEPS,
        generator=torch.Generator().manual_seed(cell.seed),
        output_type="np",
        return_dict=False,
        **said(cell),
    )[0]
    return (made.reshape(SIDE, SIDE, 3) * 255).round().astype("uint8")


def lora_for(family: str, base: Path, folder: Path) -> tuple[LoraRef, dict[str, torch.Tensor]]:
    """A file with random attention layers in peft's form, and the weights that they make."""
    made = open_family(ref(family, base), base, torch.float32)
    network = made.denoiser
    inject_adapter_in_model(LoraConfig(r=2, lora_alpha=2, target_modules=list(made.layers["attention"])), network)
    source = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=source))
    state = {f"{made.denoiser_name}.{name}": tensor for name, tensor in get_peft_model_state_dict(network).items()}
    save_file(state, folder / f"{family}.safetensors")
    weights = {}
    for path, tuner in network.named_modules():
        if isinstance(tuner, BaseTunerLayer):
            tuner.merge()
            weights[path] = tuner.get_base_layer().weight.detach()
    return LoraRef(name=family, file=f"{family}.safetensors", sha256=family), weights


@pytest.mark.parametrize("family", FAMILIES)
def test_pixels_are_those_of_the_reference_pipeline(family: str, bases: Any, tmp_path: Path) -> None:
    base = bases(family)
    for cell, picture in zip(CELLS, pictures(opened(family, base, tmp_path)), strict=True):
        assert np.array_equal(picture, asked(family, base, cell))


@pytest.mark.parametrize("family", FEW)
def test_a_lora_is_worn_and_taken_off_bit_for_bit(family: str, bases: Any, tmp_path: Path) -> None:
    base = bases(family)
    lora, weights = lora_for(family, base, tmp_path)
    renderer = opened(family, base, tmp_path)
    network = renderer._now.family.denoiser
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    bare = pictures(renderer)
    renderer.use([(lora, 1.0)])
    assert weights
    assert all(torch.equal(network.get_submodule(path).weight, weight) for path, weight in weights.items())
    worn = pictures(renderer)
    assert all(not np.array_equal(one, other) for one, other in zip(worn, bare, strict=True))
    renderer.use([])
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(np.array_equal(one, other) for one, other in zip(pictures(renderer), bare, strict=True))
    beside = opened(family, base, tmp_path, merge="off")
    beside.use([(lora, 1.0)])
    for one, other in zip(pictures(beside), worn, strict=True):
        assert np.abs(one.astype(int) - other).max() <= 1
    beside.use([])
    assert all(np.array_equal(one, other) for one, other in zip(pictures(beside), bare, strict=True))


@pytest.mark.parametrize("family", FEW)
def test_every_sampler_of_its_kind_gives_a_picture_of_the_seed_alone(family: str, bases: Any, tmp_path: Path) -> None:
    flow = open_family(ref(family, bases(family)), bases(family), torch.float32).prediction == "flow"
    for name in FLOW_SAMPLERS if flow else SAMPLERS:
        renderer = opened(family, bases(family), tmp_path, sampler=name)
        first = pictures(renderer)
        assert all(
            np.array_equal(one, other) for one, other in zip(pictures(renderer, CELLS[::-1]), first[::-1], strict=True)
        )
        assert first[0].std() > 0
    if flow:
        with pytest.raises(UsageError, match="is a flow model"):
            opened(family, bases(family), tmp_path, sampler="ddim")


@pytest.mark.parametrize("family", FEW)
def test_bf16_renders_with_the_autoencoder_in_full(family: str, bases: Any, tmp_path: Path) -> None:
    full, half = (
        pictures(opened(family, bases(family), tmp_path, precision=name), CELLS[:1])[0] for name in ("fp32", "bf16")
    )
    assert np.abs(full.astype(int) - half).mean() < 8
    renderer = opened(family, bases(family), tmp_path, precision="bf16")
    assert renderer.record["merged"] is False
    assert renderer._now.family.pipeline.vae.dtype == torch.float32
    lora, _ = lora_for(family, bases(family), tmp_path)
    bare = pictures(renderer)
    renderer.use([(lora, 1.0)])
    assert not np.array_equal(pictures(renderer)[0], bare[0])
    renderer.use([])
    assert all(np.array_equal(one, other) for one, other in zip(pictures(renderer), bare, strict=True))
