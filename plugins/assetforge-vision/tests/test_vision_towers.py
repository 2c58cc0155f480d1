"""CLIP and SigLIP on tiny real models: pictures and prompts as the models themselves compare them."""

import json

import numpy as np
import pytest
import torch
from transformers import CLIPModel, CLIPTokenizer, SiglipModel

from assetforge.errors import UsageError
from assetforge_vision.params import NetworkParams
from assetforge_vision.pictures import CLIP_COLOURS, HALF_COLOURS, as_input, centre_crop, short_side, squeezed
from assetforge_vision.siglip_text import canonical, read_tokenizer, siglip_tokens
from assetforge_vision.towers import ClipImage, ClipPrompt, SiglipImage, SiglipPrompt
from vision_world import LENGTH, SIDE, clip_folder, dinov2_folder, siglip_folder

PROMPTS = ["a red lamp", "the fox on the table", "a boat", "a red lamp", "a red fox on the red boat on the table"]


def test_clip_compares_pictures_and_prompts_as_the_model_does(models, pictures):
    folder = clip_folder(models / "clip")
    model, tokenizer = CLIPModel.from_pretrained(folder).eval(), CLIPTokenizer.from_pretrained(folder)
    shown = np.stack([as_input(centre_crop(short_side(one, SIDE), SIDE), CLIP_COLOURS) for one in pictures])
    tokens = tokenizer(PROMPTS, padding=True, truncation=True, max_length=LENGTH, return_tensors="pt")
    with torch.no_grad():
        told = model(pixel_values=torch.from_numpy(shown), **tokens)
    vectors = ClipImage().embed(pictures)
    np.testing.assert_allclose(vectors, told.image_embeds.numpy(), atol=1e-5)
    expected = (told.image_embeds * told.text_embeds).sum(dim=1).numpy()
    np.testing.assert_allclose(ClipPrompt().follow(pictures, PROMPTS), expected, atol=1e-5)


def test_siglip_compares_pictures_and_prompts_as_the_model_does(models, pictures):
    folder = siglip_folder(models / "siglip")
    model = SiglipModel.from_pretrained(folder).eval()
    shown = np.stack([as_input(squeezed(one, SIDE, SIDE), HALF_COLOURS) for one in pictures])
    tokens = siglip_tokens(read_tokenizer(folder / "tokenizer.json"), PROMPTS, LENGTH)
    with torch.no_grad():
        told = model(pixel_values=torch.from_numpy(shown), input_ids=torch.from_numpy(tokens))
    np.testing.assert_allclose(SiglipImage().embed(pictures), told.image_embeds.numpy(), atol=1e-5)
    expected = (told.image_embeds * told.text_embeds).sum(dim=1).numpy()
    np.testing.assert_allclose(SiglipPrompt().follow(pictures, PROMPTS), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("folder", "make", "image", "prompt"),
    [("clip", clip_folder, ClipImage, ClipPrompt), ("siglip", siglip_folder, SiglipImage, SiglipPrompt)],
)
def test_batches_change_nothing(models, pictures, folder, make, image, prompt):
    make(models / folder)
    params = NetworkParams(batch_size=3)
    together, alone = image(params), image(NetworkParams(batch_size=1))
    vectors = together.embed(pictures)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(vectors, np.concatenate([alone.embed([one]) for one in pictures]), atol=1e-5)
    follow = prompt(params)
    singly = [follow.follow([one], [said])[0] for one, said in zip(pictures, PROMPTS, strict=True)]
    np.testing.assert_allclose(follow.follow(pictures, PROMPTS), singly, atol=1e-5)
    assert together.embed([]).shape == (0, vectors.shape[1])


def test_a_picture_without_a_prompt_is_not_measured(models, pictures):
    clip_folder(models / "clip")
    values = ClipPrompt().follow(pictures[:3], ["a fox", "", "  "])
    assert np.isfinite(values[0])
    assert np.isnan(values[1:]).all()


def test_a_prompt_that_is_too_long_is_cut_off(models, pictures):
    clip_folder(models / "clip")
    long, longer = "a" * 40, "a" * 400
    first, second = ClipPrompt().follow(pictures[:1] * 2, [long, longer])
    assert first == pytest.approx(second, abs=1e-6)


def test_siglip_reads_words_as_it_was_trained(models):
    folder = siglip_folder(models / "siglip")
    assert canonical(" A  red, LAMP!\n") == "a red lamp"
    tokens = siglip_tokens(read_tokenizer(folder / "tokenizer.json"), ["A red, lamp.", "fox " * 30], 6)
    assert tokens.tolist() == [[2, 3, 4, 1, 1, 1], [8, 8, 8, 8, 8, 1]]


def test_the_colours_that_the_model_says_are_used(models, pictures):
    folder = clip_folder(models / "clip")
    before = ClipImage().embed(pictures)
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.5] * 3}))
    assert ClipImage().colours == HALF_COLOURS
    assert np.abs(ClipImage().embed(pictures) - before).max() > 1e-4


def test_another_kind_of_network_is_refused(models, pictures):
    dinov2_folder(models / "clip")
    with pytest.raises(UsageError, match="holds a network of the kind 'dinov2'; clip is needed"):
        ClipImage().embed(pictures)


def test_a_device_that_is_not_there_is_refused(models):
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="no cuda device"):
            ClipImage(NetworkParams(device="cuda:1"))
    with pytest.raises(UsageError, match="fp16 is only for GPUs"):
        ClipImage(NetworkParams(device="cpu", precision="fp16"))


def test_half_precision_stays_near(models, pictures):
    clip_folder(models / "clip")
    exact = ClipImage(NetworkParams(device="cpu")).embed(pictures)
    half = ClipImage(NetworkParams(device="cpu", precision="bf16")).embed(pictures)
    assert ((exact * half).sum(axis=1) > 0.99).all()
