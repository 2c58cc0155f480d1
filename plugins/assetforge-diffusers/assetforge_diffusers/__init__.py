"""Local LoRA training and rendering on diffusers. Importing this package imports no framework; :mod:`.plugin` only describes."""

__version__ = "0.1.0"
