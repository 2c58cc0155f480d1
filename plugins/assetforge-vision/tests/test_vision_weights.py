"""Weights are found where they should be, and never loaded when they could run code."""

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from assetforge.errors import NotFoundError, UsageError
from assetforge_vision.lpips import Lpips
from assetforge_vision.params import NetworkParams, VisionParams
from assetforge_vision.sscd import Sscd
from assetforge_vision.towers import ClipImage
from assetforge_vision.weights import check_file, locate, reason
from vision_world import clip_folder


def some(file):
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({"x": np.zeros(2, np.float32)}, file)
    return file


def cached(models, repo, name):
    """A file in the cache of Hugging Face."""
    folder = models.parent.parent / "hub" / f"models--{repo.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text("abc123")
    return folder / "snapshots" / "abc123" / name


def test_the_own_folder_comes_before_the_cache(models):
    in_cache = some(cached(models, "yuxi-liu-wired/CSD", "model.safetensors"))
    assert locate("csd") == {"model.safetensors": in_cache}
    own = some(models / "csd" / "model.safetensors")
    assert locate("csd") == {"model.safetensors": own}
    assert reason("csd") == ""


def test_a_folder_inside_a_model_of_the_cache_is_found(models):
    file = cached(models, "deepghs/ccip_onnx", "ccip-caformer-24-randaug-pruned/model_feat.onnx")
    file.parent.mkdir(parents=True)
    file.write_bytes(b"onnx")
    assert locate("ccip") == {"model_feat.onnx": file}
    assert locate("ccip", "deepghs/ccip_onnx") == {"model_feat.onnx": file}


def test_another_folder_for_all_weights(models, tmp_path, monkeypatch):
    file = some(tmp_path / "elsewhere" / "sscd" / "model.safetensors")
    assert reason("sscd")
    monkeypatch.setenv("ASSETFORGE_VISION_MODELS", str(tmp_path / "elsewhere"))
    assert locate("sscd") == {"model.safetensors": file}


def test_a_chosen_folder_file_or_hub_id_is_taken_instead(models, tmp_path):
    file = some(tmp_path / "mine" / "model.safetensors")
    assert locate("csd", str(file.parent)) == locate("csd", str(file)) == {"model.safetensors": file}
    with pytest.raises(NotFoundError, match=r"lacks config\.json and model\.safetensors, which dinov2 needs"):
        locate("dinov2", str(tmp_path))
    with pytest.raises(NotFoundError, match="has none"):
        locate("dinov2", "facebook/dinov2-large")


@pytest.mark.parametrize("name", ["model.pt", "pytorch_model.bin", "sscd.torchscript.pt", "model.PTH", "model.ckpt"])
def test_pickles_and_torchscript_are_refused(models, tmp_path, name):
    file = tmp_path / name
    torch.save({"x": torch.zeros(2)}, file)
    with pytest.raises(UsageError, match="can run code when it is loaded; only safetensors and ONNX are opened"):
        check_file(file)
    with pytest.raises(UsageError, match="can run code"):
        Sscd(NetworkParams(weights=str(file))).embed([np.zeros((32, 32, 3), np.uint8)])
    with pytest.raises(UsageError, match="can run code"):
        locate("sscd", str(tmp_path))


def test_a_pickle_under_the_name_of_safetensors_is_refused(models):
    folder = models / "lpips"
    folder.mkdir()
    torch.save({"x": torch.zeros(2)}, folder / "model.safetensors")
    assert "is not a safetensors file" in reason("lpips")
    with pytest.raises(UsageError, match="is not a safetensors file"):
        Lpips(VisionParams()).compare([(np.zeros((64, 64, 3), np.uint8),) * 2])


def test_a_pickle_beside_missing_weights_is_named(models):
    folder = models / "sscd"
    folder.mkdir()
    (folder / "sscd_disc_mixup.torchscript.pt").write_bytes(b"PK")
    assert "sscd_disc_mixup.torchscript.pt is a pickle or TorchScript, which is never loaded." in reason("sscd")


def test_a_hub_model_with_pickled_weights_only_is_refused(models):
    folder = clip_folder(models / "clip")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "pytorch_model.bin is a pickle" in reason("clip-image")
    with pytest.raises(NotFoundError, match=r"clip-image needs model\.safetensors"):
        ClipImage().embed([np.zeros((32, 32, 3), np.uint8)])


def test_a_missing_package_is_named(models, monkeypatch):
    monkeypatch.setattr("assetforge_vision.weights.find_spec", lambda name: None if name == "onnxruntime" else object())
    assert reason("ccip") == "ccip needs the Python packages onnxruntime: install assetforge-vision anew."
