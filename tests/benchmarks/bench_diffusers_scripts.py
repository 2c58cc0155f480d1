"""Seconds per training step beside diffusers' own example scripts: the same model, pictures, captions, batch, layers and rank, on a CPU, in turn.

    PEER_PYTHON=venv/bin/python PEER_SCRIPTS=folder python tests/benchmarks/bench_diffusers_scripts.py

``PEER_SCRIPTS`` holds ``train_text_to_image_lora.py`` and ``train_text_to_image_lora_sdxl.py`` of diffusers, which need torchvision and datasets beside torch,
diffusers, peft and accelerate: that is what the interpreter ``PEER_PYTHON`` has. torchvision has no build for CPUs; installed without its dependencies it
imports once its two missing operators are declared, which is done here.

The models are of the published architectures with random weights and an eighth to a quarter of the widths, so that autoencoder, text encoders and UNet cost about what
they cost beside each other in the real ones. Ours counts with what it encodes before the first step, shared among 500 steps. Both run with one thread.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LIMIT = 1.3
STEPS = int(os.environ.get("BENCH_STEPS", "40"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "2"))
FIRST, AMORTISED = 8, 500
PICTURES, SIDE, BATCH, RANK = 16, 128, 2, 8
FAMILIES = {"sd15": "train_text_to_image_lora.py", "sdxl": "train_text_to_image_lora_sdxl.py"}
WORLD = Path(__file__).parents[2] / "plugins" / "assetforge-diffusers" / "tests"

PEER = """
import atexit, runpy, sys, torch
if torch.cuda.is_available():
    atexit.register(lambda: print("PEAK", torch.cuda.max_memory_allocated()))
else:
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms(Tensor a) -> Tensor", "qnms(Tensor a) -> Tensor"):
        library.define(operator)
    torch.set_num_threads(1)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def make_base(family: str, folder: Path) -> None:
    """Save a pipeline of the published architecture, much narrower, with random weights."""
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline
    from diffusers import UNet2DConditionModel as UNet
    from tiny.parts import clip_tokenizer
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    def text(width: int, layers: int, **settings: Any) -> CLIPTextConfig:
        return CLIPTextConfig(
            vocab_size=514,
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=width // 16,
            max_position_embeddings=77,
            projection_dim=width,
            bos_token_id=512,
            eos_token_id=513,
            pad_token_id=513,
            **settings,
        )

    torch.manual_seed(0)
    noise = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    parts: dict[str, Any] = {
        "vae": AutoencoderKL(
            block_out_channels=(32, 64, 128, 128),
            layers_per_block=2,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=4,
            sample_size=SIDE,
        ),
        "tokenizer": clip_tokenizer(folder / "tokenizer", length=77),
        "scheduler": DDIMScheduler(**noise, clip_sample=False, set_alpha_to_one=False),
    }
    if family == "sd15":
        parts["unet"] = UNet(
            sample_size=SIDE // 8,
            block_out_channels=(80, 160, 320, 320),
            cross_attention_dim=192,
            attention_head_dim=8,
            norm_num_groups=16,
        )
        parts["text_encoder"] = CLIPTextModel(text(192, 12))
        extra = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        StableDiffusionPipeline(**parts, **extra).save_pretrained(folder)
        return
    parts["unet"] = UNet(
        sample_size=SIDE // 8,
        block_out_channels=(80, 160, 320),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        attention_head_dim=(5, 10, 20),
        norm_num_groups=16,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=64,
        projection_class_embeddings_input_dim=6 * 64 + 320,
        cross_attention_dim=192 + 320,
    )
    parts["text_encoder"] = CLIPTextModel(text(192, 12))
    parts["text_encoder_2"] = CLIPTextModelWithProjection(text(320, 32, hidden_act="gelu"))
    parts["tokenizer_2"] = clip_tokenizer(folder / "tokenizer_2", length=77)
    StableDiffusionXLPipeline(**parts).save_pretrained(folder)


