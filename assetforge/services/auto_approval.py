"""Approvals without a person, where the film says so in words: ``[approval] automatic = "when it passes"`` in its project.toml.

A pass is a claim about one metric and says nothing about what was not measured, and nobody looks here. So more is asked for than from a person: the verdict of the
newest comparison with the approved version, through a whole suite, is a pass; no guard rail is suspect or unmeasured; and every metric of the asset could run.
The version is newer than the approved one and still a candidate. A first version is always a person's decision, since there is nothing it could pass against.
"""

from sqlmodel import Session, col, select

from assetforge.db.models import Alias, Asset, Version
from assetforge.db.models_jobs import Comparison, Evaluation
from assetforge.domain.names import version_address
from assetforge.domain.suite import QUICK_SUFFIX
from assetforge.services.comparison_records import comparison_row
from assetforge.services.decision_evidence import evidence_of
from assetforge.services.projects import Project
from assetforge.services.releases import announce, make_approved
from assetforge.services.reviews import APPROVED, deciding_comparison

__all__ = ["POLICY", "apply_policy", "objections", "waiting_for_policy"]

POLICY = "policy"
"""Who did it, in the record: the film's policy."""


def apply_policy(project: Project, comparison_id: int) -> bool:
    """Approve the version of a comparison when the film's policy lets nobody decide over it; done once, however often it is called.

    Args:
        project: The film.
        comparison_id: A comparison, finished or not.

    Returns:
        Whether it approved the version now.

    Raises:
        NotFoundError: There is no such comparison.
        ConfigError: The film's project.toml cannot be used.
    """
    rule = project.config.approval.automatic
    if rule != "when it passes":
        return False
    with project.write() as session:
        row = comparison_row(session, comparison_id)
        asset, version = session.get_one(Asset, row.asset_id), session.get_one(Version, row.version_id)
        if not _applies(session, asset, version, row) or objections(session, row):
            return False
        evidence = {
            **evidence_of(session, asset, row),
            "unseen": "decided by the policy of the film, without a person",
            "policy": rule,
        }
        why = f'project.toml says [approval] automatic = "{rule}", and {evidence["headline"]}'
        address = version_address(asset.name, version.number)
        review = make_approved(session, address, actor=POLICY, why=why, evidence=evidence)
    announce(project, review)
    return True


def objections(session: Session, row: Comparison) -> list[str]:
    """What keeps a finished comparison from approving its version by itself, in words; empty when nothing does."""
    verdict = row.summary.get("verdict") or {}
    if verdict.get("outcome") != "pass":
        return [f"the verdict is {verdict.get('outcome') or 'missing'}"]
    # An open guard rail lies within its margin; few suites have prompts enough to clear all of them.
    tolerable = ("clear", "open")
    found = [
        f"{one['title']} is {one['outcome']}" for one in verdict.get("guards", ()) if one["outcome"] not in tolerable
    ]
    guards = {one["title"] for one in verdict.get("guards", ())}
    found += [f"{title} was not measured" for title in verdict.get("not_measured", ()) if title not in guards]
    if session.get_one(Evaluation, row.evaluation_id).plan["suite"]["name"].endswith(QUICK_SUFFIX):
        found.append("only the quick size of the suite was rendered")
    if row.summary.get("plan", {}).get("unplanned"):
        found.append("the second look was not planned before the first")
    return found


def waiting_for_policy(project: Project) -> list[tuple[int, str, tuple[str, ...]]]:
    """Finished comparisons of candidates with the approved version of their asset, with the version's address and what speaks against approving it by itself.

    Empty where the film's policy approves nothing.
    """
    if project.config.approval.automatic != "when it passes":
        return []
    with project.read() as session:
        rows = session.exec(
            select(Comparison, Version, Asset)
            .join(Version, col(Version.id) == Comparison.version_id)
            .join(Asset, col(Asset.id) == Comparison.asset_id)
            .join(Alias, (col(Alias.version_id) == Comparison.baseline_id) & (col(Alias.name) == APPROVED))
            .where(Comparison.state == "succeeded", Version.stage == "candidate")
            .order_by(col(Comparison.id))
        ).all()
        return [
            (row.id or 0, version_address(asset.name, version.number), tuple(objections(session, row)))
            for row, version, asset in rows
            if _applies(session, asset, version, row)
        ]


def _applies(session: Session, asset: Asset, version: Version, row: Comparison) -> bool:
    """A candidate newer than the approved version, and its last word about that one."""
    current = session.exec(
        select(Version)
        .join(Alias, col(Alias.version_id) == Version.id)
        .where(Alias.asset_id == asset.id, Alias.name == APPROVED)
    ).first()
    if current is None or row.state != "succeeded" or row.baseline_id != current.id:
        return False
    deciding = deciding_comparison(session, asset, version)
    return (
        version.stage == "candidate"
        and version.number > current.number
        and deciding is not None
        and deciding.id == row.id
    )
