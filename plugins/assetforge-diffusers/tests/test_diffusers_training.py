"""Training: finite, deterministic, stoppable, killable, exact on resume."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.training_utils import compute_snr
from safetensors.torch import load_file

from assetforge.api.context import Stopped
from assetforge.api.protocols import TrainingLength
from assetforge.errors import AssetForgeError, JobError, UsageError
from assetforge_diffusers.basefiles import BaseFiles
from assetforge_diffusers.draws import Shuffle, draw
from assetforge_diffusers.families.sd15 import StableDiffusion15
from assetforge_diffusers.loop import TrainingLoop
from assetforge_diffusers.objective import Diffusion, LossSettings, snr_weights
from assetforge_diffusers.params import LoraTrainerParams
from assetforge_diffusers.preparation import prepare
from assetforge_diffusers.schedule import learning_rate_factor, total_steps, training_length
from assetforge_diffusers.trainer import LoraTrainer
from diffusers_world import FolderContext, fresh_workdir, items_of, tiny_base

TINY = {"rank": 4, "alpha": 3.0, "steps": 7, "batch_size": 2, "learning_rate": 1e-2, "checkpoint_every": 3}
RICH = {
    **TINY,
    "conv_rank": 2,
    "text_encoder": True,
    "dropout": 0.1,
    "flip": True,
    "caption_dropout": 0.3,
    "noise_offset": 0.05,
}


def weights_of(context: FolderContext) -> dict[str, torch.Tensor]:
    return load_file(context.outputs / "zork-v001.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def workdir(pictures: Path) -> Path:
    return pictures.parent


def test_a_run_reports_and_registers_finite_weights(workdir: Path, base_folder: Path) -> None:
    context = FolderContext(workdir, base_folder, LoraTrainerParams(**TINY, validation_every=3), held_out=1)
    result = LoraTrainer().train(context)
    assert [step for step, _ in context.steps] == sorted(step for step, _ in context.steps)
    assert context.steps[-1] == (7, 7)
    assert {"loss", "lr", "it_s", "memory_mb"} <= context.figures[-1].keys()
    assert [step for _, _, step in context.metrics] == [3, 6, 7]
    assert all(bool(torch.isfinite(tensor).all()) for tensor in weights_of(context).values())
    assert any(bool(tensor.abs().max() > 0) for name, tensor in weights_of(context).items() if "lora_up" in name)
    assert result.metrics["export_difference"] == 0.0
    assert result.weights[0].kohya == "outputs/zork-v001.safetensors"
    assert (workdir / result.weights[0].diffusers).is_file()
    assert result.engine["device"] == "cpu"


@pytest.mark.parametrize("settings", [TINY, RICH])
def test_stop_at_a_random_step_and_resume_gives_the_same_bits(
    workdir: Path, base_folder: Path, tmp_path: Path, settings: dict
) -> None:
    params = LoraTrainerParams(**settings)
    whole = FolderContext(workdir, base_folder, params)
    LoraTrainer().train(whole)
    stop_at = random.randint(1, 6)
    parts = fresh_workdir(workdir, tmp_path / "parts")
    stopped = FolderContext(parts, base_folder, params, stop=lambda step: step >= stop_at)
    with pytest.raises(Stopped):
        LoraTrainer().train(stopped)
    resumed = FolderContext(parts, base_folder, params)
    LoraTrainer().train(resumed)
    assert resumed.steps[0][0] == stopped.steps[-1][0] == stop_at
    assert same(weights_of(whole), weights_of(resumed)), f"stopped at {stop_at}"


@pytest.mark.slow
def test_two_stops_in_a_row_and_a_stop_before_the_first_step(workdir: Path, base_folder: Path, tmp_path: Path) -> None:
    params = LoraTrainerParams(**TINY)
    whole = FolderContext(workdir, base_folder, params)
    LoraTrainer().train(whole)
    parts = fresh_workdir(workdir, tmp_path / "parts")
    for last_step in (-1, 0, 2, 2, 5):
        with pytest.raises(Stopped):
            LoraTrainer().train(
                FolderContext(parts, base_folder, params, stop=lambda step, last_step=last_step: step >= last_step)
            )
    last = FolderContext(parts, base_folder, params)
    LoraTrainer().train(last)
    assert last.steps[0][0] == 5
    assert same(weights_of(whole), weights_of(last))


CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(1)
from pathlib import Path
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.training_utils import compute_snr
from diffusers_world import FolderContext
from assetforge_diffusers.params import LoraTrainerParams
from assetforge_diffusers.trainer import LoraTrainer
class Loud(FolderContext):
    def progress(self, step, total, **figures):
        print(step, flush=True)
settings = LoraTrainerParams.model_validate_json(sys.argv[4])
LoraTrainer().train(Loud(Path(sys.argv[2]), Path(sys.argv[3]), settings))
"""


