import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from assetforge_toybox.models import new_scheduler  # noqa: E402
from assetforge_toybox.training.base import BATCH, LAYOUT_FROM, LAYOUT_STEPS, draw_timesteps, velocity_loss  # noqa: E402
from assetforge_toybox.training.loop import (  # noqa: E402
    Average,
    generator,
    held_rate,
    learning_rate,
    load_checkpoint,
    save_checkpoint,
)


def _trained(folder, stops):
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    average = Average(model, 0.9)
    for stop in stops:
        if folder is not None:
            torch.manual_seed(99)
            model = torch.nn.Linear(4, 4)
            optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
            average = Average(model, 0.9)
        first = load_checkpoint(folder, model, average, optimizer) if folder is not None else 0
        if folder is not None and first == 0:
            torch.manual_seed(0)
            model.reset_parameters()
            average = Average(model, 0.9)
        for step in range(first, stop):
            x = torch.randn(8, 4, generator=generator("test", step))
            loss = (model(x) - x.flip(1)).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            average.update(model, step)
        if folder is not None:
            save_checkpoint(folder, stop, model, average, optimizer)
    return model.weight.detach().clone(), average.weights["weight"].clone()


def test_a_resumed_training_ends_in_the_same_weights(tmp_path):
    whole, whole_average = _trained(tmp_path / "whole", [12])
    parts, parts_average = _trained(tmp_path / "parts", [5, 6, 12])
    assert torch.equal(whole, parts)
    assert torch.equal(whole_average, parts_average)
    assert [p.name for p in (tmp_path / "parts").glob("*.safetensors")] == ["checkpoint-000012.safetensors"]


def test_rates_rise_hold_and_fall():
    assert learning_rate(0, 100, 1.0, 10) == pytest.approx(0.1)
    assert learning_rate(10, 100, 1.0, 10) == pytest.approx(1.0)
    assert learning_rate(100, 100, 1.0, 10) == pytest.approx(0.01)
    assert held_rate(50, 100, 1.0, 10) == 1.0
    assert held_rate(50, 100, 1.0, 10) == held_rate(50, 200, 1.0, 10)
    assert held_rate(99, 100, 1.0, 10) < 0.02


def test_a_perfect_prediction_costs_nothing():
    clean, noise = torch.randn(2, 8, 4, 4), torch.randn(2, 8, 4, 4)
    timesteps, scheduler = torch.tensor([10, 990]), new_scheduler()
    assert velocity_loss(scheduler.get_velocity(clean, noise, timesteps), clean, noise, timesteps, scheduler) == 0
    assert velocity_loss(clean, clean, noise, timesteps, scheduler) > 0


def test_the_schedule_ends_in_noise():
    assert new_scheduler().alphas_cumprod[-1] < 3e-4


def test_late_steps_draw_half_of_their_noise_levels_where_layout_is_decided():
    early = draw_timesteps(0, generator("t", 0))
    late = draw_timesteps(LAYOUT_STEPS, generator("t", 0))
    assert early.shape == late.shape == (BATCH,)
    assert bool((late[: BATCH // 2] >= LAYOUT_FROM).all())
    assert bool((early[: BATCH // 2] < LAYOUT_FROM).any())
