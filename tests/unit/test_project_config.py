import multiprocessing

import pytest

from assetforge.errors import ConfigError
from assetforge.services.project_config import read_config, set_value, write_new_config


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "project.toml"
    write_new_config(path, name="night-harbour", title='The "Night" Harbour')
    return path


def test_a_new_file_reads_back_and_is_commented(config):
    read = read_config(config)
    assert (read.name, read.title, read.defaults.executor) == ("night-harbour", 'The "Night" Harbour', "local")
    assert "# Short name" in config.read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('name = "a"\n[defaults]\nexecuter = "x"', "defaults.executer.*Did you mean 'executor'"),
        ('name = "a"\n[plugin]\nrequired = []', "'plugin'.*Did you mean 'plugins'"),
        ('name = "a"\n[defaults]\nbase = 3', "'defaults.base' cannot be 3"),
        ('title = "x"', "'name' is missing"),
        ('name = "Not A Name"', "'not-a-name' would do"),
        ("name = ", "not TOML"),
        ('name = "a"\n[defaults.recipe]\ncharacter = 1', "defaults.recipe.character"),
    ],
)
def test_faults_name_file_and_key(tmp_path, text, said):
    path = tmp_path / "project.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"(?s)project.toml.*{said}"):
        read_config(path)


def test_a_file_that_is_no_text_or_missing(tmp_path):
    path = tmp_path / "project.toml"
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(path)
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(ConfigError, match="UTF-8"):
        read_config(path)


def test_setting_a_value_keeps_comments_and_order(config):
    config.write_text(config.read_text() + "# my own remark\n")
    before = config.read_text()
    set_value(config, "defaults.base", "toybox")
    set_value(config, "defaults.recipe.character", "character-sd15")
    assert read_config(config).defaults.recipe == {"character": "character-sd15"}
    set_value(config, "defaults.recipe.character", None)
    set_value(config, "defaults.base", None)
    assert config.read_text().split() == before.split()


def test_a_wrong_value_leaves_the_file_alone(config):
    before = config.read_bytes()
    for key, value in (("defaults.bass", "x"), ("defaults.base", 3), ("name.x", "y")):
        with pytest.raises(ConfigError):
            set_value(config, key, value)
    assert config.read_bytes() == before


def _set_many(path, kind):
    for number in range(10):
        set_value(path, f"defaults.recipe.{kind}{number}", "r")


def test_two_processes_lose_none_of_each_others_changes(config):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_set_many, args=(config, kind)) for kind in "ab"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(read_config(config).defaults.recipe) == 20


def test_a_section_in_two_places_is_one(tmp_path):
    path = tmp_path / "project.toml"
    write_new_config(path, name="film")
    path.write_text(
        path.read_text()
        + '\n[retrain.assets.mara]  # hers\nmode = "auto"\n\n[[watch.roots]]\nasset = "mara"\npath = "x"\n'
    )
    config = set_value(path, "retrain.mode", "off")
    config = set_value(path, "watch.settle_seconds", 3.0)
    config = set_value(path, "retrain.assets.mara.min_new", 9)
    assert (config.retrain.mode, config.watch.settle_seconds, config.watch.roots[0].path) == ("off", 3.0, "x")
    assert (config.retrain.of("mara").mode, config.retrain.of("mara").min_new) == ("auto", 9)
    assert "# hers" in path.read_text()
    assert read_config(path) == config
