"""Samplers by name: right for the model, on the base's own noise levels, decided by the seed alone."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)

from assetforge.errors import UsageError
from assetforge_diffusers.samplers import FLOW_SAMPLERS, SAMPLERS, make_sampler

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # the schedulers' own


def settings(scheduler: Any) -> dict[str, Any]:
    """Settings as they are read from a base's folder."""
    return {**scheduler.config, "_class_name": type(scheduler).__name__}


FLUX = settings(FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0, base_shift=0.5, max_shift=1.15))
SCHNELL = settings(FlowMatchEulerDiscreteScheduler(shift=1.0))
SD3 = settings(FlowMatchEulerDiscreteScheduler(shift=3.0))
QWEN = settings(FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift_terminal=0.02, max_shift=0.9))
WAN = settings(UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0))

TOLD: dict[str, tuple[Any, dict[str, Any]]] = {  # what each reference pipeline says to set_timesteps
    "flux": (FLUX, {"sigmas": np.linspace(1.0, 1 / 12, 12), "mu": 0.7}),
    "schnell": (SCHNELL, {"sigmas": np.linspace(1.0, 1 / 12, 12), "mu": 0.7}),
    "qwen": (QWEN, {"sigmas": np.linspace(1.0, 1 / 12, 12), "mu": 0.7}),
    "sd3": (SD3, {"num_inference_steps": 12}),
    "wan": (WAN, {"num_inference_steps": 12}),
}


def walk(sampler: Any, told: dict[str, Any], velocity: Any) -> torch.Tensor:
    """Run a sampler from fixed noise through a known flow."""
    sampler.set_timesteps(device="cpu", **told)
    sampler.set_begin_index(0)
    state = torch.randn((1, 2, 4, 4), generator=torch.Generator().manual_seed(3))
    for timestep in sampler.timesteps:
        state = sampler.step(velocity(state, timestep / 1000), timestep, state, return_dict=False)[0]
    return state


@pytest.mark.parametrize("kind", TOLD)
@pytest.mark.parametrize("name", [*FLOW_SAMPLERS, "default"])
def test_flow_samplers_arrive_where_the_flow_leads(name: str, kind: str) -> None:
    config, told = TOLD[kind]
    picture = torch.linspace(-1, 1, 32).reshape(1, 2, 4, 4)

    def velocity(state: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:  # every path leads to one picture
        return (state - picture) / max(float(sigma), 1e-6)

    arrived = walk(make_sampler(name, config), told, velocity)
    assert torch.allclose(arrived, picture, atol=2e-2 if name == "default" and kind == "wan" else 1e-4)


@pytest.mark.parametrize("kind", ["flux", "schnell", "qwen"])
@pytest.mark.parametrize("name", FLOW_SAMPLERS)
def test_flow_samplers_walk_along_the_own_levels(name: str, kind: str) -> None:
    config, told = TOLD[kind]
    own = FlowMatchEulerDiscreteScheduler.from_config(config)
    own.set_timesteps(**told)
    sampler = make_sampler(name, config)
    for _ in range(2):  # a scheduler is used for many cells
        sampler.set_timesteps(**told)
        assert torch.equal(torch.unique(sampler.timesteps), torch.unique(own.timesteps))
        assert sampler.config.get("use_dynamic_shifting") == config["use_dynamic_shifting"] or name == "heun"


@pytest.mark.parametrize("name", ["heun", "dpm++", "unipc"])
def test_better_solvers_are_nearer_to_the_exact_path(name: str) -> None:
    # Noise and pictures both normal, pictures of spread s: v(x, t) = x (t - (1 - t) s^2) / (t^2 + (1 - t)^2 s^2), and x scales by s.
    spread = 0.5

    def velocity(state: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        t = float(sigma)
        return state * (t - (1 - t) * spread**2) / (t**2 + (1 - t) ** 2 * spread**2)

    exact = spread * torch.randn((1, 2, 4, 4), generator=torch.Generator().manual_seed(3))
    errors = {
        each: float((walk(make_sampler(each, SD3), {"num_inference_steps": 24}, velocity) - exact).abs().mean())
        for each in ("euler", name)
    }
    assert errors[name] < 0.25 * errors["euler"]


def test_unipc_is_that_of_diffusers() -> None:
    own, stock = make_sampler("unipc", SD3), UniPCMultistepScheduler.from_config(WAN, flow_shift=3.0)
    for sampler in (own, stock):
        sampler.set_timesteps(8)
    assert torch.allclose(own.sigmas, stock.sigmas, atol=1e-6)


def test_the_fixed_shift_of_a_unipc_base_is_kept() -> None:
    sampler = make_sampler("euler", WAN)
    sampler.set_timesteps(4)
    plain = np.linspace(1.0, sampler.config["num_train_timesteps"] ** -1, 4)
    assert sampler.shift == 5.0
    assert math.isclose(float(sampler.sigmas[0]), 1.0)
    assert float(sampler.sigmas[1]) > plain[1]


@pytest.mark.parametrize("name", [*SAMPLERS, "default"])
def test_diffusion_samplers_draw_from_the_cells_generators_alone(name: str) -> None:
    config = settings(PNDMScheduler(skip_prk_steps=True, steps_offset=1))

    def run(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        sampler = make_sampler(name, config)
        sampler.set_timesteps(6)
        generators = [torch.Generator().manual_seed(7), torch.Generator().manual_seed(8)]
        state = torch.cat([torch.randn((1, 2, 4, 4), generator=generator) for generator in generators])
        extra = {"generator": generators} if name == "euler-a" else {}
        for timestep in sampler.timesteps:
            state = sampler.step(0.3 * state, timestep, state, **extra, return_dict=False)[0]
        return state

    assert torch.equal(run(1), run(2))


def test_default_is_the_bases_own_scheduler_and_never_stochastic_in_flow() -> None:
    assert type(make_sampler("default", settings(PNDMScheduler()))) is PNDMScheduler
    assert type(make_sampler("Default", WAN)) is UniPCMultistepScheduler
    drawn = settings(FlowMatchEulerDiscreteScheduler(stochastic_sampling=True))
    assert make_sampler("default", drawn).config["stochastic_sampling"] is False
    assert make_sampler("euler", drawn).config["stochastic_sampling"] is False
    assert type(make_sampler("euler-a", settings(DDIMScheduler()))) is EulerAncestralDiscreteScheduler


@pytest.mark.parametrize("name", ["ddim", "euler-a", "dpm++-karras"])
def test_a_diffusion_sampler_on_a_flow_model_is_refused_with_the_right_names(name: str) -> None:
    with pytest.raises(UsageError, match=f"flow model, and {name.replace('+', chr(92) + '+')}") as caught:
        make_sampler(name, FLUX)
    assert all(right in caught.value.hint for right in ("default", "euler", "heun", "dpm++", "unipc"))
    with pytest.raises(UsageError, match="no sampler named magic") as caught:
        make_sampler("magic", settings(DDIMScheduler()))
    assert "ddim" in caught.value.hint
