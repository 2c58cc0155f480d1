import io

import numpy as np
import pytest
from PIL import Image

from assetforge.builtin.copy_metric import PhashCopy
from assetforge.builtin.pixel_metric_specs import PIXEL_METRICS
from assetforge.domain.phash import hamming, perceptual_hash
from assetforge.store.imaging import inspect_image

LIMIT = next(spec.copy_limit for spec in PIXEL_METRICS if spec.name == "phash-copy")


def scene(seed, size=256):
    """Soft blobs of colour, as unlike each other as photographs."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC))


def test_the_cosine_counts_the_bits_that_differ():
    pictures = [scene(seed) for seed in range(6)]
    vectors = PhashCopy().embed(pictures)
    assert vectors.dtype == np.float32
    assert vectors.shape == (6, 64)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(6))
    hashes = [
        perceptual_hash(np.asarray(Image.fromarray(one).convert("L").resize((32, 32), Image.Resampling.BOX)))
        for one in pictures
    ]
    for a in range(6):
        for b in range(6):
            assert float(vectors[a] @ vectors[b]) == pytest.approx(1 - hamming(hashes[a], hashes[b]) / 32)


def test_four_bits_are_a_copy_and_five_are_not():
    assert 1 - 2 * 5 / 64 < LIMIT < 1 - 2 * 4 / 64


def test_reencodings_are_copies_and_other_pictures_are_not():
    original = scene(1)
    stream = io.BytesIO()
    Image.fromarray(original).save(stream, "JPEG", quality=60)
    again = np.asarray(Image.open(stream))
    smaller = np.asarray(Image.fromarray(original).resize((64, 64)))
    brighter = np.clip(original.astype(int) + 12, 0, 255).astype(np.uint8)
    vectors = PhashCopy().embed([original, again, smaller, brighter, *(scene(seed) for seed in range(2, 30))])
    cosines = vectors[1:] @ vectors[0]
    assert (cosines[:3] > LIMIT).all()
    assert cosines[3:].max() < LIMIT


def test_it_agrees_with_the_hash_of_references(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(scene(3, 96)).save(path)
    bits = PhashCopy().embed([scene(3, 96)])[0] > 0
    own = int.from_bytes(np.packbits(bits).tobytes(), "big")
    assert hamming(own, inspect_image(path.read_bytes(), name=path.name).phash) <= 2
