"""A plugin that ends the process in a way that nothing in it can catch, as a crash in native code does."""

import os

os._exit(3)
