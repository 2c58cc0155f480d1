"""Settings one by one: where values come from, and changing them with comments kept."""

import multiprocessing

import pytest

from assetforge.config import load_tui_settings
from assetforge.errors import BusyError, ConfigError, NotFoundError, UsageError
from assetforge.paths import user_config_file
from assetforge.services import toml_file
from assetforge.services.projects import create_project
from assetforge.services.settings_file import (
    change_settings,
    describe_settings,
    find_setting,
    section_checker,
    set_setting,
    settings_files,
    unset_setting,
)


def setting(key, project):
    return find_setting(key, describe_settings(project))


def test_every_setting_of_both_files_is_described(project):
    infos = {info.key: info for info in describe_settings(project)}
    assert {info.section for info in infos.values()} >= {"film", "retrain", "approval", "notify", "tui"}
    assert all(info.title and info.description for info in infos.values())
    quiet = infos["retrain.quiet_minutes"]
    assert (quiet.kind, quiet.field.unit, quiet.value, quiet.source) == ("duration", "min", 10.0, "default")
    assert infos["retrain.mode"].choices == ("off", "ask", "auto")
    assert infos["retrain.then"].kind == "list"
    assert infos["tui.images"].places == ("user",)
    assert infos["approval.worst_cells"].places == ("film",)
    assert infos["title"].value == "film"
    assert not any(info.section in ("film", "approval", "plugins") for info in describe_settings(None))


def test_where_a_value_comes_from(project, home, monkeypatch):
    def counts():
        info = setting("watch.scan_minutes", project)
        assert info.value == project.config.watch.scan_minutes
        return info.value, info.source, info.film_value, info.user_value

    assert counts() == (5.0, "default", None, None)
    set_setting("watch.scan_minutes", "7 min", "user", project)
    assert counts() == (7.0, "user", None, 7)
    set_setting("watch.scan_minutes", 8, project=project)
    assert counts() == (8.0, "film", 8, 7)
    monkeypatch.setenv("ASSETFORGE_WATCH__SCAN_MINUTES", "9")
    assert counts() == (9.0, "environment", 8, 7)


def test_tables_of_several_sources_lie_over_each_other(project, home):
    set_setting("defaults.recipe.prop", "p", "user", project)
    set_setting("defaults.recipe.character", "c", "film", project)
    set_setting("retrain.assets.mara.mode", "auto", "film", project)
    assert (
        setting("defaults.recipe", project).value == project.config.defaults.recipe == {"prop": "p", "character": "c"}
    )
    assert setting("retrain.assets", project).value == {"mara": {"mode": "auto"}}


def test_a_change_keeps_comments_order_and_spacing(project):
    path = project.paths.config
    path.write_text(path.read_text() + "\n#   my own remark   \n\n\n[gc]  # mine\n".replace("[gc]", "# [gc]"))
    before = path.read_text().splitlines()
    change = set_setting("retrain.quiet_minutes", "1 h 30 min", "film", project)
    assert "retrain.quiet_minutes is 90 min now" in change.sentence
    after = path.read_text().splitlines()
    at = after.index("quiet_minutes = 90")
    assert after[at - 1] == "# quiet_minutes = 10"
    assert after[:at] + after[at + 1 :] == before
    set_setting("retrain.quiet_minutes", 20, "film", project)
    unset_setting("retrain.quiet_minutes", "film", project)
    assert path.read_text().splitlines() == before


def test_comments_beside_values_and_line_ends_stay(project):
    path = project.paths.config
    path.write_bytes(b'name = "film"\r\n[gc]\r\n  trash_days   =  3   # three\r\n')
    set_setting("gc.trash_days", 4, "film", project)
    set_setting("gc.backups", 9, "film", project)
    assert path.read_bytes() == b'name = "film"\r\n[gc]\r\n  trash_days   =  4   # three\r\nbackups = 9\r\n'


@pytest.mark.parametrize(
    "text",
    [
        'name = "film"\n[gc]\ncache_days = 1\n[watch]\n# backups = 1\n',
        'name = "film"\ntitle = """\n[gc]\n# backups = 5\n"""\n[gc]\ntrash_days = 1',
        'name = "film"\n[plugins]\nrequired = [\n  "a", # why\n]\n',
        'name = "film"\ngc.trash_days = 2\n',
        'name = "film"\ngc = { trash_days = 2 }\n',
        'name = "film"\n[watch]\n[[watch.roots]]\nasset = "m"\npath = "x"\n[retrain.assets.mara]\nmode = "auto"\n',
    ],
)
def test_files_of_every_look(project, text):
    project.paths.config.write_text(text)
    set_setting("gc.backups", 7, "film", project)
    set_setting("retrain.min_new", 2, "film", project)
    set_setting("plugins.required", "a, b", "film", project)
    set_setting("retrain.assets.ilse.min_new", 4, "film", project)
    config = project.config
    assert (config.gc.backups, config.retrain.min_new, config.plugins.required) == (7, 2, ("a", "b"))
    assert config.retrain.assets["ilse"].min_new == 4
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert all(line in project.paths.config.read_text() for line in comments)


