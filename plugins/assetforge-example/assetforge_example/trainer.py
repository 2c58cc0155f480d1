"""A trainer: knows what to train and never where."""

import hashlib
import struct
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps
from safetensors.numpy import load_file, save, save_file

from assetforge.api import Stopped, TrainContext
from assetforge.api.job import DatasetItem, WeightsOutput
from assetforge.api.protocols import TrainResult
from assetforge_example import __version__
from assetforge_example.model import INPUTS, MODULE, NOISE_INPUTS, PIXELS, SIDE, Floats, inputs_of, load_base
from assetforge_example.plugin import LinearTrainerParams

__all__ = ["LinearTrainer"]


@dataclass
class State:
    """Everything that a later attempt needs: the two matrices and Adam's moments, by name."""

    tensors: dict[str, Floats]
    step: int = 0


class LinearTrainer:
    """Fits :class:`assetforge.api.protocols.Trainer`."""

    def train(self, context: TrainContext) -> TrainResult:
        """Fit the update, from the latest checkpoint or from nothing.

        Raises:
            Stopped: It was asked to stop, and has committed a checkpoint.
        """
        params = LinearTrainerParams.model_validate(context.params.model_dump())
        weight = load_base(context.base_path(context.payload.base))
        items = [item for item in context.dataset.train_items() for _ in range(item.repeats)]
        pictures = {item.file: read_pixels(context, item) for item in items}
        state = start(context, params)
        loss = 0.0
        for step in range(state.step + 1, params.steps + 1):
            # All randomness follows from (seed, step), so that a resumed run draws what an uninterrupted one draws.
            rng = np.random.default_rng([context.seed, step])
            chosen = [items[index] for index in rng.integers(len(items), size=params.batch)]
            wanted = np.stack([pictures[item.file] for item in chosen])
            given = np.stack([inputs_of(item.caption, rng.standard_normal(NOISE_INPUTS)) for item in chosen])
            loss = update(state, params, weight, given, wanted)
            context.progress(step, params.steps, loss=loss, lr=params.learning_rate)
            stop = context.should_stop() and step < params.steps
            if stop or step % params.checkpoint_every == 0:
                commit(context, state)
            if stop:
                raise Stopped
        return TrainResult(
            weights=(export(context, state, params),),
            metrics={"loss": loss},
            engine={"assetforge-example": __version__, "numpy": np.__version__, "device": "cpu", "dtype": "float64"},
        )


def read_pixels(context: TrainContext, item: DatasetItem) -> Floats:
    """A reference as the model's pixels: upright, cropped, small; shape (PIXELS,) in 0 to 1."""
    with Image.open(context.workdir / item.file) as opened:
        picture = ImageOps.exif_transpose(opened).convert("RGB")
    if item.crop is not None:
        picture = picture.crop(item.crop)
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS), np.float64).reshape(PIXELS) / 255


def start(context: TrainContext, params: LinearTrainerParams) -> State:
    """The latest committed checkpoint, or a random ``down`` and an ``up`` of zeros, as every LoRA starts."""
    checkpoint = context.latest_checkpoint()
    if checkpoint is not None:
        return State(load_file(checkpoint.files["state"]), checkpoint.step)
    down = np.random.default_rng([context.seed, 0]).standard_normal((params.rank, INPUTS)) / np.sqrt(INPUTS)
    tensors = {"down": down, "up": np.zeros((PIXELS, params.rank))}
    moments = {f"{name}.{moment}": np.zeros_like(tensors[name]) for name in ("down", "up") for moment in ("m", "v")}
    return State({**tensors, **moments})


def update(state: State, params: LinearTrainerParams, weight: Floats, given: Floats, wanted: Floats) -> float:
    """One step of Adam on the mean squared error.

    Args:
        state: Changed in place.
        params: What the user chose.
        weight: ``W``, shape (PIXELS, INPUTS).
        given: Inputs, shape (batch, INPUTS).
        wanted: Pixels, shape (batch, PIXELS).

    Returns:
        The loss before the step.
    """
    tensors, scale = state.tensors, params.alpha / params.rank
    inner = given @ tensors["down"].T
    error = 0.5 + given @ weight.T + scale * inner @ tensors["up"].T - wanted
    slope = 2 * scale * error / error.size
    gradients = {"up": slope.T @ inner, "down": (slope @ tensors["up"]).T @ given}
    state.step += 1
    for name, gradient in gradients.items():
        mean = tensors[f"{name}.m"] = 0.9 * tensors[f"{name}.m"] + 0.1 * gradient
        square = tensors[f"{name}.v"] = 0.999 * tensors[f"{name}.v"] + 0.001 * gradient**2
        mean, square = mean / (1 - 0.9**state.step), square / (1 - 0.999**state.step)
        tensors[name] = tensors[name] - params.learning_rate * mean / (np.sqrt(square) + 1e-8)
    return float(np.mean(error**2))


def commit(context: TrainContext, state: State) -> None:
    """Make this step restorable."""
    file = context.checkpoint_file(state.step, "state.safetensors")
    save_file(state.tensors, file)
    context.commit_checkpoint(state.step, {"state": file}, {})


def export(context: TrainContext, state: State, params: LinearTrainerParams) -> WeightsOutput:
    """Write the LoRA in both forms: the one that other tools read, and the one of diffusers."""
    down, up = (np.ascontiguousarray(state.tensors[name], np.float32) for name in ("down", "up"))
    metadata = {
        **context.payload.metadata,
        "ss_output_name": context.payload.output_name,
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(params.rank),
        "ss_network_alpha": str(params.alpha),
        "ss_seed": str(context.seed),
        "ss_steps": str(state.step),
    }
    name = context.payload.output_name
    kohya = save(
        {
            f"{MODULE}.lora_down.weight": down,
            f"{MODULE}.lora_up.weight": up,
            f"{MODULE}.alpha": np.array(params.alpha, np.float32),
        },
        metadata,
    )
    (context.outputs / f"{name}.safetensors").write_bytes(kohya)
    scaled = np.ascontiguousarray(up * (params.alpha / params.rank), np.float32)
    save_file(
        {"decoder.lora_A.weight": down, "decoder.lora_B.weight": scaled},
        context.outputs / f"{name}-diffusers.safetensors",
        metadata,
    )
    (header,) = struct.unpack("<Q", kohya[:8])
    return WeightsOutput(
        step=state.step,
        kohya=f"outputs/{name}.safetensors",
        diffusers=f"outputs/{name}-diffusers.safetensors",
        tensor_hash=hashlib.sha256(kohya[8 + header :]).hexdigest(),
    )
