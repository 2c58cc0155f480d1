"""A plugin that raises an error without words."""


class Wordless(Exception):  # noqa: N818
    def __str__(self):
        raise RuntimeError("no words")


raise Wordless
