"""Training steps on a GPU: seconds, peak memory beside what the preflight said, use of the card; for SDXL also beside diffusers' own example script.

    python tests/benchmarks/bench_gpu.py --family sdxl --out figures.jsonl
    PEER_PYTHON=venv/bin/python PEER_SCRIPTS=folder python tests/benchmarks/bench_gpu.py --family sdxl --peer --out figures.jsonl

Networks have the published sizes and random weights, which speed does not depend on; pictures of 1024 pixels and captions are encoded before, as in a run
with warm caches. Each line of figures is one way to train: batch size, with and without compiled blocks and checkpointing. ``busy`` is the share of a step
in which the card computes: well below 1, the step waits for the processor that launches its kernels. ``utilisation`` is model-FLOP utilisation: what a step
without checkpointing computes, counted operator by operator, over what the card's datasheet promises in bf16.

``--warm`` only compiles, several processes at once, so that a second call finds the compiler's work on disk. ``--tiny`` tries the script itself on a CPU.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

SIDE, RANK, PICTURES = 1024, 16, 16
PEAK_FLOPS = {"H100": 989.4e12, "H200": 989.4e12, "A100": 312e12, "L40S": 362e12, "4090": 165.2e12}
"""Dense bf16 with fp32 accumulation, operations per second, from the makers' datasheets."""
MODES: dict[str, dict[str, Any]] = {
    "plain": {},
    "checkpointing": {"gradient_checkpointing": True},
    "compiled": {"compile": True},
    "compiled, checkpointing": {"compile": True, "gradient_checkpointing": True},
    "kernel by kernel": {"cuda_graphs": False},
    "compiled, kernel by kernel": {"compile": True, "cuda_graphs": False},
}
HERE = Path(__file__)
SDXL: dict[str, Any] = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
TINY_SDXL: dict[str, Any] = {
    **SDXL,
    "block_out_channels": (32, 64, 64),
    "attention_head_dim": (2, 4, 4),
    "transformer_layers_per_block": (1, 1, 2),
}


