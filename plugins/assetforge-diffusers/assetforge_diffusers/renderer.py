"""The renderer behind ``diffusers``: one base in memory, LoRAs swapped, every cell on its own."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from assetforge.api.context import JobContext
from assetforge.api.job import BaseRef, Cell, LoraRef, RenderSettings
from assetforge.errors import PluginError, UsageError
from assetforge_diffusers.families import family_class
from assetforge_diffusers.families.base import Family
from assetforge_diffusers.loading import align_weights, read_tensors
from assetforge_diffusers.machine import Machine, engine_record, take_machine
from assetforge_diffusers.params import RendererParams
from assetforge_diffusers.plugin import RENDERER

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["DiffusersRenderer"]

_KEPT_ADAPTERS = 4


class DiffusersRenderer:
    """Fits :class:`assetforge.api.protocols.Renderer`.

    The sampling loop is the one of ``StableDiffusionPipeline.__call__`` without its callbacks and progress bar; the pixels are the same.
    """

    def __init__(self) -> None:
        self._family: Family | None = None
        self._machine: Machine | None = None
        self._settings: RenderSettings | None = None
        self._context: JobContext | None = None
        self._adapters: dict[str, bool] = {}
        self._worn: tuple[tuple[str, float], ...] = ()
        self._embeddings: dict[tuple[str, tuple[tuple[str, float], ...]], torch.Tensor] = {}

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
        self._family, self._machine, self._settings, self._context = family, machine, settings, context
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
        }

    def _opened(self) -> tuple[Family, Machine, RenderSettings, JobContext]:
        if self._family is None or self._machine is None or self._settings is None or self._context is None:
            raise PluginError("The renderer was used before it was opened.", hint="Call open first.")
        return self._family, self._machine, self._settings, self._context

    def use(self, loras: Sequence[tuple[LoraRef, float]]) -> None:
        """Wear exactly these LoRAs; one at strength 0 is taken off, so that strength 0 is the bare base bit for bit.

        Raises:
            UsageError: A file is a pickle, damaged, or not a LoRA for this base.
            NotFoundError: A file is missing.
        """
        family, _, _, context = self._opened()
        worn = tuple((lora.sha256, strength) for lora, strength in loras if strength != 0)
        if worn == self._worn:
            return
        pipeline: Any = family.pipeline
        self._worn = ()
        if not worn:
            if self._adapters:
                pipeline.disable_lora()
            return
        if len({digest for digest, _ in worn}) < len(worn):
            raise UsageError("One LoRA is worn twice.", hint="Add up its strengths instead.")
        for lora, strength in loras:
            if strength != 0 and lora.sha256 not in self._adapters:
                self._load(lora, context)
        self._forget({digest for digest, _ in worn})
        pipeline.enable_lora()
        pipeline.set_adapters([_adapter_name(digest) for digest, _ in worn], [strength for _, strength in worn])
        self._worn = worn

    def _load(self, lora: LoraRef, context: JobContext) -> None:
        family = self._opened()[0]
        file = context.workdir / lora.file
        if file.suffix.lower() != ".safetensors":
            raise UsageError(
                f"{lora.name} is stored in {file.name}; only safetensors are opened.",
                hint="Convert it with the tool that made it.",
            )
        tensors, _ = read_tensors(file)
        pipeline: Any = family.pipeline
        adapter = _adapter_name(lora.sha256)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings(
                    "ignore", message="Already found a `peft_config`"
                )  # several at once is what is wanted
                pipeline.load_lora_weights(
                    file.parent,
                    weight_name=file.name,
                    adapter_name=adapter,
                    local_files_only=True,
                    use_safetensors=True,
                )
        except (ValueError, RuntimeError, KeyError, TypeError) as error:
            raise UsageError(
                f"{lora.name} ({file.name}) is not a LoRA for this {family.name} base: {error}.",
                hint="Check which base it was trained on.",
            ) from error
        modules = [family.denoiser, *family.text_encoders.values()]
        if not any(adapter in getattr(module, "peft_config", {}) for module in modules):
            raise UsageError(
                f"{lora.name} ({file.name}) holds no layer of this {family.name} base.",
                hint="Check which base it was trained on.",
            )
        for module in modules:
            align_weights(module)
            module.eval()  # a file may ask for dropout, which diffusers would load in training mode
        self._adapters[lora.sha256] = any(_is_text_key(name) for name in tensors)

    def _forget(self, keep: set[str]) -> None:
        """Drop the oldest adapters beyond a few, so that long evaluations do not fill the memory."""
        pipeline: Any = self._opened()[0].pipeline
        spare = [digest for digest in self._adapters if digest not in keep]
        for digest in spare[: max(0, len(self._adapters) - max(_KEPT_ADAPTERS, len(keep)))]:
            pipeline.delete_adapters(_adapter_name(digest))
            del self._adapters[digest]
            self._embeddings = {
                key: value for key, value in self._embeddings.items() if all(name != digest for name, _ in key[1])
            }

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
        family, machine, _, _ = self._opened()
        worn = tuple((digest, strength) for digest, strength in self._worn if self._adapters[digest])
        key = (text, worn)
        if key not in self._embeddings:
            pipeline: Any = family.pipeline
            embedding, _ = pipeline.encode_prompt(text, machine.device, 1, do_classifier_free_guidance=False)
            self._embeddings[key] = embedding
        return self._embeddings[key]

    def close(self) -> None:
        """Free the base and everything worn."""
        self._family = self._machine = self._settings = self._context = None
        self._adapters.clear()
        self._embeddings.clear()
        self._worn = ()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _adapter_name(digest: str) -> str:
    return f"lora_{digest[:16]}"


def _is_text_key(name: str) -> bool:
    return name.startswith(("lora_te", "text_encoder"))