@pytest.mark.parametrize(
    ("key", "value", "where", "said"),
    [
        ("retrain.quiet_minutes", "soon", "", "must be a length of time, such as 10 min"),
        ("retrain.quiet_minutes", "-3", "", "must be"),
        ("retrain.min_new", "2.5", "", "must be a whole number"),
        ("retrain.mode", "often", "", "must be off, ask or auto"),
        ("retrain.warm_start", "perhaps", "", "must be yes or no"),
        ("retrain.then", "render, dance", "", "cannot hold 'dance'"),
        ("gc.grace_hours", 0, "", "greater than or equal to 1"),
        ("watch.roots", "[{ asset", "", "must be written as TOML"),
        ("watch.roots", '[{ asset = "m" }]', "", "watch.roots"),
        ("name", "Not A Name", "", "'not-a-name' would do"),
        ("tui.theme", "nord", "film", "each user's own"),
        ("notify.webhook_secret", "s", "film", "each user's own"),
        ("approval.automatic", "never", "user", "the film's own"),
        ("notify.events", "run-finish", "user", "the nearest is 'run-finished'"),
        ("retrain.assets.mara.mode", "sometimes", "", "must be off, ask or auto"),
    ],
)
def test_a_wrong_value_is_one_sentence_and_changes_nothing(project, key, value, where, said):
    before = project.paths.config.read_bytes()
    with pytest.raises(UsageError, match="(?s)" + said.replace(".", r"\.")) as caught:
        set_setting(key, value, where, project)
    assert "Input should" not in str(caught.value)
    assert project.paths.config.read_bytes() == before
    assert not user_config_file().exists()


def test_keys_that_do_not_exist(project):
    for key, said in (
        ("retrain.quiet_minuts", "'retrain.quiet_minutes'"),
        ("retrain", "is a section"),
        ("gc.grace_hours.x", "no setting"),
    ):
        with pytest.raises(NotFoundError, match=said):
            set_setting(key, "1", "film", project)
    with pytest.raises(NotFoundError, match="none is open"):
        find_setting("approval.worst_cells", describe_settings(None))
    with pytest.raises(UsageError, match="No film is open"):
        set_setting("approval.worst_cells", 3)


def test_a_broken_file_is_told_and_left_alone(project):
    path = project.paths.config
    for text in ('name = "film"\n[gc\n', 'name = "film"\n[gc]\ngrace_hours = 0.1\n', 'name = "film"\n[gcc]\nx = 1\n'):
        path.write_text(text)
        (file, _) = settings_files(project)
        assert len(file.problems) == 1
        with pytest.raises(ConfigError):
            set_setting("retrain.min_new", 4, "film", project)
        assert path.read_text() == text
    path.write_text('name = "film"\n[gc]\ngrace_hours = 0.1\ntrash_days = 3\n')
    grace = setting("gc.grace_hours", project)
    assert (grace.value, grace.source, grace.film_value) == (24.0, "default", 0.1)
    assert "0.1: it must be greater than or equal to 1" in grace.problem
    assert setting("gc.trash_days", project).value == 3.0
    # The setting that is wrong can be mended here.
    set_setting("gc.grace_hours", 2, "film", project)
    assert settings_files(project)[0].problems == ()
    path.write_bytes(b"\xff")
    assert "UTF-8" in settings_files(project)[0].problems[0]
    path.unlink()
    assert "cannot be read" in settings_files(project)[0].problems[0]


def test_a_film_that_is_broken_can_be_mended_by_its_folder(project):
    project.paths.config.write_text('name = "film"\n[gc]\ngrace_hours = 0.1\n')
    unset_setting("gc.grace_hours", "film", project.paths)
    assert settings_files(project.paths)[0].problems == ()


def test_what_somebody_else_wrote_meanwhile_is_not_overwritten(project, monkeypatch):
    path = project.paths.config
    set_setting("gc.backups", 6, "film", project)
    with pytest.raises(BusyError, match=r"gc\.backups is 6 there now"):
        set_setting("gc.backups", 7, "film", project, expected=5)
    with pytest.raises(BusyError, match=r"gc\.trash_days"):
        set_setting("gc.trash_days", 7, "film", project, expected=3)
    set_setting("gc.backups", 7, "film", project, expected=6)
    set_setting("gc.trash_days", 3, "film", project, expected=None)
    through = toml_file._through_library

    def meanwhile(text, key, value):
        path.write_text(path.read_text() + "# saved in an editor\n")
        return through(text, key, value)

    monkeypatch.setattr(toml_file, "_through_library", meanwhile)
    with pytest.raises(BusyError, match="changed meanwhile by another program"):
        set_setting("gc.backups", 8, "film", project)
    assert path.read_text().endswith("# saved in an editor\n")
    assert project.config.gc.backups == 7


