"""LPIPS: nothing between equal pictures, the same both ways, and its formula."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from assetforge.errors import UsageError
from assetforge_vision.lpips import Lpips, open_drift_network
from assetforge_vision.params import VisionParams
from vision_world import picture

LAYERS = [(0, 3, 64, 11), (3, 64, 192, 5), (6, 192, 384, 3), (8, 384, 256, 3), (10, 256, 256, 3)]


@pytest.fixture
def tensors(models):
    """The state of ``lpips.LPIPS(net="alex")`` with random weights, saved where the metric looks."""
    generator, state = torch.Generator().manual_seed(0), {}
    for number, (place, inside, outside, kernel) in enumerate(LAYERS):
        size = (outside, inside, kernel, kernel)
        state[f"net.slice{number + 1}.{place}.weight"] = (
            torch.randn(size, generator=generator) / (inside * kernel**2) ** 0.5
        )
        state[f"net.slice{number + 1}.{place}.bias"] = torch.randn(outside, generator=generator) * 0.1
        linear = torch.rand((1, outside, 1, 1), generator=generator)
        state[f"lin{number}.model.1.weight"] = linear
        state[f"lins.{number}.model.1.weight"] = linear.clone()
    state["scaling_layer.shift"], state["scaling_layer.scale"] = torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1)
    (models / "lpips").mkdir()
    save_file(state, models / "lpips" / "model.safetensors")
    return state


def pairs():
    sizes = [(64, 64), (80, 48), (64, 64), (31, 31)]
    return [(picture(2 * n, *size), picture(2 * n + 1, *size)) for n, size in enumerate(sizes)]


def test_equal_pictures_are_at_distance_zero_and_both_ways_are_alike(tensors):
    metric = Lpips()
    assert metric.compare([(first, first) for first, _ in pairs()]) == [0.0] * 4
    there, back = metric.compare(pairs()), metric.compare([(second, first) for first, second in pairs()])
    np.testing.assert_allclose(there, back, rtol=1e-6)
    assert min(there) > 0.01


def test_more_change_is_farther(tensors):
    first, second = (one.astype(float) for one in pairs()[0])
    mixes = [(first * (1 - share) + second * share).astype(np.uint8) for share in (0.05, 0.3, 1.0)]
    near, middle, far = Lpips().compare([(first.astype(np.uint8), mix) for mix in mixes])
    assert 0 < near < middle < far


def test_the_distance_is_its_formula(tensors):
    ((first, second),) = pairs()[:1]
    shift = torch.tensor([-0.030, -0.088, -0.188])[:, None, None]
    scale = torch.tensor([0.458, 0.448, 0.450])[:, None, None]
    sides = []
    for image in (first, second):
        x = (torch.from_numpy(image).permute(2, 0, 1)[None] / 127.5 - 1 - shift) / scale
        maps = []
        for number, (place, *_) in enumerate(LAYERS):
            if number in (1, 2):
                x = functional.max_pool2d(x, 3, 2)
            weight, bias = (tensors[f"net.slice{number + 1}.{place}.{part}"] for part in ("weight", "bias"))
            stride, padding = ((4, 2), (1, 2), (1, 1), (1, 1), (1, 1))[number]
            x = functional.relu(functional.conv2d(x, weight, bias, stride=stride, padding=padding))
            maps.append(x / (x.pow(2).sum(1, keepdim=True).sqrt() + 1e-10))
        sides.append(maps)
    expected = sum(
        functional.conv2d((a - b) ** 2, tensors[f"lin{number}.model.1.weight"]).mean()
        for number, (a, b) in enumerate(zip(*sides, strict=True))
    )
    assert Lpips().compare([(first, second)])[0] == pytest.approx(float(expected), rel=1e-4)


def test_batches_change_nothing(tensors):
    alone = Lpips(VisionParams(batch_size=1))
    singly = [alone.compare([pair])[0] for pair in pairs()]
    np.testing.assert_allclose(Lpips(VisionParams(batch_size=4)).compare(pairs()), singly, rtol=1e-4)


def test_nothing_is_resized(tensors):
    with pytest.raises(UsageError, match="LPIPS cannot compare pictures of 64 x 64 and 48 x 64 pixels"):
        Lpips().compare([(picture(0), picture(1, 64, 48))])
    with pytest.raises(UsageError, match="at least 31 pixels"):
        Lpips().compare([(picture(0, 30, 64), picture(1, 30, 64))])


def test_weights_of_another_network_are_refused(tensors, tmp_path):
    file = tmp_path / "vgg.safetensors"
    save_file({"net.slice1.0.weight": torch.zeros(64, 3, 3, 3)}, file)
    with pytest.raises(UsageError, match="other shapes"):
        open_drift_network(file)
    del tensors["lin4.model.1.weight"]
    save_file(tensors, file)
    with pytest.raises(UsageError, match=r"it lacks weights\.4"):
        open_drift_network(file)
