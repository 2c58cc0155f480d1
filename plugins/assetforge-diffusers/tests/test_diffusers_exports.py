"""Exports: exact in both forms, readable by others, honest about themselves."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from assetforge.errors import JobError
from assetforge_diffusers import trainer as trainer_module
from assetforge_diffusers.loading import align_weights
from assetforge_diffusers.metadata import tensor_hash
from assetforge_diffusers.params import LoraTrainerParams
from assetforge_diffusers.preparation import Preparation
from assetforge_diffusers.trainer import LoraTrainer
from diffusers_world import FolderContext

SETTINGS = {
    "unet only": {"rank": 4, "alpha": 3.0, "targets": "attention"},
    "text encoder": {"rank": 4, "alpha": 1.0, "text_encoder": True},
    "convolutions": {"rank": 4, "alpha": 6.0, "conv_rank": 2, "conv_alpha": 5.0},
    "everything": {"rank": 8, "alpha": 3.5, "conv_rank": 3, "text_encoder": True, "dropout": 0.1},
}


def pipeline_picture(pipeline: StableDiffusionPipeline) -> np.ndarray:
    for module in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        align_weights(module)
    pipeline.set_progress_bar_config(disable=True)
    made = pipeline(
        "zork robot",
        num_inference_steps=3,
        guidance_scale=4.0,
        generator=torch.Generator().manual_seed(3),
        output_type="np",
        width=32,
        height=32,
    )
    return made.images[0]


def train(
    workdir: Path, base: Path, monkeypatch: pytest.MonkeyPatch | None = None, **settings
) -> tuple[FolderContext, list[Preparation]]:
    params = LoraTrainerParams(
        **{"steps": 4, "batch_size": 2, "learning_rate": 3e-2, "text_encoder_learning_rate": 3e-2, **settings}
    )
    context = FolderContext(workdir, base, params)
    runs: list[Preparation] = []
    if monkeypatch is not None:
        original = trainer_module.prepare
        monkeypatch.setattr(trainer_module, "prepare", lambda ctx: runs.append(original(ctx)) or runs[-1])
    LoraTrainer().train(context)
    return context, runs


@pytest.mark.parametrize("name", SETTINGS)
def test_both_forms_give_the_pixels_of_the_training_time_model(
    name: str, pictures: Path, base_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, runs = train(pictures.parent, base_folder, monkeypatch, **SETTINGS[name])
    trained = pipeline_picture(runs[0].family.pipeline)
    bare = pipeline_picture(StableDiffusionPipeline.from_pretrained(base_folder, safety_checker=None))
    assert np.abs(trained - bare).max() > 1e-3
    for file in ("zork-v001.safetensors", "zork-v001.diffusers.safetensors"):
        fresh = StableDiffusionPipeline.from_pretrained(base_folder, safety_checker=None)
        fresh.load_lora_weights(context.outputs, weight_name=file)
        assert np.abs(pipeline_picture(fresh) - trained).max() == 0.0, file


@pytest.mark.parametrize("network", ["dora", "loha", "lokr"])
def test_other_networks_are_written_and_read_back(network: str, pictures: Path, base_folder: Path) -> None:
    settings = {"rank": 4, "alpha": 3.0, "conv_rank": 2, "network": network, "text_encoder": network == "dora"}
    context, _ = train(pictures.parent, base_folder, **settings)
    tensors = load_file(context.outputs / "zork-v001.safetensors")
    parts = {name.partition(".")[2] for name in tensors}
    assert {"dora": "dora_scale", "loha": "hada_w1_a", "lokr": "lokr_w1"}[network] in parts
    assert not (context.outputs / "zork-v001.diffusers.safetensors").exists()
    assert "reloaded and gives back the trained model (largest difference 0)" in " ".join(context.messages)


def test_kohya_names_and_real_alphas(pictures: Path, base_folder: Path) -> None:
    context, _ = train(pictures.parent, base_folder, **SETTINGS["everything"])
    tensors = load_file(context.outputs / "zork-v001.safetensors")
    stems = {name.split(".")[0] for name in tensors}
    assert "lora_te_text_model_encoder_layers_0_self_attn_q_proj" in stems
    assert "lora_te_text_model_encoder_layers_1_mlp_fc2" in stems
    assert "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_out_0" in stems
    assert "lora_unet_mid_block_resnets_0_time_emb_proj" in stems
    for stem in stems:
        assert {f"{stem}.lora_down.weight", f"{stem}.lora_up.weight", f"{stem}.alpha"} <= tensors.keys()
        convolution = "resnets" in stem
        assert tensors[f"{stem}.lora_down.weight"].shape[0] == (3 if convolution else 8)
        assert float(tensors[f"{stem}.alpha"]) == pytest.approx(3.5 / 8 * 3 if convolution else 3.5)


def test_a_wrong_export_is_noticed_before_it_is_registered(
    pictures: Path, base_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault of the usual exporters: alpha written as rank."""
    original = trainer_module.write_exports

    def forgetful(*args):
        exports = original(*args)
        tensors = {
            name: torch.tensor(4.0) if name.endswith(".alpha") else tensor
            for name, tensor in load_file(exports.kohya).items()
        }
        save_file(tensors, exports.kohya)
        return exports

    monkeypatch.setattr(trainer_module, "write_exports", forgetful)
    with pytest.raises(JobError, match="does not give back the trained model"):
        train(pictures.parent, base_folder, rank=4, alpha=1.0)


