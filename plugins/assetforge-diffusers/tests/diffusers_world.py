"""A tiny base model, pictures, and a context on plain folders that fits the protocol."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from assetforge.api.context import Checkpoint
from assetforge.api.job import BaseRef, DatasetItem, TrainingDataset, TrainPayload
from assetforge.api.params import Params

SIDE = 32


def slow(*values: Any) -> Any:
    """Parameters of a test that are left to the long tests: others show the same."""
    return pytest.param(*values, marks=pytest.mark.slow)


def tiny_tokenizer(folder: Path) -> CLIPTokenizer:
    """A byte-level CLIP tokenizer without merges: 256 symbols, the same as word ends, start and end."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    symbols = [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    tokens = [*symbols, *(s + "</w>" for s in symbols), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(
        json.dumps({token: index for index, token in enumerate(tokens)}, ensure_ascii=False), encoding="utf-8"
    )
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=24)


def tiny_base(folder: Path, prediction: str = "epsilon", seed: int = 0) -> Path:
    """Save a Stable Diffusion 1.x pipeline of about 60,000 random weights and return its folder."""
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer(folder / "tokenizer")
    unet = UNet2DConditionModel(
        sample_size=SIDE // 2,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        cross_attention_dim=16,
        norm_num_groups=2,
        attention_head_dim=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        sample_size=SIDE,
        block_out_channels=(4, 8),
        layers_per_block=1,
        norm_num_groups=2,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=514,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=24,
            projection_dim=16,
            bos_token_id=512,
            eos_token_id=513,
            pad_token_id=513,
        )
    )
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction,
    )
    StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder, safe_serialization=True)
    return folder


def write_pictures(folder: Path, count: int, seed: int = 0) -> Path:
    """Write ``count`` textured PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        rng = np.random.default_rng(seed * 1000 + index)
        small = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(small).resize((48, 40), Image.Resampling.BICUBIC).save(folder / f"picture-{index}.png")
    return folder


def items_of(folder: Path, held_out: int = 0) -> tuple[DatasetItem, ...]:
    """The pictures of a work folder's inputs, as a dataset."""
    files = sorted(folder.glob("*.png"))
    items = []
    for index, file in enumerate(files):
        with Image.open(file) as image:
            width, height = image.size
        split = "held_out" if index >= len(files) - held_out else "train"
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        items.append(
            DatasetItem(
                file=f"inputs/{file.name}",
                sha256=digest,
                caption=f"zork robot, picture {index}",
                width=width,
                height=height,
                split=split,
            )
        )
    return tuple(items)


class FolderContext:
    """A job on plain folders; fits TrainContext and JobContext."""

    device = "cpu"
    threads = 1

    def __init__(
        self,
        workdir: Path,
        base: Path,
        params: Params,
        *,
        held_out: int = 0,
        seed: int = 7,
        stop: Callable[[int], bool] | None = None,
        cache: Path | None = None,
        resolution: int = SIDE,
        warm_start: str = "",
        family: str = "sd15",
    ) -> None:
        self.workdir = workdir
        self.outputs = workdir / "outputs"
        self.cache = cache or workdir / "cache"
        self.checkpoints = workdir / "checkpoints"
        for folder in (self.outputs, self.cache, self.checkpoints):
            folder.mkdir(parents=True, exist_ok=True)
        self.params, self.seed = params, seed
        self.base = base
        self.stop = stop or (lambda step: False)
        self.steps: list[tuple[int, int]] = []
        self.figures: list[dict[str, float]] = []
        self.metrics: list[tuple[str, float, int | None]] = []
        self.messages: list[str] = []
        self.samples: list[tuple[np.ndarray, int, str]] = []
        items = items_of(workdir / "inputs", held_out)
        tree = hashlib.sha256("".join(item.sha256 + item.caption for item in items).encode()).hexdigest()
        self.dataset = TrainingDataset(address="zork/d1", tree_hash=tree, items=items)
        self.payload = TrainPayload(
            asset="zork",
            asset_type="character",
            trigger="zork",
            class_word="robot",
            recipe="tiny",
            recipe_key="ab" * 32,
            base=BaseRef(name="tiny", family=family, digest="cd" * 32, path=str(base), resolution=resolution),
            output_name="zork-v001",
            metadata={"assetforge.version": "zork/v1"},
            warm_start=warm_start,
        )

    def should_stop(self) -> bool:
        return self.stop(self.steps[-1][0] if self.steps else -1)

    def progress(self, step: int, total: int, **figures: float) -> None:
        self.steps.append((step, total))
        if figures:
            self.figures.append(figures)

    def metric(self, name: str, value: float, step: int | None = None) -> None:
        self.metrics.append((name, value, step))

    def log(self, message: str) -> None:
        self.messages.append(message)

    def sample(self, picture: np.ndarray, step: int, prompt: str = "") -> None:
        self.samples.append((picture, step, prompt))

    def base_path(self, base: BaseRef) -> Path:
        return self.base

    def latest_checkpoint(self) -> Checkpoint | None:
        states = sorted(self.checkpoints.glob("*.json"))
        if not states:
            return None
        saved = json.loads(states[-1].read_text())
        return Checkpoint(saved["step"], {name: Path(file) for name, file in saved["files"].items()}, saved["state"])

    def checkpoint_file(self, step: int, name: str) -> Path:
        return self.checkpoints / f"{step:08d}-{name}"

    def commit_checkpoint(self, step: int, files: Mapping[str, Path], state: Mapping[str, Any]) -> None:
        partial = self.checkpoints / "partial"
        partial.write_text(
            json.dumps({"step": step, "files": {name: str(file) for name, file in files.items()}, "state": dict(state)})
        )
        partial.replace(self.checkpoints / f"{step:08d}.json")


def fresh_workdir(source: Path, destination: Path) -> Path:
    """A new work folder with the same inputs."""
    shutil.copytree(source / "inputs", destination / "inputs")
    return destination
