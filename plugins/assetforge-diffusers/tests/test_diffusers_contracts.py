"""The contract suites that every trainer and renderer must pass."""

from pathlib import Path
from typing import ClassVar

import pytest

from assetforge.api.job import BaseRef, LoraRef, RenderSettings
from assetforge.testing.inputs import ContextMaker
from assetforge.testing.renderer_contract import RendererContract, lora_ref
from assetforge.testing.trainer_contract import FinishedRun, TrainerContract
from assetforge_diffusers.params import LoraTrainerParams
from assetforge_diffusers.plugin import RENDERER, TRAINER
from assetforge_diffusers.trainer import LoraTrainer
from diffusers_world import tiny_base


def base_ref(folder: Path) -> BaseRef:
    return BaseRef(name="tiny", family="sd15", digest="0" * 64, path=str(tiny_base(folder)), resolution=32)


class TestTrainerContract(TrainerContract):
    spec = TRAINER
    params: ClassVar = {
        "steps": 6,
        "accumulate": 2,
        "rank": 4,
        "alpha": 3.0,
        "batch_size": 2,
        "checkpoint_every": 2,
        "learning_rate": 1e-2,
        "dropout": 0.1,
    }
    size = (48, 48)

    def base(self, folder: Path) -> BaseRef:
        return base_ref(folder)

    @pytest.mark.slow
    def test_what_claims_to_change_nothing_changes_nothing(
        self, finished: FinishedRun, contract_root: Path, contract_base: BaseRef
    ) -> None:
        super().test_what_claims_to_change_nothing_changes_nothing(finished, contract_root, contract_base)


class TestRendererContract(RendererContract):
    spec = RENDERER
    settings = RenderSettings(steps=2, cfg=3.0, width=32, height=32)

    def base(self, folder: Path) -> BaseRef:
        return base_ref(folder)

    def lora(self, workdir: Path) -> LoraRef:
        params = LoraTrainerParams(steps=3, rank=4, batch_size=2, learning_rate=5e-2)
        context = ContextMaker(workdir)(params, base_ref(workdir / "lora-base"), name="training", size=(48, 48))
        weights = LoraTrainer().train(context).weights[0]
        return lora_ref(workdir, context.workdir / weights.kohya)
