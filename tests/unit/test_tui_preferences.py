"""``[tui]`` is read twice: in milliseconds before the first frame, and with everything else by the settings."""

import pytest

from assetforge.config import TuiConfig, load_settings, load_tui_settings
from assetforge.errors import ConfigError
from assetforge.paths import user_config_file
from assetforge.services.project_config import read_config, write_new_config
from assetforge.tui.preferences import IMAGES, Preferences, read_preferences

FIELDS = ("theme", "images", "motion", "gallery", "keys", "jump_keys")


def both():
    quick, full = read_preferences(), load_tui_settings()
    assert {name: getattr(quick, name) for name in FIELDS} == full.model_dump()
    assert quick.problem == ""
    return quick


def test_both_know_the_same():
    assert tuple(TuiConfig.model_fields) == FIELDS
    assert set(Preferences.__slots__) == {*FIELDS, "problem"}
    assert TuiConfig.model_fields["images"].annotation.__args__ == IMAGES
    both()


@pytest.mark.parametrize(
    "text",
    [
        "[tui]\n",
        '[tui]\ntheme = "nord"\nimages = "off"\nmotion = false\ngallery = false\njump_keys = "abc"\n',
        '[tui]\nmotion = 0\ngallery = "yes"\n',
        '[tui.keys]\n"film.train" = "t,f5"\nruns.open = "r"\nhelp = ""\n',
        '[defaults]\nbase = "toybox"\n',
    ],
)
def test_both_read_the_same(home, text):
    user_config_file().write_text(text)
    both()
    assert load_settings() is not None


def test_the_environment_goes_before_the_file(home, monkeypatch):
    user_config_file().write_text('[tui]\ntheme = "nord"\n[tui.keys]\n"a.b" = "x"\n')
    monkeypatch.setenv("ASSETFORGE_TUI__THEME", "daylight")
    monkeypatch.setenv("assetforge_tui__motion", "off")
    monkeypatch.setenv("ASSETFORGE_TUI__KEYS", '{"c.d": "y"}')
    read = both()
    assert (read.theme, read.motion, read.keys) == ("daylight", False, {"a.b": "x", "c.d": "y"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tui\n", "not a TOML|cannot be read"),
        ("tui = 3\n", "tui is no section"),
        ('[tui]\nthema = "x"\n', "no setting 'tui.thema'"),
        ("[tui]\ntheme = 3\n", "'tui.theme' cannot be 3"),
        ('[tui]\ntheme = ""\n', "'tui.theme'"),
        ('[tui]\nimages = "kitty"\n', "'tui.images' cannot be 'kitty'"),
        ('[tui]\nmotion = "perhaps"\n', "'tui.motion'"),
        ("[tui]\nkeys = 3\n", "'tui.keys'"),
        ("[tui.keys]\na = 3\n", "'tui.keys'"),
        ('[tui]\njump_keys = "aa"\n', "'tui.jump_keys'"),
        ('[tui]\njump_keys = "a"\n', "'tui.jump_keys'"),
    ],
)
def test_whatever_is_wrong_is_told_and_the_rest_counts(home, text, said):
    import re

    user_config_file().write_text(text + ("gallery = false\n" if text.startswith("[tui]\n") else ""))
    read = read_preferences()
    assert re.search(said, read.problem)
    assert read.gallery is not text.startswith("[tui]\n")
    assert (read.theme, read.images, read.motion, read.keys) == ("safelight", "auto", True, {})
    with pytest.raises(ConfigError):
        load_tui_settings()


def test_a_file_that_cannot_be_read(home):
    user_config_file().write_bytes(b"\xff")
    assert "config.toml" in read_preferences().problem
    user_config_file().unlink()
    user_config_file().mkdir()
    assert "config.toml" in read_preferences().problem


def test_a_wrong_variable(monkeypatch):
    monkeypatch.setenv("ASSETFORGE_TUI__IMAGES", "kitty")
    assert "ASSETFORGE_TUI__IMAGES" in read_preferences().problem
    assert read_preferences().images == "auto"
    with pytest.raises(ConfigError, match="TUI"):
        load_tui_settings()


def test_a_film_says_nothing_about_the_terminal(tmp_path):
    path = tmp_path / "project.toml"
    write_new_config(path, name="film")
    path.write_text(path.read_text() + '\n[tui]\ntheme = "nord"\n')
    with pytest.raises(ConfigError, match="each user's own choice"):
        read_config(path)
