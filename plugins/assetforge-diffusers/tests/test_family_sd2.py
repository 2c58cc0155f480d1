"""Stable Diffusion 2.x, against the reference pipeline of diffusers."""

from pathlib import Path

import clip_families as checks
import pytest
import torch
from tiny.sd2 import tiny_sd2

from assetforge.errors import UsageError
from assetforge_diffusers.draws import draw
from assetforge_diffusers.families.base import Family
from assetforge_diffusers.objective import LossSettings


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base that predicts velocity, as those of 768 px do."""
    return tiny_sd2(tmp_path_factory.mktemp("sd2"))


@pytest.fixture
def family(folder: Path) -> Family:
    """The family on it."""
    return checks.open_tiny("sd2", folder)


def test_captions_become_what_the_pipeline_makes_of_them(family: Family) -> None:
    told = checks.tell(family, checks.CAPTIONS)
    hidden, _ = family.pipeline.encode_prompt(list(checks.CAPTIONS), "cpu", 1, do_classifier_free_guidance=False)
    assert torch.equal(told["hidden"], hidden)
    assert family.tokenize("cat")[0]["ids"][-1] == 0  # it pads with "!"


def test_latents_are_the_autoencoders(family: Family) -> None:
    checks.check_latents(family)


def test_embedded_prompts_render_as_prompts(family: Family) -> None:
    checks.check_renders(family)


def test_the_network_is_asked_as_the_pipeline_asks_it(family: Family) -> None:
    checks.check_predictions(family)


def test_a_lora_learns(family: Family) -> None:
    assert checks.check_learning(family) == []


def test_the_probe_is_decided_by_the_weights(folder: Path, tmp_path: Path) -> None:
    first, second = (checks.open_tiny("sd2", folder) for _ in range(2))
    checks.check_probe(first, second, checks.open_tiny("sd2", tiny_sd2(tmp_path, seed=1)))


@pytest.mark.parametrize(
    ("prediction", "zero_snr"), [("epsilon", False), ("v_prediction", False), ("v_prediction", True)]
)
def test_the_sampler_undoes_what_training_does(tmp_path: Path, prediction: str, zero_snr: bool) -> None:
    family = checks.open_tiny("sd2", tiny_sd2(tmp_path, prediction=prediction, zero_snr=zero_snr))
    scheduler = family.pipeline.scheduler
    picture = torch.randn(1, 4, 12, 16, generator=torch.Generator().manual_seed(1))
    for share in (0.0, 0.3, 0.7, 0.9999 if prediction == "v_prediction" else 0.9):
        draws = draw(torch.Generator().manual_seed(0), picture.shape)
        draws.time.fill_(share)
        alpha = scheduler.alphas_cumprod[int(share * 1000)]
        velocity = alpha.sqrt() * draws.noise - (1 - alpha).sqrt() * picture
        truth = velocity if prediction == "v_prediction" else draws.noise
        seen: list[tuple[torch.Tensor, torch.Tensor]] = []

        def know(
            noisy: torch.Tensor, time: torch.Tensor, truth: torch.Tensor = truth, seen: list = seen
        ) -> torch.Tensor:
            seen.append((noisy, time))
            return truth

        loss = family.objective.loss(know, picture, draws, LossSettings(min_snr_gamma=5.0), None)
        assert float(loss) < 1e-10
        scheduler.set_timesteps(1000)
        (noisy, time) = seen[0]
        undone = scheduler.step(truth, int(time), noisy).pred_original_sample
        torch.testing.assert_close(undone, picture, atol=2e-4, rtol=0)
    if zero_snr:
        torch.testing.assert_close(noisy, draws.noise)  # nothing of the picture is left at the last step


def test_zero_terminal_snr_renders_and_predicts_as_the_pipeline(tmp_path: Path) -> None:
    family = checks.open_tiny("sd2", tiny_sd2(tmp_path, zero_snr=True))
    checks.check_predictions(family)
    checks.check_renders(family)


def test_names_for_other_tools(family: Family, tmp_path: Path) -> None:
    assert family.architecture == "stable-diffusion-v2-768-v/lora"
    assert family.base_version == "sd_v2_v"
    small = checks.open_tiny("sd2", tiny_sd2(tmp_path, prediction="epsilon"))
    assert small.architecture == "stable-diffusion-v2-512/lora"
    assert small.base_version == "sd_v2"


def test_layers_of_the_real_network() -> None:
    layers = checks.family_class("sd2").layers
    unet = checks.hits("sd21", "unet", (*layers["attention"], *layers["ff"]))
    assert len(unet) == 192  # as many as kohya's scripts train
    assert all(".attentions." in f".{path}" for path in unet)
    assert len(checks.hits("sd21", "unet", layers["conv"])) == 22 * 3 + 14
    assert len(checks.hits("sd21", "text_encoder", layers["text"])) == 23 * 6


@pytest.mark.parametrize(
    "settings", [{"in_channels": 9}, {"in_channels": 5}, {"num_class_embeds": 1000}, {"class_embed_type": "projection"}]
)
def test_other_than_text_to_image_is_refused(tmp_path: Path, settings: dict[str, object]) -> None:
    checks.change_config(tiny_sd2(tmp_path), "unet", **settings)
    with pytest.raises(UsageError, match="made for inpainting"):
        checks.open_tiny("sd2", tmp_path)
