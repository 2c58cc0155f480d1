"""The trainer and the renderer of the example hold their contracts."""

from typing import ClassVar

from assetforge.api.job import BaseRef, RenderSettings
from assetforge.testing.contexts import FolderTrainContext
from assetforge.testing.inputs import ContextMaker
from assetforge.testing.renderer_contract import RendererContract, lora_ref
from assetforge.testing.trainer_contract import TrainerContract
from assetforge_example.model import base_folder
from assetforge_example.plugin import RENDERER, TRAINER, LinearTrainerParams
from assetforge_example.trainer import LinearTrainer

BASE = BaseRef(name="example-linear", family="example-linear", digest="0" * 64, path=str(base_folder()), resolution=16)


class TestLinearTrainer(TrainerContract):
    spec = TRAINER
    params: ClassVar = {"steps": 20, "rank": 2, "alpha": 1.0, "checkpoint_every": 4}

    def base(self, folder):
        return BASE


class TestLinearRenderer(RendererContract):
    spec = RENDERER
    settings = RenderSettings(steps=1, cfg=1.0, width=64, height=48)

    def base(self, folder):
        return BASE

    def lora(self, workdir):
        context: FolderTrainContext = ContextMaker(workdir)(LinearTrainerParams(steps=60), BASE, name="training")
        (weights,) = LinearTrainer().train(context).weights
        return lora_ref(workdir, context.workdir / weights.kohya)
