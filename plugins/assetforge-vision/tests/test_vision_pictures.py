"""Sizes, crops and colours by hand-computed values, and as the processors that came with the models make them."""

import numpy as np
import pytest
from PIL import Image
from transformers import CLIPImageProcessorPil, SiglipImageProcessorPil

from assetforge_vision.pictures import (
    BILINEAR,
    CLIP_COLOURS,
    HALF_COLOURS,
    IMAGENET_COLOURS,
    as_input,
    centre_crop,
    in_batches,
    padded_square,
    short_side,
    squeezed,
    unit_rows,
)
from vision_world import picture


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [
        ((480, 640), 224, (224, 298)),
        ((640, 480), 224, (298, 224)),
        ((100, 100), 288, (288, 288)),
        ((224, 300), 224, (224, 300)),
    ],
)
def test_the_shorter_side_is_exact_and_the_longer_one_rounded_down(size, side, expected):
    assert short_side(picture(0, *size), side).shape[:2] == expected


def test_the_crop_is_the_middle():
    image = np.zeros((4, 7, 3), np.uint8)
    image[:, 1:5] = 1
    image[:, 5:] = 2
    assert (centre_crop(image, 4) == 1).all()


def test_colours_by_hand():
    white, black = np.full((1, 1, 3), 255, np.uint8), np.zeros((1, 1, 3), np.uint8)
    np.testing.assert_allclose(as_input(white, IMAGENET_COLOURS).ravel(), [2.2489083, 2.4285715, 2.64], rtol=1e-6)
    np.testing.assert_allclose(as_input(black, CLIP_COLOURS).ravel(), [-1.7922626, -1.7520971, -1.4802197], rtol=1e-6)
    np.testing.assert_allclose(as_input(np.full((1, 1, 3), 51, np.uint8), HALF_COLOURS).ravel(), [-0.6] * 3, rtol=1e-6)


def test_a_picture_is_padded_to_a_square_around_its_middle():
    square = padded_square(np.full((2, 5, 3), 9, np.uint8), (1, 2, 3))
    assert square.shape == (5, 5, 3)
    assert (square[1:3] == 9).all()
    assert (square[[0, 3, 4]] == (1, 2, 3)).all()


def test_pictures_come_out_as_from_the_processor_of_clip():
    image = picture(1, 150, 231)
    theirs = CLIPImageProcessorPil()(Image.fromarray(image), return_tensors="np")["pixel_values"][0]
    np.testing.assert_allclose(as_input(centre_crop(short_side(image, 224), 224), CLIP_COLOURS), theirs, atol=1e-5)


def test_pictures_come_out_as_from_the_processor_of_siglip():
    image = picture(1, 150, 231)
    theirs = SiglipImageProcessorPil(resample=3)(Image.fromarray(image), return_tensors="np")["pixel_values"][0]
    np.testing.assert_allclose(as_input(squeezed(image, 224, 224), HALF_COLOURS), theirs, atol=1e-5)


def test_bilinear_is_pillows():
    image = picture(2, 90, 60)
    expected = np.asarray(Image.fromarray(image).resize((30, 45), Image.Resampling.BILINEAR))
    assert (short_side(image, 30, BILINEAR) == expected).all()


def test_batches_hold_one_size_and_results_keep_their_order():
    seen = []

    def run(batch):
        seen.append(batch.shape)
        return batch.mean(axis=(1, 2, 3))

    inputs = [np.full((3, side, 2), number, np.float32) for number, side in enumerate([2, 4, 2, 2, 4])]
    assert [float(value) for value in in_batches(inputs, 2, run)] == [0, 1, 2, 3, 4]
    assert seen == [(2, 3, 2, 2), (1, 3, 2, 2), (2, 3, 4, 2)]


def test_rows_have_length_one_or_zero():
    rows = unit_rows([np.asarray([3, 4], np.float32), np.zeros(2, np.float32)], 2)
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0, 0]], rtol=1e-6)
    assert rows.dtype == np.float32
    assert unit_rows([], 7).shape == (0, 7)
