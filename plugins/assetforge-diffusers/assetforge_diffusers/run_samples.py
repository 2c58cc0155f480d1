"""Pictures of what is learnt so far, drawn during a run for whoever watches it. They change nothing of what is learnt, and no run fails for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from assetforge.api.context import Stopped, TrainContext
from assetforge.api.job import DatasetItem
from assetforge_diffusers.captions import with_trigger
from assetforge_diffusers.drawing import decode_in_full, draw
from assetforge_diffusers.families.base import Family, Told
from assetforge_diffusers.loop import TrainingLoop
from assetforge_diffusers.params import LoraTrainerParams
from assetforge_diffusers.suites import FAMILY_SETTINGS
from assetforge_diffusers.texts import Texts, encode_texts

__all__ = ["RunSamples", "SamplePlan", "plan_samples"]

_MOST_CAPTIONS = 4


@dataclass(frozen=True, slots=True)
class SamplePlan:
    """What is drawn.

    Attributes:
        prompts: What each picture shows; its place in the list is its seed.
        texts: The prompts, encoded; the last row is the empty text.
        side: Width and height in pixels.
    """

    prompts: tuple[str, ...]
    texts: Texts
    side: int


def plan_samples(
    context: TrainContext, family: Family, items: Sequence[DatasetItem], params: LoraTrainerParams, device: torch.device
) -> SamplePlan | None:
    """Choose and encode the prompts; ``None`` when no samples are asked for.

    Args:
        context: Trigger word, held-out pictures, and where the cache is.
        family: The opened base, whose encoders are still there.
        items: What is trained on.
        params: How often, and what.
        device: Where encoders work.

    Raises:
        Stopped: Somebody asked to stop.
    """
    if not params.sample_every or params.offload:
        return None
    prompts = _prompts(context, items, params)
    tokens, told = encode_texts(context, family, [*prompts, ""], embed=not params.text_encoder, device=device)
    multiple = family.size_multiple
    side = max(multiple, max(params.resolutions or (context.payload.base.resolution,)) // multiple * multiple)
    return SamplePlan(prompts, Texts(tokens, told, ()), side)


def _prompts(context: TrainContext, items: Sequence[DatasetItem], params: LoraTrainerParams) -> tuple[str, ...]:
    trigger, word = context.payload.trigger, context.payload.class_word
    asked = [prompt.strip() for prompt in params.sample_prompts.split("|") if prompt.strip()]
    if asked:
        return tuple(prompt.replace("{trigger}", trigger).replace("{class}", word) for prompt in asked)
    # Of held-out pictures first: what was not learnt by heart shows best what was learnt.
    captions = [item.caption for item in (*context.dataset.held_out_items(), *items) if item.caption.strip()]
    spread = list(dict.fromkeys(captions))[:_MOST_CAPTIONS] or [word]
    return tuple(with_trigger(caption, trigger) for caption in spread)


class RunSamples:
    """Draws the samples of one attempt.

    Args:
        context: The run's.
        plan: What is drawn; ``None`` for nothing.
        loop: The run in memory.
    """

    def __init__(self, context: TrainContext, plan: SamplePlan | None, loop: TrainingLoop) -> None:
        self._context, self._plan, self._loop = context, plan, loop
        self._pipeline: Any = None

    def is_due(self, done: int) -> bool:
        """Whether pictures are drawn after ``done`` steps: before the first, every so many, and after the last."""
        return self._plan is not None and (done % self._loop.params.sample_every == 0 or done == self._loop.total)

    def draw(self, done: int) -> None:
        """Draw and show them; what goes wrong is said once, and no more are drawn."""
        plan, context = self._plan, self._context
        if plan is None:
            return
        try:
            with self._loop.showing():
                self._draw(plan, done)
        except Stopped:
            # The run itself notices in a moment, and commits first.
            return
        except Exception as error:  # noqa: BLE001 - a picture is never worth a run
            self._plan = None
            reason = str(error).strip().splitlines()
            context.log(
                f"Samples cannot be drawn, and no more are tried: {reason[0] if reason else type(error).__name__}"
            )
        finally:
            self._leave()

    @torch.no_grad()
    def _draw(self, plan: SamplePlan, done: int) -> None:
        loop, family = self._loop, self._loop.family
        settings = FAMILY_SETTINGS[family.name]
        steps = loop.params.sample_steps or settings.steps
        guidance = loop.params.sample_guidance or settings.cfg
        guided = family.true_guidance and guidance > 1
        pipeline = self._ready()
        for row, prompt in enumerate(plan.prompts):
            if self._context.should_stop():
                raise Stopped
            pipeline.scheduler = family.sampler(settings.sampler)
            told, negative = (self._told(plan, at) for at in (row, len(plan.prompts)))
            with loop.machine.computing(loop.params.network):
                made = draw(
                    pipeline,
                    **family.call_inputs(told, negative if guided else None, guidance),
                    width=plan.side,
                    height=plan.side,
                    num_inference_steps=steps,
                    generator=torch.Generator().manual_seed(row),
                )
            self._context.sample((made[0] * 255).round().astype("uint8"), done, prompt)

    def _ready(self) -> Any:
        """The pipeline over the networks that are being trained, without text encoders; the autoencoder on the device."""
        family, machine = self._loop.family, self._loop.machine
        if self._pipeline is None:
            self._pipeline = family.base.pipeline(only=(family.denoiser_name, "vae", "scheduler"))
            if machine.precision != "fp32":
                decode_in_full(self._pipeline)
        self._pipeline.vae.to(machine.device)
        return self._pipeline

    def _leave(self) -> None:
        """Give the memory of the device back to the run."""
        if self._pipeline is not None and self._loop.machine.device.type != "cpu":
            self._pipeline.vae.to("cpu")
        if self._plan is None:
            self._pipeline = None
        if self._loop.machine.device.type == "cuda":
            torch.cuda.empty_cache()

    def _told(self, plan: SamplePlan, row: int) -> Told:
        family, machine = self._loop.family, self._loop.machine
        if plan.texts.told is None:
            return family.encode_tokens(
                {name: ids[row][None].to(machine.device) for name, ids in plan.texts.tokens.items()}
            )
        rows = {name: tensor[row][None].to(machine.device) for name, tensor in plan.texts.told.items()}
        return {name: one.to(machine.dtype) if one.is_floating_point() else one for name, one in rows.items()}
