"""FLUX.2, against the reference pipelines of diffusers."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import clip_families as checks
import numpy as np
import pytest
import torch
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from tiny.flux2 import tiny_flux2

from assetforge.errors import UsageError
from assetforge_diffusers.draws import draw
from assetforge_diffusers.families.base import Family
from assetforge_diffusers.objective import LossSettings

KINDS: Mapping[str, Mapping[str, bool]] = {
    "dev": {},
    "klein base": {"klein": True},
    "klein": {"klein": True, "distilled": True},
}
SHAPE = (1, 8, 6, 8)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Tiny bases, built like the published models."""
    return {kind: tiny_flux2(tmp_path_factory.mktemp("flux2"), **settings) for kind, settings in KINDS.items()}


@pytest.fixture(params=["dev", "klein base"])
def kind(request: pytest.FixtureRequest) -> str:
    """By which language model it is told."""
    return str(request.param)


@pytest.fixture
def family(kind: str, folders: Mapping[str, Path]) -> Family:
    """The family on it."""
    return checks.open_tiny("flux2", folders[kind])


def test_the_files_say_which_pipeline_it_is(folders: Mapping[str, Path]) -> None:
    families = {kind: checks.open_tiny("flux2", folder) for kind, folder in folders.items()}
    pipelines = {kind: type(family.pipeline).__name__ for kind, family in families.items()}
    assert pipelines == {"dev": "Flux2Pipeline", "klein base": "Flux2KleinPipeline", "klein": "Flux2KleinPipeline"}
    assert {kind: family.true_guidance for kind, family in families.items()} == {
        "dev": False,
        "klein base": True,
        "klein": False,
    }
    assert families["klein"].pipeline.config.is_distilled
    assert not families["klein base"].pipeline.config.is_distilled
    for family in families.values():  # as loading LoRAs asks for it
        assert type(family.base.pipeline(only=("transformer",))) is type(family.pipeline)


def test_captions_become_what_the_pipeline_makes_of_them(family: Family) -> None:
    captions = [*checks.CAPTIONS, "a [IMG] in brackets", ""]
    hidden, _ = family.pipeline.encode_prompt(captions)
    assert torch.equal(checks.tell(family, captions)["hidden"], hidden)


def test_words_that_do_not_fit_are_counted(family: Family) -> None:
    tokens, missing = family.tokenize("a")
    assert missing == 0
    assert family.tokenize("a" * 600)[1] == 600 - 1 - (512 - int(tokens["mask"].sum()))


def test_the_chat_template_decides_the_cache(folders: Mapping[str, Path], tmp_path: Path) -> None:
    before = checks.open_tiny("flux2", tiny_flux2(tmp_path)).text_digest
    assert before == checks.open_tiny("flux2", folders["dev"]).text_digest
    template = tmp_path / "tokenizer" / "chat_template.jinja"
    template.write_text(template.read_text() + "!")
    assert checks.open_tiny("flux2", tmp_path).text_digest != before


def test_latents_are_the_pipelines(family: Family) -> None:
    pixels = checks.picture()
    moments = family.encode_pictures(pixels)
    assert moments.dtype == torch.float32
    latents = family.latents(moments, torch.zeros_like(moments[:, :8]))
    assert latents.shape == SHAPE
    with torch.no_grad():
        expected = family.pipeline._encode_vae_image(pixels.permute(0, 3, 1, 2).float() / 127.5 - 1.0, None)
    torch.testing.assert_close(latents, expected)
    drawn = family.latents(moments, torch.ones(SHAPE))
    deviation = family.base.load("vae").encode(pixels.permute(0, 3, 1, 2).float() / 127.5 - 1.0).latent_dist.std
    spread = torch.sqrt(family.base.load("vae").bn.running_var.view(1, -1, 1, 1) + 1e-4)
    torch.testing.assert_close((drawn - latents) * spread, family.pipeline._patchify_latents(deviation))


def test_latents_are_made_without_the_autoencoder_once_it_was_seen(family: Family) -> None:
    moments = family.encode_pictures(checks.picture())
    family.latents(moments, torch.zeros(SHAPE))
    family.forget_encoders()
    family.base.load = lambda name: pytest.fail(f"{name} was loaded")
    family.latents(moments, torch.zeros(SHAPE))


