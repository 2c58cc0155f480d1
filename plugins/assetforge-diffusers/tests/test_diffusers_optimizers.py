"""Optimizers: they learn, their state is exact through real files, and looking at averaged weights changes nothing."""

import json
import sys
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from safetensors.torch import load_file, save_file

from assetforge.errors import UsageError
from assetforge_diffusers.optimizers import (
    Ema,
    ParameterGroup,
    load_optimizer_state,
    make_optimizer,
    optimizer_state,
    set_learning_rates,
    training_mode,
)
from assetforge_diffusers.params import LoraTrainerParams
from assetforge_diffusers.schedule import learning_rate_factor

OPTIMIZERS = ("adamw", "adamw8bit", "adafactor", "prodigy", "schedule-free")
RATES = {"prodigy": 1.0, "adafactor": 1e-2}
STEPS = 10


class ToyLora:
    """Two frozen layers with low-rank changes, one of them big enough for 8-bit state, in two groups."""

    def __init__(self, kind: str) -> None:
        source = torch.Generator().manual_seed(3)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=source) / shape[-1] ** 0.5

        self.base = [normal(1100, 32), normal(8, 1100)]
        self.target = [base + 0.1 * normal(*base.shape) for base in self.base]
        self.inputs = normal(64, 32) * 32**0.5
        self.parameters = {
            "unet.one.lora_A": torch.nn.Parameter(normal(4, 32)),
            "unet.one.lora_B": torch.nn.Parameter(torch.zeros(1100, 4)),
            "text.two.lora_A": torch.nn.Parameter(normal(4, 1100)),
            "text.two.lora_B": torch.nn.Parameter(torch.zeros(8, 4)),
        }
        self.params = LoraTrainerParams(
            optimizer=kind, learning_rate=RATES.get(kind, 1e-3), text_encoder_learning_rate=5e-4
        )
        names = tuple(self.parameters)
        rates = (self.params.learning_rate, self.params.text_encoder_learning_rate)
        groups = [
            ParameterGroup(part, tuple(self.parameters[name] for name in part), rate)
            for part, rate in zip((names[:2], names[2:]), rates, strict=True)
        ]
        self.optimizer = make_optimizer(self.params, groups)

    def loss(self) -> torch.Tensor:
        one, two = (
            base + self.parameters[f"{name}.lora_B"] @ self.parameters[f"{name}.lora_A"]
            for base, name in zip(self.base, ("unet.one", "text.two"), strict=True)
        )
        wanted = torch.relu(self.inputs @ self.target[0].T) @ self.target[1].T
        return (torch.relu(self.inputs @ one.T) @ two.T - wanted).square().mean()

    def train(self, first: int, last: int, total: int = STEPS) -> None:
        for step in range(first, last):
            self.optimizer.zero_grad()
            self.loss().backward()
            set_learning_rates(self.optimizer, learning_rate_factor("cosine", step, total, 0.2))
            self.optimizer.step()

    def weights(self) -> dict[str, torch.Tensor]:
        return {name: parameter.detach().clone() for name, parameter in self.parameters.items()}


def carry(source: ToyLora, target: ToyLora, folder: Path) -> dict:
    """Through real files, as a checkpoint does."""
    folder.mkdir()
    tensors, values = optimizer_state(source.optimizer, source.parameters)
    save_file(tensors, folder / "optimizer.safetensors")
    save_file(source.weights(), folder / "weights.safetensors")
    (folder / "state.json").write_text(json.dumps(values, allow_nan=False))
    saved, values = load_file(folder / "optimizer.safetensors"), json.loads((folder / "state.json").read_text())
    with torch.no_grad():
        for name, tensor in load_file(folder / "weights.safetensors").items():
            target.parameters[name].copy_(tensor)
    load_optimizer_state(target.optimizer, target.parameters, saved, values)
    return values


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_run_is_its_two_parts_through_files_bit_for_bit(kind: str, tmp_path: Path) -> None:
    total = 70 if kind == "prodigy" else STEPS  # its first 25 steps only look for the learning rate
    whole, first, second = (ToyLora(kind) for _ in range(3))
    before = whole.loss().item()
    whole.train(0, total, total)
    cut = total * 2 // 5
    first.train(0, cut, total)
    carry(first, second, tmp_path / "state")
    second.train(cut, total, total)
    assert same(whole.weights(), second.weights())
    assert not same(whole.weights(), first.weights())
    assert whole.loss().item() < before
    end, again = (optimizer_state(toy.optimizer, toy.parameters) for toy in (whole, second))
    assert same(end[0], again[0])
    assert end[1] == again[1]


