"""What trained layers change, against peft's own layers; and LoRA files of every kind and form on a base."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from peft import LoHaConfig, LoKrConfig, LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

from assetforge.api.job import BaseRef, Cell, LoraRef, RenderSettings
from assetforge.errors import UsageError
from assetforge_diffusers.changes import beside, change_weight
from assetforge_diffusers.families import open_family
from assetforge_diffusers.keys import Layer, to_kohya
from assetforge_diffusers.keys.layer import kind_of
from assetforge_diffusers.params import RendererParams
from assetforge_diffusers.renderer import DiffusersRenderer
from assetforge_diffusers.wardrobe import Wardrobe
from diffusers_world import FolderContext

pytestmark = [  # peft's and the reference pipelines' own warnings
    pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

CONFIGS: dict[str, Any] = {
    "lora": LoraConfig(r=3, lora_alpha=5, target_modules=["line", "conv", "point"]),
    "dora": LoraConfig(r=3, lora_alpha=5, use_dora=True, target_modules=["line", "conv", "point"]),
    "loha": LoHaConfig(r=3, alpha=5, target_modules=["line", "conv", "point"], use_effective_conv2d=True),
    "lokr": LoKrConfig(r=2, alpha=5, target_modules=["line", "conv", "point"], use_effective_conv2d=True),
    "lokr-both": LoKrConfig(r=1, alpha=2, target_modules=["line", "conv", "point"], decompose_both=True),
}


class Three(torch.nn.Module):
    """One layer of each shape."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.line = torch.nn.Linear(12, 8)
        self.conv = torch.nn.Conv2d(6, 8, 3, padding=1, stride=2)
        self.point = torch.nn.Conv2d(6, 4, 1, bias=False)

    def forward(self, flat: torch.Tensor, square: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.line(flat), self.conv(square), self.point(square)


def randomised(module: Any, seed: int) -> None:
    """Give adapters numbers that change something."""
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "magnitude" in name:
                parameter.mul_(1 + 0.3 * torch.rand(parameter.shape, generator=source))
            elif any(part in name for part in ("lora_", "hada_", "lokr_")):
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=source))


def layers_of(module: Any, component: str, config: Any, name: str = "default") -> list[Layer]:
    """The adapter as layers."""
    found: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in get_peft_model_state_dict(module, adapter_name=name).items():
        at = max(key.find(f".{part}") for part in ("lora_", "hada_", "lokr_"))
        found.setdefault(key[:at], {})[key[at + 1 :]] = tensor.detach().clone()
    alpha = float(getattr(config, "lora_alpha", 0) or config.alpha)
    return [Layer(component, path, tensors, alpha, config.r) for path, tensors in found.items()]


@pytest.mark.parametrize("kind", CONFIGS)
def test_changes_are_those_of_peft(kind: str) -> None:
    flat, square = torch.randn(5, 12), torch.randn(2, 6, 7, 7)
    model, plain = Three(), Three()
    before = plain(flat, square)
    inject_adapter_in_model(CONFIGS[kind], model)
    randomised(model, 7)
    model.eval()
    layers = layers_of(model, "unet", CONFIGS[kind])
    assert {layer.path for layer in layers} == {"line", "conv", "point"}
    for strength in (1.0,) if kind == "dora" else (1.0, 0.4):
        for tuner in model.modules():
            if isinstance(tuner, BaseTunerLayer):
                tuner.set_scale("default", strength)
        expected = model(flat, square)
        hooks = [
            plain.get_submodule(one.path).register_forward_hook(
                beside(plain.get_submodule(one.path), [(one, strength)])
            )
            for one in layers
        ]
        for seen, wanted in zip(plain(flat, square), expected, strict=True):
            assert torch.allclose(seen, wanted, atol=1e-5)
            assert torch.equal(seen, wanted) or kind != "lora"
        for hook in hooks:
            hook.remove()
    for layer in layers:
        tuner, module = model.get_submodule(layer.path), plain.get_submodule(layer.path)
        tuner.set_scale("default", 1.0)
        with torch.no_grad():
            change_weight(module.weight, module.weight.clone(), [(layer, 1.0)])
        tuner.merge()
        assert torch.allclose(module.weight, tuner.get_base_layer().weight, atol=1e-6)
        exact = kind in {"loha", "lokr"} or (kind == "lora" and layer.path != "conv")
        assert torch.equal(module.weight, tuner.get_base_layer().weight) or not exact
    assert not any(torch.equal(one, other) for one, other in zip(before, expected, strict=True))