def _render(family: Family, captions: list[str], guidance: float, seeds: tuple[int, ...]) -> np.ndarray:
    told = checks.tell(family, captions)
    negative = checks.tell(family, [""] * len(captions)) if guidance > 1 and family.true_guidance else None
    return checks.run_pipeline(family, seeds, **family.call_inputs(told, negative, guidance))


@pytest.mark.parametrize("kind", KINDS)
def test_embedded_prompts_render_as_prompts(kind: str, folders: Mapping[str, Path]) -> None:
    family, captions, pictures = checks.open_tiny("flux2", folders[kind]), list(checks.CAPTIONS), {}
    for guidance in (1.0, 4.0):
        asked = checks.run_pipeline(family, (0, 1), prompt=captions, guidance_scale=guidance)
        pictures[guidance] = _render(family, captions, guidance, (0, 1))
        np.testing.assert_allclose(pictures[guidance], asked, atol=1e-6)
        for index, caption in enumerate(captions):
            alone = _render(family, [caption], guidance, (index,))
            np.testing.assert_allclose(alone[0], pictures[guidance][index], atol=1e-5)
    assert (np.abs(pictures[1.0] - pictures[4.0]).max() > 1e-4) == (kind != "klein")
    assert np.abs(pictures[1.0][0] - _render(family, [""], 1.0, (0,))[0]).max() > 1e-5


def test_negative_prompts_are_told_where_guidance_asks_twice(folders: Mapping[str, Path]) -> None:
    changed = {}
    for kind in ("dev", "klein base"):
        family = checks.open_tiny("flux2", folders[kind])
        told, *negatives = (checks.tell(family, [caption]) for caption in ("cat", "", "blurry"))
        first, second = (
            checks.run_pipeline(family, (0,), **family.call_inputs(told, negative, 4.0)) for negative in negatives
        )
        changed[kind] = bool(np.abs(first - second).max() > 1e-5)
    assert changed == {"dev": False, "klein base": True}


def test_the_network_is_asked_as_the_pipeline_asks_it(kind: str, family: Family) -> None:
    seen: list[tuple[Mapping[str, Any], torch.Tensor]] = []
    hook = family.denoiser.register_forward_hook(
        lambda module, args, kwargs, output: seen.append((kwargs, output[0])), with_kwargs=True
    )
    checks.run_pipeline(family, (0, 1), prompt=list(checks.CAPTIONS), guidance_scale=1.0)
    told, steps = checks.tell(family, checks.CAPTIONS), tuple(seen)
    assert len(steps) == 2
    for kwargs, output in steps:
        noisy, answer = (tokens.transpose(1, 2).unflatten(2, SHAPE[2:]) for tokens in (kwargs["hidden_states"], output))
        with torch.inference_mode():  # what a preview leaves behind is used again when learning goes on
            predicted = family.predict(noisy, kwargs["timestep"], told, checks.geometry(2))
        torch.testing.assert_close(predicted, answer)
        asked = seen[-1][0]
        for name in ("txt_ids", "img_ids"):
            assert torch.equal(kwargs[name][0].float(), asked[name])
        assert asked["guidance"] is None if kind != "dev" else torch.equal(asked["guidance"], torch.ones(2))
    hook.remove()
    assert checks.check_learning(family) == []


@pytest.mark.parametrize(("height", "width"), [(6, 8), (32, 32), (64, 64), (84, 48)])
def test_noise_levels_are_shifted_as_the_scheduler_says(folders: Mapping[str, Path], height: int, width: int) -> None:
    family = checks.open_tiny("flux2", folders["dev"])
    scheduler, mu = family.pipeline.scheduler, calculate_shift(height * width)
    uniform = np.linspace(1.0, 1 / 28, 28)
    scheduler.set_timesteps(sigmas=uniform, mu=mu)
    drawn = torch.from_numpy(1.0 - uniform).float()
    torch.testing.assert_close(family.objective.sigmas(drawn, height, width, "uniform"), scheduler.sigmas[:-1])
    assert math.isclose(family.objective.shift(height, width), math.exp(mu))


