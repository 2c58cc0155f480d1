"""CSD: the tower of transformers with renamed weights is OpenAI's tower."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from assetforge.errors import UsageError
from assetforge_vision.csd import Csd, open_style_network
from assetforge_vision.params import CsdParams
from assetforge_vision.pictures import CLIP_COLOURS, as_input, centre_crop, short_side
from vision_world import csd_file


def test_styles_are_what_the_original_network_says(models, pictures):
    tower, style = csd_file(models / "csd" / "model.safetensors")
    shown = np.stack([as_input(centre_crop(short_side(one, 224), 224), CLIP_COLOURS) for one in pictures])
    with torch.no_grad():
        expected = torch.nn.functional.normalize(tower(torch.from_numpy(shown)) @ style)
    np.testing.assert_allclose(Csd().embed(pictures), expected.numpy(), atol=2e-5)


def test_batches_change_nothing(models, pictures):
    csd_file(models / "csd" / "model.safetensors")
    together, alone = Csd(CsdParams(batch_size=4)), Csd(CsdParams(batch_size=1))
    singly = np.concatenate([alone.embed([one]) for one in pictures])
    np.testing.assert_allclose(together.embed(pictures), singly, atol=1e-5)
    assert together.embed([]).shape == (0, 20)


def test_larger_pictures_read_positions_in_between(models, pictures):
    csd_file(models / "csd" / "model.safetensors")
    vectors = Csd(CsdParams(side=336)).embed(pictures)
    assert vectors.shape == (5, 20)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)


def test_the_prefix_of_parallel_training_is_no_obstacle(models):
    file = models / "csd" / "model.safetensors"
    _, style = csd_file(file)
    save_file({f"module.{name}": tensor for name, tensor in load_file(file).items()}, file)
    assert torch.equal(open_style_network(file).style, style)


def test_other_weights_are_refused(models):
    file = models / "csd" / "model.safetensors"
    csd_file(file)
    tensors = load_file(file)
    save_file({name: one for name, one in tensors.items() if name != "last_layer_style"}, file)
    with pytest.raises(UsageError, match="is no CSD"):
        open_style_network(file)
    save_file({name: one for name, one in tensors.items() if "resblocks.1.ln_1" not in name}, file)
    with pytest.raises(UsageError, match=r"is not CSD: it lacks tower\.encoder\.layers\.1\.layer_norm1\.bias"):
        open_style_network(file)
