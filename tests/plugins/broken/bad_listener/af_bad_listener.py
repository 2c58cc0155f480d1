"""A plugin that works until something happens."""

from assetforge.api import hookimpl


@hookimpl
def on_event(event):
    raise RuntimeError(f"did not expect {type(event).__name__}")