def test_the_sampler_undoes_what_training_does(folders: Mapping[str, Path]) -> None:
    family = checks.open_tiny("flux2", folders["klein base"])
    picture = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    draws = draw(torch.Generator().manual_seed(0), SHAPE)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def know(noisy: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        seen.append((noisy, time))
        return draws.noise - picture

    assert float(family.objective.loss(know, picture, draws, LossSettings(), None)) < 1e-10
    noisy, sigma = seen[0]
    torch.testing.assert_close(noisy, (1 - sigma) * picture + sigma * draws.noise)
    scheduler = family.pipeline.scheduler
    scheduler.set_timesteps(sigmas=[float(sigma)], mu=0.0)
    undone = scheduler.step(draws.noise - picture, scheduler.timesteps[0], noisy).prev_sample
    torch.testing.assert_close(undone, picture)


def test_a_lora_adapts_every_block_and_nothing_else(family: Family) -> None:
    checks.check_learning(family)
    adapted = {name.split(".lora_B")[0] for name, _ in family.denoiser.named_parameters() if ".lora_B" in name}
    assert all(path.startswith(("transformer_blocks.", "single_transformer_blocks.")) for path in adapted)
    assert len(adapted) == 2 * (8 + 4) + 3 * 2


def test_text_encoders_are_not_adapted(family: Family) -> None:
    assert family.text_encoders == {}
    family.base.load("text_encoder").requires_grad_(requires_grad=True)
    tokens, _ = family.tokenize(checks.CAPTIONS[0])
    assert not family.encode_tokens({name: ids[None] for name, ids in tokens.items()})["hidden"].requires_grad


def test_the_probe_is_decided_by_the_weights(folders: Mapping[str, Path], tmp_path: Path) -> None:
    first, second = (checks.open_tiny("flux2", folders["dev"]) for _ in range(2))
    checks.check_probe(first, second, checks.open_tiny("flux2", tiny_flux2(tmp_path, seed=1)))


def test_names_for_other_tools(folders: Mapping[str, Path], tmp_path: Path) -> None:
    family = checks.open_tiny("flux2", folders["dev"])
    assert (family.architecture, family.base_version) == ("Flux.2-dev/lora", "flux_2_dev")
    assert family.size_multiple == family.latent_factor == 4
    family = checks.open_tiny("flux2", folders["klein"])
    assert (family.architecture, family.base_version) == ("Flux.2-klein-4b/lora", "flux_2_klein_4b")
    for heads, size in ((24, "4b"), (32, "9b")):
        checks.change_config(
            tiny_flux2(tmp_path / size, klein=True), "transformer", num_attention_heads=heads, attention_head_dim=128
        )
        family = checks.open_tiny("flux2", tmp_path / size)
        assert (family.architecture, family.base_version) == (f"Flux.2-klein-{size}/lora", f"flux_2_klein_{size}")


@pytest.mark.parametrize(
    ("model", "double", "single"), [("flux2-dev", 8, 48), ("flux2-klein-4b", 5, 20), ("flux2-klein-9b", 8, 24)]
)
def test_layers_of_the_real_networks(model: str, double: int, single: int) -> None:
    layers = checks.family_class("flux2").layers
    attention, ff = (checks.hits(model, "transformer", layers[group]) for group in ("attention", "ff"))
    assert len(attention) == double * 8 + single * 2
    assert len(ff) == double * 4
    assert all(path.startswith(("transformer_blocks.", "single_transformer_blocks.")) for path in (*attention, *ff))


def test_other_than_text_to_image_is_refused(tmp_path: Path) -> None:
    checks.change_config(tiny_flux2(tmp_path), "transformer", in_channels=16)
    with pytest.raises(UsageError, match="made for inpainting"):
        checks.open_tiny("flux2", tmp_path)


def test_another_language_model_is_refused(tmp_path: Path) -> None:
    checks.change_config(tiny_flux2(tmp_path), "text_encoder", model_type="llama")
    with pytest.raises(UsageError, match="llama for a text encoder"):
        checks.open_tiny("flux2", tmp_path)
