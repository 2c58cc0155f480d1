"""Keys of the user's own: what is wrong with them, in sentences. Textual lets one of two actions with the same key go without a word."""

from collections.abc import Mapping
from difflib import get_close_matches

from assetforge.tui.actions import ACTIONS

__all__ = ["key_problems"]

_EVERYWHERE = "app"


def key_problems(keymap: Mapping[str, str]) -> list[str]:
    """What of a keymap cannot be as it is meant: actions that do not exist, and keys that two actions of one screen have now.

    Args:
        keymap: Keys by the id of an action, several with commas between them.
    """
    known = {one.id: keymap.get(one.id, one.keys) for one in ACTIONS}
    scopes = {one.scope for one in ACTIONS}
    problems = []
    for name in keymap:
        if name.partition(".")[0] in scopes and name not in known:
            near = get_close_matches(name, known, n=1)
            problems.append(f"tui.keys: there is no action {name}{f', did you mean {near[0]}' if near else ''}.")
    told: set[frozenset[str]] = set()
    for name, keys in known.items():
        if name not in keymap:
            continue
        for key in _split(keys):
            beside = {name.partition(".")[0], _EVERYWHERE}
            if name.startswith(f"{_EVERYWHERE}."):
                beside = scopes
            others = [
                other
                for other, taken in known.items()
                if other != name and other.partition(".")[0] in beside and key in _split(taken)
            ]
            for other in others:
                if frozenset((name, other)) not in told:
                    told.add(frozenset((name, other)))
                    problems.append(f"tui.keys: {key} is the key of {name} and of {other}.")
    return problems


def _split(keys: str) -> list[str]:
    return [key.strip() for key in keys.split(",") if key.strip()]
