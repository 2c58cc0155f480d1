"""Checkpoints of a run: LoRA weights and optimizer state as safetensors, the rest as JSON; never a pickle."""

from typing import Any

from safetensors.torch import save_file

from assetforge.api.context import Checkpoint, TrainContext
from assetforge.errors import JobError
from assetforge_diffusers.adapters import adapter_state, load_adapter_state
from assetforge_diffusers.loading import read_tensors
from assetforge_diffusers.loop import TrainingLoop
from assetforge_diffusers.optimizers import load_optimizer_state, optimizer_state

__all__ = ["MEMORY_MEASURES", "commit", "restore"]

MEMORY_MEASURES = ("batch_size", "accumulate", "optimizer", "quantize", "compile")
"""Parameters that may be changed to save memory when a run begins, and never later."""
_WITHOUT_EFFECT = {
    "checkpoint_every",
    "validation_every",
    "keep_every",
    "sample_every",
    "sample_prompts",
    "sample_steps",
    "sample_guidance",
    "gradient_checkpointing",
    "cuda_graphs",
    "gpus",
    "offload",
    "fit_memory",
    "memory_limit",
}


def commit(context: TrainContext, loop: TrainingLoop, step: int, state: dict[str, Any]) -> None:
    """Write and commit the state after ``step`` steps."""
    tensors, values = optimizer_state(loop.optimizer, loop.parameters)
    parts = {"lora": adapter_state(loop.modules), "optimizer": tensors}
    if loop.ema is not None:
        parts["average"] = loop.ema.state()
    files = {name: context.checkpoint_file(step, f"{name}.safetensors") for name in parts}
    for name, part in parts.items():
        save_file(part, files[name])
    context.commit_checkpoint(
        step,
        files,
        {**state, "optimizer": values, "scaler": loop.scaler_state(), "identity": _identity(context, loop)},
    )


def restore(context: TrainContext, loop: TrainingLoop, checkpoint: Checkpoint) -> dict[str, Any]:
    """Put a checkpoint back into ``loop`` and return the small values that were committed with it.

    Raises:
        JobError: It belongs to another recipe, dataset or seed.
    """
    then, now = checkpoint.state["identity"], _identity(context, loop)
    if then != now:
        changed = ", ".join(name for name in now if then.get(name) != now[name])
        raise JobError(
            f"The checkpoint at step {checkpoint.step} belongs to another run: {changed} changed.",
            hint="Start a new run instead of resuming.",
        )
    load_adapter_state(loop.modules, read_tensors(checkpoint.files["lora"])[0])
    tensors = read_tensors(checkpoint.files["optimizer"])[0]
    load_optimizer_state(loop.optimizer, loop.parameters, tensors, checkpoint.state["optimizer"])
    if loop.ema is not None:
        loop.ema.load_state(read_tensors(checkpoint.files["average"])[0])
    loop.load_scaler_state(checkpoint.state["scaler"])
    return dict(checkpoint.state)


def _identity(context: TrainContext, loop: TrainingLoop) -> dict[str, Any]:
    learning = loop.params.model_dump(mode="json", exclude=_WITHOUT_EFFECT)
    return {
        "dataset": context.dataset.tree_hash,
        "base": context.payload.base.digest,
        "seed": loop.seed,
        "total": loop.total,
        **learning,
    }
