"""What a LoRA file says about itself: kohya's ``ss_*``, ``modelspec.*`` (specification 1.0.1), ``sshs_*`` hashes, and ``assetforge.*``.

All values are strings, as safetensors demands; booleans are "True" and "False" and a missing value is "None", as kohya's scripts write them.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from safetensors.torch import save

from assetforge.api.job import DatasetItem, TrainingDataset, TrainPayload
from assetforge.domain.buckets import Size
from assetforge_diffusers.families.base import Family
from assetforge_diffusers.params import LoraTrainerParams
from assetforge_diffusers.views import Entry

_MODULES = {
    "flux1": "networks.lora_flux",
    "sd3": "networks.lora_sd3",
    "flux2": "networks.lora_flux_2",
    "qwen-image": "networks.lora_qwen_image",
    "z-image": "networks.lora_zimage",
    "wan": "networks.lora_wan",
}
_OPTIMIZERS = {
    "adamw": "torch.optim.adamw.AdamW",
    "adamw8bit": "bitsandbytes.optim.adamw.AdamW8bit",
    "adafactor": "transformers.optimization.Adafactor",
    "prodigy": "prodigyopt.prodigy.Prodigy",
    "schedule-free": "schedulefree.adamw_schedulefree.AdamWScheduleFree",
}

__all__ = ["RunFacts", "describe", "hashes_of", "tensor_hash"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What the run knows at its end.

    Attributes:
        payload: What was trained.
        dataset: What on.
        params: How.
        trainer: Name and version of the trainer, such as ``diffusers-lora 1``.
        seed: Seed.
        entries: What was shown, and in which sizes.
        name: Name of the weights, such as ``mara-v002``.
        steps: Optimizer steps so far.
        epochs: Passes over the pictures, begun ones counted.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        started: Seconds since the epoch.
        finished: Seconds since the epoch.
    """

    payload: TrainPayload
    dataset: TrainingDataset
    params: LoraTrainerParams
    trainer: str
    seed: int
    entries: tuple[Entry, ...]
    name: str
    steps: int
    epochs: int
    precision: str
    started: float
    finished: float

    @property
    def resolution(self) -> tuple[int, int]:
        """Width and height of the size that most pictures have, in pixels."""
        return Counter(entry.shown.bucket for entry in self.entries).most_common(1)[0][0]


def describe(facts: RunFacts, family: Family) -> dict[str, str]:
    """All metadata but the hashes."""
    return {**_kohya(facts, family), **_modelspec(facts, family), **_own(facts)}


def _kohya(facts: RunFacts, family: Family) -> dict[str, str]:
    params, payload = facts.params, facts.payload
    network_args = {} if params.network == "lora" else {"algo": params.network}
    if params.conv_rank:
        network_args["conv_dim"] = str(params.conv_rank)
        network_args["conv_alpha"] = str(params.conv_alpha or params.alpha / params.rank * params.conv_rank)
    values: dict[str, object] = {
        "output_name": facts.name,
        "session_id": int(payload.recipe_key[:8] or "0", 16) if _is_hex(payload.recipe_key[:8]) else 0,
        "training_started_at": facts.started,
        "training_finished_at": facts.finished,
        "training_comment": f"assetforge {payload.asset} {facts.dataset.address} {payload.recipe}",
        "sd_model_name": payload.base.name,
        "sd_model_hash": payload.base.digest[:8],
        "new_sd_model_hash": payload.base.digest,
        "v2": family.base_version.startswith("sd_v2"),
        "base_model_version": family.base_version,
        "clip_skip": None,
        "network_module": _network_module(params.network, family),
        "network_dim": params.rank,
        "network_alpha": params.alpha,
        "network_dropout": params.dropout or None,
        "network_args": json.dumps(network_args),
        "learning_rate": params.learning_rate,
        "unet_lr": params.learning_rate,
        "text_encoder_lr": params.text_encoder_learning_rate if params.text_encoder else None,
        "lr_scheduler": params.lr_scheduler,
        "lr_warmup_steps": params.warmup,
        "optimizer": f"{_OPTIMIZERS[params.optimizer]}(betas=({params.beta1}, {params.beta2}),weight_decay={params.weight_decay})",
        "max_grad_norm": params.max_grad_norm,
        "gradient_checkpointing": params.gradient_checkpointing,
        "gradient_accumulation_steps": params.accumulate,
        "mixed_precision": "no" if facts.precision == "fp32" else facts.precision,
        "seed": facts.seed,
        "steps": facts.steps,
        "max_train_steps": facts.steps,
        "epoch": facts.epochs,
        "num_epochs": facts.epochs,
        "batch_size_per_device": params.batch_size,
        "total_batch_size": params.batch_size * params.accumulate,
        "min_snr_gamma": params.min_snr_gamma or None,
        "debiased_estimation": params.debiased,
        "noise_offset": params.noise_offset or None,
        "zero_terminal_snr": params.zero_terminal_snr,
        "loss_type": "l2",
        "caption_dropout_rate": params.caption_dropout,
        "flip_aug": params.flip,
        "shuffle_caption": params.shuffle_tags,
        "keep_tokens": params.keep_tags,
        "masked_loss": params.mask != "none",
        "prior_loss_weight": params.prior_weight,
        "cache_latents": True,
    }
    values.update(_kohya_data(facts))
    return {f"ss_{name}": str(value) for name, value in values.items()}


def _network_module(network: str, family: Family) -> str:
    if network in {"loha", "lokr"}:
        return "lycoris.kohya"
    return _MODULES.get(family.name, "networks.lora")


