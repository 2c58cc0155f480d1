"""Pictures and caches: read as people see them, keyed by content, encoded once."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from assetforge.api.context import Stopped
from assetforge.domain.buckets import cover
from assetforge.errors import ImageError
from assetforge_diffusers.families.sd15 import StableDiffusion15
from assetforge_diffusers.params import LoraTrainerParams
from assetforge_diffusers.pictures import read_fitted
from assetforge_diffusers.preparation import prepare
from diffusers_world import FolderContext


def square_of(
    file: Path, side: int, crop: tuple[int, int, int, int] | None = None, *, flip: bool = False
) -> np.ndarray:
    """The middle of a picture as a square."""
    return read_fitted(file, cover((100, 100), (side, side)), crop, flip=flip)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often the encoders ran."""
    counts = {"pictures": 0, "captions": 0}
    picture, tokens = StableDiffusion15.encode_pictures, StableDiffusion15.encode_tokens

    def count_picture(self, pixels):
        counts["pictures"] += len(pixels)
        return picture(self, pixels)

    def count_tokens(self, ids):
        counts["captions"] += len(ids["ids"])
        return tokens(self, ids)

    monkeypatch.setattr(StableDiffusion15, "encode_pictures", count_picture)
    monkeypatch.setattr(StableDiffusion15, "encode_tokens", count_tokens)
    return counts


def test_nothing_is_encoded_twice_and_content_decides(
    pictures: Path, base_folder: Path, encoded: dict[str, int], tmp_path: Path
) -> None:
    params = LoraTrainerParams(steps=1, rank=2)
    shared = tmp_path / "cache"

    def encode(context: FolderContext) -> tuple[int, int]:
        encoded.update(pictures=0, captions=0)
        prepare(context)
        return encoded["pictures"], encoded["captions"]

    def context(**changes) -> FolderContext:
        return FolderContext(pictures.parent, base_folder, changes.pop("params", params), cache=shared, **changes)

    assert encode(context()) == (5, 6)  # five captions and the empty one
    assert encode(context()) == (0, 0)
    name = pictures / "picture-2.png"
    replaced = np.asarray(Image.open(name)).copy()
    replaced[0, 0] = 255 - replaced[0, 0]
    Image.fromarray(replaced).save(name)  # same name, same size, other content
    assert encode(context()) == (1, 0)
    edited = context()
    items = [
        item.model_copy(update={"caption": "zork robot in the rain"}) if index == 1 else item
        for index, item in enumerate(edited.dataset.items)
    ]
    edited.dataset = edited.dataset.model_copy(update={"items": tuple(items)})
    assert encode(edited) == (0, 1)
    cropped = context()
    items = [
        item.model_copy(update={"crop": (0, 0, 30, 30)}) if index == 1 else item
        for index, item in enumerate(cropped.dataset.items)
    ]
    cropped.dataset = cropped.dataset.model_copy(update={"items": tuple(items)})
    assert encode(cropped) == (1, 0)
    assert encode(context(params=LoraTrainerParams(steps=1, rank=2, flip=True))) == (5, 0)
    assert encode(context(params=LoraTrainerParams(steps=1, rank=2, resolutions=16))) == (5, 0)
    assert encode(context(params=LoraTrainerParams(steps=1, rank=2, text_encoder=True))) == (0, 0)


def test_a_damaged_or_deleted_entry_is_made_again(pictures: Path, base_folder: Path, encoded: dict[str, int]) -> None:
    context = FolderContext(pictures.parent, base_folder, LoraTrainerParams(steps=1, rank=2))
    before = prepare(context).material
    entries = sorted(context.cache.rglob("*.safetensors"))
    assert len(entries) == 11
    for entry in entries[:5]:
        entry.write_bytes(entry.read_bytes()[:40])
    for entry in entries[5:8]:
        entry.unlink()
    encoded.update(pictures=0, captions=0)
    after = prepare(context).material
    assert sum(encoded.values()) == 8
    assert bool((before.buckets[0].moments == after.buckets[0].moments).all())
    assert not list(context.cache.rglob("*.partial"))


def test_held_out_pictures_are_never_trained_on(pictures: Path, base_folder: Path) -> None:
    run = prepare(
        FolderContext(pictures.parent, base_folder, LoraTrainerParams(steps=1, rank=2, validation_every=1), held_out=2)
    )
    assert tuple(entry.name for entry in run.material.entries) == (
        "picture-0.png",
        "picture-1.png",
        "picture-2.png",
    )
    assert run.held_out is not None
    assert tuple(entry.name for entry in run.held_out.entries) == ("picture-3.png", "picture-4.png")


