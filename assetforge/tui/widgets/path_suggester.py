"""Offers the rest of a path while it is typed."""

from textual.suggester import Suggester

from assetforge.tui.session import in_thread

__all__ = ["PathSuggester"]


class PathSuggester(Suggester):
    """Names of folders, and of pictures where those count; right at the end of the text takes one.

    Args:
        files: Pictures count too.
    """

    def __init__(self, *, files: bool = True) -> None:
        # Folders change: nothing is remembered.
        super().__init__(use_cache=False, case_sensitive=True)
        self._files = files

    async def get_suggestion(self, value: str) -> str | None:
        """A whole path that begins like the text."""
        from assetforge.services.path_completion import complete_path

        return await in_thread(complete_path, value, files=self._files) or None
