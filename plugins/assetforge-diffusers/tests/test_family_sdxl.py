"""Stable Diffusion XL, against the reference pipeline of diffusers."""

import json
from pathlib import Path

import clip_families as checks
import numpy as np
import pytest
import torch
from diffusers import EDMDPMSolverMultistepScheduler
from tiny.sdxl import tiny_sdxl

from assetforge.errors import UsageError
from assetforge_diffusers.draws import draw
from assetforge_diffusers.families.base import Family
from assetforge_diffusers.objective import LossSettings

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # Euler's scheduler in diffusers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base that predicts noise."""
    return tiny_sdxl(tmp_path_factory.mktemp("sdxl"))


@pytest.fixture
def family(folder: Path) -> Family:
    """The family on it."""
    return checks.open_tiny("sdxl", folder)


def test_captions_become_what_the_pipeline_makes_of_them(family: Family) -> None:
    told = checks.tell(family, checks.CAPTIONS)
    hidden, _, pooled, _ = family.pipeline.encode_prompt(list(checks.CAPTIONS), do_classifier_free_guidance=False)
    assert torch.equal(told["hidden"], hidden)
    assert torch.equal(told["pooled"], pooled)


def test_the_second_tokenizer_pads_with_its_own_token(family: Family) -> None:
    tokens, missing = family.tokenize("cat")
    assert missing == 0
    assert tokens["ids"][-1] == 513
    assert tokens["ids_2"][-1] == 0


def test_words_that_do_not_fit_are_counted(family: Family) -> None:
    _, missing = family.tokenize("abcdefghijklmnopqrstuvwxyz")  # a letter is a token, and 22 fit
    assert missing == 26 - 22


def test_latents_are_the_autoencoders(family: Family) -> None:
    checks.check_latents(family)


def test_embedded_prompts_render_as_prompts(family: Family) -> None:
    checks.check_renders(family)


def test_the_network_is_asked_as_the_pipeline_asks_it(family: Family) -> None:
    checks.check_predictions(family)


def test_the_network_is_told_sizes_and_crop(family: Family) -> None:
    told, noisy = checks.tell(family, checks.CAPTIONS[:1]), torch.ones(1, 4, 12, 16)
    sizes = {"original_size": (600, 800), "crops_coords_top_left": (8, 16), "target_size": (24, 32)}
    seen: list[torch.Tensor] = []
    hook = family.denoiser.register_forward_hook(
        lambda module, args, kwargs, output: seen.append(kwargs["added_cond_kwargs"]["time_ids"]), with_kwargs=True
    )
    checks.run_pipeline(family, (0,), prompt=checks.CAPTIONS[0], guidance_scale=1.0, **sizes)
    answers = [
        family.predict(noisy, torch.tensor([500]), told, torch.tensor([numbers]))
        for numbers in ([600, 800, 8, 16, 24, 32], [24, 32, 0, 0, 24, 32])
    ]
    hook.remove()
    assert torch.equal(seen[0], seen[2].float())
    assert not torch.equal(*answers)


def test_a_lora_learns(family: Family) -> None:
    assert checks.check_learning(family) == []


def test_text_encoders_get_gradients_except_where_nothing_is_read(family: Family) -> None:
    encoders = family.text_encoders
    assert list(encoders) == ["text_encoder", "text_encoder_2"]
    for encoder in encoders.values():
        encoder.requires_grad_(requires_grad=True)
    tokens, _ = family.tokenize(checks.CAPTIONS[0])
    told = family.encode_tokens({name: ids[None] for name, ids in tokens.items()})
    (told["hidden"].square().sum() + told["pooled"].square().sum()).backward()
    silent = {
        f"{name}.{path}"
        for name, encoder in encoders.items()
        for path, weight in encoder.named_parameters()
        if weight.grad is None
    }
    assert silent
    assert all(path.startswith(("text_encoder.encoder.layers.2.", "text_encoder.final_layer_norm.")) for path in silent)


def test_the_probe_is_decided_by_the_weights(folder: Path, tmp_path: Path) -> None:
    first, second = (checks.open_tiny("sdxl", folder) for _ in range(2))
    checks.check_probe(first, second, checks.open_tiny("sdxl", tiny_sdxl(tmp_path, seed=1)))


