"""The memory of a training step: computed without memory it is what a real step takes; the first measure that fits is named or taken, and runs."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from memory_world import Step, allocations, one_view, open_tiny

from assetforge.errors import PluginError, UsageError
from assetforge_diffusers.graphs import are_recorded
from assetforge_diffusers.ladder import Fit, Rung, fitting, ladder, preflight, relieve
from assetforge_diffusers.machine import Machine, take_machine
from assetforge_diffusers.memory import Estimate, Estimator, gib, memory_limit
from assetforge_diffusers.params import LoraTrainerParams
from assetforge_diffusers.slowdown import Pressure, SlowdownWatch, pressure_on
from diffusers_world import slow

NEEDS_ARE_COMPUTED = True

CPU = torch.device("cpu")
SIDE = 64  # big enough for the states of random generators, which checkpointing keeps, to be small beside
OPERATORS = (
    0.16  # scratch memory that operators choose for themselves, a few 100 KB whatever the size, weighs beside a few MB
)
ASKED = {"rank": 256, "alpha": 128.0, "batch_size": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bases")


@pytest.fixture(scope="module")
def machine() -> Machine:
    return take_machine("cpu", 1, "fp32", training=True)


@pytest.fixture(scope="module")
def estimator(folder: Path, machine: Machine) -> Estimator:
    family = open_tiny("sd15", folder / "sd15")
    return Estimator(family, one_view(family), machine)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "sd15"),
        ({"gradient_checkpointing": True}, "flux1"),
        slow({"batch_size": 1, "accumulate": 2}, "qwen-image"),
        slow({}, "flux1"),
        slow({}, "qwen-image"),
        slow({"gradient_checkpointing": True}, "sd15"),
        slow({"gradient_checkpointing": True}, "qwen-image"),
        slow({"batch_size": 1, "accumulate": 2}, "sd15"),
        slow({"batch_size": 1, "accumulate": 2}, "flux1"),
    ],
)
def test_a_step_takes_what_was_computed(name: str, settings: dict, folder: Path, machine: Machine) -> None:
    params = LoraTrainerParams(**{"rank": 4, "batch_size": 3, **settings})
    family = open_tiny(name, folder / name)
    estimate = Estimator(family, one_view(family, side=SIDE), machine)(params)
    step = Step(open_tiny(name, folder / name), params, machine, SIDE)
    step.run()  # whatever is made once is made now
    with allocations() as most:
        for _ in range(params.accumulate):
            step.loss().backward()
    assert most[0] == pytest.approx(estimate.saved + estimate.transient, rel=OPERATORS)


@pytest.mark.parametrize("kind", [slow("int8"), "nf4"])
def test_a_quantised_step_takes_what_was_computed(kind: str, folder: Path, machine: Machine) -> None:
    params = LoraTrainerParams(rank=4, batch_size=2, quantize=kind, gradient_checkpointing=True)
    family = open_tiny("flux1", folder / "flux1")
    estimate = Estimator(family, one_view(family, side=SIDE), machine)(params)
    step = Step(open_tiny("flux1", folder / "flux1"), params, machine, SIDE)
    step.run()
    with allocations() as most:
        step.loss().backward()
    assert most[0] == pytest.approx(estimate.saved + estimate.transient, rel=OPERATORS)
    frozen = [p for p in step.denoiser.parameters() if not p.requires_grad]
    assert estimate.weights == sum(tensor.nbytes for tensor in (*frozen, *step.denoiser.buffers()))


@pytest.mark.parametrize("kind", ["adamw8bit", *map(slow, ("adamw", "adafactor", "prodigy", "schedule-free"))])
def test_weights_adapters_and_optimizer_are_exact(kind: str, folder: Path, machine: Machine) -> None:
    params = LoraTrainerParams(optimizer=kind, learning_rate=1.0, batch_size=1, rank=256, conv_rank=8)
    family = open_tiny("sd15", folder / "sd15")
    estimate = Estimator(family, one_view(family), machine)(params)
    step = Step(open_tiny("sd15", folder / "sd15"), params, machine)
    step.run()
    assert estimate.adapters == estimate.gradients == sum(p.nbytes for p in step.names.values())
    assert estimate.weights == sum(p.nbytes for p in step.denoiser.parameters() if not p.requires_grad)
    # counters of steps, and for prodigy the start of what started at zero, which the optimizer spares itself
    spared = sum(p.nbytes for name, p in step.names.items() if ".lora_B." in name) if kind == "prodigy" else 0
    assert estimate.optimizer == pytest.approx(step.state_bytes() + spared, abs=8 * len(step.names))


def test_every_part_is_in_the_sum_and_in_the_sentence() -> None:
    estimate = Estimate(
        weights=5 * 2**30, adapters=2**28, gradients=2**28, optimizer=2**29, saved=2**30, transient=2**29, workspace=0
    )
    assert estimate.total == 5 * 2**30 + 2**28 + 2**29 + 2**30 + 2**29
    sentence = estimate.describe()
    for part in ("about 7.2 GiB", "5.0 GiB for the base", "0.8 GiB for the adapters", "1.0 GiB kept", "0.5 GiB more"):
        assert part in sentence
    assert gib(3 * 2**20) == "3.0 MiB"


def test_gradients_of_recorded_steps_are_held_throughout(estimator: Estimator, monkeypatch: pytest.MonkeyPatch) -> None:
    params = LoraTrainerParams(**ASKED)
    plain = estimator(params)
    monkeypatch.setattr("assetforge_diffusers.memory.are_recorded", lambda *_: True)
    assert estimator(params).total == plain.total + plain.gradients


def test_only_steady_steps_on_a_gpu_are_recorded(machine: Machine) -> None:
    gpu = SimpleNamespace(device=torch.device("cuda"), accelerator=SimpleNamespace(scaler=None))
    scaled = SimpleNamespace(device=torch.device("cuda"), accelerator=SimpleNamespace(scaler="scaler"))
    assert are_recorded(LoraTrainerParams(), gpu)
    assert not are_recorded(LoraTrainerParams(), machine)
    assert not are_recorded(LoraTrainerParams(), scaled)
    for settings in ({"cuda_graphs": False}, {"dropout": 0.1}, {"offload": True, "quantize": "int8"}):
        assert not are_recorded(LoraTrainerParams(**settings), gpu)


def test_networks_chance_and_memories_stay_as_they_are(folder: Path, machine: Machine) -> None:
    family = open_tiny("flux1", folder / "flux1")
    view, denoiser = one_view(family), family.denoiser
    before = dict(denoiser.named_parameters())
    values = {name: parameter.detach().clone() for name, parameter in before.items()}
    assert view.told is not None
    inputs = (torch.zeros(1, *family.latents(view.moments, view.moments[:, ::2]).shape[1:]), torch.tensor([0.5]))
    with torch.no_grad():
        expected = family.predict(*inputs, view.told, view.geometry)
    state = torch.get_rng_state()
    Estimator(family, view, machine)(LoraTrainerParams(rank=4, quantize="int8", offload=True))
    assert torch.equal(torch.get_rng_state(), state)
    after = dict(denoiser.named_parameters())
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] and torch.equal(after[name], values[name]) for name in before)
    assert denoiser.training is False
    with torch.no_grad():
        assert torch.equal(family.predict(*inputs, view.told, view.geometry), expected)


@pytest.mark.slow
def test_a_network_that_trains_already_is_computed_as_it_would_be_anew(folder: Path, machine: Machine) -> None:
    params = LoraTrainerParams(rank=4, batch_size=2, gradient_checkpointing=True)
    fresh = open_tiny("sd15", folder / "sd15")
    expected = Estimator(fresh, one_view(fresh), machine)(params)
    for settings in ({}, {"quantize": "nf4"}, {"offload": True}):
        step = Step(open_tiny("sd15", folder / "sd15"), params.model_copy(update=settings), machine)
        assert Estimator(step.family, step.view, machine)(params) == expected
        step.run()


def test_text_encoders_that_are_trained_are_counted(folder: Path, machine: Machine) -> None:
    family = open_tiny("sd15", folder / "sd15")
    with_told = Estimator(family, one_view(family), machine)(LoraTrainerParams(rank=4))
    trained = Estimator(family, one_view(family, told=False), machine)(LoraTrainerParams(rank=4, text_encoder=True))
    encoder = sum(parameter.nbytes for parameter in family.base.load("text_encoder").parameters())
    buffers = sum(buffer.nbytes for buffer in family.base.load("text_encoder").buffers())
    assert trained.weights == with_told.weights + encoder + buffers
    assert trained.adapters > with_told.adapters
    assert trained.saved > with_told.saved


def test_what_cannot_be_followed_is_said_and_does_not_stop_the_run(folder: Path, machine: Machine) -> None:
    family = open_tiny("sd15", folder / "sd15")

    class Undecided(type(family)):
        def predict(self, noisy, time, told, geometry):
            return noisy * float(noisy.sum())

    undecided = Undecided(family.base)
    estimator = Estimator(undecided, one_view(undecided), machine)
    with pytest.raises(PluginError, match="cannot be computed beforehand"):
        estimator(LoraTrainerParams())
    fit = preflight(LoraTrainerParams(), 1, estimator, "cpu")
    assert fit.estimate is None
    assert "cannot be computed" in fit.message
    flux = open_tiny("flux1", folder / "flux1")
    refused = Estimator(flux, one_view(flux), machine)
    with pytest.raises(UsageError, match="no convolutions"):
        refused(LoraTrainerParams(conv_rank=4))


def test_what_was_computed_is_remembered_across_runs(
    folder: Path, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family, params = open_tiny("sd15", folder / "sd15"), LoraTrainerParams(rank=4, batch_size=2)
    first = Estimator(family, one_view(family), machine, tmp_path)(params)
    passes: list[LoraTrainerParams] = []
    original = Estimator._pass
    monkeypatch.setattr(Estimator, "_pass", lambda self, params: passes.append(params) or original(self, params))
    assert Estimator(family, one_view(family), machine, tmp_path)(params) == first
    assert not passes
    assert Estimator(family, one_view(family, side=64), machine, tmp_path)(params).saved > first.saved
    assert len(passes) == 1
    for file in tmp_path.iterdir():
        file.write_text("{}")
    assert Estimator(family, one_view(family), machine, tmp_path)(params) == first
    assert len(passes) == 2


def test_the_limit_is_what_was_said_or_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory_limit(LoraTrainerParams(memory_limit=1.5), CPU) == int(1.5 * 2**30)
    free = memory_limit(LoraTrainerParams(), CPU)
    assert 0 < free < 2**50
    held = torch.nn.Linear(1000, 1000)
    monkeypatch.setattr("assetforge_diffusers.memory._cgroup_free", lambda: 12_345)
    assert memory_limit(LoraTrainerParams(), CPU) == 12_345
    assert memory_limit(LoraTrainerParams(), CPU, [held]) == 12_345 + 4 * 1_001_000


NAMES = ["as asked", "checkpointing", "batch 2", "batch 1", "8-bit optimizer", "int8", "nf4", "offloading"]


@pytest.fixture(scope="module")
def rungs(estimator: Estimator) -> list[Rung]:
    return ladder(LoraTrainerParams(**ASKED), "cuda")


def test_the_ladder_takes_its_measures_in_order_each_on_top_of_those_before(rungs: list[Rung]) -> None:
    assert [rung.name for rung in rungs] == NAMES
    assert rungs[0].words == ""
    assert rungs[-1].changes == {
        "gradient_checkpointing": True,
        "batch_size": 1,
        "accumulate": 4,
        "optimizer": "adamw8bit",
        "quantize": "nf4",
        "offload": True,
    }
    assert rungs[2].words == "--set gradient_checkpointing=true --set batch_size=2 --set accumulate=2"
    for rung in rungs:
        assert rung.params.batch_size * rung.params.accumulate == 4
        assert rung.sentence.endswith(".")
        assert type(rung.params).model_validate(json.loads(rung.params.model_dump_json())) == rung.params


def test_measures_that_are_taken_or_not_for_this_device_are_left_out() -> None:
    taken = LoraTrainerParams(
        gradient_checkpointing=True, batch_size=6, accumulate=2, optimizer="prodigy", quantize="int8"
    )
    assert [rung.name for rung in ladder(taken, "cpu")] == ["as asked", "batch 3", "batch 1", "nf4"]
    assert [rung.params.accumulate for rung in ladder(taken, "cpu")[:3]] == [2, 4, 12]
    assert "nf4" not in [rung.name for rung in ladder(LoraTrainerParams(), "hpu")]
    assert "8-bit optimizer" not in [rung.name for rung in ladder(LoraTrainerParams(), "mps")]
    most = LoraTrainerParams(batch_size=2, accumulate=256)
    assert not any(rung.name.startswith("batch") for rung in ladder(most, "cpu"))


@pytest.mark.parametrize("place", [0, *(slow(place) for place in range(1, len(NAMES)))])
def test_every_rung_is_the_first_that_fits_once_and_runs(
    place: int, rungs: list[Rung], estimator: Estimator, folder: Path, machine: Machine
) -> None:
    rung = rungs[place]
    need = estimator(rung.params).total
    limit = need if place + 1 == len(rungs) else need + (estimator(rungs[place - 1].params).total - need) // 2
    limit = max(limit, need)
    first = next(fitting(rungs[0].params, limit, estimator, "cuda"))
    assert first.name == NAMES[place]
    assert first.estimate is not None
    assert first.estimate.total == need <= limit
    params = first.params.model_copy(update={"rank": 8, "alpha": 4.0})
    learnt = Step(open_tiny("sd15", folder / "sd15"), params, machine).run()
    assert all(bool(tensor.isfinite().all()) for tensor in learnt.values())
    assert any(bool(tensor.abs().max() > 0) for name, tensor in learnt.items() if ".lora_B." in name)


def test_checkpointing_and_smaller_batches_learn_the_same(folder: Path, machine: Machine) -> None:
    results = []
    for rung in ladder(LoraTrainerParams(rank=4, batch_size=4), "cpu")[:4]:
        torch.manual_seed(3)
        results.append(Step(open_tiny("sd15", folder / "sd15"), rung.params, machine).run())
    for other in results[1:]:
        for name, tensor in results[0].items():
            torch.testing.assert_close(other[name], tensor, rtol=2e-3, atol=2e-5)


def limit_for(estimator: Estimator, name: str) -> int:
    return estimator(next(rung for rung in ladder(LoraTrainerParams(**ASKED), "cpu") if rung.name == name).params).total


def test_a_run_that_fits_says_its_need_and_starts_as_asked(estimator: Estimator) -> None:
    params = LoraTrainerParams(**ASKED)
    fit = preflight(params, limit_for(estimator, "as asked"), estimator, "cpu")
    assert isinstance(fit, Fit)
    assert fit.params is params
    assert fit.message.startswith("A training step needs about")


def test_asked_what_to_do_it_names_need_limit_and_the_first_measure(estimator: Estimator) -> None:
    need, limit = limit_for(estimator, "as asked"), limit_for(estimator, "batch 2")
    with pytest.raises(UsageError) as caught:
        preflight(LoraTrainerParams(**ASKED), limit, estimator, "cpu")
    assert gib(need) in caught.value.message
    assert gib(limit) in caught.value.message
    words = "--set gradient_checkpointing=true --set batch_size=2 --set accumulate=2"
    assert words in caught.value.hint
    assert "fit_memory=auto" in caught.value.hint


def test_told_to_it_takes_the_first_measure_and_says_so(estimator: Estimator) -> None:
    params = LoraTrainerParams(**ASKED, fit_memory="auto")
    fit = preflight(params, limit_for(estimator, "batch 1"), estimator, "cpu")
    assert (fit.params.gradient_checkpointing, fit.params.batch_size, fit.params.accumulate) == (True, 1, 4)
    assert fit.params.quantize == "none"
    assert "Taken: --set gradient_checkpointing=true --set batch_size=1 --set accumulate=4" in fit.message
    assert "computed twice" in fit.message
    assert "2 pictures" not in fit.message
    assert "1 pictures" not in fit.message


@pytest.mark.slow
def test_when_nothing_suffices_it_says_how_much_the_least_needs(estimator: Estimator) -> None:
    for choice in ("ask", "auto"):
        with pytest.raises(UsageError, match=r"Even with .*quantize=nf4.* it needs") as caught:
            preflight(LoraTrainerParams(**ASKED, fit_memory=choice), 1000, estimator, "cpu")
        assert "smaller" in caught.value.hint


def test_after_running_out_of_memory_something_clearly_smaller_is_taken(estimator: Estimator) -> None:
    params = LoraTrainerParams(**ASKED, fit_memory="auto")
    plenty = 10 * limit_for(estimator, "as asked")
    fit = relieve(params, plenty, estimator, "cpu")
    assert fit.params.gradient_checkpointing
    assert fit.message.startswith("Memory ran out")
    further = relieve(fit.params, plenty, estimator, "cpu")
    assert further.params.batch_size < params.batch_size
    assert not further.params.offload
    with pytest.raises(UsageError, match="Memory ran out") as caught:
        relieve(LoraTrainerParams(**ASKED), plenty, estimator, "cpu")
    assert "--set gradient_checkpointing=true" in caught.value.hint


def watch(device: str, pressures: list[Pressure]) -> SlowdownWatch:
    row = iter(pressures)
    return SlowdownWatch(torch.device(device), lambda _: next(row))


FULL = Pressure(used=97 * 2**28, total=100 * 2**28, own=2**30)


def test_slow_steps_on_a_full_gpu_are_said_once_with_the_cause() -> None:
    seen = watch("cuda", [FULL] * 9)
    assert [seen.observe(0.1) for _ in range(20)] == [""] * 20
    assert [seen.observe(0.25) for _ in range(5)] == [""] * 5
    assert [bool(seen.observe(0.5)) for _ in range(6)] == [False, False, True, False, False, False]
    again = watch("cuda", [FULL] * 9)
    for _ in range(3):
        assert again.observe(0.1, 20) == ""
    said = again.observe(0.5, 20)
    assert "0.5 s instead of 0.1 s" in said
    assert "the GPU's memory is full" in said
    assert "24.2 GiB of 25.0 GiB are in use, 1.0 GiB by this run" in said


def test_swapping_is_said_on_a_cpu_and_slowness_alone_never() -> None:
    swapping = [Pressure(used=1, total=2, own=1, faults=1000 * step) for step in range(9)]
    seen = watch("cpu", swapping)
    for _ in range(20):
        seen.observe(1.0)
    said = [seen.observe(4.0) for _ in range(5)]
    assert [bool(sentence) for sentence in said] == [False, False, True, False, False]
    assert "swaps" in said[2]
    assert "1000 pages" in said[2]
    for device in ("cpu", "cuda"):
        calm = watch(device, [Pressure(used=1, total=2, own=1, faults=5)] * 99)
        for _ in range(20):
            calm.observe(1.0)
        assert not any(calm.observe(9.0) for _ in range(50))


def test_the_pressure_on_this_machine_can_be_read() -> None:
    now = pressure_on(CPU)
    assert 0 < now.own < now.total
    assert 0 < now.used <= now.total
    assert now.faults >= 0
