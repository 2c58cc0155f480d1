"""A tokenizer of Qwen's kind that knows single bytes."""

from transformers import Qwen2Tokenizer

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% if not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
VOCABULARY = 256 + len(SPECIAL)


def qwen_tokenizer() -> Qwen2Tokenizer:
    """Byte-level BPE without merges: 256 symbols, the end of the text, and the two ends of a message."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    symbols = [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    vocabulary = {token: index for index, token in enumerate([*symbols, *SPECIAL])}
    return Qwen2Tokenizer(
        vocab=vocabulary,
        merges=[],
        additional_special_tokens=list(SPECIAL[1:]),
        chat_template=CHAT_TEMPLATE,
        model_max_length=131072,
    )
