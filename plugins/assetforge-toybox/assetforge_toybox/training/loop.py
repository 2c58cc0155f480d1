"""What every training here shares: learning rate, averaged weights, keyed randomness, and checkpoints to resume from."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def learning_rate(step: int, total: int, peak: float, warmup: int, floor: float = 0.01) -> float:
    """Return the rate of a linear warm-up followed by a cosine descent to `floor` times the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress)))


def held_rate(step: int, total: int, peak: float, warmup: int, descent: float = 0.35) -> float:
    """Return the rate of a warm-up, a long plateau, and a cosine descent over the last `descent` share of the steps.

    Before the descent the rate does not depend on `total`, so a run may be given another end while it is under way.
    """
    start = round(total * (1 - descent))
    if step < start:
        return peak * min(1.0, (step + 1) / warmup)
    return learning_rate(step - start, total - start, peak, warmup=0)


def generator(*key: object) -> torch.Generator:
    """Return a generator whose stream depends on the key alone, so that a resumed run draws the same numbers."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


class Average:
    """An exponential moving average of a model's parameters, slower as the run goes on."""

    def __init__(self, model: torch.nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: torch.nn.Module, step: int) -> None:
        """Take the parameters after step `step` (0-based) into the average."""
        decay = min(self.decay, (1 + step) / (10 + step))
        names, current = zip(*model.named_parameters(), strict=True)
        torch._foreach_lerp_([self.weights[n] for n in names], [p.detach() for p in current], 1 - decay)

    def load_into(self, model: torch.nn.Module) -> None:
        """Replace the model's parameters by the averaged ones."""
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(self.weights[name])


def save_checkpoint(
    folder: Path, step: int, model: torch.nn.Module, average: Average, optimizer: torch.optim.Optimizer
) -> None:
    """Write weights, averaged weights and optimizer moments, so that `load_checkpoint` can go on after `step` steps."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"model/{n}": p.detach().contiguous() for n, p in model.named_parameters()}
    tensors |= {f"average/{n}": p.contiguous() for n, p in average.weights.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{key}": value.contiguous() for key, value in state.items()}
    name = f"checkpoint-{step:06d}.safetensors"
    save_file(tensors, folder / f"{name}.partial")
    (folder / f"{name}.partial").replace(folder / name)
    index_file = folder / "checkpoint.json"
    partial = folder / "checkpoint.json.partial"
    partial.write_text(json.dumps({"step": step, "file": name}))
    partial.replace(index_file)
    for old in folder.glob("checkpoint-*.safetensors"):
        if old.name != name:
            old.unlink()


def load_checkpoint(folder: Path, model: torch.nn.Module, average: Average, optimizer: torch.optim.Optimizer) -> int:
    """Restore what `save_checkpoint` wrote and return the number of steps already done; 0 if there is nothing."""
    index_file = folder / "checkpoint.json"
    if not index_file.is_file():
        return 0
    index = json.loads(index_file.read_text())
    tensors = load_file(folder / index["file"])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[f"model/{name}"])
            average.weights[name] = tensors[f"average/{name}"]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer/"):
            _, number, field = key.split("/")
            state.setdefault(int(number), {})[field] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return int(index["step"])
