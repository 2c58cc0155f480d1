"""The training loop that all families share.

A step is a pure function of (weights, optimizer state, seed, step): batch, noise, timesteps, posterior samples and dropout are drawn from
(seed, step), and the learning rate is computed from the step. So weights, optimizer state and a step number are a whole checkpoint.
Nothing in a step waits for the device; losses stay there until :meth:`TrainingLoop.read` fetches a window of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from assetforge.errors import UsageError
from assetforge_diffusers.adapters import add_adapters, trainable
from assetforge_diffusers.draws import Draws, Shuffle, draw, generator, key
from assetforge_diffusers.families.base import Family
from assetforge_diffusers.machine import Machine
from assetforge_diffusers.material import Material
from assetforge_diffusers.params import LoraTrainerParams
from assetforge_diffusers.schedule import learning_rate_factor

__all__ = ["BadStep", "TrainingLoop"]

_GPU_WINDOW = 20
_VALIDATION_TIMES = (0.125, 0.375, 0.625, 0.875)


@dataclass(frozen=True, slots=True)
class BadStep:
    """A step whose loss or gradient is not a number.

    Attributes:
        step: Number of the step, from 1.
        what: ``loss`` or ``gradient``.
        pictures: File names of its batch.
    """

    step: int
    what: str
    pictures: tuple[str, ...]


class TrainingLoop:
    """One run in memory."""

    def __init__(
        self,
        family: Family,
        material: Material,
        repeats: list[int],
        params: LoraTrainerParams,
        total: int,
        seed: int,
        machine: Machine,
    ) -> None:
        """Add adapters to the family's networks and move them to the device.

        Args:
            family: The opened base.
            material: What to learn from.
            repeats: Repeats per picture.
            params: How.
            total: Steps of the whole run.
            seed: Seed of all randomness.
            machine: Where.
        """
        self.params, self.total, self.seed, self.machine, self.family, self.material = (
            params,
            total,
            seed,
            machine,
            family,
            material,
        )
        self.shuffle = Shuffle(repeats, params.batch_size, seed, params.flip, params.caption_dropout)
        family.denoiser.to(machine.dtype)
        if params.text_encoder:
            for encoder in family.text_encoders.values():
                encoder.to(machine.dtype)
        self.modules = add_adapters(family, params, seed)
        for module in self.modules.values():
            module.to(machine.device)
            module.train()
            if params.gradient_checkpointing:
                _checkpoint_gradients(module)
        self.parameters = trainable(self.modules)
        self._clipped = list(self.parameters.values())
        self.optimizer = machine.accelerator.prepare_optimizer(_adamw(self.parameters, family.denoiser_name, params))
        self._window = 1 if machine.device.type == "cpu" else _GPU_WINDOW
        self._figures = torch.zeros((self._window, 2), device=machine.device)
        self._filled: list[int] = []

    def step(self, index: int) -> None:
        """Do step ``index``, counted from 0."""
        params, accelerator, device = self.params, self.machine.accelerator, self.machine.device
        moments, tokens, told = self.material.batch(self.shuffle.batch(index), device)
        draws = draw(generator(self.seed, "step", index), self.material.latent_shape(params.batch_size), device)
        if params.dropout:
            torch.manual_seed(key(self.seed, "dropout", index))
        latents = self.family.latents(moments, draws.encoding)
        with accelerator.autocast():
            if told is None:
                told = self.family.encode_tokens(tokens)
            loss = self.family.loss(latents, told, draws, params.noise_offset, params.min_snr_gamma).mean()
        accelerator.backward(loss)
        norm = accelerator.clip_grad_norm_(self._clipped, params.max_grad_norm or float("inf"))
        factor = learning_rate_factor(params.lr_scheduler, index, self.total, params.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._keep(index, loss, norm)

    def _keep(self, index: int, loss: torch.Tensor, norm: torch.Tensor | None) -> None:
        place = len(self._filled)
        self._figures[place, 0] = loss.detach()
        if (
            norm is not None and self.machine.accelerator.scaler is None
        ):  # a loss scaler skips steps with infinite gradients on purpose
            self._figures[place, 1] = norm
        self._filled.append(index)

    @property
    def window_full(self) -> bool:
        """Whether :meth:`read` has to be called before the next step."""
        return len(self._filled) == self._window

    def read(self) -> tuple[list[float], BadStep | None]:
        """Losses since the last call, oldest first, and the first step that is not a number. Waits for the device."""
        figures = self._figures[: len(self._filled)].tolist()
        bad = None
        for index, (loss, norm) in zip(self._filled, figures, strict=True):
            if not all(abs(value) < float("inf") for value in (loss, norm)):
                names = tuple(self.material.names[pick.item] for pick in self.shuffle.batch(index))
                bad = BadStep(index + 1, "gradient" if abs(loss) < float("inf") else "loss", names)
                break
        self._filled.clear()
        return [loss for loss, _ in figures], bad

    @property
    def learning_rate(self) -> float:
        """Learning rate of the last step, for the denoiser."""
        return float(self.optimizer.param_groups[0]["lr"])

    @torch.no_grad()
    def validate(self, material: Material) -> float:
        """Mean unweighted loss over ``material`` at four fixed noise levels with fixed noise; equal weights give an equal value on one machine."""
        device = self.machine.device
        losses = []
        for module in self.modules.values():
            module.eval()
        shape = material.latent_shape(len(_VALIDATION_TIMES))
        for item, row in enumerate(material.row):
            moments = material.moments[item, 0].to(device).expand(shape[0], -1, -1, -1)
            fixed = draw(generator(0, "validation", item), shape, device)
            draws = Draws(fixed.noise, fixed.encoding, torch.tensor(_VALIDATION_TIMES, device=device), fixed.offset)
            with self.machine.accelerator.autocast():
                told = (
                    self.family.encode_tokens(material.tokens[row][None])
                    if material.told is None
                    else {k: v[row][None].to(device) for k, v in material.told.items()}
                )
                told = {name: tensor.expand(shape[0], *tensor.shape[1:]) for name, tensor in told.items()}
                losses.append(
                    self.family.loss(self.family.latents(moments, draws.encoding), told, draws, 0.0, 0.0).mean()
                )
        for module in self.modules.values():
            module.train()
        return float(torch.stack(losses).mean())

    def optimizer_state(self) -> dict[str, torch.Tensor]:
        """The optimizer's tensors by ``parameter/name``, on the CPU; empty before the first step."""
        state = self.optimizer.optimizer.state
        return {
            f"{name}/{what}": tensor.detach().cpu().contiguous().clone()
            for name, parameter in self.parameters.items()
            for what, tensor in state.get(parameter, {}).items()
        }

    def load_optimizer_state(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Put back what :meth:`optimizer_state` gave.

        Raises:
            UsageError: It belongs to other parameters.
        """
        state: dict[torch.nn.Parameter, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            parameter, _, what = name.rpartition("/")
            if parameter not in self.parameters:
                raise UsageError(
                    f"The optimizer state is for another network: {parameter} is unknown.", hint="Start the run again."
                )
            state.setdefault(self.parameters[parameter], {})[what] = tensor.to(self.machine.device)
        self.optimizer.optimizer.state.update(state)

    def scaler_state(self) -> dict[str, Any]:
        """State of the fp16 loss scaler; empty without one."""
        scaler = self.machine.accelerator.scaler
        return dict(scaler.state_dict()) if scaler is not None else {}

    def load_scaler_state(self, state: Mapping[str, Any]) -> None:
        """Put back what :meth:`scaler_state` gave."""
        if state and self.machine.accelerator.scaler is not None:
            self.machine.accelerator.scaler.load_state_dict(dict(state))


def _adamw(
    parameters: Mapping[str, torch.nn.Parameter], denoiser: str, params: LoraTrainerParams
) -> torch.optim.Optimizer:
    groups: list[dict[str, Any]] = [
        {
            "params": [p for name, p in parameters.items() if name.startswith(f"{denoiser}.")],
            "peak": params.learning_rate,
        },
        {
            "params": [p for name, p in parameters.items() if not name.startswith(f"{denoiser}.")],
            "peak": params.text_encoder_learning_rate,
        },
    ]
    filled = [group for group in groups if group["params"]]
    return torch.optim.AdamW(
        filled, lr=0.0, betas=(params.beta1, params.beta2), weight_decay=params.weight_decay, fused=True
    )


def _checkpoint_gradients(module: Any) -> None:
    if hasattr(module, "enable_gradient_checkpointing"):
        module.enable_gradient_checkpointing()
        return
    module.activation_checkpointing_enable()
    module.enable_input_require_grads()
