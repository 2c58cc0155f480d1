"""Qwen-Image: the family does what the reference pipeline of diffusers does."""

import json
from collections.abc import Sequence
from pathlib import Path

import clip_families as checks
import numpy as np
import pytest
import torch
from llm_families import check_waits_for_nothing
from tiny.qwen_image import tiny_qwen_image

from assetforge.errors import UsageError
from assetforge_diffusers.families.base import Family

LONG = "a harbour at night, " * 30
NEGATIVES = ("blurry", "grey, flat")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny pipeline."""
    return tiny_qwen_image(tmp_path_factory.mktemp("qwen-image"))


@pytest.fixture
def family(folder: Path) -> Family:
    """The family on it."""
    return checks.open_tiny("qwen-image", folder)


@pytest.mark.parametrize("captions", [checks.CAPTIONS, ("",), (checks.CAPTIONS[0], LONG)])
def test_captions_become_what_the_pipeline_makes_of_them(family: Family, captions: Sequence[str]) -> None:
    told = checks.tell(family, captions)
    hidden, mask = family.pipeline.encode_prompt(list(captions), max_sequence_length=512)
    assert told["hidden"].shape[:2] == told["mask"].shape == (len(captions), 512)
    longest = hidden.shape[1]
    torch.testing.assert_close(told["hidden"][:, :longest], hidden, atol=1e-6, rtol=1e-5)
    assert not told["hidden"][:, longest:].any()
    assert not told["mask"][:, longest:].any()
    assert torch.equal(
        told["mask"][:, :longest], torch.ones_like(hidden[..., 0]).bool() if mask is None else mask.bool()
    )


def test_words_that_do_not_fit_are_counted(family: Family) -> None:
    fits = 512 + 34 - len(family.base.load("tokenizer")(family.pipeline.prompt_template_encode.format("")).input_ids)
    assert family.tokenize("a" * fits)[1] == 0
    assert family.tokenize("a" * (fits + 7))[1] == 7


def test_latents_are_the_autoencoders(family: Family) -> None:
    pixels, vae = checks.picture(), family.base.load("vae")
    moments = family.encode_pictures(pixels)
    assert moments.dtype == torch.float32
    assert moments.shape == (1, 8, 12, 16)
    mean = vae.encode(pixels.permute(0, 3, 1, 2).float().unsqueeze(2) / 127.5 - 1.0).latent_dist.mean
    latents = family.latents(moments, torch.zeros(1, 4, 12, 16))
    statistics = [
        torch.tensor(values).view(1, -1, 1, 1, 1) for values in (vae.config.latents_mean, vae.config.latents_std)
    ]
    torch.testing.assert_close(latents.unsqueeze(2), (mean - statistics[0]) / statistics[1])
    drawn = family.latents(moments, torch.ones(1, 4, 12, 16))
    spread = vae.encode(pixels.permute(0, 3, 1, 2).float().unsqueeze(2) / 127.5 - 1.0).latent_dist.std
    torch.testing.assert_close((drawn - latents).unsqueeze(2), spread / statistics[1])


def test_latents_render_as_the_picture(family: Family) -> None:
    """Latents at sigma 0 are what the reference pipeline decodes."""
    pixels, vae, pipeline = checks.picture(), family.base.load("vae"), family.pipeline
    latents = family.latents(family.encode_pictures(pixels), torch.zeros(1, 4, 12, 16))
    packed = pipeline._pack_latents(latents.unsqueeze(1), 1, 4, 12, 16)
    family.denoiser.proj_out.weight.data.zero_()
    family.denoiser.proj_out.bias.data.zero_()  # nothing moves
    inputs = family.call_inputs(checks.tell(family, checks.CAPTIONS[:1]), None, 1.0)
    shown = pipeline(**inputs, **checks.SIZE, latents=packed, num_inference_steps=2, output_type="np").images
    mean = vae.encode(pixels.permute(0, 3, 1, 2).float().unsqueeze(2) / 127.5 - 1.0).latent_dist.mean
    decoded = vae.decode(mean).sample[:, :, 0].permute(0, 2, 3, 1) / 2 + 0.5
    np.testing.assert_allclose(shown, decoded.detach().clamp(0, 1).numpy(), atol=1e-5)


def test_embedded_prompts_render_as_prompts(family: Family) -> None:
    told, pictures = checks.tell(family, checks.CAPTIONS), {}
    for guidance in (1.0, 4.0):
        negative = checks.tell(family, NEGATIVES) if guidance > 1 else None
        pictures[guidance] = checks.run_pipeline(family, (0, 1), **family.call_inputs(told, negative, guidance))
        asked = {"negative_prompt": list(NEGATIVES)} if guidance > 1 else {}
        reference = checks.run_pipeline(family, (0, 1), prompt=list(checks.CAPTIONS), true_cfg_scale=guidance, **asked)
        np.testing.assert_allclose(pictures[guidance], reference, atol=2e-6)
        for index, caption in enumerate(checks.CAPTIONS):
            less = checks.tell(family, NEGATIVES[index : index + 1]) if guidance > 1 else None
            inputs = family.call_inputs(checks.tell(family, (caption,)), less, guidance)
            alone = checks.run_pipeline(family, (index,), **inputs)[0]
            np.testing.assert_allclose(alone, pictures[guidance][index], atol=1e-5)
    assert np.abs(pictures[1.0] - pictures[4.0]).max() > 1e-4


@pytest.mark.parametrize("captions", [checks.CAPTIONS, (checks.CAPTIONS[0],), (checks.CAPTIONS[0], LONG)])
def test_the_network_is_asked_as_the_pipeline_asks_it(family: Family, captions: Sequence[str]) -> None:
    seen: list[tuple[dict[str, torch.Tensor], torch.Tensor]] = []
    hook = family.denoiser.register_forward_hook(
        lambda module, args, kwargs, output: seen.append((kwargs, output[0])), with_kwargs=True
    )
    checks.run_pipeline(family, range(len(captions)), prompt=list(captions), true_cfg_scale=1.0)
    hook.remove()
    told, pipeline = checks.tell(family, captions), family.pipeline
    assert len(seen) == 2
    for kwargs, output in seen:
        noisy, expected = (
            pipeline._unpack_latents(packed, **checks.SIZE, vae_scale_factor=2).squeeze(2)
            for packed in (kwargs["hidden_states"], output)
        )
        with torch.no_grad():
            answer = family.predict(noisy, kwargs["timestep"], told, checks.geometry(len(captions)))
        assert answer.abs().max() > 0.1
        torch.testing.assert_close(answer, expected, atol=5e-6, rtol=1e-5)


def test_no_prediction_waits_for_the_device(family: Family) -> None:
    told = checks.tell(family, checks.CAPTIONS)
    check_waits_for_nothing(family, torch.ones(2, 4, 12, 16), torch.tensor([0.2, 0.9]), told, checks.geometry(2))


def test_captions_cut_to_the_longest_are_told_alike(family: Family) -> None:
    told, noisy, time = checks.tell(family, checks.CAPTIONS), torch.ones(2, 4, 8, 8), torch.tensor([0.2, 0.9])
    longest = int(told["mask"].sum(1).max())
    cut = {name: tensor[:, :longest] for name, tensor in told.items()}
    with torch.no_grad():
        answers = [family.predict(noisy, time, some, checks.geometry(2)) for some in (told, cut)]
    torch.testing.assert_close(*answers, atol=2e-6, rtol=1e-5)


def test_a_lora_learns(family: Family) -> None:
    silent = checks.check_learning(family)
    last = "transformer_blocks.1"  # nobody reads what the last block says about the caption
    assert sorted(silent) == sorted(
        f"{last}.{layer}" for layer in ("attn.add_q_proj", "attn.to_add_out", "txt_mlp.net.0.proj", "txt_mlp.net.2")
    )


def test_the_probe_is_decided_by_the_weights(folder: Path, tmp_path: Path) -> None:
    first, second = (checks.open_tiny("qwen-image", folder) for _ in range(2))
    checks.check_probe(first, second, checks.open_tiny("qwen-image", tiny_qwen_image(tmp_path, seed=1)))


def test_noise_levels_are_shifted_as_the_pipeline_shifts_them(family: Family) -> None:
    assert family.prediction == "flow"
    scheduler = family.base.load("scheduler")
    for height, width in ((12, 16), (166, 166)):
        mu = 0.5 + (height * width // 4 - 256) * (0.9 - 0.5) / (8192 - 256)
        shift, half = family.objective.shift(height, width), torch.tensor(0.5)
        torch.testing.assert_close(
            shift * half / (1 + (shift - 1) * half), scheduler.time_shift(mu, 1.0, half), atol=1e-6, rtol=0
        )


def test_layers_of_the_real_network() -> None:
    layers = checks.family_class("qwen-image").layers
    attention = checks.hits("qwen-image", "transformer", layers["attention"])
    assert len(attention) == 60 * 8
    assert all(".attn." in path for path in attention)
    assert len(checks.hits("qwen-image", "transformer", layers["ff"])) == 60 * 4


def test_names_for_other_tools(family: Family) -> None:
    assert family.architecture == "Qwen-Image/lora"
    assert family.base_version == "qwen_image"
    assert family.latent_factor == 2
    assert family.size_multiple == 4
    assert family.text_encoders == {}


def test_half_precision(folder: Path) -> None:
    kind = checks.family_class("qwen-image")
    family = kind(checks.BaseFiles(folder, kind.pipeline_class, torch.bfloat16))
    told, noisy, time = checks.tell(family, checks.CAPTIONS), torch.ones(2, 4, 8, 8), torch.tensor([0.2, 0.9])
    exact = checks.open_tiny("qwen-image", folder)
    with torch.no_grad():
        answer = family.predict(noisy, time, told, checks.geometry(2))
        reference = exact.predict(noisy, time, checks.tell(exact, checks.CAPTIONS), checks.geometry(2))
    assert answer.dtype == torch.bfloat16
    torch.testing.assert_close(answer.float(), reference, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("setting", ["zero_cond_t", "use_layer3d_rope"])
def test_edit_and_layers_are_refused(tmp_path: Path, setting: str) -> None:
    checks.change_config(tiny_qwen_image(tmp_path), "transformer", **{setting: True})
    with pytest.raises(UsageError, match="editing or layers"):
        checks.open_tiny("qwen-image", tmp_path)


def test_a_pipeline_that_is_told_pictures_is_refused(tmp_path: Path) -> None:
    index = tiny_qwen_image(tmp_path) / "model_index.json"
    described = {**json.loads(index.read_text()), "processor": ["transformers", "Qwen2VLProcessor"]}
    index.write_text(json.dumps(described))
    with pytest.raises(UsageError, match="editing or layers"):
        checks.open_tiny("qwen-image", tmp_path)