def read_as_a1111(file: Path) -> dict:
    """sd_models.read_metadata_from_safetensors: values that look like JSON objects are parsed."""
    with file.open("rb") as opened:
        header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
    metadata = {}
    for name, value in header.get("__metadata__", {}).items():
        metadata[name] = value
        if isinstance(value, str) and value[0:1] == "{":
            metadata[name] = json.loads(value)
    return metadata


def test_a1111_reads_alias_version_tags_buckets_and_hash(pictures: Path, base_folder: Path) -> None:
    context, _ = train(pictures.parent, base_folder, rank=4, alpha=3.0)
    file = context.outputs / "zork-v001.safetensors"
    metadata = read_as_a1111(file)
    assert metadata["ss_output_name"] == "zork-v001"
    version = (
        "SDXL"
        if str(metadata.get("ss_base_model_version", "")).startswith("sdxl_")
        else "SD2"
        if metadata.get("ss_v2") == "True"
        else "SD1"
    )
    assert version == "SD1"
    tags: dict[str, int] = {}
    for counts in metadata["ss_tag_frequency"].values():
        for tag, count in counts.items():
            tags[tag.strip()] = tags.get(tag.strip(), 0) + int(count)
    assert tags["zork robot"] == 5
    assert sum(bucket["count"] for bucket in metadata["ss_bucket_info"]["buckets"].values()) == 5
    assert sum(int(part["img_count"]) for part in metadata["ss_dataset_dirs"].values()) == 5
    assert metadata["ss_network_module"] == "networks.lora"
    assert datetime.fromtimestamp(float(metadata["ss_training_started_at"]), tz=UTC).year >= 2024
    data = file.read_bytes()
    assert (
        metadata["sshs_model_hash"]
        == hashlib.sha256(data[8 + int.from_bytes(data[:8], "little") :]).hexdigest()
        == tensor_hash(file)
    )
    assert len(metadata["sshs_legacy_hash"]) == 8


def test_lora_manager_reads_base_trigger_and_tags(pictures: Path, base_folder: Path) -> None:
    """py/utils/lora_metadata.py of ComfyUI-Lora-Manager: the first subset's class tokens, the first folder's tags."""
    context, _ = train(pictures.parent, base_folder, rank=4, alpha=3.0)
    with safe_open(context.outputs / "zork-v001.safetensors", framework="pt") as opened:
        metadata = opened.metadata()
    assert metadata["ss_base_model_version"] == "sd_v1"
    assert json.loads(metadata["ss_datasets"])[0]["subsets"][0]["class_tokens"] == "zork robot"
    assert next(iter(json.loads(metadata["ss_tag_frequency"]).values()))["zork robot"] == 5


def test_the_file_says_where_it_comes_from(pictures: Path, base_folder: Path) -> None:
    context, _ = train(pictures.parent, base_folder, rank=4, alpha=3.0, text_encoder=True)
    for name in ("zork-v001.safetensors", "zork-v001.diffusers.safetensors"):
        with safe_open(context.outputs / name, framework="pt") as opened:
            metadata = opened.metadata()
        assert metadata["ss_network_dim"] == "4"
        assert metadata["ss_network_alpha"] == "3.0"
        assert metadata["ss_noise_offset"] == "None"
        assert metadata["ss_steps"] == "4"
        assert metadata["modelspec.sai_model_spec"] == "1.0.1"
        assert metadata["modelspec.architecture"] == "stable-diffusion-v1/lora"
        assert metadata["modelspec.trigger_phrase"] == "zork robot"
        assert metadata["modelspec.prediction_type"] == "epsilon"
        assert metadata["modelspec.resolution"] == "36x28"
        assert metadata["assetforge.version"] == "zork/v1"
        assert metadata["assetforge.dataset_tree"] == context.dataset.tree_hash
        assert metadata["assetforge.recipe_key"] == context.payload.recipe_key
        assert LoraTrainerParams.model_validate_json(metadata["assetforge.params"]) == context.params


def test_identity_does_not_depend_on_metadata(pictures: Path, base_folder: Path, tmp_path: Path) -> None:
    context, _ = train(pictures.parent, base_folder, rank=4, alpha=3.0)
    file = context.outputs / "zork-v001.safetensors"
    other = tmp_path / "renamed.safetensors"
    save_file(load_file(file), other, {"ss_output_name": "something else"})
    assert file.read_bytes() != other.read_bytes()
    assert tensor_hash(file) == tensor_hash(other)
