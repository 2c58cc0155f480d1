"""Tiny bases of several families, one batch of each, and a real training step under any parameters."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import torch

from assetforge.api.job import BaseRef
from assetforge_diffusers.families import open_family
from assetforge_diffusers.families.base import Family
from assetforge_diffusers.machine import Machine
from assetforge_diffusers.material import Batch
from assetforge_diffusers.networks import adapt, checkpoint_gradients, denoiser_config
from assetforge_diffusers.optimizers import (
    ParameterGroup,
    make_optimizer,
    optimizer_state,
    set_learning_rates,
)
from assetforge_diffusers.params import LoraTrainerParams
from assetforge_diffusers.quantize import offload_base, quantize_base
from diffusers_world import tiny_base


def open_tiny(family: str, folder: Path, dtype: torch.dtype = torch.float32) -> Family:
    """A tiny base of a family with random weights, loaded anew at every call."""
    if not folder.exists():
        name = family.replace("-", "_")
        make = tiny_base if family == "sd15" else getattr(import_module(f"tiny.{name}"), f"tiny_{name}")
        make(folder)
    return open_family(
        BaseRef(name="t", family=family, digest="0" * 64, path=str(folder), resolution=32), folder, dtype
    )


@torch.no_grad()
def one_view(family: Family, *, told: bool = True, side: int = 32) -> Batch:
    """A batch of one black picture."""
    tokens = {name: ids[None] for name, ids in family.tokenize("a brass lamp")[0].items()}
    moments = family.encode_pictures(torch.zeros(1, side, side, 3, dtype=torch.uint8))
    embedded = family.encode_tokens(tokens) if told else None
    geometry = torch.tensor([[side, side, 0, 0, side, side]])
    return Batch(moments=moments, mask=None, geometry=geometry, weight=None, tokens=tokens, told=embedded)


class Step:
    """A run in memory, prepared and stepped in the order in which the trainer does it."""

    def __init__(self, family: Family, params: LoraTrainerParams, machine: Machine, side: int = 32) -> None:
        self.family, self.params, self.machine = family, params, machine
        self.view = one_view(family, side=side)
        self.denoiser = family.denoiser
        if params.quantize != "none":
            quantize_base(self.denoiser, params.quantize)
        adapt(self.denoiser, denoiser_config(family.layers, params))
        if params.offload:
            offload_base(self.denoiser, machine.device)
        self.denoiser.train()
        checkpoint_gradients(self.denoiser, on=params.gradient_checkpointing)
        self.names = {name: p for name, p in self.denoiser.named_parameters() if p.requires_grad}
        rate = 1.0 if params.optimizer == "prodigy" else 1e-3
        group = ParameterGroup(tuple(self.names), tuple(self.names.values()), rate)
        self.optimizer = make_optimizer(params, [group])

    def loss(self) -> torch.Tensor:
        """Of one batch; inputs are made here, as they are on their way to a device."""
        family, size = self.family, self.params.batch_size

        def many(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.expand(size, *tensor.shape[1:]).contiguous()

        assert self.view.told is not None
        told = {name: many(tensor) for name, tensor in self.view.told.items()}
        moments = many(self.view.moments)
        latents = family.latents(moments, torch.zeros_like(moments.chunk(2, dim=1)[0]))
        noise = torch.zeros_like(latents)
        time = family.time_at(0.5, torch.device("cpu")).expand(size)
        with self.machine.computing(self.params.network):
            answer = family.predict(latents + noise, time, told, many(self.view.geometry))
            return torch.nn.functional.mse_loss(answer.float(), noise - latents)

    def run(self) -> dict[str, torch.Tensor]:
        """One step; what was learnt."""
        for _ in range(self.params.accumulate):
            (self.loss() / self.params.accumulate).backward()
        set_learning_rates(self.optimizer, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return {name: parameter.detach().clone() for name, parameter in self.names.items()}

    def state_bytes(self) -> int:
        """What the optimizer holds, tables that parameters share counted once."""
        tensors, _ = optimizer_state(self.optimizer, self.names)
        tables = {name.rpartition("/")[2]: tensor for name, tensor in tensors.items() if "qmap" in name}
        own = [tensor for name, tensor in tensors.items() if "qmap" not in name]
        return sum(tensor.nbytes for tensor in (*own, *tables.values()))


@contextmanager
def allocations() -> Iterator[list[int]]:
    """The most bytes of tensors on the CPU that lived at once, as torch's allocator reports them, above those at the beginning."""
    found: list[int] = []
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        yield found
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    found.append(most)