@pytest.mark.slow
def test_a_killed_child_resumes_to_the_same_bits(workdir: Path, base_folder: Path, tmp_path: Path) -> None:
    params = LoraTrainerParams(**{**RICH, "steps": 12, "checkpoint_every": 2})
    whole = FolderContext(workdir, base_folder, params)
    LoraTrainer().train(whole)
    parts = fresh_workdir(workdir, tmp_path / "parts")
    command = [
        sys.executable,
        "-c",
        CHILD,
        str(Path(__file__).parent),
        str(parts),
        str(base_folder),
        params.model_dump_json(),
    ]
    kill_after = random.randint(3, 9)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if int(line) >= kill_after:
                os.kill(child.pid, signal.SIGKILL)
                break
        child.wait()
    assert child.returncode == -signal.SIGKILL
    resumed = FolderContext(parts, base_folder, params)
    LoraTrainer().train(resumed)
    assert 0 < resumed.steps[0][0] <= kill_after + 1
    assert same(weights_of(whole), weights_of(resumed)), f"killed after {kill_after}"


def test_the_seed_decides_and_nothing_else_does(workdir: Path, base_folder: Path, tmp_path: Path) -> None:
    results = []
    for index, seed in enumerate((7, 7, 8)):
        torch.manual_seed(index)  # whatever happened in the process before
        context = FolderContext(
            fresh_workdir(workdir, tmp_path / str(index)), base_folder, LoraTrainerParams(**RICH), seed=seed
        )
        result = LoraTrainer().train(context)
        results.append(result.weights[0].tensor_hash)
    assert results[0] == results[1] != results[2]


def test_checkpoints_change_nothing_but_are_refused_by_another_run(
    workdir: Path, base_folder: Path, tmp_path: Path
) -> None:
    often = FolderContext(workdir, base_folder, LoraTrainerParams(**{**TINY, "checkpoint_every": 1}))
    rarely = FolderContext(
        fresh_workdir(workdir, tmp_path / "rarely"), base_folder, LoraTrainerParams(**{**TINY, "checkpoint_every": 100})
    )
    LoraTrainer().train(often)
    LoraTrainer().train(rarely)
    assert same(weights_of(often), weights_of(rarely))
    with pytest.raises(JobError, match="rank changed"):
        LoraTrainer().train(FolderContext(workdir, base_folder, LoraTrainerParams(**{**TINY, "rank": 8})))


def test_nan_stops_the_run_and_names_step_and_pictures(workdir: Path, base_folder: Path) -> None:
    context = FolderContext(
        workdir, base_folder, LoraTrainerParams(**{**TINY, "learning_rate": 1.0, "max_grad_norm": 0})
    )
    original = Diffusion.loss

    def poisoned(self, *args):
        loss = original(self, *args)
        poisoned.calls += 1
        return loss * float("nan") if poisoned.calls == 4 else loss

    poisoned.calls = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Diffusion, "loss", poisoned)
        with pytest.raises(
            JobError, match=r"loss of step 4 is not a number; its pictures are picture-\d\.png"
        ) as caught:
            LoraTrainer().train(context)
    assert caught.value.hint
    checkpoint = context.latest_checkpoint()
    assert checkpoint is not None
    assert checkpoint.step == 3


def test_warm_start_continues_from_a_file_with_another_alpha(workdir: Path, base_folder: Path, tmp_path: Path) -> None:
    first = FolderContext(workdir, base_folder, LoraTrainerParams(**RICH))
    LoraTrainer().train(first)
    second = fresh_workdir(workdir, tmp_path / "second")
    start = second / "inputs" / "start.safetensors"
    start.write_bytes((first.outputs / "zork-v001.safetensors").read_bytes())
    # a learning rate near zero leaves the weights where they started, in another alpha
    settings = {
        **RICH,
        "alpha": 6.0,
        "learning_rate": 1e-12,
        "text_encoder_learning_rate": 1e-12,
        "steps": 1,
        "weight_decay": 0.0,
    }
    context = FolderContext(second, base_folder, LoraTrainerParams(**settings), warm_start="inputs/start.safetensors")
    LoraTrainer().train(context)
    old, new = weights_of(first), weights_of(context)
    for name in (n for n in old if n.endswith("lora_up.weight")):
        alpha = name.replace("lora_up.weight", "alpha")
        torch.testing.assert_close(new[name] * new[alpha], old[name] * old[alpha], rtol=1e-4, atol=1e-7)
    with pytest.raises(UsageError, match="do not fit"):
        LoraTrainer().train(
            FolderContext(
                fresh_workdir(second, tmp_path / "third"),
                base_folder,
                LoraTrainerParams(**{**RICH, "rank": 8}),
                warm_start="inputs/start.safetensors",
            )
        )