def test_dora_at_a_strength_goes_that_share_of_the_way() -> None:
    model = Three()
    inject_adapter_in_model(CONFIGS["dora"], model)
    randomised(model, 3)
    base, line = Three().line.weight.detach(), Three().line
    layer = next(one for one in layers_of(model, "unet", CONFIGS["dora"]) if one.path == "line")
    weights = {}
    for strength in (0.5, 1.0):
        weights[strength] = base.clone()
        change_weight(weights[strength], base, [(layer, strength)])
    assert torch.allclose(weights[0.5], (base + weights[1.0]) / 2, atol=1e-6)
    flat = torch.randn(5, 12)
    line.register_forward_hook(beside(line, [(layer, 0.5)]))
    assert torch.allclose(line(flat), torch.nn.functional.linear(flat, weights[0.5], line.bias), atol=1e-5)


def test_linear_layers_written_as_convolutions_and_the_other_way_round_are_read() -> None:
    source, model = torch.Generator().manual_seed(2), Three()
    up, down = torch.randn(8, 2, generator=source), torch.randn(2, 12, generator=source)
    as_convolution = {"lora_A.weight": down[:, :, None, None], "lora_B.weight": up[:, :, None, None]}
    flat = {"lora_A.weight": torch.randn(2, 6, generator=source), "lora_B.weight": torch.randn(4, 2, generator=source)}
    for path, tensors in {"line": as_convolution, "point": flat}.items():
        module, layer = model.get_submodule(path), Layer("unet", path, tensors, 2.0, 2)
        seen = torch.randn(3, 12) if path == "line" else torch.randn(2, 6, 5, 5)
        hook = module.register_forward_hook(beside(module, [(layer, 0.5)]))
        computed = module(seen)
        hook.remove()
        with torch.no_grad():
            change_weight(module.weight, module.weight.clone(), [(layer, 0.5)])
        assert torch.allclose(module(seen), computed, atol=1e-5)


def test_several_changes_add_up_in_order() -> None:
    base = Three().line.weight.detach()
    layers = []
    for seed, kind in enumerate(("lora", "loha", "dora")):
        model = Three()
        inject_adapter_in_model(CONFIGS[kind], model)
        randomised(model, seed)
        layers += [one for one in layers_of(model, "unet", CONFIGS[kind]) if one.path == "line"]
    worn = list(zip(layers, (0.5, 1.5, 0.7), strict=True))
    weight, line, flat = base.clone(), Three().line, torch.randn(5, 12)
    change_weight(weight, base, worn)
    line.register_forward_hook(beside(line, worn))
    assert torch.allclose(line(flat), torch.nn.functional.linear(flat, weight, line.bias), atol=1e-5)


def test_half_precision_weights_are_changed_in_full_and_rounded_once() -> None:
    model = Three()
    inject_adapter_in_model(CONFIGS["lora"], model)
    randomised(model, 3)
    layer = next(one for one in layers_of(model, "unet", CONFIGS["lora"]) if one.path == "conv")
    base = Three().conv.weight.detach().bfloat16()
    weight, full = base.clone(), base.float()
    change_weight(weight, base, [(layer, 0.8)])
    change_weight(full, base.float(), [(layer, 0.8)])
    assert weight.dtype == torch.bfloat16
    assert torch.equal(weight, full.bfloat16())


# Files on a base

