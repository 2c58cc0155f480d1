"""``python -m assetforge``."""

from assetforge.cli import main

main()
