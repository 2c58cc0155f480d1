"""What stands in for stdout and stderr while the program has the terminal."""

import io

__all__ = ["without_descriptor"]


def without_descriptor(app: object) -> None:
    """Have Textual's stand-ins for stdout and stderr say that they have no descriptor.

    They say -1, and multiprocessing hands that on to its first child, which fails: no picture could be taken in. An error is what it expects of such a stream.
    """
    for name in ("_capture_stdout", "_capture_stderr"):
        stand_in = getattr(app, name, None)
        if stand_in is not None:
            stand_in.fileno = _none


def _none() -> int:
    raise io.UnsupportedOperation("this stream has no descriptor")