def _kohya_data(facts: RunFacts) -> dict[str, object]:
    items = facts.dataset.train_items()
    folders = _folders(facts.payload.asset, items)
    views = sum(item.repeats for item in items)
    return {
        "num_train_images": views,
        "num_reg_images": 0,
        "num_batches_per_epoch": -(-views // facts.params.batch_size),
        "resolution": facts.resolution,
        "enable_bucket": facts.params.buckets,
        "datasets": json.dumps([_dataset(facts, folders)]),
        "tag_frequency": json.dumps({name: _tags(part) for name, part in folders.items()}),
        "dataset_dirs": json.dumps(
            {name: {"n_repeats": part[0].repeats, "img_count": len(part)} for name, part in folders.items()}
        ),
        "reg_dataset_dirs": json.dumps({}),
        "bucket_info": json.dumps(_buckets(facts.entries)),
    }


def _is_hex(text: str) -> bool:
    return bool(text) and all(letter in "0123456789abcdef" for letter in text.lower())


def _folders(asset: str, items: Sequence[DatasetItem]) -> dict[str, list[DatasetItem]]:
    """The pictures under the folder names that kohya's scripts would have used: repeats, underscore, name."""
    folders: dict[str, list[DatasetItem]] = {}
    for item in items:
        folders.setdefault(f"{item.repeats}_{asset}", []).append(item)
    return folders


def _tags(items: Sequence[DatasetItem]) -> dict[str, int]:
    tags = Counter(tag.strip() for item in items for tag in item.caption.split(",") if tag.strip())
    return dict(tags.most_common())


def _buckets(entries: Sequence[Entry]) -> dict[str, object]:
    counts = Counter[Size]()
    for entry in entries:
        counts[entry.shown.bucket] += entry.item.repeats
    errors = [abs(_aspect(entry.shown.resized) - _aspect(entry.shown.bucket)) for entry in entries]
    return {
        "buckets": {
            str(number): {"resolution": list(size), "count": counts[size]} for number, size in enumerate(sorted(counts))
        },
        "mean_img_ar_error": sum(errors) / len(errors),
    }


def _aspect(size: Size) -> float:
    return size[0] / size[1]


def _dataset(facts: RunFacts, folders: Mapping[str, Sequence[DatasetItem]]) -> dict[str, object]:
    words = " ".join(word for word in (facts.payload.trigger, facts.payload.class_word) if word)
    subsets = [
        {
            "image_dir": name,
            "img_count": len(part),
            "num_repeats": part[0].repeats,
            "class_tokens": words,
            "keep_tokens": facts.params.keep_tags,
            "shuffle_caption": facts.params.shuffle_tags,
            "caption_dropout_rate": facts.params.caption_dropout,
            "flip_aug": facts.params.flip,
            "color_aug": False,
            "random_crop": False,
            "is_reg": False,
        }
        for name, part in folders.items()
    ]
    return {
        "is_dreambooth": True,
        "batch_size_per_device": facts.params.batch_size,
        "num_train_images": sum(len(part) * part[0].repeats for part in folders.values()),
        "num_reg_images": 0,
        "resolution": list(facts.resolution),
        "enable_bucket": facts.params.buckets,
        "subsets": subsets,
    }


def _modelspec(facts: RunFacts, family: Family) -> dict[str, str]:
    spec = {
        "sai_model_spec": "1.0.1",
        "architecture": family.architecture,
        "implementation": "diffusers",
        "title": facts.name,
        "resolution": "{}x{}".format(*facts.resolution),
        "description": f"{facts.payload.asset_type} {facts.payload.asset}, trained by assetforge on {facts.dataset.address}",
        "date": datetime.fromtimestamp(facts.finished, tz=UTC).replace(microsecond=0).isoformat(),
        "tags": facts.payload.asset_type,
    }
    if facts.payload.trigger:
        spec["trigger_phrase"] = " ".join(word for word in (facts.payload.trigger, facts.payload.class_word) if word)
    if family.prediction != "flow":
        spec["prediction_type"] = "v" if family.prediction == "v_prediction" else "epsilon"
    return {f"modelspec.{name}": value for name, value in spec.items()}


def _own(facts: RunFacts) -> dict[str, str]:
    payload = facts.payload
    own = {
        "asset": payload.asset,
        "asset_type": payload.asset_type,
        "trigger": payload.trigger,
        "class_word": payload.class_word,
        "dataset": facts.dataset.address,
        "dataset_tree": facts.dataset.tree_hash,
        "recipe": payload.recipe,
        "recipe_key": payload.recipe_key,
        "base": payload.base.name,
        "base_digest": payload.base.digest,
        "base_family": payload.base.family,
        "trainer": facts.trainer,
        "params": facts.params.model_dump_json(),
    }
    extra = {
        name if name.startswith("assetforge.") else f"assetforge.{name}": value
        for name, value in payload.metadata.items()
    }
    return {**{f"assetforge.{name}": value for name, value in own.items()}, **extra}


def tensor_hash(file: Path) -> str:
    """SHA-256 of the data section of a safetensors file: the same whatever its metadata says. What others call AutoV3 or ``sshs_model_hash``."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        opened.seek(8 + int.from_bytes(opened.read(8), "little"))
        while block := opened.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def hashes_of(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> dict[str, str]:
    """``sshs_model_hash``, ``sshs_legacy_hash`` and ``modelspec.hash_sha256``, computed as kohya's scripts do: over a file with the ``ss_*`` metadata only."""
    data = save(dict(tensors), {name: value for name, value in metadata.items() if name.startswith("ss_")})
    section = hashlib.sha256(data[8 + int.from_bytes(data[:8], "little") :]).hexdigest()
    legacy = hashlib.sha256(data[0x100000:0x110000]).hexdigest()[:8]
    return {"sshs_model_hash": section, "sshs_legacy_hash": legacy, "modelspec.hash_sha256": f"0x{section}"}
