"""The words of the comparison screen."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from textual.content import Content

from assetforge.tui.screens.compare_facts import CellFacts, Compared, Progress, Side, Unfinished
from assetforge.tui.screens.compare_list import change_text, seen_mark
from assetforge.tui.words import count_of, dim, plain, signed, status, strong

if TYPE_CHECKING:
    from assetforge.domain.votes import Poll

__all__ = [
    "badge",
    "caption",
    "cell_line",
    "cell_words",
    "heading",
    "looked_at",
    "not_measured",
    "side_text",
    "tally",
    "verdict",
    "waiting",
]

_BADGES = {
    "pass": ("●", "$success"),
    "regressed": ("▲", "$error"),
    "inconclusive": ("◐", "$warning"),
    "": ("○", "$secondary"),
}
_NAMES = 3
_BAR = 30


def badge(outcome: str, word: str) -> Content:
    """The verdict, large: a block in its colour with glyph and word."""
    glyph, style = _BADGES.get(outcome, _BADGES[""])
    return Content.styled(f" {glyph} {word.upper()} ", f"bold $background on {style}")


def side_text(side: Side) -> Content:
    """``v6 ● approved``; ``the bare base``."""
    if not side.address:
        return Content("the bare base")
    return Content.assemble((side.name, "bold"), " ", status(side.state, word=side.word))


def heading(facts: Compared) -> Content:
    """``v7 ◐ review  against  v6 ● approved``."""
    return Content.assemble(side_text(facts.new), ("  against  ", "$dim not bold"), side_text(facts.old))


def not_measured(names: tuple[str, ...], most: int = _NAMES) -> str:
    """What nothing is known about, named as far as there is room."""
    if not names:
        return ""
    more = len(names) - most
    listed = ", ".join(names) if more <= 1 else f"{', '.join(names[:most])} and {more} more"
    return plain(f"not measured: {listed}")


def verdict(facts: Compared, width: int) -> Content:
    """One line: the outcome, then the sentence, or the figures alone where it would not fit."""
    said = badge(facts.outcome, facts.word)
    room = width - said.cell_length - 4
    sentence = plain(facts.sentence)
    if len(sentence) > room and facts.short:
        sentence = plain(facts.short)
    return Content.assemble(said, "  ", (sentence, "bold" if facts.outcome else "")).truncate(width - 2, ellipsis=True)


def limits(facts: Compared) -> Content:
    """A second line: what the verdict does not say."""
    parts = []
    if facts.deciding != facts.info.id:
        parts.append(Content.styled(f"a decision rests on comparison {facts.deciding}, not on this one", "$warning"))
    if facts.extension is not None:
        parts.append(Content.styled("⏵ more prompts are being rendered", "$secondary"))
    if facts.not_measured:
        parts.append(dim(not_measured(facts.not_measured)))
    if not parts and facts.more and facts.more != facts.sentence:
        parts.append(dim(plain(facts.more)))
    return Content("   ").join(parts)


def looked_at(facts: Compared, opened: Mapping[int, float]) -> Content:
    """``3 of 5 seen``."""
    missing = len(facts.unseen(opened))
    whole = len(facts.required)
    if not whole:
        return dim("nothing differs")
    if not missing:
        return Content.styled(f"✓ {whole} seen", "$success")
    return Content.styled(f"{whole - missing} of {whole} seen", "$warning")


def caption(facts: Compared, cell: CellFacts, at: str, *, blind: bool) -> Content:
    """What the cell was asked for, and its figures: two lines."""
    prompt = Content.assemble("“", plain(cell.prompt), "”")
    block = next((one.title for one in facts.blocks if one.name == cell.block), cell.block)
    parts = [plain(block), f"seed {cell.seed}", at]
    about = dim("   ".join(parts))
    if not blind:
        about = Content.assemble(_change(facts, cell), "   ", about)
    return Content("\n").join([prompt, about])


def _change(facts: Compared, cell: CellFacts) -> Content:
    if cell.identical:
        return Content("equal pictures")
    if cell.change is None:
        return Content.styled("nothing to measure in it", "$warning")
    style = "$error" if cell.change < 0 else ""
    if cell.strays:
        known = {facts.new.name: cell.strays.get("new"), facts.old.name: cell.strays.get("baseline")}
        said = ", ".join(f"{name} {value:.3f}" for name, value in known.items() if value is not None)
        return Content.assemble(
            (signed(cell.change, 3), f"bold {style}".strip()), (f"  strays from the base: {said}", "$dim")
        )
    values = [cell.similarity.get(side) for side in (facts.new.key, facts.old.key)]
    beside = f"  {values[0]:.3f} against {values[1]:.3f}" if None not in values else ""
    return Content.assemble((signed(cell.change, 3), f"bold {style}".strip()), (beside, "$dim"))


def cell_line(facts: Compared, cell: CellFacts, at: str, opened: Mapping[int, float], *, blind: bool) -> Content:
    """Everything of a cell on one line, for terminals without room for the list."""
    change = "" if blind else change_text(cell)
    look = "" if blind or cell.index in opened or cell.index not in facts.required else "  look"
    return Content.assemble(
        (at, "$dim"),
        " ",
        seen_mark(seen=cell.index in opened),
        " ",
        (change, "bold $error" if change.startswith("−") else "bold"),
        (look, "$warning"),
        "  ",
        plain(cell.short),
        (f"  {plain(cell.block)} · seed {cell.seed} · strength {cell.strength:g}", "$dim"),
    )


def cell_words(facts: Compared, cell: CellFacts, *, blind: bool) -> Content:
    """A cell without pictures: what is known of it, aligned."""
    lines = [
        strong(plain(cell.prompt)),
        dim(f"{plain(cell.block)}   seed {cell.seed}   strength {cell.strength:g}"),
        Content(""),
    ]
    if blind:
        lines.append(Content("Pictures are off: e opens both in the system's viewer, left and right as they are here."))
        return Content("\n").join(lines)
    names = {facts.new.key: facts.new.name, facts.old.key: facts.old.name, "control": "base"}
    for side, name in names.items():
        value = cell.similarity.get(side)
        shown = "–" if value is None else f"{value:.3f}"
        lines.append(Content.assemble(("likeness of ", "$dim"), f"{name:<8}", (f"{shown:>8}", "bold")))
    lines.append(Content.assemble((f"{'change':<20}", "$dim"), (f"{signed(cell.change, 3):>8}", "bold")))
    if cell.ssim is not None:
        lines.append(Content.assemble((f"{'structure alike':<20}", "$dim"), (f"{cell.ssim:>8.3f}", "bold")))
    if cell.identical:
        lines.append(Content("The two pictures are equal."))
    lines += [Content(""), dim("Pictures are off: e opens both in the system's viewer, which counts as looking.")]
    return Content("\n").join(lines)


def tally(poll: "Poll", new: str, old: str) -> Content:
    """What the votes say: ``votes  9 of 12 for v7, 3 ties``."""
    found = poll.pooled
    if not found.wins + found.losses + found.ties:
        return Content("")
    parts = [f"{found.wins} for {new}", f"{found.losses} for {old}"]
    if found.ties:
        parts.append(count_of(found.ties, "tie"))
    return Content.assemble(("votes  ", "$dim"), ", ".join(parts), (f"  p {found.p_value:.2g}", "$dim"))


def waiting(found: Unfinished) -> Content:
    """What an unfinished comparison waits for, or why it came to nothing."""
    info = found.info
    against = info.baseline.rpartition("/")[2] if info.baseline else "the bare base"
    lines = [
        strong(f"{plain(info.version)} against {against}"),
        dim(f"{plain(info.suite)} · comparison {info.id}"),
        Content(""),
    ]
    if info.state != "queued":
        lines += [status(info.state), Content(plain(str(info.summary.get("error", "")), 400)), Content("")]
        lines.append(dim("m tries again."))
    elif found.jobs:
        lines += [_job(job) for job in found.jobs]
        if any(job.kind == "render" for job in found.jobs):
            lines.append(Content.assemble(status("waiting", word="scores"), ("  when the pictures are there", "$dim")))
        lines += [Content(""), dim("The pictures appear here by themselves; esc goes back, the work goes on.")]
    else:
        lines += [Content("Nothing works on it."), Content(""), dim("m asks for it again.")]
    return Content("\n").join(lines)


def _job(job: Progress) -> Content:
    word = {"render": "pictures", "score": "scores"}.get(job.kind, job.kind)
    head = Content.assemble(status(job.state, word=word), (f"  job {job.job}", "$dim"))
    if job.total:
        done = min(1.0, job.step / job.total)
        filled = round(done * _BAR)
        bar = Content.assemble(("━" * filled, "$primary"), ("━" * (_BAR - filled), "$border-blurred"))
        head = Content.assemble(head, "  ", bar, f"  {job.step} of {job.total}")
    elif job.state == "queued":
        head = Content.assemble(head, ("  waits for its turn", "$dim"))
    return Content.assemble(head, (f"\n{plain(job.error, 200)}", "$warning") if job.error else "")