def make_pictures(folder: Path, side: int = SIDE) -> None:
    """Textured pictures with captions, as both sides read them."""
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True)
    lines = []
    for index in range(PICTURES):
        small = np.random.default_rng(index).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{index:02d}.png")
        lines.append(json.dumps({"file_name": f"{index:02d}.png", "text": f"zork robot, picture {index}"}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def ours(family: str, base: Path, work: Path) -> dict[str, float]:
    """Train in this process: seconds per step, and seconds for encoding."""
    import torch
    from assetforge_diffusers.params import LoraTrainerParams
    from assetforge_diffusers.preparation import prepare
    from assetforge_diffusers.trainer import LoraTrainer
    from diffusers_world import FolderContext

    torch.set_num_threads(1)
    stamps: dict[int, float] = {}

    class Timed(FolderContext):
        def progress(self, step: int, total: int, **figures: float) -> None:
            super().progress(step, total, **figures)
            stamps[step] = time.perf_counter()

    params = LoraTrainerParams(
        rank=RANK,
        alpha=float(RANK),
        targets="attention",
        steps=STEPS,
        batch_size=BATCH,
        min_snr_gamma=0.0,
        caption_dropout=0.0,
        lr_scheduler="constant",
        warmup=0.0,
        checkpoint_every=10_000,
    )
    context = Timed(work, base, params, resolution=SIDE, family=family)
    spent = []
    for _ in range(2):
        start = time.perf_counter()
        prepare(context)
        spent.append(time.perf_counter() - start)
    LoraTrainer().train(context)
    return {"step": (stamps[STEPS] - stamps[FIRST]) / (STEPS - FIRST), "encoding": max(0.0, spent[0] - spent[1])}


def peer(family: str, base: Path, pictures: Path, out: Path) -> float:
    """Seconds per step of diffusers' script on one core."""
    script = Path(os.environ["PEER_SCRIPTS"]) / FAMILIES[family]
    settings = {"resolution": SIDE, "train_batch_size": BATCH, "rank": RANK, "mixed_precision": "no"}
    environment = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return run_script(script, base, pictures, out, STEPS, FIRST, settings, environment)[0]


def run_script(
    script: Path,
    base: Path,
    pictures: Path,
    out: Path,
    steps: int,
    first: int,
    settings: dict[str, Any],
    environment: dict[str, str] | None = None,
) -> tuple[float, int]:
    """Seconds per step after the ``first`` ones, from what the script's bar says, and its peak of memory on a GPU in bytes."""
    settings = {
        "pretrained_model_name_or_path": base,
        "train_data_dir": pictures,
        "output_dir": out,
        "cache_dir": out / "cache",
        "max_train_steps": steps,
        "lr_scheduler": "constant",
        "lr_warmup_steps": 0,
        "checkpointing_steps": 10_000,
        "seed": 0,
        **settings,
    }
    words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    process = subprocess.Popen(
        [os.environ["PEER_PYTHON"], "-c", PEER, str(script), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "HF_HUB_OFFLINE": "1", **(environment or {})},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    stamps, text, tail = dict[int, float](), "", ""
    while chunk := os.read(process.stderr.fileno(), 65536).decode(errors="replace"):
        now = time.perf_counter()
        text, tail = text + chunk, (tail + chunk)[-4000:]
        *lines, text = text.replace("\r", "\n").split("\n")
        for line in (*lines, text):
            done = line.partition("| ")[2].partition("/")[0].strip() if line.startswith("Steps:") else ""
            if done.isdigit():
                stamps.setdefault(int(done), now)
    said = process.stdout.read().decode(errors="replace")
    process.wait()
    if steps not in stamps:  # what it does after its last step, which is to load the base again, may fail
        raise SystemExit(f"{script} failed:\n{tail}")
    begun = min(step for step in stamps if step >= first)
    peak = next((int(line.split()[1]) for line in said.splitlines() if line.startswith("PEAK ")), 0)
    return (stamps[steps] - stamps[begun]) / (steps - begun), peak


def measure(family: str, root: Path) -> dict[str, Any]:
    """Both sides in turn, each in processes of its own."""
    base, pictures = root / family / "base", root / family / "pictures"
    make_base(family, base)
    make_pictures(pictures)
    theirs: list[float] = []
    steps: list[float] = []
    encoding: list[float] = []
    for number in range(ROUNDS):
        theirs.append(peer(family, base, pictures, root / family / f"peer-{number}"))
        work = root / family / f"ours-{number}"
        make_pictures(work / "inputs")
        command = [sys.executable, __file__, "--ours", family, str(base), str(work)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            raise SystemExit(run.stderr[-4000:])
        found = json.loads(run.stdout.splitlines()[-1])
        steps.append(found["step"])
        encoding.append(found["encoding"])
        print(f"{family} {number}: peer {theirs[-1]:.3f} s, ours {found}", file=sys.stderr)
    own = statistics.median(steps) + statistics.median(encoding) / AMORTISED
    ratio = statistics.median(theirs) / own
    return {
        "name": f"training step, {family}, diffusers' script / ours",
        "figure": round(ratio, 3),
        "limit": LIMIT,
        "ok": ratio >= LIMIT,
        "seconds_per_step": round(own, 4),
        "encoding_seconds": round(statistics.median(encoding), 3),
        "peer_seconds_per_step": round(statistics.median(theirs), 4),
        "steps": STEPS,
        "batch": BATCH,
        "side": SIDE,
    }


def main() -> int:
    """Measure and print; return the exit code."""
    sys.path.insert(0, str(WORLD))
    if sys.argv[1:2] == ["--ours"]:
        print(json.dumps(ours(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))))
        return 0
    if not {"PEER_PYTHON", "PEER_SCRIPTS"} <= os.environ.keys():
        skipped = "set PEER_PYTHON and PEER_SCRIPTS, see the head of the file"
        print(json.dumps({"name": "training step, diffusers' script / ours", "ok": True, "skipped": skipped}))
        return 0
    missed = False
    with tempfile.TemporaryDirectory() as name:
        for family in FAMILIES:
            figures = measure(family, Path(name))
            missed |= not figures["ok"]
            print(json.dumps(figures), flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
