"""Every hook of the plugin surface works; a hook without a test fails here."""

import sys
from pathlib import Path

import pytest

from assetforge.api import HookSpecs
from assetforge.api.events import RunFinished
from assetforge.extension.kinds import COLLECTING_HOOKS
from assetforge.extension.registry import load

HOOKS = [name for name in vars(HookSpecs) if not name.startswith("_")]


def test_every_hook_but_the_listener_collects_specs() -> None:
    assert [*COLLECTING_HOOKS, "on_event"] == HOOKS


@pytest.mark.parametrize("hook", COLLECTING_HOOKS)
def test_what_a_hook_gives_is_found_by_name(with_plugins, find, hook) -> None:
    registry = with_plugins("every_hook")
    assert registry.failures == ()
    assert hook in find(registry, "every-hook").hooks
    kind, spec_type = COLLECTING_HOOKS[hook]
    entry = getattr(registry, kind)("every hook" if kind == "command" else "every")
    assert isinstance(entry.spec, spec_type)
    assert (entry.plugin, entry.plugin_version, entry.owner) == ("assetforge-every-hook", "1.0", "every-hook")
    assert entry in getattr(registry, f"{kind}s")()
    target = getattr(entry.spec, "load", "") or getattr(entry.spec, "locate", "")
    if target:
        assert load(target) is not None


def test_on_event_hears_what_happened(with_plugins, utc_now) -> None:
    registry = with_plugins("every_hook")
    event = RunFinished(project=Path("film"), at=utc_now, actor="kim", run=1, asset="mara", state="succeeded")
    registry.notify(event)
    assert sys.modules["af_every_hook"].heard == [event]
