"""What the plugin does when something happens to a film."""

import dataclasses
import json
import os
from pathlib import Path

from assetforge.api.events import Event

__all__ = ["write_event"]


def write_event(event: Event) -> None:
    """Append the event to the file that ``ASSETFORGE_EXAMPLE_LOG`` names; do nothing when it names none."""
    target = os.environ.get("ASSETFORGE_EXAMPLE_LOG")
    if not target:
        return
    line = json.dumps({"event": type(event).__name__, **dataclasses.asdict(event)}, default=str)
    with Path(target).open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")
