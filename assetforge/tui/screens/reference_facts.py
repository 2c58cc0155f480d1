"""A reference in words: where it came from, what is allowed with it, what was found."""

from textual.content import Content

from assetforge.db.browse.references import FindingContext, ReferenceRow, reference_findings
from assetforge.tui.words import ago, dim, plain, size, strong

__all__ = ["reference_facts"]


def reference_facts(row: ReferenceRow, context: FindingContext) -> Content:
    """Everything about a reference that fits beside its picture.

    Args:
        row: The reference.
        context: What is usual among the references of the asset.
    """
    lines = [strong(plain(row.file_name, 70)), dim(plain(row.address))]
    if row.caption:
        lines.append(Content(plain(row.caption, 300)))
    else:
        lines.append(Content.styled("no caption", "$warning"))
    pixels = f"{row.width} × {row.height} {plain(row.format)}, {size(row.size)}, sharpness {row.sharpness:.0f}"
    lines.append(dim(pixels))
    about = []
    if row.state == "excluded":
        lines.append(Content.styled(f"✕ excluded: {plain(row.excluded_reason, 120)}", "$error"))
    about.append(
        "◇ held out"
        if row.split == "held_out"
        else "trained on"
        if row.split == "train"
        else "split at the next freeze"
    )
    if row.repeats != 1:
        about.append(f"{row.repeats} times per epoch")
    if row.crop:
        about.append(f"cropped to {plain(row.crop)}")
    if row.mask:
        about.append("with a mask")
    lines.append(Content(", ".join(about)))
    lines.append(
        Content.assemble(("rights  ", "$dim"), plain(row.rights, 120))
        if row.rights
        else Content.styled("no rights noted", "$warning")
    )
    origin = f"{plain(row.origin, 120)}, " if row.origin else ""
    lines.append(dim(f"{origin}added {ago(row.added_at)}"))
    lines += [Content.styled(f"· {plain(finding)}", "$warning") for finding in reference_findings(row, context)]
    return Content("\n").join(lines)
