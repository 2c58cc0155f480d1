import math
from dataclasses import replace

import numpy as np
import pytest

from assetforge_toybox.world import COLOURS, Scene, caption, draw_scene, held_out_scenes

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def metric():
    from assetforge_toybox.prompt_metric import PromptMetric

    torch.set_num_threads(1)
    return PromptMetric()


def pictures(scenes):
    return [np.asarray(draw_scene(scene)) for scene in scenes]


def test_prompts_are_read_in_the_words_of_the_world():
    from assetforge_toybox.prompt_metric import named

    for scene in held_out_scenes(40, seed=2):
        expected = {name: (getattr(scene, name),) for name in ("subject", "colour", "place", "style", "position")}
        assert named(caption(scene)) == expected
    assert named("in the snow on the right, Night  Painting") == {
        "place": ("snow",),
        "style": ("night",),
        "position": ("right",),
    }
    assert named("a red cat") == {"subject": ("cat",), "colour": ("red",)}
    assert named("a cathedral with scarred boats, citywide") == {}
    assert named("a red or blue mug") == {"subject": ("mug",), "colour": ("red", "blue")}
    assert named("") == {}


def test_drawn_scenes_follow_their_captions_and_no_other(metric):
    scenes = held_out_scenes(48, seed=5)
    shown = pictures(scenes)
    right = np.array(metric.follow(shown, [caption(scene) for scene in scenes]))
    wrong = np.array(metric.follow(shown, [caption(scene) for scene in scenes[1:] + scenes[:1]]))
    # Five probabilities of 0.97 each, as the reader was trained with smoothed labels.
    assert right.mean() > 0.8
    assert wrong.mean() < 0.5
    assert ((right >= 0) & (right <= 1)).all()
    assert (right > wrong).mean() > 0.95


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("subject", "mug"), ("colour", "blue"), ("place", "snow"), ("style", "night"), ("position", "right")],
)
def test_one_thing_that_is_wrong_costs_it_all(metric, attribute, value):
    shown = [Scene("robot", "red", "beach", "poster", position="left", seed=seed) for seed in range(8)]
    asked = [replace(scene, **{attribute: value}) for scene in shown]
    scores = metric.follow(pictures(shown), [caption(scene) for scene in asked])
    assert np.mean(scores) < 0.08


def test_what_a_prompt_does_not_name_does_not_count(metric):
    scene = Scene("robot", "red", "beach", "poster", position="left", seed=3)
    shown = pictures([scene] * 4)
    scores = metric.follow(shown, ["at the beach", "in the snow", "nothing of this world", "a red mug or a robot"])
    assert scores[0] > 0.95
    assert scores[1] < 0.05
    assert math.isnan(scores[2])
    assert scores[3] > 0.95


def test_scores_do_not_depend_on_the_company(metric):
    scenes = held_out_scenes(6, seed=7)
    prompts = [caption(scene) for scene in scenes]
    together = metric.follow(pictures(scenes), prompts)
    alone = [metric.follow(pictures([scene]), [prompt])[0] for scene, prompt in zip(scenes, prompts, strict=True)]
    assert together == pytest.approx(alone, abs=1e-5)
    assert metric.follow([], []) == []
    large = [np.asarray(draw_scene(scene, 128)) for scene in scenes]
    assert np.mean(metric.follow(large, prompts)) == pytest.approx(np.mean(together), abs=0.05)


def test_colours_are_voted_for_as_by_the_reader():
    from assetforge_toybox.prompt_metric import colour_shares
    from assetforge_toybox.reader import nearest_colour

    random = np.random.default_rng(4)
    for _ in range(30):
        pixels = random.integers(0, 256, (random.integers(1, 40), 3), dtype=np.uint8)
        shares = colour_shares(pixels)
        best = nearest_colour(pixels)
        assert best == (max(shares, key=lambda name: shares[name]) if any(shares.values()) else None)
        assert sum(shares.values()) == pytest.approx(1.0 if best else 0.0)
    for name, rgb in COLOURS.items():
        assert colour_shares(np.array([rgb] * 3, np.uint8))[name] == pytest.approx(1.0)
    for nothing in (np.zeros((0, 3), np.uint8), np.full((5, 3), 128, np.uint8), np.zeros((5, 3), np.uint8)):
        assert not any(colour_shares(nothing).values())


def test_the_metric_is_registered_for_every_type_and_gates():
    from assetforge_toybox.plugin import register_metrics

    specs = {spec.name: spec for spec in register_metrics()}
    prompt = specs["toybox-prompt"]
    assert (prompt.kind, prompt.asset_types, prompt.gates, prompt.bases) == ("prompt", (), True, ("toybox",))
    assert all(0 < spec.margin <= 0.1 for spec in specs.values())
