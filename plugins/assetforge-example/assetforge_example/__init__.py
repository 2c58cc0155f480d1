"""A small, real plugin: the one that the plugin guide quotes."""

__version__ = "0.1.0"
