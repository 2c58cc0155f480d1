"""Completion scripts, printed so that packagers and users decide where they go."""

from typing import Literal

from assetforge.cli.app import build_app
from assetforge.cli.output import plain

__all__ = ["completion"]


def completion(shell: Literal["bash", "zsh", "fish"]) -> None:
    """Print the completion script of a shell, such as: assetforge completion bash > ~/.local/share/bash-completion/completions/assetforge.

    Args:
        shell: Which shell.
    """
    plain(build_app(plugins=True).generate_completion(prog_name="assetforge", shell=shell))