def test_velocity_prediction_and_bf16_train_too(workdir: Path, tmp_path: Path) -> None:
    base = tiny_base(tmp_path / "v-base", prediction="v_prediction")
    context = FolderContext(workdir, base, LoraTrainerParams(**{**TINY, "steps": 2, "precision": "bf16"}))
    result = LoraTrainer().train(context)
    assert result.metrics["export_difference"] == 0.0
    assert result.engine["dtype"] == "bf16"


@pytest.mark.slow
def test_gradient_checkpointing_gives_the_same_weights(workdir: Path, base_folder: Path, tmp_path: Path) -> None:
    plain = FolderContext(workdir, base_folder, LoraTrainerParams(**{**RICH, "steps": 3}))
    LoraTrainer().train(plain)
    saving = FolderContext(
        fresh_workdir(workdir, tmp_path / "saving"),
        base_folder,
        LoraTrainerParams(**{**RICH, "steps": 3, "gradient_checkpointing": True}),
    )
    LoraTrainer().train(saving)
    for name, tensor in weights_of(plain).items():
        torch.testing.assert_close(weights_of(saving)[name], tensor, rtol=1e-3, atol=1e-5)


def test_what_cannot_be_trained_is_refused_in_words(workdir: Path, base_folder: Path, tmp_path: Path) -> None:
    def refuse(match: str, base: Path = base_folder, folder: Path = workdir, **changes) -> None:
        with pytest.raises(AssetForgeError, match=match) as caught:
            LoraTrainer().train(FolderContext(folder, base, LoraTrainerParams(**{**TINY, **changes})))
        assert caught.value.hint

    refuse("not a multiple of 2", resolutions=33, buckets=False)
    refuse("fp16 is only for", precision="fp16")
    empty = tmp_path / "empty"
    (empty / "inputs").mkdir(parents=True)
    refuse("no picture to train on", folder=empty)
    refuse("not a pipeline folder", base=tmp_path)


def test_running_out_of_memory_before_the_first_step_is_said_with_what_to_change(
    workdir: Path, base_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args):
        raise torch.OutOfMemoryError("tried to allocate 9 GiB")

    monkeypatch.setattr(StableDiffusion15, "encode_pictures", full)
    with pytest.raises(JobError, match="ran out of memory: tried to allocate 9 GiB") as caught:
        LoraTrainer().train(FolderContext(workdir, base_folder, LoraTrainerParams(**TINY)))
    assert "batch_size" in caught.value.hint


def test_captions_without_the_trigger_word_are_mentioned(workdir: Path, base_folder: Path) -> None:
    context = FolderContext(workdir, base_folder, LoraTrainerParams(**TINY))
    context.payload = context.payload.model_copy(update={"trigger": "mara"})
    prepare(context)
    assert any("5 of 5 captions do not say the trigger word mara" in message for message in context.messages)


def test_length_follows_from_views() -> None:
    params = LoraTrainerParams(views=100, batch_size=4)
    assert total_steps(params, 12) == 300
    assert total_steps(LoraTrainerParams(steps=5), 12) == 5
    assert training_length(params, 12) == TrainingLength(300, 4, 12)
    wider = LoraTrainerParams(views=10, batch_size=2, accumulate=3, resolutions=(512, 768), prior_pictures=6)
    assert training_length(wider, 12) == TrainingLength(50, 6, 30)


