"""Everything that the comparison screen shows, read from the services in one go; the screen holds no open database."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assetforge.tui.widgets.interval_bars import Bar, Mark

if TYPE_CHECKING:
    from assetforge.domain.votes import Poll
    from assetforge.services.comparison_records import ComparisonInfo
    from assetforge.services.projects import Project

__all__ = [
    "AddedReference",
    "BlockFacts",
    "CellFacts",
    "Compared",
    "Progress",
    "Side",
    "Unfinished",
    "read_comparison",
    "read_progress",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two versions.

    Attributes:
        name: Such as ``v7``; ``base`` for the bare base.
        address: Its address; empty for the bare base.
        state: A key of :data:`assetforge.tui.words.STATUS`; empty for the bare base.
        word: Instead of the usual word of that state.
        key: The side as services call it: ``new``, ``baseline`` or ``control``.
    """

    name: str
    address: str
    state: str
    word: str = ""
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CellFacts:
    """A cell.

    Attributes:
        index: Its index.
        block: Name of the block.
        prompt: The prompt.
        short: The prompt without the trigger that all of them begin with.
        seed: The seed.
        strength: Strength of the LoRA.
        change: What the new version gained; ``None`` when there was nothing to measure.
        identical: The two pictures are equal byte for byte.
        similarity: Likeness to the references of each side, as far as it was measured.
        strays: How far each version is from the bare base, in blocks that are worn without the trigger; empty elsewhere.
        ssim: How alike the structure of both pictures is; ``None`` when it was not measured.
        pictures: Hash of the render of each side.
    """

    index: int
    block: str
    prompt: str
    short: str
    seed: int
    strength: float
    change: float | None
    identical: bool
    similarity: Mapping[str, float | None]
    strays: Mapping[str, float | None]
    ssim: float | None
    pictures: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockFacts:
    """A block of the suite.

    Attributes:
        name: Its name.
        title: What people read.
        about: The question that it answers.
        count: How many cells it has.
        place: Its place in the plan.
    """

    name: str
    title: str
    about: str
    count: int
    place: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedReference:
    """A reference that the new version's dataset has and the baseline's has not.

    Attributes:
        sha256: The picture.
        address: Such as ``mara/ref/3f9a1c``.
        caption: Its caption.
    """

    sha256: str
    address: str
    caption: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A job that a comparison waits for.

    Attributes:
        job: Its number.
        kind: ``render`` or ``score``.
        state: Its state.
        subject: What it is about.
        step: Last step that was reported.
        total: Steps there are; 0 when that is not known.
        error: What it waits for, or why the last attempt failed.
    """

    job: int
    kind: str
    state: str
    subject: str
    step: int
    total: int
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """A comparison whose scores are not in.

    Attributes:
        info: The comparison.
        jobs: What it waits for.
    """

    info: "ComparisonInfo"
    jobs: tuple[Progress, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A finished comparison.

    Attributes:
        info: The comparison.
        asset: Name of the asset.
        new: The version under test.
        old: What it is compared with: the baseline, else the bare base.
        outcome: Of the verdict; empty without one.
        word: The verdict in a word or two.
        sentence: The verdict in a sentence.
        short: Its figures alone, for narrow terminals.
        more: What else the figures say.
        not_measured: What nothing is known about.
        notes: Reasons, flags and what limits the verdict, for the figures in full.
        bars: A bar each metric and guard rail that watches a change.
        guards: What each guard rail says, as pairs of outcome and sentence.
        edge: Place of the margin on the axis of the bars.
        likeness: Places of base, versions and references on the way to the references.
        prompts: Prompts with their mean change, worst first.
        margin: Of the metric that decides; 0 without one.
        cells: All cells by their index.
        worst: Their indexes, worst first.
        blocks: The blocks, in plan order.
        strips: Indexes of the cells of each prompt and seed that was rendered at several strengths, from the weakest on.
        added: References that were added between the two datasets.
        dataset: Short name of the new version's dataset; empty when unknown.
        required: Cells that whoever decides has to open, worst first.
        opened: Seconds that the acting person had each cell open.
        votes: What the acting person preferred, by cell.
        poll: What everybody's votes say.
        deciding: The comparison that a decision over the version rests on.
        extension: The comparison that adds prompts to this one and is not finished; ``None`` without one.
        size: Width and height of the renders.
        wants_more: More prompts may decide it.
    """

    info: "ComparisonInfo"
    asset: str
    new: Side
    old: Side
    outcome: str
    word: str
    sentence: str
    short: str
    more: str
    not_measured: tuple[str, ...]
    notes: tuple[str, ...]
    bars: tuple[Bar, ...]
    guards: tuple[tuple[str, str], ...]
    edge: float | None
    likeness: tuple[Mark, ...]
    prompts: tuple[tuple[str, float], ...]
    margin: float
    cells: Mapping[int, CellFacts]
    worst: tuple[int, ...]
    blocks: tuple[BlockFacts, ...]
    strips: Mapping[tuple[str, int], tuple[int, ...]]
    added: tuple[AddedReference, ...]
    dataset: str
    required: tuple[int, ...]
    opened: Mapping[int, float]
    votes: Mapping[int, str]
    poll: "Poll"
    deciding: int
    extension: int | None
    size: tuple[int, int]
    wants_more: bool

    @property
    def has_baseline(self) -> bool:
        """There is another version to compare with."""
        return self.old.key == "baseline"

    def unseen(self, opened: Mapping[int, float]) -> list[int]:
        """The required cells that were not opened, worst first."""
        return [cell for cell in self.required if cell not in opened]


