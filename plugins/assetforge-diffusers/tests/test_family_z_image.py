"""Z-Image: the family does what the reference pipeline of diffusers does."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import clip_families as checks
import numpy as np
import pytest
import torch
from llm_families import check_waits_for_nothing
from tiny.z_image import tiny_z_image

from assetforge.errors import UsageError
from assetforge_diffusers.families.base import Family

LONG = "a harbour at night, " * 30
CAPTIONS = (*checks.CAPTIONS, "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny pipeline."""
    return tiny_z_image(tmp_path_factory.mktemp("z-image"))


@pytest.fixture
def family(folder: Path) -> Family:
    """The family on it."""
    return checks.open_tiny("z-image", folder)


def asked(family: Family, captions: Sequence[str], noisy: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
    """What the network answers to the reference pipeline, turned round as it does."""
    hidden, _ = family.pipeline.encode_prompt(list(captions), do_classifier_free_guidance=False)
    with torch.no_grad():
        answers = family.denoiser(list(noisy.unsqueeze(2)), 1.0 - time, hidden, return_dict=False)[0]
    return -torch.stack(answers).squeeze(2)


def test_captions_become_what_the_pipeline_makes_of_them(family: Family) -> None:
    told = checks.tell(family, (*CAPTIONS, LONG))
    hidden, _ = family.pipeline.encode_prompt([*CAPTIONS, LONG], do_classifier_free_guidance=False)
    assert told["hidden"].shape[:2] == told["mask"].shape == (4, 512)
    for states, mask, reference in zip(told["hidden"], told["mask"], hidden, strict=True):
        assert torch.equal(states[mask], reference)
        assert not states[~mask].any()


def test_words_that_do_not_fit_are_counted(family: Family) -> None:
    template = len("user\n") + len("\n") + len("assistant\n") + 3
    assert family.tokenize("a" * (512 - template))[1] == 0
    assert family.tokenize("a" * (512 - template + 7))[1] == 7


def test_latents_are_the_autoencoders(family: Family) -> None:
    checks.check_latents(family)


def test_embedded_prompts_render_as_prompts(family: Family) -> None:
    negatives = ["blurry", "grey, flat"]
    told = checks.tell(family, checks.CAPTIONS)
    pictures = {}
    for guidance in (1.0, 4.0):
        negative = checks.tell(family, negatives) if guidance > 1 else None
        pictures[guidance] = checks.run_pipeline(family, (0, 1), **family.call_inputs(told, negative, guidance))
        reference = checks.run_pipeline(
            family, (0, 1), prompt=list(checks.CAPTIONS), negative_prompt=list(negatives), guidance_scale=guidance - 1.0
        )
        np.testing.assert_allclose(pictures[guidance], reference, atol=1e-6)
        for index, caption in enumerate(checks.CAPTIONS):
            less = checks.tell(family, negatives[index : index + 1]) if guidance > 1 else None
            inputs = family.call_inputs(checks.tell(family, (caption,)), less, guidance)
            np.testing.assert_allclose(
                checks.run_pipeline(family, (index,), **inputs)[0], pictures[guidance][index], atol=1e-5
            )
    assert np.abs(pictures[1.0] - pictures[4.0]).max() > 1e-4


@pytest.mark.parametrize("captions", [CAPTIONS, ("a red cat",), ("a red cat", LONG)])
def test_the_network_is_asked_as_the_pipeline_asks_it(family: Family, captions: Sequence[str]) -> None:
    source = torch.Generator().manual_seed(1)
    noisy = torch.randn((len(captions), 4, 10, 14), generator=source)  # 35 tokens, so that the network fills up to 64
    time = torch.rand(len(captions), generator=source)
    with torch.no_grad():
        answer = family.predict(noisy, time, checks.tell(family, captions), checks.geometry(len(captions)))
    assert answer.abs().max() > 0.1
    torch.testing.assert_close(answer, asked(family, captions, noisy, time), atol=2e-6, rtol=1e-5)


def test_no_prediction_waits_for_the_device(family: Family) -> None:
    told = checks.tell(family, checks.CAPTIONS)
    check_waits_for_nothing(family, torch.ones(2, 4, 10, 14), torch.tensor([0.2, 0.9]), told, checks.geometry(2))


def test_captions_cut_to_the_longest_are_told_alike(family: Family) -> None:
    told, noisy, time = checks.tell(family, checks.CAPTIONS), torch.ones(2, 4, 8, 8), torch.tensor([0.2, 0.9])
    longest = int(told["mask"].sum(1).max())
    cut = {name: tensor[:, :longest] for name, tensor in told.items()}
    with torch.no_grad():
        answers = [family.predict(noisy, time, some, checks.geometry(2)) for some in (told, cut)]
    torch.testing.assert_close(*answers, atol=2e-6, rtol=1e-5)


def test_a_step_of_the_pipeline_goes_along_the_prediction(family: Family) -> None:
    told = checks.tell(family, checks.CAPTIONS[:1])
    noise = torch.randn((1, 4, 12, 16), generator=torch.Generator().manual_seed(0))
    inputs: dict[str, Any] = {**family.call_inputs(told, None, 1.0), **checks.SIZE, "output_type": "latent"}
    stepped = family.pipeline(**inputs, latents=noise, num_inference_steps=1).images
    with torch.no_grad():
        velocity = family.predict(noise, torch.ones(1), told, checks.geometry(1))
    torch.testing.assert_close(stepped, noise - velocity, atol=1e-5, rtol=1e-5)  # from sigma 1 to 0


def test_a_lora_learns(family: Family) -> None:
    assert checks.check_learning(family) == []


def test_recomputing_gives_the_same_gradients(family: Family) -> None:
    told, noisy, time = checks.tell(family, checks.CAPTIONS), torch.ones(2, 4, 8, 8), torch.tensor([0.2, 0.9])
    weight = family.denoiser.layers[0].attention.to_q.weight.requires_grad_()
    gradients = []
    for recompute in (False, True):
        family.denoiser.enable_gradient_checkpointing() if recompute else family.denoiser.disable_gradient_checkpointing()
        family.predict(noisy, time, told, checks.geometry(2)).square().mean().backward()
        gradients.append(weight.grad.clone())
        weight.grad = None
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(*gradients)


def test_the_probe_is_decided_by_the_weights(folder: Path, tmp_path: Path) -> None:
    first, second = (checks.open_tiny("z-image", folder) for _ in range(2))
    checks.check_probe(first, second, checks.open_tiny("z-image", tiny_z_image(tmp_path, seed=1)))


def test_noise_levels_are_shifted_as_the_scheduler_says(family: Family) -> None:
    assert family.prediction == "flow"
    assert family.objective.shift(128, 128) == 3.0


def test_layers_of_the_real_network() -> None:
    layers = checks.family_class("z-image").layers
    blocks = 30 + 2 + 2
    attention = checks.hits("z-image", "transformer", layers["attention"])
    assert len(attention) == blocks * 4
    assert all(".attention." in path for path in attention)
    assert len(checks.hits("z-image", "transformer", layers["ff"])) == blocks * 3


def test_names_for_other_tools(family: Family) -> None:
    assert family.architecture == "Z-Image/lora"
    assert family.base_version == "z_image"
    assert family.latent_factor == 2
    assert family.size_multiple == 4
    assert family.text_encoders == {}


def test_half_precision(folder: Path) -> None:
    kind = checks.family_class("z-image")
    family = kind(checks.BaseFiles(folder, kind.pipeline_class, torch.bfloat16))
    told, noisy, time = checks.tell(family, checks.CAPTIONS), torch.ones(2, 4, 8, 8), torch.tensor([0.2, 0.9])
    with torch.no_grad():
        answer = family.predict(noisy, time, told, checks.geometry(2))
    assert answer.dtype == torch.bfloat16
    torch.testing.assert_close(answer, asked(family, checks.CAPTIONS, noisy.bfloat16(), time), atol=0.05, rtol=0.05)


def test_omni_is_refused(tmp_path: Path) -> None:
    checks.change_config(tiny_z_image(tmp_path), "transformer", siglip_feat_dim=1152)
    with pytest.raises(UsageError, match="Z-Image Omni"):
        checks.open_tiny("z-image", tmp_path)


def test_it_is_the_pipeline_that_the_folder_names(folder: Path, family: Family) -> None:
    assert json.loads((folder / "model_index.json").read_text())["_class_name"] == family.pipeline_class
