"""Which pictures are shown how: buckets, masks, captions, unreadable pictures, prior pictures, averages."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from assetforge.domain.buckets import bucket_sizes, cover, fit, fits
from assetforge.errors import UsageError
from assetforge_diffusers.captions import caption_variants, with_trigger
from assetforge_diffusers.params import LoraTrainerParams
from assetforge_diffusers.preparation import prepare
from assetforge_diffusers.trainer import LoraTrainer
from diffusers_world import FolderContext, slow, write_pictures

TINY = {"steps": 4, "rank": 2, "batch_size": 2, "learning_rate": 1e-2}


@pytest.mark.parametrize("resolution", [512, 768, 1024])
def test_buckets_have_the_area_and_the_multiples(resolution: int) -> None:
    sizes = bucket_sizes(resolution, 64)
    assert (resolution, resolution) in sizes
    assert all(width % 64 == height % 64 == 0 for width, height in sizes)
    assert all(width * height <= resolution**2 and 0.5 <= width / height <= 2.0 for width, height in sizes)
    assert {(height, width) for width, height in sizes} == set(sizes)


def test_pictures_go_where_their_shape_fits_and_are_not_enlarged() -> None:
    wide = fit((3000, 2000), 512, 64)
    assert wide.bucket == (640, 384)
    assert not wide.enlarged
    small = fit((600, 400), 1024, 64)
    assert small.bucket == (576, 384)
    assert not small.enlarged
    assert fit((600, 400), 1024, 64, enlarge=True).bucket == (1216, 832)
    assert fit((50, 900), 512, 64).enlarged  # narrower than one step: there is no other way
    for size in ((640, 480), (4000, 500), (511, 1900)):
        shown = fit(size, 512, 64)
        assert shown.resized[0] >= shown.bucket[0]
        assert shown.resized[1] >= shown.bucket[1]
        assert shown.left + shown.bucket[0] <= shown.resized[0]


def test_several_resolutions_show_a_picture_at_every_size_it_fills() -> None:
    assert [shown.bucket for shown in fits((2000, 2000), (512, 768, 1024), 64)] == [
        (512, 512),
        (768, 768),
        (1024, 1024),
    ]
    assert [shown.bucket for shown in fits((800, 800), (512, 768, 1024), 64)] == [(512, 512), (768, 768)]
    assert [shown.bucket for shown in fits((300, 300), (512, 768), 64)] == [(256, 256)]
    assert cover((100, 50), (32, 32)).resized == (64, 32)


def test_a_run_over_many_shapes_keeps_them_and_resumes(tmp_path: Path, base_folder: Path) -> None:
    inputs = write_pictures(tmp_path / "work" / "inputs", 4)
    for number, size in enumerate(((64, 32), (32, 64), (64, 40))):
        Image.effect_noise(size, 80).convert("RGB").save(inputs / f"wide-{number}.png")
    params = LoraTrainerParams(**TINY, resolutions=(16, 32), flip=True)
    context = FolderContext(inputs.parent, base_folder, params)
    run = prepare(context)
    assert len(run.material.buckets) > 3
    assert len(run.material.entries) == 14
    assert any(message.startswith("Sizes: ") for message in context.messages)
    result = LoraTrainer().train(FolderContext(inputs.parent, base_folder, params))
    assert result.metrics["export_difference"] == 0.0


def test_masks_come_from_files(tmp_path: Path, base_folder: Path) -> None:
    inputs = write_pictures(tmp_path / "work" / "inputs", 2)
    params = LoraTrainerParams(**TINY, mask="file", buckets=False, flip=True)
    context = FolderContext(inputs.parent, base_folder, params)
    with pytest.raises(UsageError, match="has a mask"):
        prepare(context)
    painted = np.zeros((20, 24), dtype=np.uint8)
    painted[:, :12] = 255
    Image.fromarray(painted).save(tmp_path / "work" / "mask.png")
    first, second = context.dataset.items
    masked = first.model_copy(update={"mask": "mask.png", "mask_sha256": "1" * 64})
    context.dataset = context.dataset.model_copy(update={"items": (masked, second)})
    run = prepare(context)
    assert any("1 of 2 pictures have no mask" in message for message in context.messages)
    masks = run.material.buckets[0].masks
    assert masks is not None
    assert masks[0, 0, 0, :, :6].min() == 1.0
    assert masks[0, 0, 0, :, 10:].max() == 0.0
    assert torch.equal(masks[0, 1], masks[0, 0].flip(-1))
    assert masks[1].min() == 1.0
    repainted = masked.model_copy(update={"mask": "mask.png", "mask_sha256": "2" * 64})
    Image.fromarray(255 - painted).save(tmp_path / "work" / "mask.png")
    context.dataset = context.dataset.model_copy(update={"items": (repainted, second)})
    other = prepare(context).material.buckets[0].masks
    assert other is not None
    assert torch.equal(other[0, 1], masks[0, 0])


def test_masks_come_from_alpha_and_weigh_the_loss(tmp_path: Path, base_folder: Path) -> None:
    inputs = write_pictures(tmp_path / "work" / "inputs", 1)
    pixels = np.full((32, 32, 4), 200, dtype=np.uint8)
    pixels[:, :16, 3], pixels[:, 16:, 3] = 255, 0
    Image.fromarray(pixels).save(inputs / "cut-out.png")
    run = prepare(FolderContext(inputs.parent, base_folder, LoraTrainerParams(**TINY, mask="alpha", buckets=False)))
    masks = run.material.buckets[0].masks
    assert masks is not None
    cut_out, whole = masks[0, 0, 0], masks[1, 0, 0]
    assert run.material.entries[0].name == "cut-out.png"
    assert whole.min() == 1.0
    assert cut_out[:, :7].min() == 1.0
    assert cut_out[:, 9:].max() == 0.0
    loop = run.loop(run.asked)
    loss = loop._objective.loss
    latents, noise = torch.zeros(1, 4, 16, 16), torch.ones(1, 4, 16, 16)
    draws = type("Draws", (), {"time": torch.tensor([0.5]), "noise": noise, "offset": torch.zeros(1, 4, 1, 1)})()
    half = torch.zeros(1, 1, 16, 16)
    half[..., :8] = 1.0

    def wrong_on_the_right(noisy: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        answer = noise.clone()
        answer[..., 8:] += 3.0
        return answer

    assert float(loss(wrong_on_the_right, latents, draws, loop._settings, half)) == 0.0
    assert float(loss(wrong_on_the_right, latents, draws, loop._settings, None)) > 0.0


def test_captions_are_shuffled_behind_the_kept_tags_and_triggered() -> None:
    params = LoraTrainerParams(shuffle_tags=True, keep_tags=1, caption_variants=6, insert_trigger=True)
    variants = caption_variants("robot, red, rain, night", "zork", params, seed=1)
    assert 1 < len(variants) <= 6
    assert all(variant.split(", ")[0] == "zork" for variant in variants)
    assert {frozenset(variant.split(", ")) for variant in variants} == {
        frozenset({"zork", "robot", "red", "rain", "night"})
    }
    assert variants == caption_variants("robot, red, rain, night", "zork", params, seed=1)
    assert variants != caption_variants("robot, red, rain, night", "zork", params, seed=2)
    assert with_trigger("a Zork at night", "zork") == "a Zork at night"
    assert with_trigger("", "zork") == "zork"
    assert caption_variants("robot, red", "zork", LoraTrainerParams(), 1) == ["robot, red"]


def test_odd_pictures_are_said_before_the_first_step_and_the_policy_decides(tmp_path: Path, base_folder: Path) -> None:
    inputs = write_pictures(tmp_path / "work" / "inputs", 3)
    Image.effect_noise((1600, 1200), 60).convert("RGB").save(inputs / "huge.png")
    corrupt = inputs / "corrupt.png"
    Image.effect_noise((64, 64), 60).convert("RGB").save(corrupt)
    bytes_ = corrupt.read_bytes()

    def context(**settings: object) -> FolderContext:
        corrupt.write_bytes(bytes_)
        made = FolderContext(inputs.parent, base_folder, LoraTrainerParams(**TINY, **settings))
        corrupt.write_bytes(bytes_[: len(bytes_) // 2])
        items = [
            item.model_copy(update={"caption": ""}) if "picture-1" in item.file else item for item in made.dataset.items
        ]
        made.dataset = made.dataset.model_copy(update={"items": tuple(items)})
        return made

    stopped = context()
    with pytest.raises(UsageError, match=r"1 pictures cannot be read\. corrupt\.png"):
        LoraTrainer().train(stopped)
    assert stopped.steps == []
    assert any(
        "1 of 5 pictures have no caption and are learnt without one: picture-1.png" in m for m in stopped.messages
    )
    going_on = context(bad_pictures="skip", empty_captions="skip")
    LoraTrainer().train(going_on)
    assert any("are left out. corrupt.png" in message for message in going_on.messages)
    names = [entry.name for entry in prepare(context(bad_pictures="skip", empty_captions="skip")).material.entries]
    assert names == ["huge.png", "picture-0.png", "picture-2.png"]
    with pytest.raises(UsageError, match=r"1 of 5 pictures have no caption: picture-1\.png"):
        prepare(context(bad_pictures="skip", empty_captions="stop"))


def test_prior_pictures_are_drawn_once_and_weighed(pictures: Path, base_folder: Path) -> None:
    params = LoraTrainerParams(**TINY, prior_pictures=3, prior_weight=0.5)
    first = FolderContext(pictures.parent, base_folder, params)
    run = prepare(first)
    assert [entry.weight for entry in run.material.entries] == [1.0] * 5 + [0.5] * 3
    assert any("Drawing 3 pictures of 'a robot'" in message for message in first.messages)
    again = FolderContext(pictures.parent, base_folder, params)
    LoraTrainer().train(again)
    assert not any("Drawing" in message for message in again.messages)
    nameless = FolderContext(pictures.parent, base_folder, params)
    nameless.payload = nameless.payload.model_copy(update={"class_word": ""})
    with pytest.raises(UsageError, match="need a class word"):
        prepare(nameless)


@pytest.mark.parametrize("optimizer", ["adamw", slow("adafactor"), slow("prodigy"), slow("schedule-free")])
def test_averages_accumulation_and_optimizers_resume_exactly(
    optimizer: str, pictures: Path, base_folder: Path, tmp_path: Path
) -> None:
    params = LoraTrainerParams(
        steps=5,
        rank=2,
        batch_size=2,
        accumulate=2,
        ema=0.0 if optimizer == "schedule-free" else 0.9,
        learning_rate=1.0 if optimizer == "prodigy" else 1e-3,
        optimizer=optimizer,
        checkpoint_every=2,
        keep_every=3,
    )

    def weights(folder: Path, **stop: object) -> dict[str, torch.Tensor]:
        context = FolderContext(folder, base_folder, params, cache=tmp_path / "cache", **stop)
        result = LoraTrainer().train(context)
        assert [(one.step, one.final) for one in result.weights] == [(3, False), (5, True)]
        return load_file(context.outputs / "zork-v001.safetensors")

    straight = weights(pictures.parent)
    import shutil

    from assetforge.api.context import Stopped

    shutil.copytree(pictures, tmp_path / "again" / "inputs")
    with pytest.raises(Stopped):
        weights(tmp_path / "again", stop=lambda step: step >= 3)
    resumed = weights(tmp_path / "again")
    assert straight.keys() == resumed.keys()
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)
