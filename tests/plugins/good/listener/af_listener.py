"""A plugin that writes down what happened."""

from assetforge.api import hookimpl

heard = []


@hookimpl
def on_event(event):
    heard.append(event)
