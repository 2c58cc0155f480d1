"""The toybox: a tiny text-to-image world, the base model trained on it, a probe, and a demo film."""

__version__ = "0.1.0"
