"""The renderer behind ``diffusers``: one base in memory, LoRAs swapped, every cell from its own seed."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from assetforge.api.context import JobContext
from assetforge.api.job import BaseRef, Cell, LoraRef, RenderSettings
from assetforge.errors import PluginError, UsageError
from assetforge_diffusers.attention import attention_layers, remembering
from assetforge_diffusers.batches import LARGEST_DIFFERENCE, MEAN_DIFFERENCE, find_batch, shares
from assetforge_diffusers.drawing import decode_in_full, draw
from assetforge_diffusers.families import open_family
from assetforge_diffusers.families.base import Family, Told
from assetforge_diffusers.machine import Machine, engine_record, take_machine
from assetforge_diffusers.params import RendererParams
from assetforge_diffusers.plugin import RENDERER
from assetforge_diffusers.wardrobe import Stack, Wardrobe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

__all__ = ["DiffusersRenderer"]

_KEPT_PROMPTS = 512
_KEPT_CONTROLS = 256 * 2**20
_PROBE_STEPS = 2

_Question = tuple[str, str, int]


@dataclass(slots=True)
class _Opened:
    """A base that is ready to render."""

    family: Family
    machine: Machine
    settings: RenderSettings
    context: JobContext
    wardrobe: Wardrobe
    attention: Sequence[Any]
    batch: int = 1
    prompts: "OrderedDict[tuple[str, Stack], Told]" = field(default_factory=OrderedDict)
    controls: "OrderedDict[_Question, Picture]" = field(default_factory=OrderedDict)
    """Pictures of the bare base. The passes of one job ask for the same ones again and again: every suite has cells at strength 0."""


class DiffusersRenderer:
    """Fits :class:`assetforge.api.protocols.Renderer`.

    Pictures are made by the reference pipeline of the family, told embeddings instead of words, so that they are its pictures.
    """

    def __init__(self) -> None:
        self._now: _Opened | None = None

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
        family = open_family(base, context.base_path(base), machine.dtype, cache=context.cache / "diffusers")
        _check_size(family, settings)
        sampler = family.sampler(settings.sampler)
        pipeline = _pipeline_on(family, machine)
        pipeline.scheduler = sampler
        merge = machine.precision == "fp32" if params.merge == "auto" else params.merge == "on"
        self._now = _Opened(
            family,
            machine,
            settings,
            context,
            Wardrobe(family, context.workdir, merge=merge),
            attention_layers(family.denoiser),
            max(1, params.batch_size),
        )
        record = {
            **engine_record(machine),
            "renderer": RENDERER.name,
            "renderer_version": RENDERER.version,
            "base": base.digest,
            "sampler": type(sampler).__name__,
            "sampler_name": settings.sampler.lower(),
            "steps": settings.steps,
            "cfg": settings.cfg,
            "size": [settings.width, settings.height],
            "merged": merge,
        }
        return {**record, **self._choose_batch(params.batch_size, record)}

    def _choose_batch(self, asked: int, record: Mapping[str, Any]) -> dict[str, Any]:
        """Set the batch size, measured unless somebody asked for one; return what the engine record says about it."""
        now = self._opened()
        if asked:
            return {"batch": asked, "batch_measured": False}
        device = now.machine.device
        found = find_batch(
            lambda cells: self._draw(cells, _PROBE_STEPS), device, record, now.context.cache / "diffusers"
        )
        now.batch = found.size
        told: dict[str, Any] = {"batch": found.size, "batch_measured": True}
        if found.size > 1 and device.type != "cpu":
            told["batch_tolerance"] = [LARGEST_DIFFERENCE, MEAN_DIFFERENCE]
            told["batch_difference"] = [found.largest, found.mean]
        return told

    def _opened(self) -> _Opened:
        if self._now is None:
            raise PluginError("The renderer was used before it was opened.", hint="Call open first.")
        return self._now

    def use(self, loras: Sequence[tuple[LoraRef, float]]) -> None:
        """Wear exactly these LoRAs; one at strength 0 is taken off, so that strength 0 is the bare base bit for bit.

        Raises:
            UsageError: A file is a pickle, damaged, not a LoRA for this base, or worn twice.
            NotFoundError: A file is missing.
        """
        now = self._opened()
        now.wardrobe.wear(loras)
        for key in [key for key in now.prompts if key[1] not in ((), now.wardrobe.worn_by_text)]:
            del now.prompts[key]

    def render(self, cells: Sequence[Cell]) -> "Iterator[Picture]":
        """Yield one picture per cell, (height, width, 3), each from its own seed; strengths are those of :meth:`use`.

        In batches where these give the same pictures; on a GPU within the tolerance that the engine record states.
        """
        now = self._opened()
        bare = not now.wardrobe.worn
        kept = {
            at: now.controls[_question(cell)]
            for at, cell in enumerate(cells)
            if bare and _question(cell) in now.controls
        }
        waiting = [at for at in range(len(cells)) if at not in kept]
        done: dict[int, Picture] = {}
        for at, cell in enumerate(cells):
            if at in kept:
                yield kept.pop(at).copy()
                continue
            if at not in done:
                size = shares(len(waiting), now.batch)[0]
                chosen, waiting = waiting[:size], waiting[size:]
                done.update(zip(chosen, self._pictures([cells[each] for each in chosen]), strict=True))
            if bare:
                _keep(now.controls, _question(cell), done[at])
            yield done.pop(at)

    def _pictures(self, cells: Sequence[Cell]) -> "list[Picture]":
        now = self._opened()
        try:
            drawn = [self._draw(cells, now.settings.steps)]
        except torch.OutOfMemoryError:
            if len(cells) == 1:
                raise
            torch.cuda.empty_cache()
            now.batch = 1
            now.context.log(f"{len(cells)} pictures at once did not fit into the memory; they are rendered one by one.")
            drawn = [self._draw([cell], now.settings.steps) for cell in cells]
        pictures: list[Picture] = [picture for batch in drawn for picture in (batch * 255).round().astype("uint8")]
        return pictures

    @torch.inference_mode()
    def _draw(self, cells: Sequence[Cell], steps: int) -> "NDArray[np.float32]":
        """Pictures as one batch, (cells, height, width, 3), values 0 to 1."""
        now = self._opened()
        family, settings = now.family, now.settings
        guided = family.true_guidance and settings.cfg > 1
        told = _together([self._embed(cell.prompt) for cell in cells])
        negative = _together([self._embed(cell.negative) for cell in cells]) if guided else None
        with remembering(now.attention):
            return draw(
                family.pipeline,
                **family.call_inputs(told, negative, settings.cfg),
                width=settings.width,
                height=settings.height,
                num_inference_steps=steps,
                generator=[torch.Generator().manual_seed(cell.seed) for cell in cells],
            )

    def _embed(self, text: str) -> Told:
        """What a prompt tells, remembered per text and worn LoRAs that change text encoders.

        One prompt at a time: in a batch the last bits of an embedding would depend on its neighbours.
        """
        now = self._opened()
        key = (text, now.wardrobe.worn_by_text)
        if key not in now.prompts:
            tokens, _ = now.family.tokenize(text)
            now.prompts[key] = now.family.encode_tokens({name: ids[None] for name, ids in tokens.items()})
            while len(now.prompts) > _KEPT_PROMPTS:
                now.prompts.popitem(last=False)
        now.prompts.move_to_end(key)
        return now.prompts[key]

    def close(self) -> None:
        """Free the base and everything worn."""
        self._now = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _check_size(family: Family, settings: RenderSettings) -> None:
    multiple = family.size_multiple
    if settings.width % multiple or settings.height % multiple:
        raise UsageError(
            f"The size {settings.width} x {settings.height} is not a multiple of {multiple} pixels.",
            hint="Set another size in the suite.",
        )


def _pipeline_on(family: Family, machine: Machine) -> Any:
    """The reference pipeline on the machine's device."""
    pipeline = family.pipeline
    try:
        pipeline.to(machine.device)
    except torch.OutOfMemoryError as error:
        raise UsageError(
            f"The base model {family.base.path} does not fit into the memory of this GPU.",
            hint="Render on a larger one, or with --device cpu.",
        ) from error
    if machine.precision != "fp32":
        decode_in_full(pipeline)
    return pipeline


def _together(told: Sequence[Told]) -> Told:
    return told[0] if len(told) == 1 else {name: torch.cat([one[name] for one in told]) for name in told[0]}


def _question(cell: Cell) -> _Question:
    return cell.prompt, cell.negative, cell.seed


def _keep(controls: "OrderedDict[_Question, Picture]", question: _Question, picture: "Picture") -> None:
    controls[question] = picture.copy()
    while len(controls) * picture.nbytes > _KEPT_CONTROLS:
        controls.popitem(last=False)
