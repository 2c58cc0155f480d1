"""The trigger is in every caption, once."""

import pytest

from assetforge.domain.captions import training_caption


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("in the rain", "mrvale woman, in the rain"),
        ("a portrait of mrvale in the rain", "a portrait of mrvale in the rain"),
        ("mrvalet in the rain", "mrvale woman, mrvalet in the rain"),
        ("", "mrvale woman"),
        ("  two\n lines ", "mrvale woman, two lines"),
    ],
)
def test_trigger_stands_in_front_unless_it_is_there(caption: str, expected: str) -> None:
    assert training_caption(caption, trigger="mrvale", class_word="woman") == expected


def test_without_a_trigger_the_caption_is_what_it_is() -> None:
    assert training_caption("a street", trigger="", class_word="street") == "a street"
    assert training_caption("", trigger="", class_word="street") == "street"