def read_comparison(project: "Project", comparison_id: int) -> Compared | Unfinished:
    """A comparison as the screen shows it. Of one that was extended by more prompts the extended one is read as soon as that is finished.

    Raises:
        NotFoundError: There is no such comparison.
        StorageError: The file of scores is damaged.
    """
    from assetforge.services.comparison_records import comparison_row, get_comparison, read_scores
    from assetforge.services.report_facts import report_facts

    info = get_comparison(project, comparison_id)
    extension = None
    while info.extended_by is not None:
        after = get_comparison(project, info.extended_by)
        if after.state != "succeeded":
            extension = after.id if after.state == "queued" else None
            break
        info = after
    if info.state != "succeeded":
        return Unfinished(info=info, jobs=read_progress(project, info.jobs))
    scores = read_scores(project, info.id)
    with project.read() as session:
        facts = report_facts(project, session, comparison_row(session, info.id), scores)
    return _compared(project, info, facts, extension)


def read_progress(project: "Project", jobs: tuple[int, ...]) -> tuple[Progress, ...]:
    """How far jobs are."""
    from assetforge.jobs.control import get_job

    return tuple(
        Progress(
            job=job.id,
            kind=job.kind,
            state=job.state,
            subject=job.subject,
            step=job.step,
            total=job.total,
            error=job.error,
        )
        for job in (get_job(project, one) for one in jobs)
    )


def _compared(project: "Project", info: "ComparisonInfo", facts: Mapping[str, Any], extension: int | None) -> Compared:
    from assetforge.errors import AssetForgeError
    from assetforge.services.reviews import review_status, reviewed_comparison

    verdict, old = facts["verdict"], facts["baseline"]
    status = review_status(project, info.id, len(facts["cells"]))
    try:
        deciding = reviewed_comparison(project, info.version)
    except AssetForgeError:
        deciding = info.id
    cells = {one["index"]: _cell(one, facts["asset"]["trigger"], old is not None) for one in facts["cells"]}
    approved = _approved(project, facts["asset"]["name"])
    metrics = verdict["metrics"]
    prompts = facts["prompts"]
    plot = facts["plot"]
    return Compared(
        info=info,
        asset=facts["asset"]["name"],
        new=_side(facts["new"], "new", approved, verdict["outcome"]),
        old=_side(old, "baseline", approved, "") if old else Side(name="base", address="", state="", key="control"),
        outcome=verdict["outcome"],
        word=verdict["word"],
        sentence=verdict["sentence"],
        short=_short(metrics[0]) if metrics else "",
        more=verdict["more"],
        not_measured=tuple(verdict["not_measured"]),
        notes=_notes(facts),
        bars=_bars(verdict, plot),
        guards=tuple((one["outcome"], one["text"]) for one in verdict["guards"]),
        edge=plot["edge"] if plot and plot["bounded"] else None,
        likeness=_likeness(facts),
        prompts=tuple((one["prompt"], one["mean"]) for one in prompts["rows"]) if prompts else (),
        margin=metrics[0]["margin"] if metrics else 0.0,
        cells=cells,
        worst=tuple(facts["order"]),
        blocks=tuple(
            BlockFacts(name=one["name"], title=one["title"], about=one["about"], count=one["count"], place=place)
            for place, one in enumerate(facts["blocks"])
        ),
        strips=_strips(cells),
        added=_added(facts),
        dataset=_dataset(facts),
        required=tuple(one.shown.cell for one in status.worst[: project.config.approval.worst_cells]),
        opened={one.shown.cell: one.opened[status.actor] for one in status.worst if status.actor in one.opened},
        votes={one.shown.cell: one.votes[status.actor] for one in status.worst if status.actor in one.votes},
        poll=status.poll,
        deciding=deciding,
        extension=extension,
        size=(facts["settings"]["width"], facts["settings"]["height"]),
        wants_more=bool(verdict["more_prompts"]) and verdict["outcome"] == "inconclusive",
    )


