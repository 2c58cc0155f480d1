"""A plugin that ends the interpreter when its licence is missing."""

import sys

sys.exit("no licence")
