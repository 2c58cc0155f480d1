"""A film that requires a plugin does no work without it, instead of going on with another result."""

import pytest

from assetforge.errors import PluginError
from assetforge.extension.registry import reset_registry


@pytest.fixture
def demanding(project, monkeypatch):
    text = project.paths.config.read_text("utf-8")
    assert "required = []" in text
    project.paths.config.write_text(text.replace("required = []", 'required = ["assetforge-nowhere"]'), "utf-8")
    monkeypatch.setenv("ASSETFORGE_PLUGINS", "none")
    reset_registry()
    yield project
    reset_registry()


def test_training_and_rendering_stop_with_the_name_of_the_plugin(demanding) -> None:
    from assetforge.services.rendering import request_renders
    from assetforge.services.training import request_training

    with pytest.raises(PluginError, match="assetforge-nowhere is not installed"):
        request_training(demanding, "mara")
    with pytest.raises(PluginError, match="assetforge-nowhere is not installed"):
        request_renders(demanding, ["mara/v1"])
