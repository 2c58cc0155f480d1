"""Crops are found in their photos, other pictures of the same subject are not, and the work stays bounded."""

import io
import itertools
import random
import time
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from assetforge.domain.novelty import LUMA_SIDE, Picture, count_novel, share_a_view
from assetforge.domain.phash import signed

Luma = NDArray[np.float32]

PHOTOS = (
    "astronaut",
    "camera",
    "chelsea",
    "coffee",
    "coins",
    "hubble_deep_field",
    "immunohistochemistry",
    "page",
    "retina",
    "rocket",
)


def luma(picture: Image.Image) -> Luma:
    grey = picture.convert("L")
    factor = LUMA_SIDE / max(grey.size)
    size = max(1, round(grey.width * factor)), max(1, round(grey.height * factor))
    return np.asarray(grey.resize(size, Image.Resampling.LANCZOS), dtype=np.float32)


def crop(picture: Image.Image, rng: random.Random, smallest: float = 0.35) -> Image.Image:
    """A part of 0.35 to 0.95 of width and height, resized and saved as JPEG as people do."""
    share = rng.uniform(smallest, 0.95)
    other = min(0.95, max(smallest, share * rng.uniform(0.75, 1.33)))
    width, height = round(picture.width * share), round(picture.height * other)
    left, top = rng.randint(0, picture.width - width), rng.randint(0, picture.height - height)
    part = picture.crop((left, top, left + width, top + height))
    factor = rng.uniform(0.5, 1.4)
    part = part.resize((round(width * factor), round(height * factor)), rng.choice(list(Image.Resampling)[2:4]))
    data = io.BytesIO()
    part.convert("RGB").save(data, "JPEG", quality=rng.choice([60, 75, 90]))
    return Image.open(data)


def drawn(seed: int) -> Image.Image:
    """Noise at all scales, as in nature, with a few shapes before it."""
    noise, rng = np.random.default_rng(seed), random.Random(seed)
    width, height = rng.choice([(384, 384), (512, 384), (384, 512)])
    values = np.zeros((height, width), dtype=np.float32)
    for octave in range(1, 8):
        grid = Image.fromarray(noise.normal(size=(2**octave + 1, 2**octave + 1)).astype(np.float32))
        values += np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC)) / 2**octave
    scaled = (values - values.mean()) / values.std() * 45 + 128
    picture = Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.randint(2, 8)):
        x, y, size = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(20, 90)
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((x - size, y - size * 0.7, x + size, y + size * 0.7), fill=rng.randrange(256))
    return picture


@pytest.fixture(scope="module")
def photos() -> dict[str, Image.Image]:
    data = pytest.importorskip("skimage.data")
    return {name: Image.fromarray(getattr(data, name)()) for name in PHOTOS}


@pytest.fixture(scope="module")
def drawings() -> list[Image.Image]:
    return [drawn(seed) for seed in range(12)]


def picture(number: int, values: Luma | None = None, phash: int | None = None) -> Picture:
    """Hashes are far apart unless one is given."""
    return Picture(str(number), signed(random.Random(number).getrandbits(64)) if phash is None else phash, values)


def test_crops_of_photos_are_found(photos: dict[str, Image.Image]) -> None:
    rng = random.Random(1)
    found = [share_a_view(luma(crop(photo, rng)), luma(photo)) for photo in photos.values() for _ in range(8)]
    assert np.mean(found) >= 0.95


def test_crops_of_drawings_are_found_in_either_order(drawings: list[Image.Image]) -> None:
    rng = random.Random(2)
    parts = [(luma(crop(whole, rng)), luma(whole)) for whole in drawings for _ in range(4)]
    assert np.mean([share_a_view(part, whole) for part, whole in parts]) >= 0.97
    assert np.mean([share_a_view(whole, part) for part, whole in parts]) >= 0.97


def test_unrelated_pictures_are_new(photos: dict[str, Image.Image], drawings: list[Image.Image]) -> None:
    rng = random.Random(3)
    everything = [*photos.values(), *drawings]
    pairs = [rng.sample(everything, 2) for _ in range(90)]
    assert not any(share_a_view(luma(crop(first, rng)), luma(second)) for first, second in pairs)


def test_two_halves_of_a_photo_are_two_pictures(photos: dict[str, Image.Image]) -> None:
    for photo in photos.values():
        half = photo.width // 2
        left = photo.crop((0, 0, half, photo.height))
        right = photo.crop((photo.width - half, 0, photo.width, photo.height))
        assert not share_a_view(luma(left), luma(right))