STATE_NAMES = {
    "adamw": {"step", "exp_avg", "exp_avg_sq"},
    "adamw8bit": {"state1", "state2", "qmap1", "qmap2", "absmax1", "absmax2"},
    "adafactor": {"exp_avg_sq_row", "exp_avg_sq_col", "RMS"},
    "prodigy": {"exp_avg", "exp_avg_sq", "s", "p0"},
    "schedule-free": {"z", "exp_avg_sq"},
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_state_has_stable_names(kind: str) -> None:
    toy = ToyLora(kind)
    assert optimizer_state(toy.optimizer, toy.parameters)[0] == {}
    toy.train(0, 2)
    tensors, values = optimizer_state(toy.optimizer, toy.parameters)
    assert {name.rpartition("/")[0] for name in tensors} == set(toy.parameters)
    assert {name.rpartition("/")[2] for name in tensors} == STATE_NAMES[kind]
    assert values.keys() == {"groups", "parameters"}
    assert len(values["groups"]) == 2
    if kind == "prodigy":
        assert {"d", "d_max", "d_numerator", "k"} <= values["groups"][0].keys()
    if kind == "schedule-free":
        assert {"k", "weight_sum", "lr_max", "train_mode"} <= values["groups"][0].keys()


def test_eight_bits_are_used_where_they_save_something() -> None:
    toy = ToyLora("adamw8bit")
    toy.train(0, 1)
    tensors, _ = optimizer_state(toy.optimizer, toy.parameters)
    assert tensors["unet.one.lora_B/state1"].dtype == torch.uint8
    assert tensors["unet.one.lora_A/state1"].dtype == torch.float32


def test_a_checkpoint_of_averaged_weights_resumes_exactly(tmp_path: Path) -> None:
    whole, first, second = (ToyLora("schedule-free") for _ in range(3))
    whole.train(0, STEPS)
    first.train(0, 4)
    training_mode(first.optimizer, on=False)
    carry(first, second, tmp_path / "averaged")
    training_mode(second.optimizer, on=True)
    second.train(4, STEPS)
    assert same(whole.weights(), second.weights())


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_looking_at_averaged_weights_changes_nothing(kind: str) -> None:
    toy = ToyLora(kind)
    training_mode(toy.optimizer, on=False)
    training_mode(toy.optimizer, on=True)
    toy.train(0, 5)
    trained, (state, _) = toy.weights(), optimizer_state(toy.optimizer, toy.parameters)
    training_mode(toy.optimizer, on=False)
    training_mode(toy.optimizer, on=False)
    assert same(toy.weights(), trained) == (kind != "schedule-free")
    training_mode(toy.optimizer, on=True)
    training_mode(toy.optimizer, on=True)
    assert same(toy.weights(), trained)
    assert same(optimizer_state(toy.optimizer, toy.parameters)[0], state)


def test_the_averages_are_those_of_the_library() -> None:
    ours, theirs = ToyLora("schedule-free"), ToyLora("schedule-free")
    for toy in (ours, theirs):
        toy.train(0, 5)
    training_mode(ours.optimizer, on=False)
    theirs.optimizer.eval()
    assert same(ours.weights(), theirs.weights())


def test_learning_rates_follow_the_schedule_per_group() -> None:
    factors = [learning_rate_factor("cosine", step, STEPS, 0.2) for step in range(STEPS)]
    toy = ToyLora("adamw")
    for factor in factors:
        set_learning_rates(toy.optimizer, factor)
        assert [group["lr"] for group in toy.optimizer.param_groups] == [1e-3 * factor, 5e-4 * factor]
    free = ToyLora("schedule-free")
    seen = []
    for step in range(STEPS):
        free.train(step, step + 1)
        seen.append(free.optimizer.param_groups[0]["lr"])
    assert seen == [0.5e-3] + [1e-3] * (STEPS - 1)


def test_prodigy_has_one_rate_and_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    toy = ToyLora("prodigy")
    toy.train(0, 70, 70)
    assert capfd.readouterr().out == ""
    assert len({group["lr"] for group in toy.optimizer.param_groups}) == 1
    assert toy.optimizer.param_groups[0]["d"] > 1e-6


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_accelerate_may_wrap_them(kind: str, tmp_path: Path) -> None:
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(cpu=True)
    plain, wrapped, resumed = (ToyLora(kind) for _ in range(3))
    plain.train(0, 6)
    for toy in (wrapped, resumed):
        toy.optimizer = accelerator.prepare_optimizer(toy.optimizer)
    wrapped.train(0, 4)
    carry(wrapped, resumed, tmp_path / "state")
    resumed.train(4, 6)
    assert same(plain.weights(), resumed.weights())


def test_state_of_another_network_is_refused() -> None:
    toy = ToyLora("adamw")
    toy.train(0, 1)
    tensors, values = optimizer_state(toy.optimizer, toy.parameters)
    with pytest.raises(UsageError, match=r"another network: .*other"):
        load_optimizer_state(toy.optimizer, toy.parameters, {"other/exp_avg": torch.zeros(1)}, values)
    with pytest.raises(UsageError, match="1 groups"):
        load_optimizer_state(toy.optimizer, toy.parameters, tensors, {**values, "groups": values["groups"][:1]})


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"optimizer": "prodigy", "learning_rate": 1e-4}, "would leave nothing"),
        ({"optimizer": "schedule-free", "beta1": 0.0}, "beta1"),
        ({"optimizer": "schedule-free", "ema": 0.9}, "already averages"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict, match: str) -> None:
    weight = torch.nn.Parameter(torch.zeros(3))
    params = LoraTrainerParams(**settings)
    with pytest.raises(UsageError, match=match) as caught:
        make_optimizer(params, [ParameterGroup(("weight",), (weight,), params.learning_rate)])
    assert caught.value.hint


