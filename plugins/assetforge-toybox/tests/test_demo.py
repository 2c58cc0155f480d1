import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from assetforge_toybox.demo import ASSETS, REFERENCE_SIZE, build, references

NAMES = [member.name for member in ASSETS]


def test_the_film_has_two_characters_a_prop_and_a_style():
    assert sorted(member.kind for member in ASSETS) == ["character", "character", "prop", "style"]
    assert len({member.trigger for member in ASSETS}) == 4


@pytest.mark.parametrize("name", NAMES)
def test_batches_are_repeatable_distinct_and_captioned_with_the_trigger(name):
    trigger = {member.name: member.trigger for member in ASSETS}[name]
    first, second = references(name, 1), references(name, 2)
    assert 12 <= len(first) <= 16
    assert 6 <= len(second) <= 8
    pixels = [np.asarray(r.picture).tobytes() for r in first + second]
    assert len(set(pixels)) == len(pixels)
    assert pixels[0] == np.asarray(references(name, 1)[0].picture).tobytes()
    assert all(trigger in r.caption.replace(",", " ").split() for r in first + second)


@pytest.mark.parametrize("name", NAMES)
def test_the_second_batch_shows_places_the_first_lacks(name):
    def places(batch):
        words = ["beach", "forest", "room", "snow", "city", "desert"]
        return {w for r in references(name, batch) for w in words if w in r.caption}

    assert places(1)
    assert places(2)
    assert not places(1) & places(2)


def test_build_writes_pictures_with_sidecars(tmp_path):
    film = build(tmp_path)
    assert [asset.name for asset in film.assets] == NAMES
    for asset in film.assets:
        for folder in asset.batches:
            pictures = sorted(folder.glob("*.png"))
            assert pictures
            for path in pictures:
                with Image.open(path) as picture:
                    assert picture.size == (REFERENCE_SIZE, REFERENCE_SIZE)
                assert path.with_suffix(".txt").read_text(encoding="utf-8").strip()


def test_plugin_and_demo_import_no_framework():
    code = (
        "import sys, assetforge_toybox.plugin as p, assetforge_toybox.demo, assetforge_toybox.world\n"
        "assert p.register_base_models() and p.register_suites() and p.register_recipes()\n"
        "print(sorted({'torch', 'diffusers', 'transformers', 'peft'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_pictures_dropped_into_a_folder_become_two_versions_with_nobody_at_the_keyboard(tmp_path):
    environment = {**os.environ, "ASSETFORGE_HOME": str(tmp_path / "home"), "ASSETFORGE_PROJECTS": str(tmp_path)}
    command = [
        sys.executable,
        "-P",
        "-m",
        "assetforge",
        "--json",
        "demo",
        "--watch",
        "--folder",
        str(tmp_path / "film"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert sorted(made["versions"]) == ["mara/v1", "mara/v2"]
    assert len(made["reports"]) == 2
    assert all(cause.startswith("references changed: ") for cause in made["causes"])
