"""Each broken promise is found by the contract test that is about it."""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from assetforge_example.model import base_folder
from assetforge_example.plugin import RENDERER, TRAINER, LinearTrainerParams
from assetforge_example.trainer import LinearTrainer

from assetforge.api.job import BaseRef, RenderSettings
from assetforge.extension.registry import load
from assetforge.testing.inputs import ContextMaker
from assetforge.testing.renderer_contract import RendererContract, lora_ref
from assetforge.testing.trainer_contract import TrainerContract

BASE = BaseRef(name="example-linear", family="example-linear", digest="0" * 64, path=str(base_folder()), resolution=16)

TRAINERS = {
    "IgnoresStop": "test_it_stops_within_one_step_and_commits",
    "SwallowsTheStop": "test_it_stops_within_one_step_and_commits",
    "StopsWithoutCommit": "test_it_stops_within_one_step_and_commits",
    "BeginsAnew": "test_it_resumes_to_the_same_weights",
    "ResumesWithOtherRandomness": "test_it_survives_being_killed",
    "IsNotSeeded": "test_same_seed_same_weights",
    "IgnoresTheSeed": "test_other_seed_other_weights",
    "MindsTheCheckpoints": "test_what_claims_to_change_nothing_changes_nothing",
    "LearnsHeldOut": "test_held_out_pictures_teach_nothing",
    "WritesElsewhere": "test_it_writes_only_where_it_may",
    "ChangesInputs": "test_it_writes_only_where_it_may",
    "ForgetsLineage": "test_lineage_is_in_the_file",
    "StepsGoDown": "test_steps_are_monotonic_and_reach_the_end",
    "WritesNoAlpha": "test_kohya_pairs_are_whole",
    "WritesNotANumber": "test_it_writes_weights_that_load",
}

RENDERERS = {
    "RemembersTheLastCell": "test_order_and_company_change_nothing",
    "KeepsTheLora": "test_a_lora_changes_pixels_and_can_be_taken_off",
    "IgnoresStrength": "test_strength_changes_pixels_and_zero_is_the_base",
    "DiffersAtStrengthZero": "test_strength_changes_pixels_and_zero_is_the_base",
    "AddsUp": "test_swapping_leaves_nothing_behind",
    "RecordsAPath": "test_the_engine_record_is_json",
    "GivesFloats": "test_pictures_are_uint8_of_the_size_asked_for",
    "TurnsThePicture": "test_pictures_are_uint8_of_the_size_asked_for",
}


class _Trainer(TrainerContract):
    params: ClassVar = {"steps": 12, "rank": 2, "checkpoint_every": 4}

    def base(self, folder: Path) -> BaseRef:
        return BASE


class _Renderer(RendererContract):
    settings = RenderSettings(steps=1, cfg=1.0, width=48, height=32)

    def base(self, folder: Path) -> BaseRef:
        return BASE

    def lora(self, workdir: Path):
        context = ContextMaker(workdir)(LinearTrainerParams(steps=40), BASE, name="training")
        (weights,) = LinearTrainer().train(context).weights
        return lora_ref(workdir, context.workdir / weights.kohya)


@pytest.fixture(autouse=True)
def faulty_engines(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "faulty"))


def call(contract, test: str, **fixtures) -> None:
    method = getattr(contract, test)
    names = method.__code__.co_varnames[1 : method.__code__.co_argcount]
    method(**{name: fixtures[name] for name in names})


def trainer_check(load_string: str, test: str, root: Path) -> None:
    contract = _Trainer()
    contract.spec = replace(TRAINER, load=load_string)
    finished = contract.finish(contract.context(root, BASE, "finished"))
    call(contract, test, finished=finished, contract_root=root, contract_base=BASE)


def renderer_check(load_string: str, test: str, root: Path) -> None:
    contract = _Renderer()
    contract.spec = replace(RENDERER, load=load_string)
    renderer = load(load_string)()
    renderer.open(BASE, contract.settings, contract.context(root))
    call(
        contract,
        test,
        renderer=renderer,
        contract_workdir=root,
        contract_base=BASE,
        contract_lora=contract.lora(root),
    )


@pytest.mark.parametrize(("name", "test"), TRAINERS.items())
def test_a_trainer_that_breaks_a_promise_is_found(tmp_path, name, test) -> None:
    trainer_check(TRAINER.load, test, tmp_path / "right")
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        trainer_check(f"af_faulty_engines:{name}", test, tmp_path / "faulty")


@pytest.mark.parametrize(("name", "test"), RENDERERS.items())
def test_a_renderer_that_breaks_a_promise_is_found(tmp_path, name, test) -> None:
    (tmp_path / "right").mkdir()
    (tmp_path / "faulty").mkdir()
    renderer_check(RENDERER.load, test, tmp_path / "right")
    with pytest.raises((AssertionError, TypeError)):
        renderer_check(f"af_faulty_engines:{name}", test, tmp_path / "faulty")
