"""The evidence of a decision in a line, for lists."""

from collections.abc import Mapping
from typing import Any

__all__ = ["evidence_words"]


def evidence_words(evidence: Mapping[str, Any]) -> str:
    """Such as ``pass against mara/v6: likeness +0.040 ..., comparison 12; opened 4 of the 4 worst; new preferred in 9 of 12 ...``; empty without evidence.

    Args:
        evidence: As the log of aliases has it; older films kept less.
    """
    parts = []
    if evidence.get("comparison"):
        against = evidence.get("baseline") or "the bare base"
        outcome = f"{evidence['outcome']} against {against}" if evidence.get("outcome") else f"compared with {against}"
        said = (evidence.get("primary") or {}).get("phrase") or evidence.get("headline") or evidence.get("sentence", "")
        parts.append(f"{outcome}: {said.rstrip('.')}, comparison {evidence['comparison']}")
    if evidence.get("worst"):
        opened = evidence.get("opened") or {}
        seconds = f" in {sum(opened.values()):.0f} s" if opened else ""
        parts.append(f"opened {len(opened)} of the {len(evidence['worst'])} worst{seconds}")
    if evidence.get("votes"):
        parts.append(str(evidence["votes"]["phrase"]))
    parts += [str(evidence[key]) for key in ("anyway", "unseen") if evidence.get(key)]
    return "; ".join(parts)
