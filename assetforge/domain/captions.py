"""How a caption, a trigger word and a class word become the text that is trained on."""

import re

__all__ = ["training_caption"]


def training_caption(caption: str, *, trigger: str, class_word: str) -> str:
    """The caption with the trigger in it.

    The trigger stands first, followed by the class word, unless the caption already contains it as a word of its own.
    """
    text = " ".join(caption.split())
    if not trigger or re.search(rf"(?<!\w){re.escape(trigger)}(?!\w)", text):
        return text or class_word
    subject = f"{trigger} {class_word}".strip()
    return f"{subject}, {text}" if text else subject
