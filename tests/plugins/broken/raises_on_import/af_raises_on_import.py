"""A plugin whose dependency is missing."""

import a_library_that_nobody_has  # noqa: F401