def _approved(project: "Project", asset: str) -> str:
    """Address of the approved version; empty without one."""
    from assetforge.errors import NotFoundError
    from assetforge.services.versions import resolve_version

    try:
        return resolve_version(project, f"{asset}@approved").address
    except NotFoundError:
        return ""


def _side(version: Mapping[str, Any], key: str, approved: str, outcome: str) -> Side:
    state, word = version["stage"], ""
    if version["address"] == approved:
        state = "approved"
    elif state == "approved":
        state, word = "retired", "was approved"
    elif state == "candidate" and key == "new":
        state = "regressed" if outcome == "regressed" else "review"
    return Side(name=version["name"], address=version["address"], state=state, word=word, key=key)


def _cell(view: Mapping[str, Any], trigger: str, has_baseline: bool) -> CellFacts:
    prompt = view["prompt"]
    short = prompt.removeprefix(trigger).lstrip(" ,") if trigger and prompt.startswith(trigger) else prompt
    pictures = view["renders"]
    against = pictures["baseline" if has_baseline else "control"]
    return CellFacts(
        index=view["index"],
        block=view["block"],
        prompt=prompt,
        short=short or prompt,
        seed=view["seed"],
        strength=view["strength"],
        change=None if view["unmeasured"] else view["change"],
        identical=pictures["new"] == against,
        similarity=view["similarity"],
        strays=view["strays"] if view["bleed"] else {},
        ssim=view["ssim"],
        pictures=pictures,
    )


def _short(metric: Mapping[str, Any]) -> str:
    figures = f"{metric['title']} {metric['effect_text']} {metric['interval_text']}".strip()
    return f"{figures} · {metric['prompts']} prompts · margin {metric['margin_text']}"


def _bars(verdict: Mapping[str, Any], plot: Mapping[str, Any] | None) -> tuple[Bar, ...]:
    bars = [
        Bar(
            title=row["title"],
            says=row["outcome"],
            at=row["at"],
            low=row["from"],
            high=row["to"],
            beyond_left=row["beyond_left"],
            beyond_right=row["beyond_right"],
            bounded=row["bounded"],
            value=row["effect_text"] if row["kind"] == "metric" else row["value_text"],
            interval=row["interval_text"],
            margin=row.get("margin_text", ""),
        )
        for row in (plot["rows"] if plot else ())
    ]
    bars += [Bar(title=one["title"], says="not measured") for one in verdict["metrics"] if one["effect"] is None]
    # Guard rails that watch a limit have no axis.
    bars += [Bar(title=one["title"], says=one["outcome"]) for one in verdict["guards"] if not one["change"]]
    return tuple(bars)


def _likeness(facts: Mapping[str, Any]) -> tuple[Mark, ...]:
    names = {
        "control": ("bare base", "$secondary"),
        "new": (facts["new"]["name"], "$primary"),
        "ceiling": ("references", "$dim"),
    }
    if facts["baseline"]:
        names["baseline"] = (facts["baseline"]["name"], "$success")
    return tuple(
        Mark(names[one["name"]][0], one["at"], f"{one['value']:.3f}", names[one["name"]][1])
        for one in facts["axis"]
        if one["name"] in names
    )


def _notes(facts: Mapping[str, Any]) -> tuple[str, ...]:
    verdict = facts["verdict"]
    return (
        *(flag["message"] for flag in facts["summary"]["flags"]),
        *(one["text"] for one in verdict["reasons"]),
        *(f"{one['title']} did not run: {one['needs']}" for one in verdict["unready"]),
    )


def _strips(cells: Mapping[int, CellFacts]) -> dict[tuple[str, int], tuple[int, ...]]:
    groups: dict[tuple[str, int], dict[float, int]] = {}
    for cell in cells.values():
        # A prompt of two blocks is the same picture at the same strength.
        groups.setdefault((cell.prompt, cell.seed), {}).setdefault(cell.strength, cell.index)
    return {
        key: tuple(group[strength] for strength in sorted(group)) for key, group in groups.items() if len(group) > 1
    }


def _added(facts: Mapping[str, Any]) -> tuple[AddedReference, ...]:
    changes = facts["lineage"]["changes"]
    name = facts["asset"]["name"]
    return tuple(
        AddedReference(sha256=one["sha256"], address=f"{name}/ref/{one['sha256'][:6]}", caption=one["caption"])
        for one in (changes["added"] if changes else ())
    )


def _dataset(facts: Mapping[str, Any]) -> str:
    words = next((one["new"] for one in facts["lineage"]["facts"] if one["name"] == "dataset"), "")
    return str(words).partition(" ")[0].rpartition("/")[2]
