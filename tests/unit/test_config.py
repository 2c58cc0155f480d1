import subprocess
import sys

import pytest

from assetforge.config import load_settings
from assetforge.errors import ConfigError
from assetforge.paths import user_config_file
from assetforge.services.project_config import read_config, write_new_config


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "project.toml"
    write_new_config(path, name="film")
    return path


def test_defaults():
    settings = load_settings()
    assert (settings.defaults.executor, settings.defaults.base, settings.gc.grace_hours) == ("local", "", 24.0)


def test_flag_beats_environment_beats_film_beats_user_beats_default(film, home, monkeypatch):
    def executor(**flags):
        return load_settings(read_config(film), **flags).defaults.executor

    assert executor() == "local"
    user_config_file().write_text(
        '[defaults]\nexecutor = "of-user"\nbase = "base-of-user"\n[defaults.recipe]\nprop = "p"\n'
    )
    assert executor() == "of-user"
    film.write_text('name = "film"\n[defaults]\nexecutor = "of-film"\n[defaults.recipe]\ncharacter = "c"\n')
    assert executor() == "of-film"
    monkeypatch.setenv("ASSETFORGE_DEFAULTS__EXECUTOR", "of-environment")
    assert executor() == "of-environment"
    assert executor(defaults__executor="of-flag") == "of-flag"
    assert executor(defaults__executor=None) == "of-environment"
    # What a stronger source does not say, a weaker one does, key by key.
    settings = load_settings(read_config(film))
    assert settings.defaults.base == "base-of-user"
    assert settings.defaults.recipe == {"character": "c", "prop": "p"}


def test_a_films_config_is_what_counts(project, home):
    user_config_file().write_text('[defaults]\nbase = "mine"\n')
    assert project.config.defaults.base == "mine"
    assert project.config.name == "film"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[default]\n", "'default'.*Did you mean 'defaults'"),
        ('[defaults]\nexecuter = "x"\n', "'defaults.executer'.*Did you mean 'executor'"),
        ("[gc]\ngrace_hours = 0.1\n", "'gc.grace_hours' cannot be 0.1"),
        ("[gc\n", "not TOML"),
    ],
)
def test_faults_of_the_users_file_name_it(home, text, said):
    user_config_file().write_text(text)
    with pytest.raises(ConfigError, match=f"(?s)config.toml.*{said}"):
        load_settings()


def test_faults_of_the_environment_name_the_variable(monkeypatch):
    monkeypatch.setenv("ASSETFORGE_GC__GRACE_HOURS", "soon")
    with pytest.raises(ConfigError, match="ASSETFORGE_GC__GRACE_HOURS"):
        load_settings()


def test_other_variables_do_not_matter(monkeypatch):
    monkeypatch.setenv("ASSETFORGE_PROJECT", "film")
    monkeypatch.setenv("ASSETFORGE_NONSENSE", "1")
    load_settings()


def test_help_does_not_read_settings():
    code = "import sys, assetforge.cli.app as app; app.run(['--help']); assert 'assetforge.config' not in sys.modules and 'pydantic' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
