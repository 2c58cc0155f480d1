"""Wan: the family does what the reference pipeline of diffusers does, for stills and clips."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import clip_families as checks
import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from llm_families import check_waits_for_nothing
from tiny.wan import tiny_wan

from assetforge.errors import UsageError
from assetforge_diffusers.draws import draw
from assetforge_diffusers.families.base import Family
from assetforge_diffusers.objective import LossSettings

SIZE = {"height": 64, "width": 96}
LONG = "a harbour at night, " * 30
NEGATIVES = ("blurry", "grey, flat")
KINDS: dict[str, dict[str, bool]] = {"2.1": {}, "2.2 TI2V": {"ti2v": True}}


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny pipeline of either kind."""
    return tiny_wan(tmp_path_factory.mktemp("wan"), **KINDS[request.param])


@pytest.fixture
def family(folder: Path) -> Family:
    """The family on it."""
    return checks.open_tiny("wan", folder)


@pytest.fixture(scope="module")
def euler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny pipeline with exact times."""
    return tiny_wan(tmp_path_factory.mktemp("wan"), euler=True)


def clip(frames: int, seed: int = 3) -> torch.Tensor:
    """Noise, (1, frames, 64, 96, 3), uint8."""
    source = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (1, frames, *SIZE.values(), 3), generator=source, dtype=torch.uint8)


def film(family: Family, seeds: Sequence[int], **inputs: Any) -> np.ndarray:
    """Pixels in [0, 1] after two steps, (batch, frames, height, width, 3)."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    asked = {**SIZE, "num_inference_steps": 2, "generator": generators, "output_type": "np", **inputs}
    frames: np.ndarray = family.pipeline(**asked).frames
    return frames


def test_captions_become_what_the_pipeline_makes_of_them(family: Family) -> None:
    captions = [*checks.CAPTIONS, "", LONG, "salt &amp;amp; pepper,\n\n  white\tspace "]
    hidden, _ = family.pipeline.encode_prompt(captions, do_classifier_free_guidance=False, max_sequence_length=512)
    assert torch.equal(checks.tell(family, captions)["hidden"], hidden)


def test_words_that_do_not_fit_are_counted(family: Family) -> None:
    _, missing = family.tokenize("a" * 510)  # with its beginning and its end
    assert missing == 0
    _, missing = family.tokenize("a" * 517)
    assert missing == 7