def test_a_stop_while_encoding_keeps_what_is_encoded(
    pictures: Path, base_folder: Path, encoded: dict[str, int]
) -> None:
    params = LoraTrainerParams(steps=1, rank=2)
    with pytest.raises(Stopped):
        prepare(FolderContext(pictures.parent, base_folder, params, stop=lambda step: encoded["pictures"] >= 3))
    assert encoded["pictures"] == 3
    prepare(FolderContext(pictures.parent, base_folder, params))
    assert encoded["pictures"] == 5


def test_long_captions_are_said_to_be_cut(pictures: Path, base_folder: Path) -> None:
    context = FolderContext(pictures.parent, base_folder, LoraTrainerParams(steps=1, rank=2))
    items = [item.model_copy(update={"caption": "word " * 30}) for item in context.dataset.items]
    context.dataset = context.dataset.model_copy(update={"items": tuple(items)})
    prepare(context)
    assert any("too long for the text encoder" in message for message in context.messages)


def test_exif_orientation_crop_and_centre_square(tmp_path: Path) -> None:
    pixels = np.zeros((40, 80, 3), dtype=np.uint8)
    pixels[:, :40] = (255, 0, 0)
    pixels[:, 40:] = (0, 0, 255)
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned right: red on top, blue below
    image.save(tmp_path / "turned.png", exif=exif)
    square = square_of(tmp_path / "turned.png", 16)
    assert tuple(square[2, 8]) == (255, 0, 0)
    assert tuple(square[13, 8]) == (0, 0, 255)
    top = square_of(tmp_path / "turned.png", 16, (0, 0, 40, 40))
    assert {tuple(pixel) for pixel in top.reshape(-1, 3)} == {(255, 0, 0)}
    image.save(tmp_path / "plain.png")
    assert tuple(square_of(tmp_path / "plain.png", 16)[8, 2]) == (255, 0, 0)
    assert tuple(square_of(tmp_path / "plain.png", 16, flip=True)[8, 2]) == (0, 0, 255)
    with pytest.raises(ImageError, match="lies outside"):
        square_of(tmp_path / "plain.png", 16, (0, 0, 81, 40))


def test_alpha_lies_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (20, 20), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("LA", (20, 20), (0, 128)).save(tmp_path / "grey.png")
    palette = Image.new("P", (20, 20), 0)
    palette.info["transparency"] = 0
    palette.save(tmp_path / "palette.gif", transparency=0)
    assert tuple(square_of(tmp_path / "clear.png", 8)[4, 4]) == (255, 255, 255)
    assert tuple(square_of(tmp_path / "grey.png", 8)[4, 4]) == (127, 127, 127)
    assert tuple(square_of(tmp_path / "palette.gif", 8)[4, 4]) == (255, 255, 255)


def test_profiles_cmyk_and_sixteen_bits_become_srgb(tmp_path: Path) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    Image.new("RGB", (8, 8), (200, 100, 50)).save(
        tmp_path / "srgb.png", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    )
    assert np.abs(square_of(tmp_path / "srgb.png", 8).astype(int) - (200, 100, 50)).max() <= 1
    Image.new("LAB", (8, 8), (128, 128, 128)).save(tmp_path / "lab.tif", icc_profile=lab.tobytes())
    assert square_of(tmp_path / "lab.tif", 8).shape == (8, 8, 3)
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "cmyk.jpg", quality=95)
    red = square_of(tmp_path / "cmyk.jpg", 8)[4, 4]
    assert red[0] > 200
    assert red[1] < 60
    Image.fromarray(np.full((8, 8), 32896, dtype=np.uint16)).save(tmp_path / "deep.png")
    assert tuple(square_of(tmp_path / "deep.png", 8)[4, 4]) == (128, 128, 128)
    Image.new("RGB", (8, 8), (200, 100, 50)).save(tmp_path / "odd.png", icc_profile=b"not a profile")
    assert tuple(square_of(tmp_path / "odd.png", 8)[4, 4]) == (200, 100, 50)


def test_what_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(buffer, "PNG")
    (tmp_path / "half.png").write_bytes(buffer.getvalue()[:2000])
    (tmp_path / "empty.png").write_bytes(b"")
    for name in ("half.png", "empty.png"):
        with pytest.raises(ImageError, match=name) as caught:
            square_of(tmp_path / name, 16)
        assert caught.value.code == "undecodable"