def test_a_missing_library_and_a_wrong_device_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    params = LoraTrainerParams(optimizer="adamw8bit")
    elsewhere = torch.nn.Parameter(torch.zeros(3, device="meta"))
    with pytest.raises(UsageError, match="does not run on meta"):
        make_optimizer(params, [ParameterGroup(("weight",), (elsewhere,), 1e-4)])
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    weight = torch.nn.Parameter(torch.zeros(3))
    with pytest.raises(UsageError, match="needs bitsandbytes") as caught:
        make_optimizer(params, [ParameterGroup(("weight",), (weight,), 1e-4)])
    assert "pip install bitsandbytes" in caught.value.hint
    with pytest.raises(UsageError, match="nothing to train"):
        make_optimizer(params, [ParameterGroup((), (), 1e-4)])


def test_ema_warms_up_swaps_and_resumes_exactly(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.zeros(3))
    ema, expected = Ema({"weight": weight}, 0.5), torch.zeros(3)
    for step in range(1, 21):
        with torch.no_grad():
            weight += step
        ema.update()
        expected = expected.lerp(weight.detach(), 1.0 - min(0.5, (1 + step) / (10 + step)))
        if step == 8:
            save_file(ema.state(), tmp_path / "average.safetensors")
            half = weight.detach().clone()
    trained = weight.detach().clone()
    with ema.swapped_in():
        assert torch.equal(weight.detach(), expected)
    assert torch.equal(weight.detach(), trained)
    with pytest.raises(RuntimeError), ema.swapped_in():
        raise RuntimeError
    assert torch.equal(weight.detach(), trained)
    other = torch.nn.Parameter(half)
    resumed = Ema({"weight": other}, 0.5)
    resumed.load_state(load_file(tmp_path / "average.safetensors"))
    for step in range(9, 21):
        with torch.no_grad():
            other += step
        resumed.update()
    assert same(resumed.state(), ema.state())
    with pytest.raises(UsageError, match="another network"):
        resumed.load_state({"weight": half})
