"""The plugin guide and the code say the same."""

import importlib.util
from pathlib import Path

import pytest

from assetforge.api import HookSpecs
from assetforge.extension.manager import Stage

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "plugins.md"


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_and_quotes_are_those_of_the_code(generate) -> None:
    for guide in generate.GUIDES:
        text = guide.read_text("utf-8")
        assert generate.filled(text) == text, f"{guide} is out of date: run `python docs/generate.py`"


def test_every_hook_is_in_the_table_with_its_arguments(generate) -> None:
    table = generate.hooks()
    for hook in vars(HookSpecs):
        if not hook.startswith("_"):
            assert f"| `{hook}(" in table
    assert "`on_event(event)`" in table
    assert "list of `TrainerSpec`" in table


def test_every_stage_of_failure_is_explained() -> None:
    text = GUIDE.read_text("utf-8")
    for stage in Stage.__args__:
        assert f"\n| `{stage}` |" in text


def test_a_quote_of_nothing_is_an_error(generate) -> None:
    with pytest.raises(LookupError, match="Nothing"):
        generate.quote("plugins/assetforge-example/assetforge_example/checks.py Nothing")
