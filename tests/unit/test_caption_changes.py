"""What bulk changes make of one caption, how tags are counted, and how many tokens a text has."""

import json
from pathlib import Path

import pytest

from assetforge.domain.captions import (
    AddPrefix,
    AddSuffix,
    AddTag,
    CaptionChange,
    PlaceTrigger,
    RemoveTag,
    Replace,
    TagCount,
    TakeTriggerOut,
    change_caption,
    check_change,
    describe_change,
    tag_counts,
)
from assetforge.domain.clip_tokens import ClipTokenizer, estimated_tokens
from assetforge.errors import UsageError
from assetforge.services.text_patterns import substitute


@pytest.mark.parametrize(
    ("caption", "change", "expected"),
    [
        ("a man, a mandolin", Replace(find="man", replacement="boy"), "a boy, a boydolin"),
        ("a man, a mandolin", Replace(find="man", replacement="boy", mode="words"), "a boy, a mandolin"),
        ("A Man", Replace(find="man", replacement="boy"), "A Man"),
        ("A Man", Replace(find="man", replacement="boy", ignore_case=True), "A boy"),
        ("a.b", Replace(find=".", replacement=r"\1"), r"a\1b"),
        ("cut [here]", Replace(find="[here]", mode="words"), "cut "),
        ("rain", AddPrefix("film still,"), "film still, rain"),
        ("film still, rain", AddPrefix("film still,"), "film still, rain"),
        ("", AddPrefix("film still, "), "film still"),
        ("rain", AddSuffix(", 35mm"), "rain, 35mm"),
        ("rain", AddSuffix("on film"), "rain on film"),
        ("rain, 35mm", AddSuffix(", 35mm"), "rain, 35mm"),
        ("", AddSuffix(", 35mm"), "35mm"),
        ("rain,night", AddTag("fog"), "rain, night, fog"),
        ("rain", AddTag("fog", first=True), "fog, rain"),
        ("Rain,night", AddTag("rain"), "Rain,night"),
        ("", AddTag("fog"), "fog"),
        ("rain,Night , night", RemoveTag("night"), "rain"),
        ("rain,  night", RemoveTag("fog"), "rain,  night"),
        ("mrvale woman, in rain", TakeTriggerOut(), "in rain"),
        ("mrvale, in rain", TakeTriggerOut(), "in rain"),
        ("mrvale woman", TakeTriggerOut(), ""),
        ("portrait of mrvale woman, night", TakeTriggerOut(), "portrait of woman, night"),
        ("rain, mrvale, night", TakeTriggerOut(), "rain, night"),
        ("mrvalet, rain", TakeTriggerOut(), "mrvalet, rain"),
        ("A Woman in rain, a woman", PlaceTrigger("a woman"), "mrvale woman in rain, a woman"),
        ("mrvale and a woman", PlaceTrigger("a woman"), "mrvale and a woman"),
        ("a womanly shape", PlaceTrigger("a woman"), "a womanly shape"),
    ],
)
def test_one_caption(caption: str, change: CaptionChange, expected: str) -> None:
    assert change_caption(caption, change, trigger="mrvale", class_word="woman") == expected
    assert describe_change(change)


@pytest.mark.parametrize(
    ("change", "trigger", "said"),
    [
        (Replace(find=" "), "x", "to look for"),
        (PlaceTrigger(""), "x", "to look for"),
        (AddPrefix("  "), "x", "to add"),
        (AddTag("a, b"), "x", "no comma"),
        (TakeTriggerOut(), "", "no trigger"),
    ],
)
def test_changes_that_say_nothing_are_refused(change: CaptionChange, trigger: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check_change(change, trigger=trigger)


def test_a_long_text_is_described_in_a_few_words() -> None:
    assert len(describe_change(Replace(find="x" * 5000, replacement="y" * 5000))) < 150


def test_tags_are_counted_once_a_caption_and_whatever_their_capitals() -> None:
    found = tag_counts(["Rain, night", "rain,rain,  ", "RAIN", "night , fog", ""])
    assert found == [TagCount("Rain", 3), TagCount("night", 2), TagCount("fog", 1)]


def test_regular_expressions_with_groups() -> None:
    assert substitute(["a red car", "none"], r"(\w+) car", r"car in \1") == ["a car in red", "none"]
    assert substitute(["Rain"], "rain", "fog", ignore_case=True) == ["fog"]
    assert substitute([], "rain", "fog") == []
    assert substitute(["\ud800 rain"], "rain", "fog") == ["\ud800 fog"]


@pytest.mark.parametrize(
    ("pattern", "replacement", "said"),
    [
        ("(", "", "cannot be used: missing"),
        ("a", r"\2", "invalid group reference"),
        ("a", r"\g<who>", "unknown group name"),
        ("(" * 500 + ")" * 500, "", "cannot be used"),
        ("(a+)+$", "", "given up after 1 seconds"),
        ("x" * 1001, "", "1000 is the most"),
        ("a", "b" * 600, "would become"),
    ],
)
def test_regular_expressions_that_cannot_be_used(pattern: str, replacement: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        substitute(["a" * 40 + "!"], pattern, replacement, seconds=1)


def test_tokens_are_counted_as_the_tokenizer_of_the_base_counts_them() -> None:
    toybox = pytest.importorskip("assetforge_toybox")
    tokenizers = pytest.importorskip("tokenizers")
    file = Path(toybox.__file__).parent / "data" / "base" / "tokenizer" / "tokenizer.json"
    theirs = tokenizers.Tokenizer.from_file(str(file))
    theirs.no_padding()
    theirs.no_truncation()
    ours = ClipTokenizer(json.loads(file.read_text())["model"]["merges"])
    texts = [
        "a red robot on a hill at night, it's 12 o'clock!! they've 'll",
        "«naïve» 日本 ½ Ⅷ İstanbul",
        "e\u0301 \u0301x  \t two\nlines",
        "<|endoftext|> a_b-c...d 1234 9a !'s '",
        "mrvale woman, [brackets] \\ / {x}",
        "",
    ]
    for text in texts:
        known = theirs.encode(text, add_special_tokens=False).tokens
        assert (ours.tokens(text), ours.count(text)) == (known, len(known))


def test_the_estimate_counts_words_digits_and_punctuation() -> None:
    assert estimated_tokens("") == 0
    assert estimated_tokens("a woman in the rain, night") == 7
    assert estimated_tokens("1999") == 4
    assert estimated_tokens("incomprehensibilities") > 2
    assert estimated_tokens("日本") == 3
