"""What a version was made of, in words: section by section, with what differs from the version that it goes on from."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from textual.content import Content

from assetforge.tui.screens.datasets import Difference
from assetforge.tui.screens.version_facts import MadeOf
from assetforge.tui.screens.version_texts import exponent, short
from assetforge.tui.widgets.hanging_text import Entry
from assetforge.tui.words import ago, count_of, dim, number, plain, size, status, strong

if TYPE_CHECKING:
    from assetforge.services.releases import AliasEntry
    from assetforge.services.runs import RunInfo
    from assetforge.services.version_history import Judgement
    from assetforge.services.versions import VersionDetail

__all__ = ["difference_line", "lineage_text"]

_CHAIN = 14
_HASH = 16
_LONG = 400
_OFF: tuple[object, ...] = (None, False, "", 0, [], "none")
"""Values of parameters that are not worth a word."""


def difference_line(found: MadeOf, items: Sequence[Difference]) -> Content:
    """How much of the dataset changed, for the head of the pictures."""
    if found.dataset is None:
        return dim("no dataset is known")
    parts = [strong(short(found.dataset.address))]
    if found.unchanged:
        parts.append(dim(f"the same {count_of(len(found.unchanged), 'reference')} as before"))
    elif found.before is None:
        parts.append(dim("the first"))
    else:
        parts.append(dim(f"against {short(found.before.address)}"))
    others = sum(one.glyph == "~" for one in items)
    counts = (
        ("+", sum(one.glyph == "+" for one in items), "added", "$success"),
        ("−", sum(one.glyph == "−" for one in items), "removed", "$error"),
        ("~", others, "changed", "$warning"),
    )
    parts += [Content.styled(f"{glyph}{count} {word}", style) for glyph, count, word, style in counts if count]
    return Content("   ").join(parts)


def lineage_text(found: MadeOf) -> list[Entry]:
    """All sections that there is something to say in."""
    sections = (
        ("made of", _made_of(found)),
        (_differs_title(found), _differs(found)),
        ("verdicts", map(_judgement, reversed(found.judgements))),
        ("names and decisions", map(_decision, reversed(found.decisions))),
        ("rendered through", _rendered(found.detail)),
        ("published", _published(found.detail)),
        ("file", _file(found)),
    )
    lines = list(_head(found))
    for title, entries in sections:
        shown = list(entries)
        if shown:
            lines += [Entry(None, Content("")), Entry(None, strong(title)), *shown]
    return lines


def _fact(name: str, value: str | Content) -> Entry:
    return Entry(name, value if isinstance(value, Content) else Content(value))


def _head(found: MadeOf) -> Iterator[Entry]:
    version = found.version
    names = [Content.styled(f"@{plain(name)}", "$accent") for name in version.aliases]
    yield Entry(None, Content("  ").join([strong(plain(version.address)), status(version.stage), *names]))
    origin = f", imported from {plain(version.origin)}" if version.origin else ""
    yield Entry(None, dim(f"made {ago(version.created_at)}{origin}"))
    if version.note:
        yield Entry(None, Content(plain(version.note, _LONG)))


def _made_of(found: MadeOf) -> Iterator[Entry]:
    if found.chain:
        shown = " ← ".join(short(one.address) for one in found.chain[:_CHAIN])
        rest = len(found.chain) - _CHAIN
        yield _fact("goes on from", shown + (f" ← {count_of(rest, 'older one')}" if rest > 0 else ""))
    dataset = found.dataset
    if dataset is not None:
        held = f"{number(dataset.held_out_count)} held out"
        size_of = f"  {count_of(dataset.train_count, 'reference')}, {held}"
        tree = (f"  tree {dataset.tree_hash[:_HASH]}", "$dim")
        yield _fact("dataset", Content.assemble(short(dataset.address), size_of, tree))
        if dataset.note:
            yield _fact("", dim(plain(dataset.note, _LONG)))
    if found.run is None:
        yield _fact("family", plain(found.version.family))
    else:
        yield from _run(found, found.run)


def _run(found: MadeOf, run: "RunInfo") -> Iterator[Entry]:
    """The recipe, and what carried it out."""
    detail = found.detail
    yield _fact("recipe", Content.assemble(plain(run.recipe), (f"  key {run.recipe_key[:_HASH]}", "$dim")))
    digest = (f"  {detail.base_digest[:_HASH]}", "$dim") if detail is not None else ""
    yield _fact("base", Content.assemble(plain(run.base), digest))
    yield _fact("trainer", plain(detail.trainer if detail is not None else run.trainer))
    attempts = f", {count_of(run.attempt, 'attempt')}" if run.attempt > 1 else ""
    by = f" by {plain(run.requested_by)}" if run.requested_by else ""
    yield _fact("run", Content.assemble(str(run.id), (f"  {plain(run.cause)}{by}{attempts}, seed {run.seed}", "$dim")))
    siblings = [short(one) for one in run.versions if one != found.version.address]
    if siblings:
        yield _fact("same run", ", ".join(siblings))
    if run.metrics:
        yield _fact("figures", ", ".join(f"{_words(name)} {_value(value)}" for name, value in run.metrics.items()))
    engine = [f"{_words(name)} {_value(value)}" for name, value in run.engine.items() if value not in ("", None)]
    if engine:
        yield _fact("engine", dim(", ".join(engine)))


def _differs_title(found: MadeOf) -> str:
    before = next((one for one in found.chain if one.run is not None), None)
    return f"different from {short(before.address)}" if before is not None else "parameters"


def _differs(found: MadeOf) -> Iterator[Entry]:
    if found.run is None:
        return
    if all(one.run is None for one in found.chain):
        told = {name: value for name, value in found.run.params.items() if value not in _OFF}
        yield Entry(None, Content.assemble(*_listed(told)))
        return
    for one in (*found.changed, *found.engine_changed):
        yield Entry(
            None,
            Content.assemble(
                (f"{_words(one.name)}  ", "$dim"), (f"{_value(one.before)} → ", "$dim"), (_value(one.after), "bold")
            ),
        )
    same = (
        count_of(found.same, "other parameter is", "other parameters are")
        if found.changed
        else f"all {found.same} parameters are"
    )
    yield Entry(None, dim(f"{same} the same"))


def _listed(params: Mapping[str, Any]) -> Iterator[Content | tuple[str, str]]:
    """``rank 16, alpha 8, ...``."""
    for at, (name, value) in enumerate(params.items()):
        yield (f"{', ' if at else ''}{_words(name)} ", "$dim")
        yield Content(_value(value))


def _judgement(one: "Judgement") -> Entry:
    word = status(one.outcome or one.state) if one.outcome or one.state != "succeeded" else Content("no verdict")
    about = f"  {plain(one.suite)}, {ago(one.at)}, comparison {one.comparison}"
    said = f"\n{plain(one.sentence, _LONG)}" if one.sentence else ""
    return Entry(f"against {short(one.baseline) or 'base'}", Content.assemble(word, (about, "$dim"), said))


def _decision(entry: "AliasEntry") -> Entry:
    decided = entry.name in ("approved", "rejected")
    word = status(entry.name) if decided else Content.styled(f"@{plain(entry.name)}", "$accent")
    before = f", before that {short(entry.previous)}" if entry.previous and entry.previous != entry.version else ""
    seen = "".join(f", {plain(str(entry.evidence[key]))}" for key in ("anyway", "unseen") if entry.evidence.get(key))
    about = f"  by {plain(entry.actor)}{before}{seen}"
    why = f"\n{plain(entry.why, _LONG)}" if entry.why else ""
    return Entry(ago(entry.at), Content.assemble(word, (about, "$dim"), why))


def _rendered(detail: "VersionDetail | None") -> Iterable[Entry]:
    for one in detail.evaluations if detail is not None else ():
        about = f"  {count_of(one.cells, 'picture')} by {plain(one.renderer)}"
        yield Entry(ago(one.created_at), Content.assemble(plain(one.suite), "  ", status(one.state), (about, "$dim")))


def _published(detail: "VersionDetail | None") -> Iterable[Entry]:
    for one in detail.publications if detail is not None else ():
        yield Entry(ago(one.at), Content.assemble(plain(one.path), (f"  by {plain(one.actor)}", "$dim")))


def _file(found: MadeOf) -> Iterator[Entry]:
    if found.problem:
        yield Entry(None, Content.styled(f"✕ {plain(found.problem, _LONG)}", "$error"))
    yield _fact("sha256", dim(found.version.weights))
    if found.detail is not None:
        yield _fact("holds", f"{count_of(found.detail.tensors, 'tensor')} in {size(found.detail.size)}")
    yield _fact("tensor hash", dim(found.version.tensor_hash))


def _words(name: str) -> str:
    return plain(name.replace("_", " "))


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 1e9:
            return number(int(value))
        return exponent(value) if 0 < abs(value) < 0.01 else f"{value:.4g}"
    if isinstance(value, int):
        return number(value)
    return "–" if value is None else plain(str(value), 80)
