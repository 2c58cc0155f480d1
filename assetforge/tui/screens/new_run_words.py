"""What a run would be, in words beside its form."""

from typing import TYPE_CHECKING, Any

from textual.content import Content

from assetforge.tui.words import count_of, duration, number, plain, size

if TYPE_CHECKING:
    from assetforge.services.training_preview import TrainingPreview

__all__ = ["preview_words"]

_LABEL = 10
_VALUE_MOST = 32


def preview_words(preview: "TrainingPreview", width: int, *, brief: bool = False) -> Content:
    """All of it, the most important first.

    Args:
        preview: What would run.
        width: Cells of a line.
        brief: There are few lines: figures on two of them, then what to know before it starts.
    """
    found = [*_known(preview), *_warnings(preview)]
    if brief:
        return Content("\n").join([*_brief(preview), *found, *_changes(preview)])
    lines = [_line(*one, width) for one in _facts(preview)]
    lines += [Content(""), *_changes(preview)]
    return Content("\n").join([*lines, Content(""), *found] if found else lines)


def _brief(preview: "TrainingPreview") -> list[Content]:
    facts = {name: (value, besides) for name, value, besides in _facts(preview)}
    joint = Content.styled(" · ", "$dim")
    first = [Content.assemble(value, (f" {besides}", "$dim")) for value, besides in (facts["dataset"], facts["base"])]
    second = [Content(f"{facts['steps'][0]} steps")] if "steps" in facts else []
    second.append(Content(facts["time"][0] if preview.seconds is not None else "time unknown"))
    second += [Content(facts[name][0]) for name in ("memory", "begins") if name in facts]
    return [joint.join(first), joint.join(second)]


def _facts(preview: "TrainingPreview") -> list[tuple[str, str, str]]:
    """Name, value, what is said besides."""
    held = f"{preview.held_out_count} held out" if preview.held_out_count else "none held out"
    frozen = "" if preview.frozen else ", frozen first"
    facts = [
        ("dataset", plain(preview.dataset), f"{preview.train_count} to train on, {held}{frozen}"),
        ("base", plain(preview.base), f"{preview.family}, {preview.resolution} px"),
        ("begins", f"from {plain(preview.start_from)}" if preview.start_from else "from nothing", ""),
    ]
    if preview.steps is not None:
        besides = []
        if preview.epochs is not None:
            besides.append(f"{preview.epochs:.1f} epochs")
        if preview.pictures_per_step is not None:
            besides.append(f"{count_of(preview.pictures_per_step, 'picture')} a step")
        facts.append(("steps", number(preview.steps), ", ".join(besides)))
    if preview.seconds is not None:
        where = f" on {plain(preview.device)}" if preview.device else ""
        facts.append(
            ("time", f"about {duration(preview.seconds)}", f"by {count_of(preview.seconds_from, 'earlier run')}{where}")
        )
    else:
        facts.append(("time", "unknown", "no earlier run tells"))
    if preview.memory_mb is not None:
        facts.append(("memory", f"about {size(round(preview.memory_mb * 1_000_000))}", f"as run {preview.memory_run}"))
    return [*facts, ("where", plain(preview.executor), "")]


def _line(name: str, value: str, besides: str, width: int) -> Content:
    line = Content.assemble((name.ljust(_LABEL), "$dim"), value)
    if not besides:
        return line
    # What does not fit stands below, under the value.
    gap = "  " if line.cell_length + 2 + len(besides) <= width else "\n" + " " * _LABEL
    return Content.assemble(line, gap, (besides, "$dim"))


def _changes(preview: "TrainingPreview") -> list[Content]:
    recipe = plain(preview.recipe)
    if not preview.changed:
        return [Content.assemble(("as ", "$dim"), recipe, (" says", "$dim"))]
    width = max(len(one.name) for one in preview.changed) + 2
    lines = [Content.assemble(("differs from ", "$dim"), recipe)]
    for one in preview.changed:
        line = Content.assemble(
            ("• ", "$primary"), plain(one.name).ljust(width), (f"{_value(one.recipe)} → ", "$dim"), _value(one.value)
        )
        lines.append(line if one.counts else Content.assemble(line, ("  changes nothing", "$dim")))
    return lines


def _known(preview: "TrainingPreview") -> list[Content]:
    """What makes starting it needless."""
    if preview.reused:
        text = " was trained on exactly this. Starting asks before it trains again."
        return [Content.assemble(("● ", "$success"), (plain(preview.reused), "bold"), text)]
    if preview.joined is not None:
        return [
            Content.assemble(
                ("⏵ ", "$secondary"), (f"run {preview.joined}", "bold"), " does the same and is on its way."
            )
        ]
    return []


def _warnings(preview: "TrainingPreview") -> list[Content]:
    return [Content.assemble(("▲ ", "$warning"), plain(one.text)) for one in preview.warnings]


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return plain(str(value), _VALUE_MOST) or "empty"
