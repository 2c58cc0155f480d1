"""The figures of a comparison in one sentence."""

from collections.abc import Mapping
from typing import Any

__all__ = ["sentence"]


def sentence(summary: Mapping[str, Any]) -> str:
    """What a person should take away, for the top of the report and the log of approvals; says what was not measured instead of leaving it out."""
    primary = summary["primary"]
    figures = summary["verdict_inputs"].get(primary) if primary else None
    if figures is None or figures["overall"]["similarity"].get("new") is None:
        return _without_identity(summary)
    new, baseline = summary["new"], summary["baseline"]
    core = figures["core"] if figures["core"]["cells"] else figures["overall"]
    what = "core pictures" if figures["core"]["cells"] else "pictures"
    nearer = core["nearer_than_control"]
    parts = [
        f"{new} is nearer to the held-out references than the bare base in {nearer['new']['yes']} of {nearer['new']['of']} {what}"
    ]
    if baseline:
        before = nearer["baseline"]
        parts[0] += f" ({baseline}: {before['yes']} of {before['of']})"
        parts.append(_change(core["delta"], baseline))
    bleed = figures["bleed"]["distance_to_control"]
    if bleed.get("new") is not None:
        strays = f"without its trigger word it strays {bleed['new']:.3f} from the base"
        parts.append(
            strays
            + (f" ({baseline}: {bleed['baseline']:.3f})" if baseline and bleed.get("baseline") is not None else "")
        )
    if not baseline:
        parts.append("there is no earlier version, other than rejected ones, to compare with")
    return "; ".join(part for part in parts if part) + "."


def _change(delta: float | None, baseline: str) -> str:
    if delta is None:
        return ""
    if abs(delta) < 0.0005:
        return f"its similarity equals that of {baseline}"
    return f"it {'gained' if delta > 0 else 'lost'} {abs(delta):.3f} of similarity against {baseline}"


def _without_identity(summary: Mapping[str, Any]) -> str:
    reason = "no metric that knows this kind of asset is installed"
    if summary.get("unmeasured_choice"):
        reason = f"{summary['unmeasured_choice']}, which was chosen to decide, could not run here"
    if summary["primary"]:
        reason = (
            "no reference is held out of training"
            if not summary["references"]["used"]
            else "the metric found nothing to measure"
        )
    against, side = (summary["baseline"], "new|baseline") if summary["baseline"] else ("the bare base", "new|control")
    ssim = summary["pixels"]["pairs"].get("ssim", {}).get(side)
    changed = (
        f" Structural similarity to {against} is {ssim:.2f} on average over {summary['counts']['cells']} pictures."
        if ssim is not None
        else ""
    )
    return f"Whether {summary['new']} looks like its references was not measured: {reason}.{changed}"