def test_other_pictures_of_one_subject_are_new() -> None:
    world = pytest.importorskip("assetforge_toybox.world")
    identities = pytest.importorskip("assetforge_toybox.identities")
    rng = random.Random(4)
    alike = []
    for number in range(40):
        scene = world.sample_scene(rng)
        first, second = rng.sample(list(itertools.product(world.POSITIONS, world.SIZES)), 2)
        views = [
            replace(scene, position=position, size=size, seed=rng.randrange(2**31))
            for position, size in (first, second)
        ]
        alike.append(share_a_view(*(luma(world.draw_scene(view, 192)) for view in views)))
        shots = [identities.draw_shot(number, rng.randrange(6), rng.randrange(2**31)) for _ in range(2)]
        alike.append(share_a_view(*(luma(shot) for shot in shots)))
    assert np.mean(alike) <= 0.03


def test_every_reference_of_the_demo_film_is_new() -> None:
    demo = pytest.importorskip("assetforge_toybox.demo")
    for asset in ("mara", "brass-lamp"):
        pictures = [
            picture(number, luma(reference.picture))
            for number, reference in enumerate([*demo.references(asset, 1), *demo.references(asset, 2)])
        ]
        assert len(count_novel(pictures, []).novel) == len(pictures)


def test_twenty_crops_of_a_photo_do_not_count_as_twenty(photos: dict[str, Image.Image]) -> None:
    rng = random.Random(5)
    for name in ("astronaut", "coffee", "rocket"):
        crops = [picture(number, luma(crop(photos[name], rng, 0.5))) for number in range(20)]
        assert len(count_novel(crops, []).novel) <= 5
        assert len(count_novel(crops, [picture(99, luma(photos[name]))]).novel) <= 1


def test_near_hashes_do_not_count_and_name_what_they_resemble() -> None:
    known = [picture(1, phash=0), picture(2, phash=(1 << 64) - 1)]
    new = [
        picture(3, phash=0xFF),
        picture(4, phash=signed(((1 << 64) - 1) ^ 1)),
        picture(5, phash=0xFFFF00000000),
        picture(6, phash=0xFFFF00000001),
    ]
    result = count_novel(new, known)
    assert result.novel == ("5",)
    assert result.like == {"3": "1", "4": "2", "6": "5"}
    assert result.comparisons == 0


def test_a_picture_like_one_that_does_not_count_can_count_itself() -> None:
    """Likeness is not handed on: what is near only to a picture that was left out is new."""
    result = count_novel([picture(2, phash=0xFF), picture(3, phash=0xFFFF)], [picture(1, phash=0)])
    assert result.novel == ("3",)
    assert result.like == {"2": "1"}


def test_pictures_without_contrast_resemble_nothing() -> None:
    plain = np.full((96, 64), 200, dtype=np.float32)
    assert not share_a_view(plain, plain)


def test_any_size_and_type_of_luma_will_do(photos: dict[str, Image.Image]) -> None:
    grey = np.asarray(photos["astronaut"].convert("L"))
    assert share_a_view(grey[100:400, 60:360], grey)
    assert share_a_view(luma(photos["astronaut"])[::2, ::2], grey)
    assert not share_a_view(np.zeros((1, 1), dtype=np.uint8), grey)
    assert not share_a_view(grey[:3], grey)


def test_the_same_picture_with_other_light_is_no_new_one(drawings: list[Image.Image]) -> None:
    values = luma(drawings[0])
    assert share_a_view(values * 0.6 + 70, values)


def test_comparisons_are_limited_and_shared_out(drawings: list[Image.Image]) -> None:
    lumas = [luma(one) for one in drawings]
    known = [picture(100 + number, values) for number, values in enumerate(lumas[:8])]
    new = [picture(number, values) for number, values in enumerate(lumas[8:])]
    result = count_novel(new, known, max_comparisons=12)
    assert result.comparisons == 12
    assert result.left_out == 8 + 9 + 10 + 11 - 12
    assert len(result.novel) == 4
    newest_first = count_novel([picture(1, lumas[7])], known, max_comparisons=1)
    assert newest_first.like == {"1": "107"}
    assert count_novel(new, known, max_comparisons=0).comparisons == 0


def test_nothing_new_is_nothing() -> None:
    assert count_novel([], [picture(1)]).novel == ()


def test_a_pair_takes_milliseconds(photos: dict[str, Image.Image]) -> None:
    """2 ms on one core of an idle machine, and as much again per picture for the first look at it; ten times that fails."""
    pictures = [picture(number, luma(photo)) for number, photo in enumerate(photos.values())]
    started = time.process_time()
    result = count_novel(pictures, [])
    assert result.comparisons == 45
    assert (time.process_time() - started) / result.comparisons < 0.02
