import random

import numpy as np

from assetforge_toybox.training.pictures import training_scenes
from assetforge_toybox.vocabulary import learn_merges
from assetforge_toybox.world import (
    COLOURS,
    Scene,
    caption,
    combinations,
    draw_scene,
    held_out_scenes,
    is_held_out,
    paint,
    sample_scene,
)


def test_equal_scenes_give_equal_pixels_and_another_seed_gives_others():
    scene = Scene("cat", "green", "forest", "comic", "left", "large", seed=5)
    first, again = (np.asarray(draw_scene(scene)) for _ in range(2))
    other = np.asarray(draw_scene(Scene("cat", "green", "forest", "comic", "left", "large", seed=6)))
    assert first.shape == (64, 64, 3)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_reserved_combinations_are_never_drawn_for_training():
    reserved, open_ones = set(combinations(held_out=True)), set(combinations(held_out=False))
    assert not reserved & open_ones
    assert len(reserved) >= 200
    assert {s.combination for s in training_scenes(5000)} <= open_ones
    assert {s.combination for s in held_out_scenes(200)} <= reserved
    assert len({s.combination for s in held_out_scenes(200)}) == 200


def test_every_attribute_value_occurs_in_training():
    scenes = training_scenes(3000)
    assert {s.colour for s in scenes} == set(COLOURS)
    assert {(s.subject, s.colour) for s in scenes} == {(s, c) for s, c, _, _ in combinations(held_out=False)}


def test_the_main_colour_is_where_the_mask_says():
    scene = Scene("mug", "blue", "desert", "poster", seed=3)
    surface = paint(scene)
    mask = np.asarray(surface.main_mask()) > 250
    pixels = np.asarray(surface.picture())[mask]
    assert mask.sum() > 100
    assert np.abs(pixels.mean(axis=0) - COLOURS["blue"]).max() < 40


def test_plain_captions_say_everything():
    scene = Scene("boat", "orange", "snow", "night", "right", "small")
    assert caption(scene) == "a small orange boat on the right in the snow, night painting"


def test_varied_captions_depend_on_the_generator_alone():
    scene = sample_scene(random.Random(1))
    assert caption(scene, random.Random(2)) == caption(scene, random.Random(2))
    assert len({caption(scene, random.Random(i)) for i in range(40)}) > 4


def test_the_training_and_reserved_shares_are_as_documented():
    assert 0.09 < sum(map(is_held_out, combinations(held_out=True) + combinations(held_out=False))) / 1536 < 0.16


def test_learnt_merges_make_each_word_one_token():
    merges = learn_merges(["red", "robot", "room"])
    assert ("r", "o") in merges
    assert merges[-1][0] + merges[-1][1] in {"red</w>", "robot</w>", "room</w>"}


def test_the_words_are_those_of_what_can_be_drawn():
    from assetforge_toybox.phrases import STYLE_PHRASES, SUBJECT_NAMES
    from assetforge_toybox.styles import STYLES
    from assetforge_toybox.subjects import SUBJECTS

    assert list(SUBJECTS) == list(SUBJECT_NAMES)
    assert {name: style.name for name, style in STYLES.items()} == STYLE_PHRASES
