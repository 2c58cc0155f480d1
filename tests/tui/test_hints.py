"""Hints name command lines; in the program they also name what does the same there."""

import pytest

from assetforge.errors import NotFoundError
from assetforge.tui.actions import ACTIONS
from assetforge.tui.hints import _BETTER, _PLACES, in_words, where_here


@pytest.mark.parametrize(
    ("hint", "here"),
    [
        ("`assetforge dataset freeze mara` makes one.", "Here: freeze in assets."),
        ("Add some with `assetforge ref add mara FOLDER`.", "Here: import in assets."),
        ("`assetforge train mara` trains it.", "Here: train in assets."),
        ("`assetforge jobs list` shows what there is.", "Here: runs."),
        ("Look with `assetforge jobs logs 7`.", "Here: log in runs."),
        ("`assetforge approve mara/v2` first.", "Here: approve in Versions."),
        ("`assetforge watch quarantine` lists them.", "Here: watch."),
        ("`assetforge asset set mara --trigger WORD`.", "Here: edit in assets."),
        # What this program cannot do is said of the command line alone.
        ("`assetforge asset set mara --set 'metrics=[\"ssim\"]'`.", ""),
        ("`assetforge fsck --repair` mends it.", ""),
        ("`assetforge base add NAME FILE`", ""),
        ("`assetforge project show` tells.", ""),
        # The first that can be done here.
        ("`assetforge fsck`, then `assetforge ref list mara`.", "Here: references in the asset."),
        ("Choose another one.", ""),
        ("", ""),
        ("`assetforge`", ""),
        ("`assetforge [b]`", ""),
    ],
)
def test_the_action_that_does_the_same_is_named(hint, here):
    assert where_here(hint) == here


def test_every_scope_has_a_place_and_every_exception_an_action():
    assert {action.scope for action in ACTIONS} == set(_PLACES)
    assert set(_BETTER.values()) <= {action.id for action in ACTIONS}


def test_message_hint_and_place_are_sentences():
    error = NotFoundError("mara has no dataset.", hint="`assetforge dataset freeze mara` makes one.")
    assert in_words(error) == "mara has no dataset. `assetforge dataset freeze mara` makes one. Here: freeze in assets."
    assert in_words(NotFoundError("It is gone.")) == "It is gone."
