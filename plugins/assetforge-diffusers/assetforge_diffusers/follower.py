"""The other processes of a run on several GPUs: each loads the base, adapts it, and adds up gradients until the leader is done."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from assetforge.api.job import BaseRef
from assetforge_diffusers.families import open_family
from assetforge_diffusers.loop import TrainingLoop
from assetforge_diffusers.machine import take_machine
from assetforge_diffusers.material import Material
from assetforge_diffusers.params import LoraTrainerParams

__all__ = ["Share", "follow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What a process needs to know of the run.

    Attributes:
        base: The base model.
        path: Where it lies.
        cache: The run's cache.
        params: As the leader trains.
        material: Encoded pictures and captions, on the CPU.
        total: Steps of the whole run.
        seed: Seed of all randomness.
        threads: CPU threads; 0 keeps torch's own choice.
    """

    base: BaseRef
    path: Path
    cache: Path
    params: LoraTrainerParams
    material: Material
    total: int
    seed: int
    threads: int


def follow(share: Share, device: str, joined: Callable[[TrainingLoop], None]) -> None:
    """Make the run in memory once more, on ``device``, and join the others with it."""
    machine = take_machine(device, share.threads, share.params.precision, training=True)
    family = open_family(share.base, share.path, machine.dtype, cache=share.cache / "diffusers")
    loop = TrainingLoop(family, share.material, share.params, share.total, share.seed, machine)
    try:
        joined(loop)
    finally:
        loop.close()