def test_velocity_under_zero_terminal_snr(tmp_path: Path) -> None:
    family = checks.open_tiny("sdxl", tiny_sdxl(tmp_path, prediction="v_prediction", zero_snr=True))
    assert family.prediction == "v_prediction"
    checks.check_predictions(family)
    checks.check_renders(family)
    latents, last = torch.ones(1, 4, 12, 16), draw(torch.Generator().manual_seed(0), (1, 4, 12, 16))
    last.time.fill_(0.9999)
    seen: list[torch.Tensor] = []

    def predict(noisy: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        seen.append(noisy)
        assert time.tolist() == [999]
        return -latents  # the velocity of a picture in pure noise

    loss = family.objective.loss(predict, latents, last, LossSettings(min_snr_gamma=5.0), None)
    torch.testing.assert_close(seen[0], last.noise, atol=1e-3, rtol=0)
    assert float(loss) < 1e-5


def test_layers_of_the_real_network() -> None:
    layers = checks.family_class("sdxl").layers
    unet = checks.hits("sdxl", "unet", (*layers["attention"], *layers["ff"]))
    assert len(unet) == 722  # as many as kohya's scripts train
    assert all(".attentions." in f".{path}" for path in unet)
    convolutions = checks.hits("sdxl", "unet", layers["conv"])
    assert len(convolutions) == 17 * 3 + 11  # three in each residual block, shortcuts where the width changes
    assert all(".resnets." in f".{path}" for path in convolutions)
    assert len(checks.hits("sdxl", "text_encoder", layers["text"])) == 12 * 6
    assert len(checks.hits("sdxl", "text_encoder_2", layers["text"])) == 32 * 6


def test_names_for_other_tools(family: Family) -> None:
    assert family.architecture == "stable-diffusion-xl-v1-base/lora"
    assert family.base_version == "sdxl_base_v1-0"
    assert family.size_multiple == family.latent_factor == 2


def test_half_precision_keeps_sizes_exact(folder: Path) -> None:
    kind = checks.family_class("sdxl")
    family = kind(checks.BaseFiles(folder, kind.pipeline_class, torch.bfloat16))
    told, noisy = checks.tell(family, checks.CAPTIONS[:1]), torch.ones(1, 4, 12, 16)
    answers = [
        family.predict(noisy, torch.tensor([500]), told, torch.tensor([[side, 1024, 0, 0, 1024, 1024]]))
        for side in (1024, 1027)  # the same number in bfloat16
    ]
    assert answers[0].dtype == torch.bfloat16
    assert not torch.equal(*answers)


def test_the_refiner_is_refused(tmp_path: Path) -> None:
    index = tiny_sdxl(tmp_path) / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "text_encoder": [None, None]}))
    with pytest.raises(UsageError, match="refiner"):
        checks.open_tiny("sdxl", tmp_path)


@pytest.mark.parametrize("settings", [{"in_channels": 9}, {"num_class_embeds": 1000}])
def test_other_than_text_to_image_is_refused(tmp_path: Path, settings: dict[str, int]) -> None:
    checks.change_config(tiny_sdxl(tmp_path), "unet", **settings)
    with pytest.raises(UsageError, match="made for inpainting"):
        checks.open_tiny("sdxl", tmp_path)


def test_another_kind_of_noise_is_refused(tmp_path: Path) -> None:
    EDMDPMSolverMultistepScheduler().save_pretrained(tiny_sdxl(tmp_path) / "scheduler")
    index = tmp_path / "model_index.json"
    scheduler = ["diffusers", "EDMDPMSolverMultistepScheduler"]
    index.write_text(json.dumps({**json.loads(index.read_text()), "scheduler": scheduler}))
    with pytest.raises(UsageError, match="EDMDPMSolverMultistepScheduler"):
        _ = checks.open_tiny("sdxl", tmp_path).objective


def test_guidance_without_negative_prompt_is_towards_nothing(family: Family) -> None:
    given = checks.run_pipeline(family, (0,), **family.call_inputs(checks.tell(family, ("cat",)), None, 3.0))
    asked = checks.run_pipeline(family, (0,), prompt="cat", guidance_scale=3.0)
    np.testing.assert_allclose(given, asked, atol=1e-6)