def test_several_at_once_or_none(project):
    before = project.paths.config.read_bytes()
    with pytest.raises(UsageError):
        change_settings({"gc.backups": 3, "gc.trash_days": "never"}, "film", project)
    assert project.paths.config.read_bytes() == before
    changes = change_settings({"gc.backups": 3, "gc.trash_days": "2 days", "gc.cache_days": None}, "film", project)
    assert [change.after for change in changes] == [3, 2, None]
    assert "was not set" in changes[2].sentence
    with pytest.raises(UsageError, match="each user's own"):
        change_settings({"gc.backups": 3, "tui.theme": "nord"}, "film", project)


def test_a_table_is_merged_into_the_one_that_is_there(project):
    path = project.paths.config
    path.write_text(
        'name = "film"\n[retrain.assets.mara] # hers\nmode = "auto" # now\n[retrain.assets.ilse]\nmode = "off"\n'
    )
    set_setting("retrain.assets", '{ mara = { mode = "off", min_new = 3 } }', "film", project)
    assert '[retrain.assets.mara] # hers\nmode = "off" # now' in path.read_text()
    assert set(project.config.retrain.assets) == {"mara"}


def test_the_users_file_is_made_private_and_keeps_its_permissions_and_links(home, tmp_path, project):
    path = user_config_file()
    change = set_setting("tui.theme", "daylight")
    assert (change.where, change.path) == ("user", path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().startswith("# Your own settings")
    real = tmp_path / "dotfiles.toml"
    path.rename(real)
    real.chmod(0o640)
    path.symlink_to(real)
    set_setting("tui.keys.film.train", "t,f5", "user", project)
    assert path.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert load_tui_settings().keys == {"film.train": "t,f5"}
    unset_setting("tui.keys.film.train", "user", project)
    real.write_text("[tui.keys]\nfilm.train = 't'\n")
    set_setting("tui.keys.film.train", "x")
    assert load_tui_settings().keys == {"film.train": "x"}


def test_secrets_are_never_shown(home):
    change = set_setting("notify.webhook_secret", "tiger")
    assert "tiger" not in f"{change} {describe_settings(None)}"
    assert "tiger" in user_config_file().read_text()
    assert "is no longer set" in unset_setting("notify.webhook_secret").sentence
    with pytest.raises(UsageError) as caught:
        change_settings({"notify.webhook_secret": "tiger", "notify.webhook": "nowhere"})
    assert "tiger" not in str(caught.value)


def test_what_goes_before_a_change_is_told(project, home, monkeypatch):
    set_setting("retrain.min_new", 4, "film", project)
    assert "Here the film says 4, which goes before it." in set_setting("retrain.min_new", 5, "user", project).sentence
    assert "; 5 counts now" in unset_setting("retrain.min_new", "film", project).sentence
    monkeypatch.setenv("ASSETFORGE_RETRAIN__MIN_NEW", "6")
    assert "ASSETFORGE_RETRAIN__MIN_NEW says 6" in set_setting("retrain.min_new", 7, "film", project).sentence
    monkeypatch.setenv("ASSETFORGE_RETRAIN__MIN_NEW", "few")
    info = setting("retrain.min_new", project)
    assert (info.value, info.source) == (7, "film")
    assert "'few'" in info.problem
    monkeypatch.setenv("ASSETFORGE_DEFAULTS__RECIPE", "{")
    assert "cannot be read" in settings_files(project)[1].problems[0]


def test_a_section_is_checked_as_a_whole(home):
    check = section_checker("notify")
    assert check({"desktop": True}).errors == {}
    assert "nearest" in check({"events": ["run-finish"]}).errors["events"]
    assert "exclude each other" in check({"webhook_secret": "a", "webhook_secret_file": "b"}).errors[""]
    assert section_checker("film")({"title": "x"}).errors == {}
    with pytest.raises(NotFoundError):
        section_checker("nix")


def _set_many(root, numbers):
    from assetforge.paths import ProjectPaths

    for number in numbers:
        set_setting(f"defaults.recipe.a{number}", "r", "user", ProjectPaths(root))


def test_two_processes_lose_nothing_of_each_other(home, tmp_path):
    with create_project("other") as other:
        root = other.root
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_set_many, args=(root, range(start, 20, 2))) for start in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(setting("defaults.recipe", None).value) == 20
