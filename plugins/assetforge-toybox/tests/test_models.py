import json

import numpy as np
import pytest

from assetforge_toybox.demo import ASSETS, references
from assetforge_toybox.locate import DATA, base_folder

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")


@pytest.fixture(scope="module")
def pipeline():
    from assetforge_toybox.measure import open_base

    torch.set_num_threads(1)
    return open_base()


def test_the_base_draws_the_same_picture_again(pipeline):
    from assetforge_toybox.measure import render

    first, again, other = (
        render(pipeline, ["a red robot at the beach on the left, flat poster"], [seed], steps=8)[0]
        for seed in (1, 1, 2)
    )
    assert first.shape == (64, 64, 3)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_base_draws_what_the_caption_says(pipeline):
    from assetforge_toybox.measure import render, score
    from assetforge_toybox.reader import Reader
    from assetforge_toybox.world import caption, held_out_scenes

    scenes = held_out_scenes(6, seed=3)
    shares = score(scenes, render(pipeline, [caption(s) for s in scenes], list(range(6)), steps=16), Reader())
    assert min(shares[name] for name in ("subject", "colour", "place", "style")) >= 0.7


def test_trigger_words_get_tokens_of_their_own(pipeline):
    tokenizer = pipeline.tokenizer
    triggers = [tuple(tokenizer(member.trigger).input_ids) for member in ASSETS]
    assert len(set(triggers)) == len(triggers)
    assert all(len(ids) > 3 for ids in triggers)
    assert tokenizer.unk_token_id not in {i for ids in triggers for i in ids[1:-1]}
    assert len(tokenizer("a red robot at the beach").input_ids) == 8


def test_the_vocabulary_in_the_base_is_the_one_the_world_teaches(tmp_path):
    from assetforge_toybox.vocabulary import write_vocabulary

    write_vocabulary(tmp_path)
    for name in ("vocab.json", "merges.txt"):
        assert (tmp_path / name).read_bytes() == (base_folder() / "tokenizer" / name).read_bytes()


def test_everything_shipped_is_small_and_safe():
    files = [path for path in DATA.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 20_000_000
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".txt", ".md"}
    assert json.loads((base_folder() / "model_index.json").read_text())["_class_name"] == "StableDiffusionPipeline"


def _area_under_curve(vectors, labels):
    likeness = vectors @ vectors.T
    upper = np.triu_indices(len(labels), 1)
    same = (labels[:, None] == labels[None, :])[upper]
    near, far = likeness[upper][same], likeness[upper][~same]
    return float((near[:, None] > far[None, :]).mean())


def test_the_probe_tells_the_films_characters_and_props_apart():
    from assetforge_toybox.probe import Probe

    names = [member.name for member in ASSETS if member.kind != "style"]
    pictures = [(n, np.asarray(r.picture)) for n in names for batch in (1, 2) for r in references(n, batch)]
    vectors = Probe("identity").embed([p for _, p in pictures])
    assert vectors.shape == (len(pictures), 64)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)
    assert _area_under_curve(vectors, np.array([n for n, _ in pictures])) >= 0.95


def test_the_probe_tells_the_films_style_from_the_worlds():
    from assetforge_toybox.probe import Probe
    from assetforge_toybox.world import draw_scene, held_out_scenes

    wash = [np.asarray(r.picture) for r in references("ink-wash", 1)]
    scenes = held_out_scenes(30)
    pictures = wash + [np.asarray(draw_scene(s)) for s in scenes]
    labels = np.array(["wash"] * len(wash) + [s.style for s in scenes])
    assert _area_under_curve(Probe("style").embed(pictures), labels) >= 0.95