TARGETS = ["to_q", "to_v", "to_out.0", "ff.net.2", "conv1"]
ON_BASE: dict[str, tuple[Any, Any]] = {
    "lora": (
        LoraConfig(r=3, lora_alpha=5, target_modules=TARGETS),
        LoraConfig(r=2, lora_alpha=3, target_modules=["q_proj"]),
    ),
    "dora": (LoraConfig(r=3, lora_alpha=5, use_dora=True, target_modules=TARGETS), None),
    "loha": (LoHaConfig(r=3, alpha=5, target_modules=TARGETS), LoHaConfig(r=2, alpha=3, target_modules=["q_proj"])),
    "lokr": (LoKrConfig(r=2, alpha=2, target_modules=TARGETS), None),
}


class Made:
    """Files of one kind for the tiny base, and what its networks' weights are with them."""

    def __init__(self, folder: Path, base: Path, kind: str) -> None:
        self.ref = BaseRef(name="tiny", family="sd15", digest="0" * 64, path=str(base))
        family = open_family(self.ref, base, torch.float32)
        networks = {"unet": family.denoiser, "text_encoder": family.base.load("text_encoder")}
        layers, settings = [], {}
        for (component, network), config in zip(networks.items(), ON_BASE[kind], strict=True):
            if config is None:
                continue
            inject_adapter_in_model(config, network)
            randomised(network, len(component))
            layers += layers_of(network, component, config)
            for name, value in config.to_dict().items():
                settings[f"{component}.{name}"] = sorted(value) if isinstance(value, set) else value
        save_file(to_kohya("sd15", layers), folder / f"{kind}.safetensors")
        plain = {
            f"{layer.component}.{layer.path}.{part}": tensor
            for layer in layers
            for part, tensor in layer.tensors.items()
        }
        save_file(plain, folder / f"{kind}-diffusers.safetensors", {"lora_adapter_metadata": json.dumps(settings)})
        self.weights = {}
        for component, network in networks.items():
            for path, tuner in network.named_modules():
                if isinstance(tuner, BaseTunerLayer):
                    tuner.merge()
                    self.weights[component, path] = tuner.get_base_layer().weight.detach().clone()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, base_folder: Path) -> dict[str, Any]:
    """Files of all kinds in one folder."""
    folder = tmp_path_factory.mktemp("kinds")
    return {"folder": folder} | {kind: Made(folder, base_folder, kind) for kind in ON_BASE}


def worn(name: str) -> LoraRef:
    return LoraRef(name=name, file=f"{name}.safetensors", sha256=name)


@pytest.mark.parametrize("form", ["", "-diffusers"])
@pytest.mark.parametrize("kind", ON_BASE)
def test_files_of_every_kind_change_the_weights_as_trained(
    kind: str, form: str, made: dict[str, Any], base_folder: Path
) -> None:
    family = open_family(made[kind].ref, base_folder, torch.float32)
    wardrobe = Wardrobe(family, made["folder"], merge=True)
    networks = {"unet": family.denoiser, "text_encoder": family.base.load("text_encoder")}
    before = {name: tensor.clone() for network in networks.values() for name, tensor in network.state_dict().items()}
    wardrobe.wear([(worn(f"{kind}{form}"), 1.0)])
    assert made[kind].weights
    for (component, path), expected in made[kind].weights.items():
        weight = networks[component].get_submodule(path).weight
        assert torch.allclose(weight, expected, atol=1e-6), path
        assert torch.equal(weight, expected) or kind != "lora" or path.endswith("conv1")
    assert bool(wardrobe.worn_by_text) == any(component == "text_encoder" for component, _ in made[kind].weights)
    wardrobe.wear([(worn(other), 0.7) for other in ON_BASE])
    wardrobe.wear([])
    after = {name: tensor for network in networks.values() for name, tensor in network.state_dict().items()}
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("merge", ["on", "off"])
def test_every_kind_is_seen_and_taken_off(merge: str, made: dict[str, Any], base_folder: Path) -> None:
    renderer = DiffusersRenderer()
    context = FolderContext(made["folder"], base_folder, RendererParams(merge=merge, batch_size=1))
    renderer.open(made["lora"].ref, RenderSettings(steps=2, cfg=3.0, width=32, height=32), context)
    cell = Cell(index=0, block="core", prompt="zork robot", seed=5)

    def picture(*names: str) -> np.ndarray:
        renderer.use([(worn(name), 0.8) for name in names])
        renderer._now.controls.clear()
        return next(renderer.render([cell])).astype(int)

    bare = picture()
    seen = {kind: picture(kind) for kind in ON_BASE}
    stacked = picture("lora", "dora", "loha", "lokr")
    assert all(np.abs(image - bare).max() > 1 for image in (*seen.values(), stacked))
    assert np.array_equal(picture("loha"), seen["loha"])
    assert np.array_equal(picture(), bare)


