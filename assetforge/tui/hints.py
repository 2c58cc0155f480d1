"""What went wrong, in words for somebody who sits in this program: where a hint names a command line that an action does too, the action is named with it."""

import re
from collections.abc import Mapping

from assetforge.errors import AssetForgeError
from assetforge.tui.actions import ACTIONS, Action

__all__ = ["in_words", "where_here"]

_COMMAND = re.compile(r"`assetforge ([^`]+)`")
_WORD = re.compile(r"[a-z][a-z-]*\Z")

_PLACES: Mapping[str, str] = {
    "app": "",
    "films": "in the list of films",
    "film": "in assets",
    "asset": "in the asset",
    "references": "in References",
    "captions": "in Captions",
    "datasets": "in Datasets",
    "versions": "in Versions",
    "regression": "in Regression",
    "compare": "in the comparison",
    "runs": "in runs",
    "newrun": "in a new run",
    "watch": "in watch",
    "plugins": "in plugins",
    "settings": "in settings",
}
"""Where the actions of a scope are."""

_BETTER = {
    ("jobs", "list"): "app.runs",
    ("jobs", "logs"): "runs.logs",
    ("jobs", "retry"): "runs.resume",
    ("watch", "quarantine"): "app.watched",
    ("plugin", "show"): "app.plugins",
}
"""Commands that are near an action without being its twin."""

_NOT_HERE = {("project", "show"), ("asset", "set", "--set")}
"""Commands that do more than the action that names them."""


def _words(command: str) -> tuple[str, ...]:
    words: list[str] = []
    for word in command.split():
        if not _WORD.match(word) or len(words) == 2:
            break
        words.append(word)
    return tuple(words)


def _by_command() -> dict[tuple[str, ...], Action]:
    found: dict[tuple[str, ...], Action] = {}
    for action in ACTIONS:
        found.setdefault(_words(action.twin.removeprefix("assetforge ")), action)
    named = {action.id: action for action in ACTIONS}
    return {**found, **{command: named[one] for command, one in _BETTER.items()}}


def where_here(text: str) -> str:
    """Which action does what the first command line in a text does, such as ``Here: freeze in Datasets.``; empty when none does.

    Args:
        text: A hint, with command lines between backticks.
    """
    known = _by_command()
    for command in _COMMAND.findall(text):
        words = _words(command)
        if not words or words in _NOT_HERE or ((*words, "--set") in _NOT_HERE and " --set" in command):
            continue
        # One word is a command, and what follows it a name; two are a command of a group.
        action = known.get(words) or known.get(words[:1])
        if action is not None:
            return " ".join(part for part in ("Here:", action.label, _PLACES[action.scope]) if part) + "."
    return ""


def in_words(error: AssetForgeError) -> str:
    """What happened, what to do, and where to do it here."""
    return " ".join(part for part in (error.message, error.hint, where_here(error.hint)) if part)
