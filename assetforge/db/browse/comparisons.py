"""Comparisons as lists show them, and what changes about one while it is looked at."""

from dataclasses import dataclass

from assetforge.db.browse.reader import Reader, iso

__all__ = ["ComparisonRow", "ComparisonStamp", "comparison_stamp", "comparisons_of"]

_OPEN = "('queued','staging','running','collecting')"

_ROWS = f"""
SELECT comparison.id, asset.name, new.number, old.number, new.stage, comparison.state,
       coalesce(json_extract(comparison.summary, '$.verdict.outcome'), ''),
       coalesce(json_extract(comparison.summary, '$.verdict.headline'), json_extract(comparison.summary, '$.sentence'), ''),
       coalesce(json_extract(comparison.summary, '$.error'), ''),
       coalesce(json_extract(evaluation.plan, '$.suite.name'), ''),
       comparison.report, comparison.extends_id,
       (SELECT after.id FROM comparison AS after WHERE after.extends_id = comparison.id),
       comparison.created_at,
       (SELECT json_group_array(id) FROM (
            SELECT job.id FROM job
            WHERE job.state IN {_OPEN} AND (job.id = comparison.job_id OR job.id IN (
                SELECT pass.job_id FROM evaluation AS pass
                WHERE pass.id IN (comparison.evaluation_id, comparison.baseline_evaluation_id, comparison.control_evaluation_id)
                      AND pass.state != 'succeeded'))
            ORDER BY job.id)),
       EXISTS (SELECT 1 FROM alias WHERE alias.name = 'approved' AND alias.version_id = new.id),
       EXISTS (SELECT 1 FROM alias WHERE alias.name = 'approved' AND alias.version_id = old.id),
       coalesce(json_extract(comparison.summary, '$.verdict.metrics[0].title'), ''),
       json_extract(comparison.summary, '$.verdict.metrics[0].effect'),
       json_extract(comparison.summary, '$.verdict.metrics[0].interval.low'),
       json_extract(comparison.summary, '$.verdict.metrics[0].interval.high'),
       coalesce(json_extract(comparison.summary, '$.verdict.metrics[0].prompts'), 0)
FROM comparison
JOIN asset ON asset.id = comparison.asset_id
JOIN version AS new ON new.id = comparison.version_id
LEFT JOIN version AS old ON old.id = comparison.baseline_id
LEFT JOIN evaluation ON evaluation.id = comparison.evaluation_id
WHERE comparison.asset_id = ?
ORDER BY comparison.id DESC
"""  # noqa: S608 - our own words only

_STAMP = """
SELECT comparison.state,
       (SELECT after.id FROM comparison AS after WHERE after.extends_id = comparison.id),
       (SELECT after.state FROM comparison AS after WHERE after.extends_id = comparison.id),
       new.stage, old.stage,
       (SELECT alias.version_id FROM alias WHERE alias.name = 'approved' AND alias.asset_id = comparison.asset_id),
       (SELECT max(vote.id) FROM vote WHERE vote.comparison_id = comparison.id),
       (SELECT count(*) FROM cell_view WHERE cell_view.comparison_id = comparison.id),
       comparison.job_id
FROM comparison
JOIN version AS new ON new.id = comparison.version_id
LEFT JOIN version AS old ON old.id = comparison.baseline_id
WHERE comparison.id = ?
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """A comparison in the list of its asset.

    Attributes:
        id: Row id.
        version: Address of the version under test.
        baseline: Address of the baseline; empty for the bare base.
        stage: Stage of the version under test.
        approved: The version under test is the approved one.
        baseline_approved: The baseline is the approved one.
        suite: Name of the suite.
        state: ``queued`` until the scores are in, then ``succeeded``, or how it failed.
        outcome: Of the verdict; empty without one.
        headline: What the verdict says, or what the figures say without one.
        metric: Title of the metric that decided; empty without one.
        effect: What it gained.
        low: Lower end of its interval.
        high: Upper end.
        prompts: Over how many prompts.
        error: Why it failed.
        report: Path of the newest report, relative to the film; empty when none was written.
        extends: The comparison that this one adds prompts to.
        extended_by: The comparison that adds prompts to this one.
        jobs: Jobs that are still open, in the order in which they were queued.
        created_at: When it was asked for, ISO 8601 in UTC.
    """

    id: int
    version: str
    baseline: str
    stage: str
    approved: bool
    baseline_approved: bool
    suite: str
    state: str
    outcome: str
    headline: str
    metric: str
    effect: float | None
    low: float | None
    high: float | None
    prompts: int
    error: str
    report: str
    extends: int | None
    extended_by: int | None
    jobs: tuple[int, ...]
    created_at: str

    @property
    def word(self) -> str:
        """The outcome, or how far it is."""
        if self.state == "succeeded":
            return self.outcome or "no verdict"
        if self.state == "queued":
            return "running" if self.jobs else "waiting"
        return self.state


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonStamp:
    """What can change about a comparison; equal stamps show the same.

    Attributes:
        state: Its state.
        extended_by: The comparison that adds prompts to it, and that one's state.
        stages: Stages of both versions.
        approved: Row id of the approved version.
        votes: Newest vote.
        views: How many pairs of person and cell were opened.
        job: The score job.
    """

    state: str
    extended_by: tuple[int | None, str | None]
    stages: tuple[str, str | None]
    approved: int | None
    votes: int | None
    views: int
    job: int | None

    @property
    def shown(self) -> tuple[object, ...]:
        """What a screen cannot know by itself; votes and looks it writes itself."""
        return self.state, self.extended_by, self.stages, self.approved, self.job


def comparisons_of(reader: Reader, asset_id: int) -> list[ComparisonRow]:
    """All comparisons of an asset, newest first.

    Raises:
        StorageError: The database cannot be read.
    """
    import json

    return [
        ComparisonRow(
            id=row[0],
            version=f"{row[1]}/v{row[2]}",
            baseline=f"{row[1]}/v{row[3]}" if row[3] is not None else "",
            stage=row[4],
            state=row[5],
            outcome=row[6],
            headline=row[7],
            error=row[8],
            suite=row[9],
            report=row[10],
            extends=row[11],
            extended_by=row[12],
            created_at=iso(row[13]),
            jobs=tuple(json.loads(row[14])),
            approved=bool(row[15]),
            baseline_approved=bool(row[16]),
            metric=row[17],
            effect=row[18],
            low=row[19],
            high=row[20],
            prompts=row[21],
        )
        for row in reader.rows(_ROWS, (asset_id,))
    ]


def comparison_stamp(reader: Reader, comparison_id: int) -> ComparisonStamp | None:
    """What can change about a comparison; ``None`` when there is no such one.

    Raises:
        StorageError: The database cannot be read.
    """
    row = reader.row(_STAMP, (comparison_id,))
    if row is None:
        return None
    return ComparisonStamp(
        state=row[0],
        extended_by=(row[1], row[2]),
        stages=(row[3], row[4]),
        approved=row[5],
        votes=row[6],
        views=row[7],
        job=row[8],
    )
