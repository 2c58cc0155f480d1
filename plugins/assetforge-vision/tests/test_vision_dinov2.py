"""DINOv2: finding the subject, and looking at it alone."""

import numpy as np
import pytest
import torch
from transformers import Dinov2Model

from assetforge_vision.dinov2 import Dinov2
from assetforge_vision.params import Dinov2Params
from assetforge_vision.pictures import IMAGENET_COLOURS, as_input, centre_crop, padded_square, short_side, squeezed
from assetforge_vision.subject import subject_box, subject_mask
from vision_world import dinov2_folder, picture

NEUTRAL = (124, 116, 104)


def patches(where, noise=0.05, rows=12, columns=16):
    """Features of two kinds: the subject's where ``where`` holds."""
    random = np.random.default_rng(3)
    kinds = random.normal(0, 1, (2, 24))
    mask = np.zeros((rows, columns), bool)
    mask[where] = True
    return mask, (kinds[mask.astype(int)] + random.normal(0, noise, (rows, columns, 24))).astype(np.float32)


@pytest.mark.parametrize(
    "where",
    [np.s_[4:8, 5:11], np.s_[2:, 4:12], np.s_[1:11, 1:15], np.s_[3:5, 3:5]],
    ids=["middle", "portrait cut by the lower edge", "most of the picture", "small"],
)
def test_the_subject_is_the_side_that_keeps_away_from_the_edge(where):
    mask, features = patches(where)
    assert (subject_mask(features) == mask).all()
    assert (subject_mask(-features) == mask).all()


def test_no_subject_where_none_stands_out():
    flat = np.ones((12, 16, 24), np.float32) + np.random.default_rng(0).normal(0, 1e-3, (12, 16, 24)).astype(np.float32)
    assert subject_mask(flat) is None
    noise = np.random.default_rng(0).normal(0, 1, (12, 16, 240)).astype(np.float32)
    assert subject_mask(noise) is None
    assert subject_mask(patches(np.s_[:, :8])[1]) is None
    assert subject_mask(patches(np.s_[0:2, 0:2], rows=2, columns=2)[1]) is None


def test_the_box_in_pixels_by_hand():
    mask = np.zeros((4, 8), bool)
    mask[2, 3] = True
    pixels, box = subject_box(mask, 40, 160)
    assert box == (slice(10, 40), slice(40, 100))
    assert pixels.sum() == 30 * 60
    mask[:] = True
    assert subject_box(mask, 41, 161)[1] == (slice(0, 41), slice(0, 161))


@pytest.mark.parametrize("registers", [0, 4])
def test_batches_change_nothing(models, pictures, registers):
    dinov2_folder(models / "dinov2", registers)
    for subject in (True, False):
        together = Dinov2(Dinov2Params(batch_size=3, subject=subject, side=56))
        alone = Dinov2(Dinov2Params(batch_size=1, subject=subject, side=56))
        vectors = together.embed(pictures)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)
        np.testing.assert_allclose(vectors, np.concatenate([alone.embed([one]) for one in pictures]), atol=1e-5)
        assert together.embed([]).shape == (0, 32)


def test_whole_pictures_are_read_as_published(models, pictures):
    model = Dinov2Model.from_pretrained(dinov2_folder(models / "dinov2")).eval()
    shown = np.stack([as_input(centre_crop(short_side(one, 256), 224), IMAGENET_COLOURS) for one in pictures])
    with torch.no_grad():
        expected = torch.nn.functional.normalize(model(pixel_values=torch.from_numpy(shown)).last_hidden_state[:, 0])
    np.testing.assert_allclose(Dinov2(Dinov2Params(subject=False)).embed(pictures), expected.numpy(), atol=1e-5)


def test_a_picture_without_a_subject_is_taken_whole(models):
    model = Dinov2Model.from_pretrained(dinov2_folder(models / "dinov2")).eval()
    flat = np.full((50, 70, 3), 90, np.uint8)
    metric = Dinov2(Dinov2Params(side=56))
    assert (metric.subjects([flat])[0] == flat).all()
    shown = as_input(squeezed(padded_square(flat, NEUTRAL), 56, 56), IMAGENET_COLOURS)
    with torch.no_grad():
        (expected,) = torch.nn.functional.normalize(
            model(pixel_values=torch.from_numpy(shown)[None]).last_hidden_state[:, 0]
        )
    np.testing.assert_allclose(metric.embed([flat])[0], expected.numpy(), atol=1e-5)


def test_a_subject_on_two_backgrounds_stays_itself(models):
    dinov2_folder(models / "dinov2")
    subject = picture(8, 84, 84)
    subject[..., 0] = 255 - subject[..., 0] // 8

    def on(colour):
        image = np.full((224, 224, 3), colour, np.uint8)
        image[70:154, 70:154] = subject
        return image

    scenes = [on((20, 30, 60)), on((40, 90, 40))]
    cut = Dinov2().subjects(scenes)
    assert [one.shape for one in cut] == [(112, 112, 3)] * 2
    assert (cut[0][14:98, 14:98] == subject).all()
    masked, whole = Dinov2().embed(scenes), Dinov2(Dinov2Params(subject=False)).embed(scenes)
    assert 1 - masked[0] @ masked[1] < 0.5 * (1 - whole[0] @ whole[1])