@pytest.mark.parametrize("frames", [1, 5, 9])
def test_latents_are_the_autoencoders(family: Family, frames: int) -> None:
    pixels, vae = clip(frames), family.base.load("vae")
    moments = family.encode_pictures(pixels)
    factor = 16 if family.base.config("vae")["patch_size"] else 8
    shape = (1, 4, 1 + (frames - 1) // 4, SIZE["height"] // factor, SIZE["width"] // factor)
    assert moments.dtype == torch.float32
    assert moments.shape == (1, 8, *shape[2:])
    posterior = vae.encode(pixels.permute(0, 4, 1, 2, 3).float() / 127.5 - 1.0).latent_dist
    mean, deviation = (torch.tensor(v).view(1, -1, 1, 1, 1) for v in (vae.config.latents_mean, vae.config.latents_std))
    latents = family.latents(moments, torch.zeros(shape))
    torch.testing.assert_close(latents, (posterior.mean - mean) / deviation)
    drawn = family.latents(moments, torch.ones(shape))
    torch.testing.assert_close(drawn - latents, posterior.std / deviation)


def test_a_still_is_a_clip_of_one_frame(family: Family) -> None:
    pixels = torch.cat((clip(1), clip(1, seed=4)))
    assert torch.equal(family.encode_pictures(pixels[:, 0]), family.encode_pictures(pixels))


@pytest.mark.parametrize(("frames", "fitting"), [(2, 1), (8, 5)])
def test_clips_of_other_lengths_are_refused(family: Family, frames: int, fitting: int) -> None:
    with pytest.raises(UsageError, match=f"{frames} frames") as caught:
        family.encode_pictures(clip(frames))
    assert f"{fitting} frames" in str(caught.value.hint)


def test_latents_render_as_the_picture(family: Family) -> None:
    """Latents at sigma 0 are what the reference pipeline decodes; scaled there and back, they are rounded, which the decoder enlarges."""
    vae = family.base.load("vae")
    mean = vae.encode(clip(5).permute(0, 4, 1, 2, 3).float() / 127.5 - 1.0).latent_dist.mean
    latents = family.latents(family.encode_pictures(clip(5)), torch.zeros_like(mean))
    family.denoiser.proj_out.weight.data.zero_()
    family.denoiser.proj_out.bias.data.zero_()
    inputs = {**family.call_inputs(checks.tell(family, checks.CAPTIONS[:1]), None, 1.0), "num_frames": 5}
    family.pipeline.scheduler = FlowMatchEulerDiscreteScheduler()
    shown = film(family, (0,), latents=latents, **inputs)
    decoded = vae.decode(mean).sample.detach().permute(0, 2, 3, 4, 1) / 2 + 0.5
    np.testing.assert_allclose(shown, decoded.clamp(0, 1).numpy(), atol=1e-4)


def test_embedded_prompts_render_as_prompts(family: Family) -> None:
    told, films = checks.tell(family, checks.CAPTIONS), {}
    for guidance in (1.0, 4.0):
        negative = checks.tell(family, NEGATIVES) if guidance > 1 else None
        films[guidance] = film(family, (0, 1), **family.call_inputs(told, negative, guidance))
        asked = {"negative_prompt": list(NEGATIVES), "guidance_scale": guidance, "num_frames": 1}
        reference = film(family, (0, 1), prompt=list(checks.CAPTIONS), **asked)
        assert films[guidance].shape == (2, 1, *SIZE.values(), 3)
        np.testing.assert_allclose(films[guidance], reference, atol=1e-6)
        for index, caption in enumerate(checks.CAPTIONS):
            less = checks.tell(family, NEGATIVES[index : index + 1]) if guidance > 1 else None
            inputs = family.call_inputs(checks.tell(family, (caption,)), less, guidance)
            np.testing.assert_allclose(film(family, (index,), **inputs)[0], films[guidance][index], atol=1e-5)
    assert np.abs(films[1.0] - films[4.0]).max() > 1e-4


@pytest.mark.parametrize("frames", [1, 5])
def test_the_network_is_asked_as_the_pipeline_asks_it(family: Family, frames: int) -> None:
    """Wan 2.2 TI2V is asked with the time of every token by the pipeline, and with one time for all here."""
    seen: list[tuple[dict[str, torch.Tensor], torch.Tensor]] = []
    hook = family.denoiser.register_forward_hook(
        lambda module, args, kwargs, output: seen.append((kwargs, output[0])), with_kwargs=True
    )
    film(family, (0, 1), prompt=list(checks.CAPTIONS), guidance_scale=1.0, num_frames=frames)
    hook.remove()
    told = checks.tell(family, checks.CAPTIONS)
    assert len(seen) == 2
    for kwargs, output in seen:
        time = kwargs["timestep"].reshape(2, -1)[:, 0] / 1000.0
        with torch.no_grad():
            answer = family.predict(kwargs["hidden_states"], time, told, checks.geometry(2))
        assert answer.abs().max() > 0.1
        torch.testing.assert_close(answer, output, atol=5e-6, rtol=1e-5)


def test_a_step_of_the_pipeline_goes_along_the_prediction(euler: Path) -> None:
    family = checks.open_tiny("wan", euler)
    told = checks.tell(family, checks.CAPTIONS[:1])
    noise = torch.randn((1, 4, 1, 8, 12), generator=torch.Generator().manual_seed(0))
    inputs = {
        **family.call_inputs(told, None, 1.0),
        "latents": noise,
        "num_inference_steps": 1,
        "output_type": "latent",
    }
    with torch.no_grad():
        velocity = family.predict(noise, torch.ones(1), told, checks.geometry(1))
    stepped = torch.as_tensor(film(family, (0,), **inputs))
    torch.testing.assert_close(stepped, noise - velocity, atol=1e-5, rtol=1e-5)  # from sigma 1 to 0


def test_no_prediction_waits_for_the_device(family: Family) -> None:
    told = checks.tell(family, checks.CAPTIONS)
    check_waits_for_nothing(family, torch.ones(2, 4, 2, 8, 12), torch.tensor([0.2, 0.9]), told, checks.geometry(2))


def test_a_lora_learns(euler: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "picture", lambda: clip(1)[:, 0])
    assert checks.check_learning(checks.open_tiny("wan", euler)) == []


def test_a_clip_is_learnt_from(family: Family) -> None:
    moments, told = family.encode_pictures(clip(5)), checks.tell(family, checks.CAPTIONS[:1])
    draws = draw(torch.Generator().manual_seed(5), (1, 4, *moments.shape[2:]))
    latents, mask = family.latents(moments, draws.encoding), torch.zeros(1, 1, 1, *moments.shape[3:])
    family.denoiser.proj_out.requires_grad_()

    def loss(mask: torch.Tensor | None) -> torch.Tensor:
        predict = lambda noisy, time: family.predict(noisy, time, told, checks.geometry(1))  # noqa: E731
        return family.objective.loss(predict, latents, draws, LossSettings(), mask).sum()

    whole = loss(None)
    whole.backward()
    assert family.denoiser.proj_out.weight.grad.abs().max() > 0
    assert loss(mask).item() == 0
    torch.testing.assert_close(loss(torch.ones_like(mask)), whole)


def test_the_probe_is_decided_by_the_weights(folder: Path, tmp_path: Path) -> None:
    first, second = (checks.open_tiny("wan", folder) for _ in range(2))
    checks.check_probe(first, second, checks.open_tiny("wan", tiny_wan(tmp_path, seed=1)))


def test_noise_levels_are_shifted_as_the_scheduler_says(family: Family, euler: Path) -> None:
    for opened in (family, checks.open_tiny("wan", euler)):
        assert opened.prediction == "flow"
        assert opened.objective.shift(60, 104) == 5.0


@pytest.mark.parametrize("model", ["wan21-t2v-1.3b", "wan22-ti2v-5b"])
def test_layers_of_the_real_network(model: str) -> None:
    layers = checks.family_class("wan").layers
    attention = checks.hits(model, "transformer", layers["attention"])
    assert len(attention) == 30 * 8
    assert all(path.startswith("blocks.") for path in attention)
    assert len(checks.hits(model, "transformer", layers["ff"])) == 30 * 2


def test_names_for_other_tools(family: Family, tmp_path: Path) -> None:
    assert family.base_version == "wan"
    assert family.text_encoders == {}
    if family.latent_factor == 16:
        assert family.architecture == "wan-2_2-ti2v-5b/lora"
        assert family.size_multiple == 32
    else:
        assert family.architecture == "wan-2_1-text2video-1_3b/lora"
        assert family.size_multiple == 16
        large = tiny_wan(tmp_path)
        checks.change_config(large, "transformer", num_attention_heads=40, attention_head_dim=128)
        assert checks.open_tiny("wan", large).architecture == "wan-2_1-text2video-14b/lora"


def test_half_precision(folder: Path) -> None:
    kind = checks.family_class("wan")
    family = kind(checks.BaseFiles(folder, kind.pipeline_class, torch.bfloat16))
    told, noisy, time = checks.tell(family, checks.CAPTIONS), torch.ones(2, 4, 1, 8, 12), torch.tensor([0.2, 0.9])
    exact = checks.open_tiny("wan", folder)
    with torch.no_grad():
        answer = family.predict(noisy, time, told, checks.geometry(2))
        reference = exact.predict(noisy, time, checks.tell(exact, checks.CAPTIONS), checks.geometry(2))
    assert answer.dtype == torch.bfloat16
    torch.testing.assert_close(answer.float(), reference, atol=0.05, rtol=0.05)


def test_autoencoders_without_named_factors_are_those_of_wan_2_1(tmp_path: Path) -> None:
    file = tiny_wan(tmp_path) / "vae" / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({name: value for name, value in config.items() if not name.startswith("scale_factor")}))
    assert checks.open_tiny("wan", tmp_path).latent_factor == 8


def test_two_networks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="A14B"):
        checks.open_tiny("wan", tiny_wan(tmp_path, experts=2))


@pytest.mark.parametrize("settings", [{"in_channels": 36}, {"image_dim": 1280}, {"vace_layers": [0, 1]}])
def test_other_than_text_to_video_is_refused(tmp_path: Path, settings: dict[str, Any]) -> None:
    checks.change_config(tiny_wan(tmp_path), "transformer", **settings)
    with pytest.raises(UsageError, match="image-to-video"):
        checks.open_tiny("wan", tmp_path)