class Parts:
    """Stands in for a base on disk: a network with random weights where it trains."""

    def __init__(self, family: str, device: Any, dtype: Any, *, tiny: bool) -> None:
        import torch
        from assetforge_diffusers.attention import straighten
        from diffusers import DDIMScheduler, FluxTransformer2DModel, UNet2DConditionModel

        self.path, self.dtype, before = "random weights", dtype, torch.get_default_dtype()
        torch.manual_seed(0)
        torch.set_default_dtype(dtype)
        try:
            with torch.device(device):
                if family == "sdxl":
                    network: Any = UNet2DConditionModel(**(TINY_SDXL if tiny else SDXL))
                else:
                    small = {"num_layers": 1, "num_single_layers": 2, "num_attention_heads": 2} if tiny else {}
                    network = FluxTransformer2DModel(guidance_embeds=True, **small)
        finally:
            torch.set_default_dtype(before)
        straighten(network)
        name = "unet" if family == "sdxl" else "transformer"
        noise = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
        self._parts: dict[str, Any] = {name: network.requires_grad_(requires_grad=False), "scheduler": noise}

    def load(self, name: str) -> Any:
        """The network or the scheduler; with cached latents and captions a step needs nothing else."""
        return self._parts[name]

    def has(self, name: str) -> bool:
        """The family asks for its text encoders, which are not needed."""
        return name == "text_encoder"

    def config(self, name: str) -> dict[str, Any]:
        """Settings, as far as a step needs them."""
        if name in {"unet", "transformer"}:
            return dict(self._parts[name].config)
        if name == "scheduler":
            shift = {"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15, "shift": 3.0}
            return {"num_train_timesteps": 1000, "base_image_seq_len": 256, "max_image_seq_len": 4096, **shift}
        return {"scaling_factor": 0.13025, "block_out_channels": (128, 256, 512, 512)} if name == "vae" else {}


def make_material(family: str, side: int) -> Any:
    """Random latents and embeddings of the shapes that the published encoders give."""
    import torch
    from assetforge_diffusers.material import Bucket, Material, Texts
    from assetforge_diffusers.views import Entry

    from assetforge.api.job import DatasetItem
    from assetforge.domain.buckets import cover

    source = torch.Generator().manual_seed(1)
    channels, words, wide, pooled = (4, 77, 2048, 1280) if family == "sdxl" else (16, 512, 4096, 768)
    item = DatasetItem(file="picture.png", sha256="0" * 64, caption="", width=side, height=side)
    entries = [Entry(item, cover((side, side), (side, side)))] * PICTURES
    bucket = Bucket(
        size=(side, side),
        entries=tuple(range(PICTURES)),
        moments=torch.randn((PICTURES, 1, 2 * channels, side // 8, side // 8), generator=source),
        masks=None,
        geometry=torch.tensor([entry.geometry for entry in entries]),
        weights=torch.ones(PICTURES),
    )
    told = {
        "hidden": torch.randn((PICTURES + 1, words, wide), generator=source).bfloat16(),
        "pooled": torch.randn((PICTURES + 1, pooled), generator=source).bfloat16(),
    }
    tokens = {"ids": torch.zeros((PICTURES + 1, words), dtype=torch.long)}
    return Material(entries, [bucket], Texts(tokens, told, tuple((row,) for row in range(PICTURES))))


class Bench:
    """One network on the device, trained in one way after the other."""

    def __init__(self, family: str, *, tiny: bool) -> None:
        import torch
        from assetforge_diffusers.families.flux1 import Flux1
        from assetforge_diffusers.families.sdxl import StableDiffusionXL
        from assetforge_diffusers.machine import take_machine

        self.machine = take_machine("cpu" if tiny else "cuda", 0, "bf16", training=True)
        self.device, self.side = self.machine.device, 128 if tiny else SIDE
        kind: Any = {"sdxl": StableDiffusionXL, "flux1": Flux1}[family]
        self.name, self.family = family, kind(Parts(family, self.device, torch.bfloat16, tiny=tiny))
        self.material = make_material(family, self.side)
        self._classes = {module: type(module) for module in self.family.denoiser.modules()}
        self.flops, self.kernels = 0.0, list[tuple[str, int, float]]()
        self.card = torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu"

    def loop(self, batch: int, mode: str) -> Any:
        """A run in memory."""
        from assetforge_diffusers.loop import TrainingLoop
        from assetforge_diffusers.params import LoraTrainerParams

        params = LoraTrainerParams(
            rank=RANK,
            alpha=float(RANK),
            targets="attention",
            batch_size=batch,
            caption_dropout=0.0,
            min_snr_gamma=0.0,
            **MODES[mode],
        )
        return TrainingLoop(self.family, self.material, params, 1000, 0, self.machine)

    def clear(self, loop: Any) -> None:
        """Make the network what it was before."""
        import torch
        from assetforge_diffusers.networks import checkpoint_gradients

        loop.close()
        network = self.family.denoiser
        checkpoint_gradients(network, on=False)
        network.unload_lora()
        network.to(memory_format=torch.contiguous_format)
        for module in network.modules():
            module._compiled_call_impl = None
            module.__class__ = self._classes[module]
        torch._dynamo.reset()
        self.machine.accelerator.free_memory()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def wait(self) -> None:
        """For the device."""
        import torch

        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def count(self) -> None:
        """Count the operations of a step with one picture."""
        from torch.utils.flop_counter import FlopCounterMode

        count_lora_products()
        loop = self.loop(1, "plain")
        with FlopCounterMode(display=False) as counter:
            loop.step(0)
        self.flops = float(counter.get_total_flops())
        self.clear(loop)

    def ceiling(self) -> float:
        """Tera operations per second in a large matrix product, the most that this card does here."""
        import torch

        side = 256 if self.device.type == "cpu" else 8192
        one, other = (torch.randn(side, side, device=self.device, dtype=torch.bfloat16) for _ in range(2))
        for count in (3, 10):
            self.wait()
            start = time.perf_counter()
            for _ in range(count):
                one @ other
            self.wait()
        return 2 * side**3 * count / (time.perf_counter() - start) / 1e12

    def estimate(self, batch: int, mode: str) -> int:
        """Bytes that the preflight says a step needs."""
        from assetforge_diffusers.draws import Pick
        from assetforge_diffusers.memory import Estimator
        from assetforge_diffusers.params import LoraTrainerParams

        view = self.material.batch([Pick(0, flipped=False, variant=0)])
        params = LoraTrainerParams(rank=RANK, alpha=float(RANK), targets="attention", batch_size=batch, **MODES[mode])
        return int(Estimator(self.family, view, self.machine)(params).total)

    def measure(self, batch: int, mode: str, seconds: float) -> dict[str, Any]:
        """The figures of one way to train."""
        import torch

        gc.collect()  # earlier loops, and what their recorded steps hold
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        loop = self.loop(batch, mode)
        try:
            advance(loop, 0)
            self.wait()
            first = time.perf_counter() - began
            for index in (1, 2):  # the third is recorded
                advance(loop, index)
            loop.read()
            start = time.perf_counter()
            advance(loop, 3)
            loop.read()
            count = max(2, min(15, int(seconds / (time.perf_counter() - start))))
            start = time.perf_counter()
            for index in range(4, 4 + count):
                advance(loop, index)
            issued = time.perf_counter() - start
            self.wait()
            step = (time.perf_counter() - start) / count
            loop.read()
            peak = torch.cuda.max_memory_allocated() if self.device.type == "cuda" else 0
            busy = self.busy(loop, 4 + count)
            trouble = loop.trouble
        finally:
            self.clear(loop)
        fastest = next((flops for name, flops in PEAK_FLOPS.items() if name in self.card), 0.0)
        return {
            "family": self.name,
            "batch": batch,
            "mode": mode,
            "seconds_per_step": round(step, 4),
            "pictures_per_second": round(batch / step, 2),
            "issued_seconds_per_step": round(issued / count, 4),
            "busy": round(busy / step, 3),
            "utilisation": round(self.flops * batch / step / fastest, 3) if fastest else None,
            "peak_gib": round(peak / 2**30, 2),
            "first_step_seconds": round(first, 1),
            "steps": count,
            **({"trouble": trouble} if trouble else {}),
        }

    def busy(self, loop: Any, index: int) -> float:
        """Seconds that the card computes in one step."""
        import torch

        if self.device.type != "cuda":
            return 0.0
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            loop.step(index)
            self.wait()
        loop.read()
        events = sorted(profile.key_averages(), key=lambda event: event.self_device_time_total, reverse=True)
        self.kernels = [
            (event.key[:100], event.count, round(event.self_device_time_total / 1e3, 2)) for event in events
        ]
        return sum(event.self_device_time_total for event in events) / 1e6


def count_lora_products() -> None:
    """Tell the counter of operations what is computed in ours: two for each pair of numbers that are multiplied."""
    import torch
    from assetforge_diffusers import lora_products  # noqa: F401 - which registers its operators
    from torch.utils.flop_counter import register_flop_formula

    def pairs(x: Any, weights: Any, inner: Any, outers: Any) -> int:
        rows = torch.Size(x[:-1]).numel()
        return rows * sum(torch.Size(shape).numel() for shape in (*weights, inner, *outers))

    @register_flop_formula(torch.ops.assetforge.lora_products)
    def forward(x: Any, weights: Any, biases: Any, inner: Any, outers: Any, **_: Any) -> int:
        return 2 * pairs(x, weights, inner, outers)

    @register_flop_formula(torch.ops.assetforge.lora_products_backward)
    def backward(
        gradients: Any, x: Any, small: Any, weights: Any, inner: Any, outers: Any, asked: bool, **_: Any
    ) -> int:
        return 2 * pairs(x, weights if asked else (), inner, outers) + 2 * pairs(
            x, (), inner if asked else (0,), outers
        )


def advance(loop: Any, index: int) -> None:
    """One step; figures are read when the run would read them."""
    loop.step(index)
    if loop.window_full:
        loop.read()


def write_line(out: Path, line: dict[str, Any]) -> None:
    """To the file."""
    with out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def write(out: Path, line: dict[str, Any]) -> None:
    """To the file and to people."""
    print(json.dumps(line), flush=True)
    write_line(out, line)


def ours(chosen: argparse.Namespace, out: Path) -> None:
    """All ways that were asked for; one that fails is said and left out."""
    import torch

    bench = Bench(chosen.family, tiny=chosen.tiny)
    if chosen.warm:
        bench.clear(_stepped(bench.loop(chosen.batches[0], chosen.modes[0])))
        return
    if chosen.operations:
        bench.flops = chosen.operations * 1e12
    else:
        bench.count()
    about = {
        "family": bench.name,
        "card": bench.card,
        "torch": torch.__version__,
        "tera_operations_a_picture": round(bench.flops / 1e12, 2),
        "matrix_product_tera_operations_per_second": round(bench.ceiling()),
    }
    write(out, about)
    for mode in chosen.modes:
        for batch in chosen.batches:
            if time.time() > chosen.until:
                write(out, {"batch": batch, "mode": mode, "left_out": "no time"})
                continue
            try:
                write(out, bench.measure(batch, mode, chosen.seconds))
                if chosen.kernels:
                    top = {"family": bench.name, "batch": batch, "mode": mode, "kernels": bench.kernels[:80]}
                    write_line(chosen.kernels, top)
            except Exception as error:
                write(out, {"batch": batch, "mode": mode, "failed": f"{type(error).__name__}: {str(error)[:300]}"})
                traceback.print_exc(limit=-3)
                error.__traceback__ = None


def _stepped(loop: Any) -> Any:
    for index in range(2):
        advance(loop, index)
    return loop


def estimates(chosen: argparse.Namespace, out: Path) -> None:
    """What the preflight says, without compiling."""
    bench = Bench(chosen.family, tiny=chosen.tiny)
    for mode in (mode for mode in chosen.modes if "compiled" not in mode):
        for batch in chosen.batches:
            start = time.perf_counter()
            need = bench.estimate(batch, mode)
            spent = round(time.perf_counter() - start, 1)
            write(out, {"batch": batch, "mode": mode, "preflight_gib": round(need / 2**30, 2), "seconds": spent})


def make_peer_base(folder: Path) -> None:
    """Save SDXL with random weights, in bf16."""
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    sys.path.insert(0, str(HERE.parents[2] / "plugins" / "assetforge-diffusers" / "tests"))
    from tiny.parts import clip_tokenizer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    noise = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    DDIMScheduler(**noise, clip_sample=False, set_alpha_to_one=False).save_pretrained(folder / "scheduler")
    ids = {"bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513}
    big = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20}
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        Parts("sdxl", device, torch.bfloat16, tiny=False).load("unet").save_pretrained(folder / "unet")
        AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            scaling_factor=0.13025,
        ).save_pretrained(folder / "vae")
        small = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
        CLIPTextModel(CLIPTextConfig(**small, **ids)).save_pretrained(folder / "text_encoder")
        second = CLIPTextConfig(**big, **ids, projection_dim=1280, hidden_act="gelu")
        CLIPTextModelWithProjection(second).save_pretrained(folder / "text_encoder_2")
    torch.set_default_dtype(torch.float32)
    for name in ("tokenizer", "tokenizer_2"):
        clip_tokenizer(folder / name, length=77).save_pretrained(folder / name)


def peers(chosen: argparse.Namespace, out: Path) -> None:
    """diffusers' script in bf16, with a VAE in bf16 too, as its documentation advises."""
    import bench_diffusers_scripts as scripts

    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        base = chosen.base or root / "base"
        if not base.exists():  # in a process of its own, which leaves nothing on the card
            subprocess.run([sys.executable, str(HERE), "--make-base", "--base", str(base)], check=True)
        scripts.make_pictures(root / "pictures", SIDE)
        for batch in chosen.batches:
            if time.time() > chosen.until:
                write(out, {"peer": "diffusers script", "batch": batch, "left_out": "no time"})
                continue
            settings = {
                "resolution": SIDE,
                "train_batch_size": batch,
                "rank": RANK,
                "mixed_precision": "bf16",
                "pretrained_vae_model_name_or_path": base / "vae",
                "num_train_epochs": 100,
            }
            script = Path(os.environ["PEER_SCRIPTS"]) / scripts.FAMILIES["sdxl"]
            try:
                step, peak = scripts.run_script(
                    script, base, root / "pictures", root / f"peer-{batch}", 12, 4, settings
                )
            except SystemExit as error:
                write(out, {"peer": "diffusers script", "batch": batch, "failed": str(error)[-600:]})
                continue
            figures = {"seconds_per_step": round(step, 4), "peak_gib": round(peak / 2**30, 2)}
            write(out, {"peer": "diffusers script", "batch": batch, **figures})


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=("sdxl", "flux1"), default="sdxl")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 2, 4, 8])
    parser.add_argument("--modes", nargs="+", choices=list(MODES), default=list(MODES)[:4])
    parser.add_argument("--seconds", type=float, default=3.0, help="about how long each way is measured")
    parser.add_argument("--limit", type=float, default=1e9, help="seconds after which nothing new is begun")
    parser.add_argument("--out", type=Path, default=Path("bench-gpu.jsonl"))
    parser.add_argument(
        "--kernels", type=Path, help="file for the longest kernels of every way, in milliseconds a step"
    )
    parser.add_argument("--peer", action="store_true", help="measure diffusers' script instead")
    parser.add_argument("--preflight", action="store_true", help="compute the needs instead")
    parser.add_argument("--warm", action="store_true", help="only compile for the first batch and mode")
    parser.add_argument(
        "--operations", type=float, help="tera operations of a step with one picture, instead of counting"
    )
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument(
        "--base", type=Path, help="folder of the base that diffusers' script trains; made where it is missing"
    )
    parser.add_argument("--make-base", action="store_true", help="only make it")
    chosen = parser.parse_args()
    chosen.until = time.time() + chosen.limit
    if not chosen.tiny and not _has_cuda():
        print(json.dumps({"name": "training on a GPU", "ok": True, "skipped": "there is no CUDA device"}))
        return 0
    if chosen.make_base:
        make_peer_base(chosen.base)
    elif chosen.peer:
        peers(chosen, chosen.out)
    elif chosen.preflight:
        estimates(chosen, chosen.out)
    else:
        ours(chosen, chosen.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
