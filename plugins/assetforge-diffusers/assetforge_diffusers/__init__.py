"""Local LoRA training and rendering on diffusers. Importing this package imports no framework; :mod:`.plugin` only describes."""

import logging

__version__ = "0.1.0"

# It warns, whenever peft is imported on a CPU, that a faster 4-bit product could be fetched from the network.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
