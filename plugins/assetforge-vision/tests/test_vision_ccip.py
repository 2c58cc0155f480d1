"""CCIP: pictures squeezed to 384 pixels, colours of CLIP, unit vectors."""

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from assetforge.errors import UsageError
from assetforge_vision.ccip import Ccip
from assetforge_vision.params import VisionParams
from onnx_files import pooling_model


def test_the_picture_is_prepared_as_the_authors_do(models, pictures):
    pooling_model(models / "ccip" / "model_feat.onnx", 384, 96)
    mean, std = np.asarray((0.48145466, 0.4578275, 0.40821073)), np.asarray((0.26862954, 0.26130258, 0.27577711))
    for image, vector in zip(pictures, Ccip().embed(pictures), strict=True):
        shown = np.asarray(Image.fromarray(image).resize((384, 384), Image.Resampling.BILINEAR)) / 255.0
        expected = ((shown - mean) / std).reshape(4, 96, 4, 96, 3).mean(axis=(1, 3)).transpose(2, 0, 1).ravel()
        np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-5)


@pytest.mark.parametrize("batch", ["n", 1, 4])
def test_batches_change_nothing_whatever_the_file_takes(models, pictures, batch):
    pooling_model(models / "ccip" / "model_feat.onnx", 384, 96, batch)
    alone = Ccip(VisionParams(batch_size=1))
    singly = np.concatenate([alone.embed([one]) for one in pictures])
    np.testing.assert_allclose(Ccip(VisionParams(batch_size=5)).embed(pictures), singly, atol=1e-6)
    assert alone.embed([]).shape == (0, 48)


def test_a_device_that_onnxruntime_lacks_is_refused_only_when_it_was_named(models, pictures):
    pooling_model(models / "ccip" / "model_feat.onnx", 384, 96)
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime computes on CUDA")
    with pytest.raises(UsageError, match="cannot compute on cuda"):
        Ccip(VisionParams(device="cuda")).embed(pictures)

    class OnGpu:
        device, threads = "cuda", 1

    assert Ccip(VisionParams(), OnGpu()).embed(pictures).shape == (5, 48)
