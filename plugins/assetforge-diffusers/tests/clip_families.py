"""What holds for every Stable Diffusion family: a family and the reference pipeline of diffusers do the same."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from keys_models import layer_shapes
from peft import LoraConfig

from assetforge_diffusers.basefiles import BaseFiles
from assetforge_diffusers.draws import draw
from assetforge_diffusers.families import family_class
from assetforge_diffusers.families.base import Family, Told
from assetforge_diffusers.objective import LossSettings

CAPTIONS = ("a red cat, sitting", "an old harbour at night with three boats and more words than fit")
SIZE = {"height": 24, "width": 32}


def open_tiny(name: str, folder: Path) -> Family:
    """The family ``name`` on the pipeline in ``folder``."""
    kind = family_class(name)
    return kind(BaseFiles(folder, kind.pipeline_class))


def change_config(folder: Path, component: str, **settings: Any) -> None:
    """Change settings of a component on disk."""
    file = next(
        file
        for file in sorted((folder / component).glob("*.json"))
        if file.name in {"config.json", "scheduler_config.json"}
    )
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))


@torch.no_grad()
def tell(family: Family, captions: Sequence[str]) -> Told:
    """Embeddings of a batch of captions."""
    tokens = [family.tokenize(caption)[0] for caption in captions]
    assert all({n: t.shape for n, t in one.items()} == {n: t.shape for n, t in tokens[0].items()} for one in tokens)
    return family.encode_tokens({name: torch.stack([one[name] for one in tokens]) for name in tokens[0]})


def picture(seed: int = 3) -> torch.Tensor:
    """One picture of noise, (1, 24, 32, 3), uint8."""
    source = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (1, SIZE["height"], SIZE["width"], 3), generator=source, dtype=torch.uint8)


def geometry(count: int) -> torch.Tensor:
    """What the reference pipeline assumes: nothing was scaled or cropped."""
    return torch.tensor([[SIZE["height"], SIZE["width"], 0, 0, SIZE["height"], SIZE["width"]]] * count)


def run_pipeline(family: Family, seeds: Sequence[int], **inputs: Any) -> np.ndarray:
    """Pixels in [0, 1] after two steps, (batch, height, width, 3)."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    pipeline = family.pipeline
    return pipeline(**inputs, **SIZE, num_inference_steps=2, generator=generators, output_type="np").images


