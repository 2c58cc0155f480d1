"""assetforge: continuous integration for a film's LoRAs.

The package root imports nothing heavy; see :mod:`assetforge.api` for what plugins may use.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