def test_beside_and_merged_agree(made: dict[str, Any], base_folder: Path) -> None:
    pictures = {}
    for merge in ("on", "off"):
        renderer = DiffusersRenderer()
        context = FolderContext(made["folder"], base_folder, RendererParams(merge=merge, batch_size=1))
        renderer.open(made["lora"].ref, RenderSettings(steps=2, cfg=3.0, width=32, height=32), context)
        renderer.use([(worn(kind), 0.8) for kind in ON_BASE])
        pictures[merge] = next(renderer.render([Cell(index=0, block="core", prompt="zork robot", seed=5)])).astype(int)
    assert np.abs(pictures["on"] - pictures["off"]).max() <= 1


def test_forms_that_only_diffusers_knows_are_converted(made: dict[str, Any], base_folder: Path, tmp_path: Path) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(base_folder, safety_checker=None)
    pipeline.unet.add_adapter(LoraConfig(r=3, lora_alpha=3, target_modules=["to_q", "to_v"]))
    randomised(pipeline.unet, 4)
    state = get_peft_model_state_dict(pipeline.unet)
    old = {}
    for name, tensor in state.items():  # as diffusers wrote it before peft
        path, _, layer = name.removesuffix(".weight").rpartition(".lora_")[0].rpartition(".")
        which = "down" if ".lora_A" in name else "up"
        old[f"unet.{path}.processor.{layer}_lora.{which}.weight"] = tensor.detach().clone()
    save_file(old, tmp_path / "old.safetensors")
    for module in pipeline.unet.modules():
        if isinstance(module, BaseTunerLayer):
            module.merge()
    family = open_family(made["lora"].ref, base_folder, torch.float32)
    Wardrobe(family, tmp_path, merge=True).wear([(worn("old"), 1.0)])
    for path, tuner in pipeline.unet.named_modules():
        if isinstance(tuner, BaseTunerLayer):
            assert torch.allclose(family.denoiser.get_submodule(path).weight, tuner.get_base_layer().weight, atol=1e-6)


@pytest.mark.parametrize("merge", [True, False])
def test_a_file_for_another_base_is_refused_and_leaves_nothing(
    merge: bool, base_folder: Path, tmp_path: Path, made: dict[str, Any]
) -> None:
    stem = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
    narrow = {f"{stem}.lora_down.weight": torch.ones(2, 640), f"{stem}.lora_up.weight": torch.ones(640, 2)}
    save_file(narrow, tmp_path / "large.safetensors")
    family = open_family(made["lora"].ref, base_folder, torch.float32)
    before = {name: tensor.clone() for name, tensor in family.denoiser.state_dict().items()}
    wardrobe = Wardrobe(family, tmp_path, merge=merge)
    with pytest.raises(UsageError, match=r"large does not fit this sd15 base: unet.down_blocks.1.* and the file has"):
        wardrobe.wear([(worn("large"), 1.0)])
    assert wardrobe.worn == ()
    assert all(torch.equal(tensor, before[name]) for name, tensor in family.denoiser.state_dict().items())


def test_kinds_are_told_apart(made: dict[str, Any], base_folder: Path) -> None:
    wardrobe = Wardrobe(open_family(made["lora"].ref, base_folder, torch.float32), made["folder"], merge=False)
    wardrobe.wear([(worn(kind), 1.0) for kind in ON_BASE])
    assert {kind_of(layer) for layers in wardrobe._files.values() for layer in layers} == {"lora", "loha", "lokr"}
