"""Learned metrics of assetforge: likeness, styles, prompts, drift and copies, by networks whose weights lie on this machine."""