def test_learning_rate_rises_then_falls_to_zero() -> None:
    factors = [learning_rate_factor("cosine", step, 100, 0.1) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == factors[9] == 1.0
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[-1] < 0.001
    assert learning_rate_factor("linear", 55, 100, 0.1) == pytest.approx(0.5)
    assert learning_rate_factor("constant", 99, 100, 0.1) == 1.0
    assert learning_rate_factor("cosine", 0, 1, 0.0) == 1.0


def test_every_picture_is_seen_as_often_as_it_repeats() -> None:
    shuffle = Shuffle([[0, 1, 1, 1, 2]], batch_size=2, seed=1, flip=True, caption_dropout=0.5)
    picks = [pick for step in range(50) for pick in shuffle.batch(step)]
    seen = [pick.entry for pick in picks]
    assert [seen.count(item) for item in range(3)] == [20, 60, 20]
    assert 25 < sum(pick.flipped for pick in picks) < 75
    assert 25 < sum(pick.variant >= 0 for pick in picks) < 75
    assert all(shuffle.batch(step) == shuffle.batch(step) for step in (49, 3, 17))
    assert shuffle.batch(17) == Shuffle([[0, 1, 1, 1, 2]], 2, 1, flip=True, caption_dropout=0.5).batch(17)


def test_batches_are_of_one_size_and_no_picture_is_forgotten() -> None:
    """Buckets of 7, 3 and 1 pictures in batches of 4: all batches full, every picture seen equally often in the long run, in any order of asking."""
    sizes = [[*range(7)], [7, 8, 9], [10]]
    shuffle = Shuffle(sizes, batch_size=4, seed=3, flip=False, caption_dropout=0.0)
    batches = [shuffle.batch(index) for index in range(11 * 40)]
    where = {entry: number for number, entries in enumerate(sizes) for entry in entries}
    assert all(len({where[pick.entry] for pick in batch}) == 1 and len(batch) == 4 for batch in batches)
    seen = [pick.entry for batch in batches for pick in batch]
    assert {seen.count(entry) for entry in where} == {160}
    fresh = Shuffle(sizes, batch_size=4, seed=3, flip=False, caption_dropout=0.0)
    assert [fresh.batch(index) for index in (400, 0, 77, 78)] == [batches[index] for index in (400, 0, 77, 78)]


def test_min_snr_weights_in_both_forms() -> None:
    alphas = torch.tensor([0.99, 0.5, 0.1, 0.0])
    snr = torch.tensor([99.0, 1.0, 1 / 9, 0.0])
    torch.testing.assert_close(
        snr_weights(alphas, "epsilon", 5.0), torch.tensor([5 / 99, 1.0, 1.0, 1.0]), rtol=1e-4, atol=0
    )
    torch.testing.assert_close(
        snr_weights(alphas, "v_prediction", 5.0), snr.clamp(max=5) / (snr + 1), rtol=1e-4, atol=1e-7
    )
    assert snr_weights(alphas, "epsilon", 0.0).tolist() == [1.0] * 4


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_loss_is_that_of_the_reference_scripts(prediction: str, tmp_path: Path) -> None:
    """Noise, target and weight as diffusers' training examples compute them, from its own scheduler and helpers."""
    base = tiny_base(tmp_path / prediction, prediction=prediction)
    family = StableDiffusion15(BaseFiles(base, "StableDiffusionPipeline"))
    scheduler = family.base.load("scheduler")
    draws = draw(torch.Generator().manual_seed(1), (4, 4, 16, 16))
    moments = torch.randn((4, 8, 16, 16), generator=torch.Generator().manual_seed(2))
    hidden = torch.randn((4, 24, 16), generator=torch.Generator().manual_seed(3))
    latents = family.latents(moments, draws.encoding)
    posterior = DiagonalGaussianDistribution(moments)
    torch.testing.assert_close(latents, (posterior.mean + posterior.std * draws.encoding) * 0.18215)
    timesteps = (draws.time * 1000).long()
    noise = draws.noise + 0.1 * draws.offset
    noisy = scheduler.add_noise(latents, noise, timesteps)
    target = noise if prediction == "epsilon" else scheduler.get_velocity(latents, noise, timesteps)
    snr = compute_snr(scheduler, timesteps)
    weight = snr.clamp(max=5.0) / (snr if prediction == "epsilon" else snr + 1)
    with torch.no_grad():
        predicted = family.denoiser(noisy, timesteps, encoder_hidden_states=hidden).sample
        expected = (predicted - target).square().mean(dim=(1, 2, 3)) * weight
        ours = family.objective.loss(
            lambda noisy, time: family.predict(noisy, time, {"hidden": hidden}, torch.zeros(4, 6)),
            latents,
            draws,
            LossSettings(min_snr_gamma=5.0, noise_offset=0.1),
            None,
        )
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)


def test_a_step_never_waits_for_the_device(workdir: Path, base_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a value from a tensor is what makes a GPU wait; a step reads none."""
    params = LoraTrainerParams(**RICH)
    loop: TrainingLoop = prepare(FolderContext(workdir, base_folder, params)).loop(params)
    loop._window = 3
    loop._figures = torch.zeros((3, 2))
    reads: list[str] = []
    for name in ("item", "tolist", "__float__", "__bool__", "__int__", "numpy"):
        original = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor, name, lambda self, *a, _n=name, _o=original, **k: (reads.append(_n), _o(self, *a, **k))[1]
        )
    loop.step(0)
    reads.clear()
    loop.shuffle.batch(1)  # the permutation of an epoch is drawn on the CPU, once an epoch
    before = len(reads)
    loop.step(1)
    assert reads[before:] == []
    assert loop.read()[1] is None


def test_items_have_the_hash_of_their_bytes(pictures: Path) -> None:
    started = time.monotonic()
    assert len({item.sha256 for item in items_of(pictures)}) == 5
    assert time.monotonic() - started < 5
