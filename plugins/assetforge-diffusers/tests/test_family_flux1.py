"""FLUX.1, against the reference pipeline of diffusers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import clip_families as checks
import numpy as np
import pytest
import torch
from diffusers.pipelines.flux.pipeline_flux import FluxPipeline, calculate_shift
from tiny.flux1 import tiny_flux1

from assetforge.errors import UsageError
from assetforge_diffusers.draws import draw
from assetforge_diffusers.families.base import Family
from assetforge_diffusers.objective import LossSettings

LENGTHS = {"dev": 512, "schnell": 256}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Tiny bases, built like the two models."""
    return {
        kind: tiny_flux1(tmp_path_factory.mktemp(f"flux1-{kind}"), schnell=kind == "schnell")
        for kind in ("dev", "schnell")
    }


@pytest.fixture(params=["dev", "schnell"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which of the two."""
    return str(request.param)


@pytest.fixture
def family(kind: str, folders: Mapping[str, Path]) -> Family:
    """The family on it."""
    return checks.open_tiny("flux1", folders[kind])


def test_captions_become_what_the_pipeline_makes_of_them(kind: str, family: Family) -> None:
    told = checks.tell(family, checks.CAPTIONS)
    hidden, pooled, _ = family.pipeline.encode_prompt(list(checks.CAPTIONS), max_sequence_length=LENGTHS[kind])
    assert torch.equal(told["hidden"], hidden)
    assert torch.equal(told["pooled"], pooled)


def test_what_t5_reads_counts_as_fitting(kind: str, family: Family) -> None:
    assert family.tokenize("abcdefghijklmnopqrstuvwxyz")[1] == 0  # 22 letters fit into CLIP
    assert (
        family.tokenize("a" * 600)[1] == 600 + 2 - LENGTHS[kind]
    )  # with the start of the word and the end of the text


def test_latents_are_the_autoencoders(family: Family) -> None:
    checks.check_latents(family)


def test_embedded_prompts_render_as_prompts(kind: str, family: Family) -> None:
    captions = list(checks.CAPTIONS)
    pictures = {}
    for guidance in (1.0, 4.0):
        asked = checks.run_pipeline(
            family, (0, 1), prompt=captions, guidance_scale=guidance, max_sequence_length=LENGTHS[kind]
        )
        told = checks.tell(family, captions)
        given = checks.run_pipeline(family, (0, 1), **family.call_inputs(told, None, guidance))
        np.testing.assert_allclose(given, asked, atol=1e-6)
        for index, caption in enumerate(captions):
            inputs = family.call_inputs(checks.tell(family, (caption,)), None, guidance)
            np.testing.assert_allclose(checks.run_pipeline(family, (index,), **inputs)[0], given[index], atol=1e-5)
        pictures[guidance] = given
    assert not family.true_guidance
    assert (np.abs(pictures[1.0] - pictures[4.0]).max() > 1e-4) == (kind == "dev")
    other = checks.run_pipeline(family, (0,), **family.call_inputs(checks.tell(family, ("",)), None, 1.0))
    assert np.abs(pictures[1.0][0] - other[0]).max() > 1e-5


def test_the_network_is_asked_as_the_pipeline_asks_it(kind: str, family: Family) -> None:
    seen: list[tuple[Mapping[str, Any], torch.Tensor]] = []
    hook = family.denoiser.register_forward_hook(
        lambda module, args, kwargs, output: seen.append((kwargs, output[0])), with_kwargs=True
    )
    checks.run_pipeline(
        family, (0, 1), prompt=list(checks.CAPTIONS), guidance_scale=1.0, max_sequence_length=LENGTHS[kind]
    )
    hook.remove()
    assert len(seen) == 2
    told, height, width = checks.tell(family, checks.CAPTIONS), checks.SIZE["height"], checks.SIZE["width"]
    for kwargs, output in seen:
        noisy, answer = (
            FluxPipeline._unpack_latents(tokens, height, width, family.latent_factor)
            for tokens in (kwargs["hidden_states"], output)
        )
        with torch.no_grad():
            predicted = family.predict(noisy, kwargs["timestep"], told, checks.geometry(2))
        torch.testing.assert_close(predicted, answer)


def test_guidance_is_one_while_it_learns(folders: Mapping[str, Path]) -> None:
    family = checks.open_tiny("flux1", folders["dev"])
    seen: list[torch.Tensor] = []
    hook = family.denoiser.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["guidance"]), with_kwargs=True
    )
    with torch.inference_mode():  # what a preview leaves behind is used again when learning goes on
        family.predict(
            torch.ones(2, 4, 12, 16), torch.full((2,), 0.5), checks.tell(family, checks.CAPTIONS), checks.geometry(2)
        )
    hook.remove()
    assert torch.equal(seen[0], torch.ones(2))
    assert checks.check_learning(family) == []


@pytest.mark.parametrize(("height", "width"), [(12, 16), (64, 64), (128, 128), (168, 96)])
def test_noise_levels_are_shifted_as_the_sampler_shifts_them(
    kind: str, family: Family, height: int, width: int
) -> None:
    scheduler, config = family.pipeline.scheduler, family.pipeline.scheduler.config
    mu = calculate_shift(
        (height // 2) * (width // 2),
        config.base_image_seq_len,
        config.max_image_seq_len,
        config.base_shift,
        config.max_shift,
    )
    uniform = np.linspace(1.0, 1 / 28, 28)
    scheduler.set_timesteps(sigmas=uniform, mu=mu)
    drawn = torch.from_numpy(1.0 - uniform).float()
    torch.testing.assert_close(family.objective.sigmas(drawn, height, width, "uniform"), scheduler.sigmas[:-1])
    assert (family.objective.shift(height, width) == 1.0) == (kind == "schnell")


def test_the_sampler_undoes_what_training_does(folders: Mapping[str, Path]) -> None:
    family = checks.open_tiny("flux1", folders["dev"])
    picture = torch.randn(1, 4, 12, 16, generator=torch.Generator().manual_seed(1))
    draws = draw(torch.Generator().manual_seed(0), picture.shape)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def know(noisy: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        seen.append((noisy, time))
        return draws.noise - picture

    assert float(family.objective.loss(know, picture, draws, LossSettings(), None)) < 1e-10
    noisy, sigma = seen[0]
    torch.testing.assert_close(noisy, (1 - sigma) * picture + sigma * draws.noise)
    scheduler = family.pipeline.scheduler
    scheduler.set_timesteps(sigmas=[float(sigma)], mu=0.0)
    torch.testing.assert_close(scheduler.sigmas[:1], sigma)
    undone = scheduler.step(draws.noise - picture, scheduler.timesteps[0], noisy).prev_sample
    torch.testing.assert_close(undone, picture)


def test_a_lora_learns(family: Family) -> None:
    assert checks.check_learning(family) == []


def test_a_lora_leaves_the_last_layer_alone(folders: Mapping[str, Path]) -> None:
    family = checks.open_tiny("flux1", folders["dev"])
    checks.check_learning(family)
    adapted = {name.split(".lora_B")[0] for name, _ in family.denoiser.named_parameters() if ".lora_B" in name}
    assert all(path.startswith(("transformer_blocks.", "single_transformer_blocks.")) for path in adapted)
    assert len(adapted) == 2 * (8 + 4) + 3 * (3 + 2)


def test_clip_gets_gradients_and_t5_none(folders: Mapping[str, Path]) -> None:
    family = checks.open_tiny("flux1", folders["dev"])
    assert list(family.text_encoders) == ["text_encoder"]
    for name in family.encoder_names:
        family.base.load(name).requires_grad_(requires_grad=True)
    tokens, _ = family.tokenize(checks.CAPTIONS[0])
    told = family.encode_tokens({name: ids[None] for name, ids in tokens.items()})
    assert not told["hidden"].requires_grad
    told["pooled"].square().sum().backward()
    assert all(weight.grad is not None for weight in family.base.load("text_encoder").parameters())


def test_the_probe_is_decided_by_the_weights(folders: Mapping[str, Path], tmp_path: Path) -> None:
    first, second = (checks.open_tiny("flux1", folders["dev"]) for _ in range(2))
    checks.check_probe(first, second, checks.open_tiny("flux1", tiny_flux1(tmp_path, seed=1)))


def test_names_for_other_tools(kind: str, family: Family) -> None:
    assert (family.architecture, family.base_version) == (f"flux-1-{kind}/lora", "flux1")
    assert family.size_multiple == 2 * family.latent_factor == 4


def test_layers_of_the_real_networks() -> None:
    layers = checks.family_class("flux1").layers
    attention, ff = (checks.hits("flux1-dev", "transformer", layers[group]) for group in ("attention", "ff"))
    assert len(attention) == 19 * 8 + 38 * 3
    assert len(ff) == 19 * 4 + 38 * 2
    assert all(path.startswith(("transformer_blocks.", "single_transformer_blocks.")) for path in (*attention, *ff))
    assert len(checks.hits("flux1-dev", "text_encoder", layers["text"])) == 12 * 6


@pytest.mark.parametrize("channels", [32, 96])
def test_other_than_text_to_image_is_refused(tmp_path: Path, channels: int) -> None:
    checks.change_config(tiny_flux1(tmp_path), "transformer", in_channels=channels)
    with pytest.raises(UsageError, match="made for inpainting"):
        checks.open_tiny("flux1", tmp_path)
