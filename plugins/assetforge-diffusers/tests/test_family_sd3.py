"""Stable Diffusion 3 and 3.5, against the reference pipeline of diffusers."""

from pathlib import Path

import clip_families as checks
import pytest
import torch
from tiny.sd3 import tiny_sd3

from assetforge.errors import UsageError
from assetforge_diffusers.draws import draw
from assetforge_diffusers.families.base import Family
from assetforge_diffusers.objective import LossSettings


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base, built like 3.5 medium."""
    return tiny_sd3(tmp_path_factory.mktemp("sd3"))


@pytest.fixture(scope="module")
def folder_without_t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with two encoders."""
    return tiny_sd3(tmp_path_factory.mktemp("sd3-clip"), t5=False)


@pytest.fixture(params=["t5", "no t5"])
def family(request: pytest.FixtureRequest, folder: Path, folder_without_t5: Path) -> Family:
    """The family on either."""
    return checks.open_tiny("sd3", folder if request.param == "t5" else folder_without_t5)


def test_captions_become_what_the_pipeline_makes_of_them(family: Family) -> None:
    told = checks.tell(family, checks.CAPTIONS)
    captions = list(checks.CAPTIONS)
    hidden, _, pooled, _ = family.pipeline.encode_prompt(
        captions, None, None, do_classifier_free_guidance=False, device="cpu"
    )
    assert torch.equal(told["hidden"], hidden)
    assert torch.equal(told["pooled"], pooled)
    assert bool(told["hidden"][:, 24:].any()) == family.base.has("text_encoder_3")


def test_what_t5_reads_counts_as_fitting(folder: Path, folder_without_t5: Path) -> None:
    caption = "abcdefghijklmnopqrstuvwxyz"  # 22 letters fit into the CLIPs
    assert checks.open_tiny("sd3", folder).tokenize(caption)[1] == 0
    assert checks.open_tiny("sd3", folder_without_t5).tokenize(caption)[1] == 26 - 22
    _, missing = checks.open_tiny("sd3", folder).tokenize("a" * 300)
    assert missing == 300 + 2 - 256  # with the start of the word and the end of the text


def test_latents_are_the_autoencoders(family: Family) -> None:
    checks.check_latents(family)


def test_embedded_prompts_render_as_prompts(family: Family) -> None:
    checks.check_renders(family)


def test_the_network_is_asked_as_the_pipeline_asks_it(family: Family) -> None:
    checks.check_predictions(family)


def test_a_lora_learns(family: Family) -> None:
    # the last block drops its answer about the text, so nothing depends on what the text asks there
    assert checks.check_learning(family) == ["transformer_blocks.2.attn.add_q_proj"]


def test_text_encoders_get_gradients_and_t5_none(folder: Path) -> None:
    family = checks.open_tiny("sd3", folder)
    assert list(family.text_encoders) == ["text_encoder", "text_encoder_2"]
    for name in family.encoder_names:
        family.base.load(name).requires_grad_(requires_grad=True)
    tokens, _ = family.tokenize(checks.CAPTIONS[0])
    told = family.encode_tokens({name: ids[None] for name, ids in tokens.items()})
    (told["hidden"].square().sum() + told["pooled"].square().sum()).backward()
    for encoder in family.text_encoders.values():
        assert all(weight.grad is not None for weight in encoder.parameters())
    assert all(weight.grad is None for weight in family.base.load("text_encoder_3").parameters())


def test_the_probe_is_decided_by_the_weights(folder: Path, tmp_path: Path) -> None:
    first, second = (checks.open_tiny("sd3", folder) for _ in range(2))
    checks.check_probe(first, second, checks.open_tiny("sd3", tiny_sd3(tmp_path, seed=1)))


def test_the_sampler_undoes_what_training_does(folder: Path) -> None:
    family = checks.open_tiny("sd3", folder)
    scheduler = family.pipeline.scheduler
    picture = torch.randn(1, 4, 12, 16, generator=torch.Generator().manual_seed(1))
    draws = draw(torch.Generator().manual_seed(0), picture.shape)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def know(noisy: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        seen.append((noisy, time))
        return draws.noise - picture

    assert float(family.objective.loss(know, picture, draws, LossSettings(), None)) < 1e-10
    noisy, sigma = seen[0]
    torch.testing.assert_close(noisy, (1 - sigma) * picture + sigma * draws.noise)
    scheduler.set_timesteps(sigmas=[float(sigma) / (3.0 - 2.0 * float(sigma))])  # it shifts by 3 on its own
    torch.testing.assert_close(scheduler.sigmas[:1], sigma)
    undone = scheduler.step(draws.noise - picture, scheduler.timesteps[0], noisy).prev_sample
    torch.testing.assert_close(undone, picture)


def test_names_for_other_tools(folder: Path, tmp_path: Path) -> None:
    family = checks.open_tiny("sd3", folder)
    assert (family.architecture, family.base_version) == ("stable-diffusion-v3.5-medium/lora", "sd3.5_medium")
    assert family.size_multiple == 2 * family.latent_factor == 4
    checks.change_config(tiny_sd3(tmp_path), "transformer", dual_attention_layers=[])
    family = checks.open_tiny("sd3", tmp_path)
    assert (family.architecture, family.base_version) == ("stable-diffusion-v3.5-large/lora", "sd3.5_large")
    checks.change_config(tmp_path, "transformer", qk_norm=None)
    family = checks.open_tiny("sd3", tmp_path)
    assert (family.architecture, family.base_version) == ("stable-diffusion-v3-medium/lora", "sd3_medium")


@pytest.mark.parametrize(
    ("model", "attention", "ff"),
    [("sd35-medium", 24 * 8 - 1 + 13 * 4, 24 * 4 - 2), ("sd35-large", 38 * 8 - 1, 38 * 4 - 2)],
)
def test_layers_of_the_real_networks(model: str, attention: int, ff: int) -> None:
    layers = checks.family_class("sd3").layers
    found = [checks.hits(model, "transformer", layers[group]) for group in ("attention", "ff")]
    assert [len(paths) for paths in found] == [attention, ff]
    assert all(path.startswith("transformer_blocks.") for paths in found for path in paths)


def test_layers_of_the_real_text_encoders() -> None:
    text = checks.family_class("sd3").layers["text"]
    assert len(checks.hits("sd35-medium", "text_encoder", text)) == 12 * 6
    assert len(checks.hits("sd35-medium", "text_encoder_2", text)) == 32 * 6


def test_other_than_text_to_image_is_refused(tmp_path: Path) -> None:
    checks.change_config(tiny_sd3(tmp_path), "transformer", in_channels=33)
    with pytest.raises(UsageError, match="made for inpainting"):
        checks.open_tiny("sd3", tmp_path)
