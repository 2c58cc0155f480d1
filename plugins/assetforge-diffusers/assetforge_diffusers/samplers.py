"""Schedulers by the names that suites use, for diffusion and for flow models.

None of them draws anything but what a cell's own generator gives, so a cell is decided by its seed. Flow samplers walk along the noise levels of the base's
own scheduler, with its shift, whichever solver is chosen.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    HeunDiscreteScheduler,
    UniPCMultistepScheduler,
)

from assetforge.errors import UsageError

__all__ = ["DEFAULT", "FLOW_SAMPLERS", "SAMPLERS", "FlowDPMSolver", "FlowHeun", "FlowUniPC", "is_flow", "make_sampler"]

DEFAULT = "default"
"""The base's own scheduler, for diffusion and flow alike."""

_ALMOST_NOISE = 1 - 1e-6
"""Where multistep solvers begin: they divide by the logarithm of the picture's share, which is 0 in pure noise."""


class _OwnLevels:
    """Makes a solver walk along the noise levels of the base's own scheduler.

    Pipelines of flow models give the number of steps, the noise levels or the shift for the picture's size, each in its own way. The base's
    scheduler understands all of them, the solvers of diffusers only some.
    """

    own: FlowMatchEulerDiscreteScheduler
    ends_early = False
    """Stop a whole step before the picture where the pipeline does not say, and go the rest at once."""

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Any = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
    ) -> None:
        """As that of the base's own scheduler."""
        if sigmas is None and self.ends_early:
            sigmas = np.linspace(1.0, 1 / self.own.config.num_train_timesteps, (num_inference_steps or 1) + 1)[:-1]
            num_inference_steps = None
        self.own.set_timesteps(num_inference_steps, device=device, sigmas=sigmas, mu=mu)
        self._begin(self.own.sigmas, self.own.timesteps)

    def _begin(self, sigmas: torch.Tensor, timesteps: torch.Tensor) -> None:
        raise NotImplementedError

    def _sigma_to_alpha_sigma_t(self, sigma: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return 1 - sigma, sigma


class FlowHeun(_OwnLevels, FlowMatchHeunDiscreteScheduler):
    """Heun's method, which asks the network twice a step."""

    def _begin(self, sigmas: torch.Tensor, timesteps: torch.Tensor) -> None:
        FlowMatchHeunDiscreteScheduler.set_timesteps(self, len(timesteps))
        self.timesteps = torch.cat([timesteps[:1], timesteps[1:].repeat_interleave(2)])
        self.sigmas = torch.cat([sigmas[:1], sigmas[1:-1].repeat_interleave(2), sigmas[-1:]])


class _Multistep(_OwnLevels):
    # A last level close to 0, as the base's scheduler has it by itself, is a leap for solvers that extrapolate over the logarithm of the level:
    # their error was three times as large (12 steps, shift 3).
    ends_early = True


class FlowDPMSolver(_Multistep, DPMSolverMultistepScheduler):
    """DPM-Solver++ (Lu et al. 2022, arXiv:2211.01095) on the straight paths of a flow model."""

    def _begin(self, sigmas: torch.Tensor, timesteps: torch.Tensor) -> None:
        DPMSolverMultistepScheduler.set_timesteps(self, len(timesteps))
        self.timesteps, self.sigmas = timesteps, sigmas.cpu().clamp(max=_ALMOST_NOISE)


class FlowUniPC(_Multistep, UniPCMultistepScheduler):
    """UniPC (Zhao et al. 2023, arXiv:2302.04867) on the straight paths of a flow model."""

    def _begin(self, sigmas: torch.Tensor, timesteps: torch.Tensor) -> None:
        UniPCMultistepScheduler.set_timesteps(self, len(timesteps), mu=0.0)  # any number: its levels are replaced
        self.timesteps, self.sigmas = timesteps, sigmas.cpu().clamp(max=_ALMOST_NOISE)


SAMPLERS: Mapping[str, tuple[type[Any], dict[str, Any]]] = {
    "ddim": (DDIMScheduler, {}),
    "euler": (EulerDiscreteScheduler, {}),
    "euler-a": (EulerAncestralDiscreteScheduler, {}),
    "heun": (HeunDiscreteScheduler, {}),
    "dpm++": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++"}),
    "dpm++-karras": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++", "use_karras_sigmas": True}),
    "unipc": (UniPCMultistepScheduler, {}),
}
"""For diffusion models."""

_FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": False, "shift_terminal": None}

FLOW_SAMPLERS: Mapping[str, tuple[type[Any], dict[str, Any]]] = {
    "euler": (FlowMatchEulerDiscreteScheduler, {}),
    "heun": (FlowHeun, {}),
    "dpm++": (FlowDPMSolver, {**_FLOW, "algorithm_type": "dpmsolver++"}),
    "unipc": (FlowUniPC, _FLOW),
}
"""For flow models."""


def is_flow(config: Mapping[str, Any]) -> bool:
    """Whether a scheduler's settings are those of a flow model."""
    return bool(
        str(config.get("_class_name", "")).startswith("FlowMatch")
        or config.get("use_flow_sigmas")
        or config.get("prediction_type") == "flow_prediction"
    )


def make_sampler(name: str, base_config: Any) -> Any:
    """A new scheduler of that name with the noise levels of the base.

    Args:
        name: ``default`` or a name in :data:`SAMPLERS` or :data:`FLOW_SAMPLERS`; upper and lower case alike.
        base_config: Settings of the base's own scheduler.

    Raises:
        UsageError: No sampler has that name, or it is not for this kind of model.
    """
    flow, wanted = is_flow(base_config), name.lower()
    table = FLOW_SAMPLERS if flow else SAMPLERS
    if wanted == DEFAULT:
        kind = getattr(diffusers, base_config["_class_name"])
        return kind.from_config(base_config, **({"stochastic_sampling": False} if _draws(base_config) else {}))
    if wanted not in table:
        hint = f"Set the suite's sampler to one of {', '.join((DEFAULT, *table))}."
        if wanted in SAMPLERS or wanted in FLOW_SAMPLERS:
            kinds = ("flow", "diffusion") if flow else ("diffusion", "flow")
            raise UsageError(f"This is a {kinds[0]} model, and {name} is a sampler for {kinds[1]} models.", hint=hint)
        raise UsageError(f"There is no sampler named {name}.", hint=hint)
    kind, options = table[wanted]
    if not flow:
        return kind.from_config(base_config, **options)
    own = FlowMatchEulerDiscreteScheduler.from_config(base_config, stochastic_sampling=False, **_shift(base_config))
    if kind is FlowMatchEulerDiscreteScheduler:
        return own
    sampler = kind.from_config(base_config, **options)
    sampler.own = own
    return sampler


def _draws(config: Mapping[str, Any]) -> bool:
    """Whether the base's own flow scheduler would draw noise that no generator gives."""
    return bool(config.get("stochastic_sampling"))


def _shift(config: Mapping[str, Any]) -> dict[str, float]:
    """The fixed shift, under the name that flow schedulers have for it."""
    return {"shift": float(config["flow_shift"])} if "shift" not in config and "flow_shift" in config else {}