def check_latents(family: Family) -> None:
    """Latents are those of the autoencoder, moved to the range that the denoiser knows."""
    pixels, vae = picture(), family.base.load("vae")
    moments = family.encode_pictures(pixels)
    assert moments.dtype == torch.float32
    mean = vae.encode(pixels.permute(0, 3, 1, 2).float() / 127.5 - 1.0).latent_dist.mean
    latents = family.latents(moments, torch.zeros_like(mean))
    shift = vae.config.shift_factor or 0.0
    torch.testing.assert_close(latents, (mean - shift) * vae.config.scaling_factor)
    back = vae.decode(latents / vae.config.scaling_factor + shift).sample  # as the reference pipelines undo it
    torch.testing.assert_close(back, vae.decode(mean).sample)
    assert latents.shape[-2:] == (SIZE["height"] // family.latent_factor, SIZE["width"] // family.latent_factor)


def check_renders(family: Family) -> None:
    """Embedded prompts give the pixels that the same prompts give, alone and in a batch, with and without guidance."""
    negatives = ["blurry", "grey, flat"]
    for guidance in (1.0, 4.0):
        told = tell(family, CAPTIONS)
        negative = tell(family, negatives) if guidance > 1 else None
        asked = run_pipeline(family, (0, 1), prompt=list(CAPTIONS), negative_prompt=negatives, guidance_scale=guidance)
        given = run_pipeline(family, (0, 1), **family.call_inputs(told, negative, guidance))
        np.testing.assert_allclose(given, asked, atol=1e-6)
        for index, caption in enumerate(CAPTIONS):
            less = tell(family, negatives[index : index + 1]) if guidance > 1 else None
            alone = run_pipeline(family, (index,), **family.call_inputs(tell(family, (caption,)), less, guidance))
            np.testing.assert_allclose(alone[0], given[index], atol=1e-5)
    unguided = run_pipeline(family, (0, 1), **family.call_inputs(told, None, 1.0))
    assert np.abs(unguided - given).max() > 1e-4  # guidance did something
    assert (
        np.abs(unguided[0] - run_pipeline(family, (0,), **family.call_inputs(tell(family, ("",)), None, 1.0))[0]).max()
        > 1e-5
    )


def check_predictions(family: Family) -> None:
    """``predict`` gives what the network answers to the reference pipeline, at every step of it."""
    seen: list[tuple[tuple[Any, ...], Mapping[str, Any], torch.Tensor]] = []
    hook = family.denoiser.register_forward_hook(
        lambda module, args, kwargs, output: seen.append((args, kwargs, output[0])), with_kwargs=True
    )
    run_pipeline(family, (0, 1), prompt=list(CAPTIONS), guidance_scale=1.0)
    hook.remove()
    assert len(seen) == 2
    told = tell(family, CAPTIONS)
    for args, kwargs, output in seen:
        noisy = args[0] if args else kwargs["hidden_states"]
        timestep = args[1] if len(args) > 1 else kwargs["timestep"]
        if family.prediction == "flow":
            time = timestep.expand(2) / 1000.0
        else:
            time = timestep.expand(2).long()
            assert torch.equal(time.float(), timestep.expand(2).float())  # nothing was rounded
        with torch.no_grad():
            torch.testing.assert_close(family.predict(noisy, time, told, geometry(2)), output)


def check_learning(family: Family) -> list[str]:
    """A LoRA on attention and feed-forward layers gets gradients everywhere and lowers the loss; returns the layers without."""
    denoiser, objective = family.denoiser, family.objective
    torch.manual_seed(0)
    denoiser.add_adapter(
        LoraConfig(r=4, lora_alpha=4, target_modules=[*family.layers["attention"], *family.layers["ff"]])
    )
    weights = {name: weight for name, weight in denoiser.named_parameters() if weight.requires_grad}
    moments, told = family.encode_pictures(picture()), tell(family, CAPTIONS[:1])
    optimizer = torch.optim.AdamW(weights.values(), lr=2e-2)
    losses, silent = [], []
    for step in range(6):
        draws = draw(torch.Generator().manual_seed(5), (1, moments.shape[1] // 2, *moments.shape[2:]))
        latents = family.latents(moments, draws.encoding)
        predict = lambda noisy, time: family.predict(noisy, time, told, geometry(1))  # noqa: E731
        loss = objective.loss(predict, latents, draws, LossSettings(), None).mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            ups = {name: weight.grad for name, weight in weights.items() if "lora_B" in name}
            assert all(torch.isfinite(gradient).all() for gradient in ups.values() if gradient is not None)
            silent = [
                name.split(".lora_B")[0] for name, grad in ups.items() if grad is None or not grad.abs().max() > 0
            ]
            assert sorted(name.split(".lora_B")[0] for name in ups) == sorted(_hit(family, denoiser))
        optimizer.step()
    assert losses[-1] < losses[0]
    return silent


def _hit(family: Family, module: Any) -> list[str]:
    endings = (*family.layers["attention"], *family.layers["ff"])
    return [
        name.removesuffix(".base_layer")
        for name, _ in module.named_modules()
        if name.endswith(".base_layer")
        and f".{name.removesuffix('.base_layer')}".endswith(tuple(f".{e}" for e in endings))
    ]


def check_probe(first: Family, second: Family, other: Family) -> None:
    """Equal bases answer alike, another one differently, and every answer is finite."""
    outputs = [family.probe(CAPTIONS, 32) for family in (first, second, other)]
    assert outputs[0].keys() == outputs[1].keys()
    for name, tensor in outputs[0].items():
        assert torch.isfinite(tensor).all()
        assert torch.equal(tensor, outputs[1][name])
    assert any(not torch.equal(tensor, outputs[2][name]) for name, tensor in outputs[0].items())


def hits(model: str, component: str, endings: Sequence[str]) -> list[str]:
    """Layers of a component of the real ``model`` that one of ``endings`` ends."""
    shapes = layer_shapes(model)[component]
    return [path for path in shapes if f".{path}".endswith(tuple(f".{ending}" for ending in endings))]
