"""Schedulers by the names that suites use."""

from typing import Any

from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler

from assetforge.errors import UsageError

__all__ = ["SAMPLERS", "make_sampler"]

SAMPLERS: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "ddim": (DDIMScheduler, {}),
    "euler": (EulerDiscreteScheduler, {}),
    "dpm++": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++"}),
    "dpm++-karras": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++", "use_karras_sigmas": True}),
}
"""All of them draw nothing but the initial noise, so a cell is decided by its seed."""


def make_sampler(name: str, base_config: Any) -> Any:
    """A scheduler of that name with the noise schedule of ``base_config``.

    Raises:
        UsageError: No sampler has that name.
    """
    if name.lower() not in SAMPLERS:
        raise UsageError(f"There is no sampler named {name}.", hint=f"Use one of {', '.join(SAMPLERS)}.")
    kind, options = SAMPLERS[name.lower()]
    return kind.from_config(base_config, **options)
