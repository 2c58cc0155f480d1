"""The renderer behind ``diffusers``: one base in memory, LoRAs swapped, every cell on its own."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from assetforge.api.context import JobContext
from assetforge.api.job import BaseRef, Cell, LoraRef, RenderSettings
from assetforge.errors import PluginError, UsageError
from assetforge_diffusers.families import family_class
from assetforge_diffusers.families.base import Family
from assetforge_diffusers.machine import Machine, engine_record, take_machine
from assetforge_diffusers.params import RendererParams
from assetforge_diffusers.plugin import RENDERER
from assetforge_diffusers.wardrobe import Stack, Wardrobe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["DiffusersRenderer"]


class DiffusersRenderer:
    """Fits :class:`assetforge.api.protocols.Renderer`.

    The sampling loop is that of ``StableDiffusionPipeline.__call__`` without callbacks and progress bar; the pixels
    are the same.
    """

    def __init__(self) -> None:
        self._family: Family | None = None
        self._machine: Machine | None = None
        self._settings: RenderSettings | None = None
        self._wardrobe: Wardrobe | None = None
        self._embeddings: dict[tuple[str, Stack], torch.Tensor] = {}

    def open(self, base: BaseRef, settings: RenderSettings, context: JobContext) -> Mapping[str, Any]:
        """Load the base model; return the engine record.

        Raises:
            UsageError: The base cannot be rendered here, or the settings do not fit it.
            NotFoundError: The base is not on this machine.
        """
        params = context.params
        if not isinstance(params, RendererParams):
            raise PluginError(
                f"The renderer {RENDERER.name} was given parameters of {type(params).__name__}.",
                hint="Start the evaluation again.",
            )
        self.close()
        machine = take_machine(context.device, context.threads, params.precision, training=False)
        family = family_class(base.family).open(context.base_path(base), machine.dtype)
        factor = family.latent_factor
        if settings.width % factor or settings.height % factor:
            raise UsageError(
                f"The size {settings.width} x {settings.height} is not a multiple of {factor} pixels.",
                hint="Set another size in the suite.",
            )
        family.pipeline.to(machine.device)
        sampler = family.sampler(settings.sampler)
        merge = machine.precision == "fp32" if params.merge == "auto" else params.merge == "on"
        self._family, self._machine, self._settings = family, machine, settings
        self._wardrobe = Wardrobe(family, context.workdir, merge=merge)
        return {
            **engine_record(machine),
            "renderer": RENDERER.name,
            "renderer_version": RENDERER.version,
            "base": base.digest,
            "sampler": type(sampler).__name__,
            "sampler_name": settings.sampler.lower(),
            "steps": settings.steps,
            "cfg": settings.cfg,
            "size": [settings.width, settings.height],
            "batch": 1,
            "merged": merge,
        }

    def _opened(self) -> tuple[Family, Machine, RenderSettings, Wardrobe]:
        if self._family is None or self._machine is None or self._settings is None or self._wardrobe is None:
            raise PluginError("The renderer was used before it was opened.", hint="Call open first.")
        return self._family, self._machine, self._settings, self._wardrobe

    def use(self, loras: Sequence[tuple[LoraRef, float]]) -> None:
        """Wear exactly these LoRAs; one at strength 0 is taken off, so that strength 0 is the bare base bit for bit.

        Raises:
            UsageError: A file is a pickle, damaged, not a LoRA for this base, or worn twice.
            NotFoundError: A file is missing.
        """
        wardrobe = self._opened()[3]
        wardrobe.wear(loras)
        keep = ((), wardrobe.worn_by_text)
        self._embeddings = {key: value for key, value in self._embeddings.items() if key[1] in keep}

    def render(self, cells: Sequence[Cell]) -> "Iterator[NDArray[np.uint8]]":
        """Yield one picture per cell, (height, width, 3), rendered alone from its own seed; strengths are those of :meth:`use`."""
        self._opened()
        for cell in cells:
            yield self._render(cell)

    @torch.inference_mode()
    def _render(self, cell: Cell) -> "NDArray[np.uint8]":
        family, machine, settings, _ = self._opened()
        pipeline: Any = family.pipeline
        guided = settings.cfg > 1
        told = self._embed(cell.prompt)
        if guided:
            told = torch.cat([self._embed(cell.negative), told])
        sampler = family.sampler(settings.sampler)
        sampler.set_timesteps(settings.steps, device=machine.device)
        shape = (
            1,
            pipeline.unet.config.in_channels,
            settings.height // family.latent_factor,
            settings.width // family.latent_factor,
        )
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(cell.seed), dtype=machine.dtype)
        latents = noise.to(machine.device) * sampler.init_noise_sigma
        unet, scale = pipeline.unet, settings.cfg
        for timestep in sampler.timesteps:
            seen = sampler.scale_model_input(torch.cat([latents, latents]) if guided else latents, timestep)
            predicted = unet(seen, timestep, encoder_hidden_states=told, return_dict=False)[0]
            if guided:
                without, with_prompt = predicted.chunk(2)
                predicted = without + scale * (with_prompt - without)
            latents = sampler.step(predicted, timestep, latents, return_dict=False)[0]
        decoded = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor, return_dict=False)[0]
        unit = (decoded * 0.5 + 0.5).clamp(0, 1)[0].permute(1, 2, 0).float()
        pixels: NDArray[np.uint8] = (unit.cpu().numpy() * 255).round().astype("uint8")
        return pixels

    def _embed(self, text: str) -> torch.Tensor:
        """Embedding of a prompt, remembered per text and worn LoRAs that change the text encoder."""
        family, machine, _, wardrobe = self._opened()
        key = (text, wardrobe.worn_by_text)
        if key not in self._embeddings:
            pipeline: Any = family.pipeline
            embedding, _ = pipeline.encode_prompt(text, machine.device, 1, do_classifier_free_guidance=False)
            self._embeddings[key] = embedding
        return self._embeddings[key]

    def close(self) -> None:
        """Free the base and everything worn."""
        self._family = self._machine = self._settings = self._wardrobe = None
        self._embeddings.clear()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
