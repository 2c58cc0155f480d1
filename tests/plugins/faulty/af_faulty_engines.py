"""Trainers and renderers that each break one promise of their contract, and keep all others."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from assetforge_example.renderer import LinearRenderer
from assetforge_example.trainer import LinearTrainer
from safetensors.numpy import load_file, save_file

from assetforge.api import Stopped


class Bent:
    """A context that says some things differently, and the rest as the real one."""

    def __init__(self, context, **changes):
        self._context = context
        self._changes = changes

    def __getattr__(self, name):
        return self._changes[name] if name in self._changes else getattr(self._context, name)


class IgnoresStop(LinearTrainer):
    def train(self, context):
        return super().train(Bent(context, should_stop=lambda: context.should_stop() and False))


class StopsWithoutCommit(LinearTrainer):
    def train(self, context):
        return super().train(Bent(context, commit_checkpoint=lambda *_: None))


class BeginsAnew(LinearTrainer):
    def train(self, context):
        return super().train(Bent(context, latest_checkpoint=lambda: None))


class ResumesWithOtherRandomness(LinearTrainer):
    def train(self, context):
        return super().train(Bent(context, seed=context.seed + (context.latest_checkpoint() is not None)))


class IsNotSeeded(LinearTrainer):
    def train(self, context):
        return super().train(Bent(context, seed=int.from_bytes(os.urandom(4), "big")))


class IgnoresTheSeed(LinearTrainer):
    def train(self, context):
        return super().train(Bent(context, seed=1))


class MindsTheCheckpoints(LinearTrainer):
    def train(self, context):
        return super().train(Bent(context, seed=context.seed + context.params.checkpoint_every))


class LearnsHeldOut(LinearTrainer):
    def train(self, context):
        items = tuple(item.model_copy(update={"split": "train"}) for item in context.dataset.items)
        return super().train(Bent(context, dataset=context.dataset.model_copy(update={"items": items})))


class WritesElsewhere(LinearTrainer):
    def train(self, context):
        (context.workdir.parent / "my-own-cache").write_text("mine")
        return super().train(context)


class ChangesInputs(LinearTrainer):
    def train(self, context):
        result = super().train(context)
        (context.workdir / context.dataset.items[0].file).write_bytes(b"smaller")
        return result


class ForgetsLineage(LinearTrainer):
    def train(self, context):
        payload = context.payload.model_copy(update={"metadata": {}})
        return super().train(Bent(context, payload=payload))


class StepsGoDown(LinearTrainer):
    def train(self, context):
        return super().train(Bent(context, progress=lambda step, total, **_: context.progress(total - step, total)))


class WritesNoAlpha(LinearTrainer):
    def train(self, context):
        result = super().train(context)
        path = context.workdir / result.weights[0].kohya
        tensors = {name: tensor for name, tensor in load_file(path).items() if not name.endswith("alpha")}
        save_file(tensors, path, {"assetforge.test": "yes"})
        return replace(result, weights=(result.weights[0].model_copy(update={"tensor_hash": ""}),))


class WritesNotANumber(LinearTrainer):
    def train(self, context):
        result = super().train(context)
        path = context.workdir / result.weights[0].kohya
        save_file({name: np.full_like(tensor, np.nan) for name, tensor in load_file(path).items()}, path)
        return replace(result, weights=(result.weights[0].model_copy(update={"tensor_hash": ""}),))


class SwallowsTheStop(LinearTrainer):
    def train(self, context):
        try:
            return super().train(context)
        except Stopped:
            return super().train(Bent(context, should_stop=lambda: False))


class RemembersTheLastCell(LinearRenderer):
    def render(self, cells):
        for count, cell in enumerate(cells):
            yield from super().render([cell.model_copy(update={"seed": cell.seed + count})])


class KeepsTheLora(LinearRenderer):
    def use(self, loras):
        if loras:
            super().use(loras)


class IgnoresStrength(LinearRenderer):
    def use(self, loras):
        super().use([(lora, 1.0 if strength else 0.0) for lora, strength in loras])


class DiffersAtStrengthZero(LinearRenderer):
    def use(self, loras):
        super().use([(lora, strength or 0.05) for lora, strength in loras])


class AddsUp(LinearRenderer):
    def use(self, loras):
        before = self._worn
        super().use(loras)
        if loras:
            self._worn = before + (self._worn - self._base)


class RecordsAPath(LinearRenderer):
    def open(self, base, settings, context):
        return {**super().open(base, settings, context), "folder": Path(base.path)}


class GivesFloats(LinearRenderer):
    def render(self, cells):
        for picture in super().render(cells):
            yield picture / 255


class TurnsThePicture(LinearRenderer):
    def render(self, cells):
        for picture in super().render(cells):
            yield picture.transpose(1, 0, 2)
