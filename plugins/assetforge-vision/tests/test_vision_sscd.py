"""SSCD: the generalised mean by its formula, the trunk by a plain forward pass, names of both publications."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from assetforge.errors import UsageError
from assetforge_vision.params import NetworkParams
from assetforge_vision.pictures import BILINEAR, IMAGENET_COLOURS, as_input, short_side
from assetforge_vision.sscd import CopyNetwork, Sscd, generalised_mean, open_copy_network
from vision_world import shaken

CLASSY = {
    "conv1": "convolutional_block.0",
    "bn1": "convolutional_block.1",
    "conv2": "convolutional_block.3",
    "bn2": "convolutional_block.4",
    "conv3": "convolutional_block.6",
    "bn3": "bn",
    "downsample.0": "downsample.0",
    "downsample.1": "downsample.1",
}


def saved(file, prefix="backbone."):
    """A small ResNet with the names of torchvision."""
    network = shaken(CopyNetwork(stem=4, blocks=(2, 1, 2), width=10))
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({prefix + name: tensor.clone() for name, tensor in network.state_dict().items()}, file)
    return network


def test_the_generalised_mean_is_its_formula():
    maps = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [0.0, 8.0]]]])
    expected = [((1 + 8 + 27 + 64) / 4) ** (1 / 3), (8**3 / 4) ** (1 / 3)]
    torch.testing.assert_close(generalised_mean(maps, 3.0)[0], torch.tensor(expected))
    torch.testing.assert_close(generalised_mean(maps, 1.0)[0], torch.tensor([2.5, 2.0]))
    torch.testing.assert_close(generalised_mean(-maps, 3.0)[0], torch.tensor([1e-6, 1e-6]))


def plain(tensors, x):
    """The network by functions and names alone."""

    def norm(x, name):
        values = [tensors[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(x, *values)

    x = functional.relu(norm(functional.conv2d(x, tensors["conv1.weight"], stride=2, padding=3), "bn1"))
    x = functional.max_pool2d(x, 3, 2, 1)
    for stage, count in ((1, 2), (2, 1), (3, 2)):
        for place in range(count):
            name, stride = f"layer{stage}.{place}", 2 if stage > 1 and place == 0 else 1
            out = functional.relu(norm(functional.conv2d(x, tensors[f"{name}.conv1.weight"]), f"{name}.bn1"))
            out = functional.conv2d(out, tensors[f"{name}.conv2.weight"], stride=stride, padding=1)
            out = functional.relu(norm(out, f"{name}.bn2"))
            out = norm(functional.conv2d(out, tensors[f"{name}.conv3.weight"]), f"{name}.bn3")
            if place == 0:
                shortcut = functional.conv2d(x, tensors[f"{name}.downsample.0.weight"], stride=stride)
                x = norm(shortcut, f"{name}.downsample.1")
            x = functional.relu(out + x)
    pooled = x.clamp(min=1e-6).pow(3).mean((2, 3)).pow(1 / 3)
    return functional.linear(pooled, tensors["fc.weight"], tensors["fc.bias"])


def test_fingerprints_are_those_of_the_trunk_with_its_names(models, pictures):
    tensors = saved(models / "sscd" / "model.safetensors").state_dict()
    vectors = Sscd().embed(pictures)
    for vector, image in zip(vectors, pictures, strict=True):
        shown = as_input(short_side(image, 288, BILINEAR), IMAGENET_COLOURS)
        assert min(shown.shape[1:]) == 288
        (expected,) = functional.normalize(plain(tensors, torch.from_numpy(shown)[None]))
        np.testing.assert_allclose(vector, expected.numpy(), atol=1e-5)


def test_batches_of_several_sizes_change_nothing(models, pictures):
    saved(models / "sscd" / "model.safetensors")
    alone = Sscd(NetworkParams(batch_size=1))
    singly = np.concatenate([alone.embed([one]) for one in pictures])
    np.testing.assert_allclose(Sscd(NetworkParams(batch_size=8)).embed(pictures), singly, atol=1e-5)
    assert alone.embed([]).shape == (0, 10)


@pytest.mark.parametrize("block", ["{place}", "block{stage}-{place}._module"])
def test_names_of_classy_vision_are_understood(tmp_path, block):
    network, classy = saved(tmp_path / "torchvision.safetensors"), {}
    for name, tensor in network.state_dict().items():
        head, _, tail = name.rpartition(".")
        if name.startswith("layer"):
            stage, place, part = head.removeprefix("layer").split(".", 2)
            where = block.format(stage=int(stage) - 1, place=place)
            classy[f"backbone.blocks.{int(stage) - 1}.{where}.{CLASSY[part]}.{tail}"] = tensor.clone()
        else:
            outside = {"conv1": "backbone.initial_block._module.0", "bn1": "backbone.initial_block._module.1"}
            classy[f"{outside.get(head, 'embeddings.1')}.{tail}"] = tensor.clone()
    save_file(classy, tmp_path / "classy.safetensors")
    loaded = open_copy_network(tmp_path / "classy.safetensors").state_dict()
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(loaded[name], tensor)


def test_the_standard_network_is_resnet50():
    with torch.device("meta"):
        network = CopyNetwork()
    trunk = sum(one.numel() for name, one in network.named_parameters() if not name.startswith("fc."))
    assert trunk == 23_508_032
    assert tuple(network.fc.weight.shape) == (512, 2048)


def test_other_weights_are_refused(models):
    file = models / "sscd" / "model.safetensors"
    network = saved(file)
    save_file({"x": torch.zeros(2)}, file)
    with pytest.raises(UsageError, match="is no SSCD with a ResNet trunk"):
        open_copy_network(file)
    tensors = {
        name: tensor.clone() for name, tensor in network.state_dict().items() if name != "layer2.0.bn2.running_var"
    }
    save_file(tensors, file)
    with pytest.raises(UsageError, match=r"lacks layer2\.0\.bn2\.running_var"):
        open_copy_network(file)
