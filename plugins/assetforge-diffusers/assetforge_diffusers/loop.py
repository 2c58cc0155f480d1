"""The training loop that all families share.

A step is a pure function of (weights, optimizer state, seed, step): batch, noise, timesteps, posterior samples and dropout are drawn from
(seed, batch), and the learning rate is computed from the step. So weights, optimizer state and a step number are a whole checkpoint.
Nothing in a step waits for the device; losses stay there until :meth:`TrainingLoop.read` fetches a window of them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from assetforge.errors import UsageError
from assetforge_diffusers.adapters import add_adapters, trainable
from assetforge_diffusers.draws import Draws, Pick, Shuffle, draw, generator, key
from assetforge_diffusers.families.base import Family
from assetforge_diffusers.feeder import Feed, Feeder
from assetforge_diffusers.graphs import CudaRecorder, StepGraphs, are_recorded
from assetforge_diffusers.half_factors import HalfFactors
from assetforge_diffusers.layouts import LAID_OUT, gates_apart, keep_channels_together
from assetforge_diffusers.machine import Machine, choose_attention
from assetforge_diffusers.material import Batch, Material
from assetforge_diffusers.networks import checkpoint_gradients
from assetforge_diffusers.objective import LossSettings
from assetforge_diffusers.optimizers import Ema, ParameterGroup, make_optimizer, set_learning_rates, training_mode
from assetforge_diffusers.params import LoraTrainerParams
from assetforge_diffusers.quantize import offload_base, quantize_base
from assetforge_diffusers.regions import compile_regions
from assetforge_diffusers.schedule import learning_rate_factor
from assetforge_diffusers.team import Leader

__all__ = ["BadStep", "TrainingLoop"]

_GPU_WINDOW = 20
_VALIDATION_TIMES = (0.125, 0.375, 0.625, 0.875)
_PLAIN = LossSettings()


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
        self, family: Family, material: Material, params: LoraTrainerParams, total: int, seed: int, machine: Machine
    ) -> None:
        """Add adapters to the family's networks and move them to the device.

        Args:
            family: The opened base.
            material: What to learn from.
            params: How.
            total: Steps of the whole run.
            seed: Seed of all randomness.
            machine: Where.
        """
        self.params, self.total, self.seed, self.machine = params, total, seed, machine
        self._leader: Leader | None = None
        self.family, self.material = family, material
        self.shuffle = Shuffle(
            [_rows(material, bucket.entries) for bucket in material.buckets],
            params.batch_size,
            seed,
            flip=params.flip,
            caption_dropout=params.caption_dropout,
        )
        self.modules = _adapted(family, params, seed, machine.device, len(material.buckets))
        self.parameters = trainable(self.modules)
        self.trained = list(self.parameters.values())
        halved = params.network == "lora" and machine.dtype != torch.float32
        self._half_factors = HalfFactors(self.modules.values() if halved else (), machine.dtype)
        self.optimizer = machine.accelerator.prepare_optimizer(make_optimizer(params, self._groups()))
        self.ema = Ema(self.parameters, params.ema) if params.ema else None
        objective = family.objective
        self._objective = objective.with_zero_terminal_snr() if params.zero_terminal_snr else objective
        self._settings = LossSettings(
            min_snr_gamma=params.min_snr_gamma,
            debiased=params.debiased,
            noise_offset=params.noise_offset,
            times=params.noise_levels,
        )
        self._feeder = Feeder(self._feed, machine.device, params.gpus)
        self._graphs = self._recording()
        self._window = 1 if machine.device.type == "cpu" else _GPU_WINDOW
        self._figures = torch.zeros((self._window, 2), device=machine.device)
        self._filled: list[int] = []

    def _groups(self) -> list[ParameterGroup]:
        params, denoiser = self.params, f"{self.family.denoiser_name}."
        split = (
            ([name for name in self.parameters if name.startswith(denoiser)], params.learning_rate),
            ([name for name in self.parameters if not name.startswith(denoiser)], params.text_encoder_learning_rate),
        )
        return [
            ParameterGroup(tuple(names), tuple(self.parameters[name] for name in names), peak)
            for names, peak in split
            if names
        ]

    def _feed(self, index: int) -> Feed:
        """Everything random and everything looked up for one batch, a pure function of its number."""
        picks = self.shuffle.batch(index)
        shape = self.material.latent_shape(picks[0].entry, len(picks))
        pinned = self.machine.device.type == "cuda"
        return Feed(self.material.batch(picks), draw(generator(self.seed, "step", index), shape, pinned=pinned))

    def lead(self, leader: Leader) -> None:
        """Share the batches of every step with other processes from now on."""
        self._leader = leader

    def step(self, index: int) -> None:
        """Do step ``index``, counted from 0."""
        params, accelerator, leader = self.params, self.machine.accelerator, self._leader
        if leader is None:
            loss = self.add_gradients(range(index * params.accumulate, (index + 1) * params.accumulate))
        else:
            leader.begin(index, self.trained)
            loss = leader.gather(self.add_gradients(leader.member.batches(index, params.accumulate)))
        norm = accelerator.clip_grad_norm_(self.trained, params.max_grad_norm or float("inf"))
        set_learning_rates(self.optimizer, learning_rate_factor(params.lr_scheduler, index, self.total, params.warmup))
        self.optimizer.step()
        self.forget_gradients()
        if self.ema is not None:
            self.ema.update()
        self._keep(index, loss / params.accumulate, norm)

    def add_gradients(self, batches: range) -> torch.Tensor:
        """Add the gradients of some batches; the sum of their losses."""
        losses = []
        for batch in batches:
            fed = self._feeder.take(batch)
            if self.params.dropout:
                torch.manual_seed(key(self.seed, "dropout", batch))
            losses.append(self._learn(fed) if self._graphs is None else self._graphs(fed))
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum()

    def forget_gradients(self) -> None:
        """Begin the next step without any."""
        self.optimizer.zero_grad(set_to_none=self._graphs is None)

    def _learn(self, fed: Feed) -> torch.Tensor:
        """Add a batch's gradients; its loss."""
        with self._half_factors:
            with self.machine.computing(self.params.network):
                loss = self._loss(fed.batch, fed.draws)
            self.machine.accelerator.backward(loss / self.params.accumulate if self.params.accumulate > 1 else loss)
        return loss.detach()

    def _recording(self) -> StepGraphs | None:
        if not are_recorded(self.params, self.machine):
            return None
        return StepGraphs(self._learn, self.trained, CudaRecorder(self.machine.device))

    @property
    def trouble(self) -> str:
        """Why steps are launched kernel by kernel though they were to be recorded; empty when they are not."""
        return self._graphs.trouble if self._graphs else ""

    def _loss(self, batch: Batch, draws: Draws) -> torch.Tensor:
        per_picture = self._losses(batch, draws, self._settings)
        return per_picture.mean() if batch.weight is None else (per_picture * batch.weight).mean()

    def _losses(self, batch: Batch, draws: Draws, settings: LossSettings) -> torch.Tensor:
        family = self.family
        told = batch.told if batch.told is not None else family.encode_tokens(batch.tokens)
        latents = family.latents(batch.moments, draws.encoding)
        mask = None if batch.mask is None else self.params.mask_floor + (1.0 - self.params.mask_floor) * batch.mask

        def predict(noisy: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
            return family.predict(noisy, time, told, batch.geometry)

        return self._objective.loss(predict, latents, draws, settings, mask)

    def _keep(self, index: int, loss: torch.Tensor, norm: torch.Tensor | None) -> None:
        place = len(self._filled)
        self._figures[place, 0] = loss
        # A loss scaler skips steps with infinite gradients on purpose.
        if norm is not None and self.machine.accelerator.scaler is None:
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
                bad = BadStep(index + 1, "gradient" if abs(loss) < float("inf") else "loss", self._names_of(index))
                break
        self._filled.clear()
        return [loss for loss, _ in figures], bad

    def _names_of(self, index: int) -> tuple[str, ...]:
        batches = range(index * self.params.accumulate, (index + 1) * self.params.accumulate)
        return tuple(self.material.entries[pick.entry].name for batch in batches for pick in self.shuffle.batch(batch))

    @property
    def learning_rate(self) -> float:
        """Learning rate of the last step, for the denoiser."""
        return float(self.optimizer.param_groups[0]["lr"])

    @torch.no_grad()
    def validate(self, material: Material) -> float:
        """Mean unweighted loss over ``material`` at four fixed noise levels with fixed noise; equal weights give an equal value on one machine."""
        device, count = self.machine.device, len(_VALIDATION_TIMES)
        training_mode(self.optimizer, on=False)
        for module in self.modules.values():
            module.eval()
        losses = []
        for entry in range(len(material.entries)):
            fixed = draw(generator(0, "validation", entry), material.latent_shape(entry, count))
            draws = Draws(fixed.noise, fixed.encoding, torch.tensor(_VALIDATION_TIMES), fixed.offset).to(device)
            batch = material.batch([Pick(entry, flipped=False, variant=0)] * count).map(
                lambda tensor: tensor.to(device)
            )
            with self.machine.computing(self.params.network):
                losses.append(self._losses(batch, draws, _PLAIN).mean())
        for module in self.modules.values():
            module.train()
        training_mode(self.optimizer, on=True)
        return float(torch.stack(losses).mean())

    @contextmanager
    def showing(self) -> Iterator[None]:
        """The networks as they would be kept now: in evaluation mode, with the average of the weights where there is one."""
        training_mode(self.optimizer, on=False)
        for module in self.modules.values():
            module.eval()
        try:
            with self.ema.swapped_in() if self.ema is not None else nullcontext():
                yield
        finally:
            for module in self.modules.values():
                module.train()
            training_mode(self.optimizer, on=True)

    def scaler_state(self) -> dict[str, Any]:
        """State of the fp16 loss scaler; empty without one."""
        scaler = self.machine.accelerator.scaler
        return dict(scaler.state_dict()) if scaler is not None else {}

    def load_scaler_state(self, state: dict[str, Any]) -> None:
        """Put back what :meth:`scaler_state` gave."""
        if state and self.machine.accelerator.scaler is not None:
            self.machine.accelerator.scaler.load_state_dict(dict(state))

    def close(self) -> None:
        """Stop preparing batches, and send other processes home."""
        self._feeder.close()
        if self._leader is not None:
            self._leader.close()


def _rows(material: Material, entries: Sequence[int]) -> list[int]:
    return [entry for entry in entries for _ in range(material.entries[entry].item.repeats)]


def _adapted(family: Family, params: LoraTrainerParams, seed: int, device: torch.device, sizes: int) -> dict[str, Any]:
    """The networks to train on the device: the frozen base as the parameters say it is kept, adapters in fp32."""
    if params.compile and params.gradient_checkpointing and params.quantize != "none":
        raise UsageError(
            "Compiled blocks over a base in fewer bits cannot be computed twice.",
            hint="Set compile or gradient_checkpointing to false, or quantize to none.",
        )
    networks = [family.denoiser, *(family.text_encoders.values() if params.text_encoder else ())]
    if params.quantize != "none":
        for network in networks:
            quantize_base(network, params.quantize, device)
    modules = add_adapters(family, params, seed)
    for module in modules.values():
        if params.offload:
            offload_base(module, device)
        module.to(device)
        module.train()
        if params.gradient_checkpointing:
            checkpoint_gradients(module, on=True)
    if device.type == "cuda":
        choose_attention(family.denoiser_name)
        gates_apart(family.denoiser)
    if params.compile:
        if device.type == "cuda":
            keep_channels_together(family.denoiser)
        compile_regions(family.denoiser, (*family.regions, *LAID_OUT), sizes)
    return modules
