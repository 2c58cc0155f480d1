"""Our own two themes: a darkroom with one amber safelight, and the same room with the lights on."""

from typing import TYPE_CHECKING, Any

from textual.color import Color
from textual.theme import Theme

if TYPE_CHECKING:
    from textual.app import App

__all__ = ["DEFAULT_THEME", "THEMES", "ground_of"]

DEFAULT_THEME = "safelight"

THEMES = (
    Theme(
        name="safelight",
        dark=True,
        background="#121010",
        surface="#191614",
        panel="#242019",
        boost="#2c271f",
        foreground="#e9e3d8",
        primary="#e6a23c",
        secondary="#8aa0b4",
        accent="#e6a23c",
        warning="#e6a23c",
        success="#86b36b",
        error="#e0604f",
        luminosity_spread=0.12,
        variables={
            "block-cursor-background": "#3a3020",
            "block-cursor-foreground": "#fff6e6",
            "block-cursor-text-style": "none",
            "block-cursor-blurred-background": "#242019",
            "block-cursor-blurred-foreground": "#e9e3d8",
            "border": "#e6a23c",
            "border-blurred": "#3a342b",
            "footer-background": "#121010",
            "footer-key-foreground": "#e6a23c",
            "footer-description-foreground": "#9a9286",
            "input-cursor-background": "#e6a23c",
            "input-cursor-foreground": "#121010",
            "input-selection-background": "#e6a23c 30%",
            "scrollbar": "#3a342b",
            "scrollbar-hover": "#57503f",
            "scrollbar-active": "#e6a23c",
            "scrollbar-background": "#121010",
            "scrollbar-background-hover": "#191614",
            "scrollbar-background-active": "#191614",
            "scrollbar-corner-color": "#121010",
            "link-color": "#e6a23c",
        },
    ),
    Theme(
        name="daylight",
        dark=False,
        background="#f6f2ea",
        surface="#efe9de",
        panel="#e5ddce",
        boost="#ddd3c1",
        foreground="#26211b",
        primary="#a45f00",
        secondary="#4d6579",
        accent="#a45f00",
        warning="#a45f00",
        success="#3c7327",
        error="#b3322a",
        luminosity_spread=0.1,
        variables={
            "block-cursor-background": "#ead9b8",
            "block-cursor-foreground": "#1c1712",
            "block-cursor-text-style": "none",
            "block-cursor-blurred-background": "#e5ddce",
            "block-cursor-blurred-foreground": "#26211b",
            "border": "#a45f00",
            "border-blurred": "#cfc5b3",
            "footer-background": "#f6f2ea",
            "footer-key-foreground": "#a45f00",
            "footer-description-foreground": "#6d6456",
            "input-cursor-background": "#a45f00",
            "input-cursor-foreground": "#f6f2ea",
            "input-selection-background": "#a45f00 25%",
            "scrollbar": "#cfc5b3",
            "scrollbar-hover": "#b9ad97",
            "scrollbar-active": "#a45f00",
            "scrollbar-background": "#f6f2ea",
            "scrollbar-background-hover": "#efe9de",
            "scrollbar-background-active": "#efe9de",
            "scrollbar-corner-color": "#f6f2ea",
            "link-color": "#a45f00",
        },
    ),
)


def ground_of(app: "App[Any]") -> tuple[int, int, int]:
    """The colour that pictures stand on in the theme of a program, so that bars beside them are not seen."""
    return Color.parse(app.theme_variables["background"]).rgb
