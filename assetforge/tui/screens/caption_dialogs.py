"""Questions about a change of many captions: what to change, and whether what would change is right."""

from typing import TYPE_CHECKING

from textual.content import Content

from assetforge.tui.screens.dialogs import ConfirmDialog, Field, FieldsDialog
from assetforge.tui.words import count_of, plain

if TYPE_CHECKING:
    from assetforge.domain.captions import CaptionChange
    from assetforge.services.caption_edits import BulkEdit
    from assetforge.tui.app import FilmApp

__all__ = ["ask_change", "confirm_change"]

_SHOWN = 6
_MODES = (("text", "text"), ("whole words", "words"), ("regular expression", "regex"))
_CASES = (("as written", ""), ("ignored", "ignore"))
_SIDES = (("before", "before"), ("behind", "behind"))
_TAGS = (("add at the end", "add"), ("add as the first", "first"), ("remove", "remove"))
_TRIGGER = (("write it in", "in"), ("take it out", "out"))

_FORMS = {
    "replace": (
        "Find and replace",
        [
            Field(name="find", title="find", required=True),
            Field(name="with", title="replace with"),
            Field(name="mode", title="as", choices=_MODES),
            Field(name="case", title="case", choices=_CASES),
        ],
    ),
    "prefix": (
        "Put words before or behind",
        [Field(name="where", title="where", choices=_SIDES), Field(name="text", title="words", required=True)],
    ),
    "tag": (
        "Add or remove a tag",
        [
            Field(name="what", title="what", choices=_TAGS),
            Field(name="tag", title="tag", placeholder="rain", required=True),
        ],
    ),
    "trigger": (
        "The trigger in captions",
        [
            Field(name="what", title="what", choices=_TRIGGER),
            Field(name="instead", title="instead of", placeholder="a woman"),
        ],
    ),
}
_ABOUT = "Works on the marked captions, on those of the filter, or on all. What would change is shown first."
_ABOUT_TRIGGER = "Training puts the trigger before every caption that does not say it. Write it in only where it shall stand elsewhere in the text."


async def ask_change(app: "FilmApp", kind: str) -> "CaptionChange | None":
    """Which change; ``None`` when nothing shall be changed.

    Args:
        app: The program.
        kind: ``replace``, ``prefix``, ``tag`` or ``trigger``.
    """
    from assetforge.domain import captions

    title, fields = _FORMS[kind]
    about, check = (_ABOUT_TRIGGER, _trigger_problem) if kind == "trigger" else (_ABOUT, None)
    answer = await app.push_screen_wait(FieldsDialog(title, fields, about, check=check))
    if not isinstance(answer, dict):
        return None
    if kind == "replace":
        mode = answer["mode"]
        return captions.Replace(
            find=answer["find"],
            replacement=answer["with"],
            mode="regex" if mode == "regex" else "words" if mode == "words" else "text",
            ignore_case=bool(answer["case"]),
        )
    if kind == "prefix":
        return captions.AddPrefix(answer["text"]) if answer["where"] == "before" else captions.AddSuffix(answer["text"])
    if kind == "tag":
        if answer["what"] == "remove":
            return captions.RemoveTag(answer["tag"])
        return captions.AddTag(answer["tag"], first=answer["what"] == "first")
    return captions.PlaceTrigger(answer["instead"]) if answer["what"] == "in" else captions.TakeTriggerOut()


def _trigger_problem(values: dict[str, str]) -> str:
    if values["what"] == "in" and not values["instead"].strip():
        return "Which words shall the trigger stand in the place of?"
    return ""


async def confirm_change(app: "FilmApp", planned: "BulkEdit") -> bool:
    """Show some captions before and after, and ask."""
    lines = []
    for pair in planned.pairs[:_SHOWN]:
        lines += [
            Content.styled(f"− {plain(pair.before, 140) or 'nothing'}", "$error"),
            Content.styled(f"+ {plain(pair.after, 140) or 'nothing'}", "$success"),
        ]
    if len(planned.pairs) > _SHOWN:
        lines.append(Content(f"… and {len(planned.pairs) - _SHOWN} more"))
    title = f"Change {len(planned.pairs)} of {count_of(planned.looked_at, 'caption')}?"
    return bool(await app.push_screen_wait(ConfirmDialog(title, Content("\n").join(lines), yes="Change")))
