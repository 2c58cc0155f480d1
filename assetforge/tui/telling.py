"""What the program tells of itself: what ended, and what went wrong as a sentence. Nothing that goes wrong ends it."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from textual.app import App
from textual.binding import Binding
from textual.dom import DOMNode

from assetforge.errors import AssetForgeError
from assetforge.tui.hints import in_words
from assetforge.tui.keymap import key_problems
from assetforge.tui.words import plain

if TYPE_CHECKING:
    from textual.actions import ActionParseResult

    from assetforge.db.browse.pulse import Ended

__all__ = ["Telling"]

_TOLD_S = 8
"""How long a toast stands."""

_GOOD_S = 5
"""How long one stands that says that all went well."""

_TOLD = 3
"""Problems that are told one by one."""


class Telling(App[None]):
    """A program that speaks in toasts."""

    def __init__(self) -> None:
        super().__init__()
        self._told_errors: dict[str, float] = {}

    def tell_end(self, one: "Ended") -> None:
        """A run or a comparison is over."""
        asset = plain(one.asset)
        if one.what == "run":
            if one.state == "succeeded":
                self.tell(f"{one.version or asset} is trained.", title=f"run {one.id}")
            elif one.state == "failed":
                self.tell(f"Training {asset} failed: {one.error}", title=f"run {one.id}", severity="error")
        elif one.state in ("pass", "regressed", "inconclusive"):
            severity = "error" if one.state == "regressed" else "information"
            self.tell(f"{one.version}: {one.state}. Enter compare to look.", title="verdict", severity=severity)
        elif one.state == "failed":
            self.tell(f"Comparing {one.version} failed: {one.error}", title="comparison", severity="error")

    def tell(self, sentence: str, *, title: str = "", severity: Any = "information") -> None:
        """A toast; nothing in it is markup."""
        stands = _GOOD_S if severity == "information" else _TOLD_S
        self.notify(plain(sentence, 400), title=plain(title), severity=severity, markup=False, timeout=stands)

    def tell_error(self, error: Exception) -> None:
        """What went wrong, as one sentence and what to do; the same is not told again while it stands there."""
        if isinstance(error, AssetForgeError):
            sentence = in_words(error)
        else:
            self.log.error(error)
            sentence = f"That failed unexpectedly: {type(error).__name__}: {error}"
        now = time.monotonic()
        self._told_errors = {told: at for told, at in self._told_errors.items() if now - at < _TOLD_S}
        if sentence not in self._told_errors:
            self._told_errors[sentence] = now
            self.tell(sentence, severity="error")

    async def run_action(
        self,
        action: "str | ActionParseResult",
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        """Do what a key, a click or the palette asks for; what goes wrong is told and ends nothing."""
        try:
            return await super().run_action(action, default_namespace, namespaces)
        except Exception as error:  # noqa: BLE001 - whatever a screen, a service or a plugin raises, the program lives on
            self.tell_error(error)
            return True

    def tell_keys(self, keymap: Mapping[str, str]) -> None:
        """Say what is wrong with keys of the user's own."""
        if problems := key_problems(keymap):
            more = f" And {len(problems) - _TOLD} more." if len(problems) > _TOLD else ""
            self.tell(" ".join(problems[:_TOLD]) + more, severity="warning")

    def handle_bindings_clash(self, clashed_bindings: set[Binding], node: DOMNode) -> None:
        """Told when the program starts, for all screens at once."""
