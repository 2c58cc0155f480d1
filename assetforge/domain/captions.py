"""How a caption, a trigger word and a class word become the text that is trained on, and how many captions are changed alike."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from assetforge.errors import UsageError

__all__ = [
    "LONGEST_CAPTION",
    "AddPrefix",
    "AddSuffix",
    "AddTag",
    "CaptionChange",
    "PlaceTrigger",
    "RemoveTag",
    "Replace",
    "TagCount",
    "TakeTriggerOut",
    "change_caption",
    "check_change",
    "describe_change",
    "says_trigger",
    "split_tags",
    "tag_counts",
    "training_caption",
]

LONGEST_CAPTION = 10_000
"""Most characters that a bulk change may leave a caption with."""

_SHOWN = 60
_CLOSING = ",.;:!?)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replace:
    r"""Find something in captions and put something else there, everywhere it stands.

    Attributes:
        find: What to look for; not empty.
        replacement: What takes its place; may be empty. In a regular expression ``\1`` and ``\g<name>`` stand for groups.
        mode: ``text`` takes it as it is, ``words`` too but only where no letter or digit goes on, ``regex`` as a regular expression of Python.
        ignore_case: Capital and small letters are the same.
    """

    find: str
    replacement: str = ""
    mode: Literal["text", "words", "regex"] = "text"
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class AddPrefix:
    """Put words before captions that do not begin with them; a space comes between."""

    text: str


@dataclass(frozen=True, slots=True)
class AddSuffix:
    """Put words behind captions that do not end with them; a space comes between, unless they begin with punctuation."""

    text: str


@dataclass(frozen=True, slots=True)
class AddTag:
    """Add one of the parts between commas to captions that lack it, at the end or as the first."""

    tag: str
    first: bool = False


@dataclass(frozen=True, slots=True)
class RemoveTag:
    """Take one of the parts between commas out of captions."""

    tag: str


@dataclass(frozen=True, slots=True)
class TakeTriggerOut:
    """Take the asset's trigger out of captions, with the class word behind it where both stand in front as training would put them.

    Captions are kept without the trigger, since training puts it in: captions that other tools wrote have it, and would keep an old one for ever.
    """


@dataclass(frozen=True, slots=True)
class PlaceTrigger:
    """Write trigger and class word in the place of words that mean the asset, such as ``a woman``, once per caption.

    Training leaves the trigger where a caption says it, and puts it in front of all others. So this says where it shall stand; nothing has to be done to have it in front.
    """

    instead_of: str


CaptionChange: TypeAlias = Replace | AddPrefix | AddSuffix | AddTag | RemoveTag | TakeTriggerOut | PlaceTrigger


@dataclass(frozen=True, slots=True)
class TagCount:
    """How often a tag stands in captions.

    Attributes:
        tag: As it is written most often.
        count: Captions that have it, in whatever capitals.
    """

    tag: str
    count: int


def training_caption(caption: str, *, trigger: str, class_word: str) -> str:
    """The caption with the trigger in it.

    The trigger stands first, followed by the class word, unless the caption already contains it as a word of its own.
    """
    text = " ".join(caption.split())
    if not trigger or says_trigger(text, trigger):
        return text or class_word
    subject = f"{trigger} {class_word}".strip()
    return f"{subject}, {text}" if text else subject


def says_trigger(caption: str, trigger: str) -> bool:
    """Whether a caption contains the trigger as a word of its own."""
    return bool(trigger) and re.search(_as_word(trigger), caption) is not None


def split_tags(caption: str) -> list[str]:
    """The parts of a caption between commas, without spaces around them and without empty ones."""
    return [tag for part in caption.split(",") if (tag := part.strip())]


def tag_counts(captions: Iterable[str]) -> list[TagCount]:
    """Every tag with the number of captions that have it, most frequent first, then by alphabet."""
    written: dict[str, Counter[str]] = {}
    for caption in captions:
        for key, tag in {tag.casefold(): tag for tag in split_tags(caption)}.items():
            written.setdefault(key, Counter())[tag] += 1
    found = [(spelled.most_common(1)[0][0], spelled.total()) for spelled in written.values()]
    return [TagCount(*one) for one in sorted(found, key=lambda one: (-one[1], one[0].casefold(), one[0]))]


def check_change(change: CaptionChange, *, trigger: str) -> None:
    """Refuse a change that says nothing.

    Raises:
        UsageError: It looks for or adds nothing, a tag has a comma in it, or it is about a trigger that the asset does not have.
    """
    match change:
        case Replace(find=text) | PlaceTrigger(instead_of=text) if not text.strip():
            raise UsageError("Nothing was said to look for in the captions.")
        case AddPrefix(text=text) | AddSuffix(text=text) | AddTag(tag=text) | RemoveTag(tag=text) if not text.strip():
            raise UsageError("Nothing was said to add to the captions or to take out of them.")
        case AddTag(tag=text) | RemoveTag(tag=text) if "," in text:
            raise UsageError(f"A tag has no comma in it, and {_quoted(text)} has.", hint="Change one tag at a time.")
        case TakeTriggerOut() | PlaceTrigger() if not trigger:
            raise UsageError(
                "The asset has no trigger word.", hint="Give it one with `assetforge asset set NAME --trigger WORD`."
            )
        case _:
            return


def change_caption(caption: str, change: CaptionChange, *, trigger: str = "", class_word: str = "") -> str:
    """One caption after a change; spaces are not tidied.

    Args:
        caption: One line.
        change: What to do; no regular expression, which may take for ever and so runs elsewhere.
        trigger: Of the asset.
        class_word: Of the asset.
    """
    match change:
        case Replace():
            return _replaced(caption, change)
        case AddPrefix(text=text):
            text = text.strip()
            return caption if caption.startswith(text) else f"{text} {caption}" if caption else text.rstrip(" ,")
        case AddSuffix(text=text):
            text = text.strip()
            between = "" if text[0] in _CLOSING else " "
            return caption if caption.endswith(text) else f"{caption}{between}{text}" if caption else text.lstrip(" ,")
        case AddTag(tag=tag, first=first):
            tag, tags = tag.strip(), split_tags(caption)
            if tag.casefold() in (one.casefold() for one in tags):
                return caption
            return ", ".join([tag, *tags] if first else [*tags, tag])
        case RemoveTag(tag=tag):
            tags, wanted = split_tags(caption), tag.strip().casefold()
            left = [one for one in tags if one.casefold() != wanted]
            return ", ".join(left) if len(left) < len(tags) else caption
        case TakeTriggerOut():
            return _without_trigger(caption, trigger, class_word)
        case PlaceTrigger(instead_of=phrase):
            if says_trigger(caption, trigger):
                return caption
            subject = f"{trigger} {class_word}".strip()
            return re.sub(_as_word(phrase.strip()), lambda _: subject, caption, count=1, flags=re.IGNORECASE)


def describe_change(change: CaptionChange) -> str:
    """What a change does, for lists and the record; in a few words, however long the texts in it are."""
    match change:
        case Replace(find=find, replacement=replacement, mode=mode, ignore_case=ignore_case):
            notes = [*({"words": ["whole words"], "regex": ["regular expression"]}.get(mode, []))]
            notes += ["any capitals"] if ignore_case else []
            said = f"{_quoted(find)} to {_quoted(replacement)}" if replacement else f"{_quoted(find)} taken out"
            return f"{said} ({', '.join(notes)})" if notes else said
        case AddPrefix(text=text):
            return f"{_quoted(text.strip())} in front"
        case AddSuffix(text=text):
            return f"{_quoted(text.strip())} at the end"
        case AddTag(tag=tag, first=first):
            return f"tag {_quoted(tag.strip())} added{' in front' if first else ''}"
        case RemoveTag(tag=tag):
            return f"tag {_quoted(tag.strip())} taken out"
        case TakeTriggerOut():
            return "trigger taken out"
        case PlaceTrigger(instead_of=phrase):
            return f"trigger instead of {_quoted(phrase.strip())}"


def _replaced(caption: str, change: Replace) -> str:
    if change.mode == "regex":
        raise ValueError("a regular expression is not looked for here")
    pattern = _as_word(change.find) if change.mode == "words" else re.escape(change.find)
    return re.sub(
        pattern, lambda _: change.replacement, caption, flags=re.IGNORECASE if change.ignore_case else re.NOFLAG
    )


def _without_trigger(caption: str, trigger: str, class_word: str) -> str:
    if not says_trigger(caption, trigger):
        return caption
    behind = rf"(?:\s+{re.escape(class_word)}(?!\w))?" if class_word else ""
    text = re.sub(rf"^\s*{_as_word(trigger)}{behind}\s*,?\s*", "", caption, count=1)
    text = re.sub(rf"{_as_word(trigger)}\s*", "", text)
    return re.sub(r"\s+,", ",", re.sub(r"(,\s*)+(?=,|$)", "", text)).strip(" ,")


def _as_word(text: str) -> str:
    return rf"(?<!\w){re.escape(text)}(?!\w)"


def _quoted(text: str) -> str:
    return f"“{text if len(text) <= _SHOWN else text[:_SHOWN] + '…'}”"
