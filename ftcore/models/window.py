"""How many tokens a model reads at most, by the files next to its weights, and what a limit cuts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

OFFSET_POSITIONS = (
    "roberta", "xlm-roberta", "xlm-roberta-xl", "roberta-prelayernorm", "camembert", "data2vec-text", "longformer",
    "mpnet", "ibert", "luke", "esm", "xmod", "mega",
)  # fmt: skip
"""Architectures whose first positions are the padding token's and those before it: 514 positions read 512 tokens."""
ENDLESS = ("bloom", "mpt", "t5", "mt5", "umt5", "longt5", "xlnet", "transfo-xl", "deberta", "deberta-v2", "mamba")
"""Architectures with relative positions, or ALiBi, which read any length; DeBERTa only without absolute ones."""
ROTARY = ("rope_theta", "rope_parameters", "rope_scaling", "rotary_pct", "rotary_dim", "rotary_emb_base")
UNSET = 10**6
"""Transformers writes a number above where a tokenizer knows no longest length."""
CUT = 0.01
"""Share of the texts that a proposed limit cuts."""


def of(config: Mapping[str, Any], tokenizer: Mapping[str, Any] | None = None) -> int | None:
    """Most tokens that a model reads, special tokens included; None where nothing limits it.

    Rotary positions limit nothing by themselves: a model reads on, worse and worse, beyond what it was trained on.

    Args:
        config: its ``config.json``.
        tokenizer: its ``tokenizer_config.json``, which decides where the model has no table of positions.
    """
    text = config.get("text_config") or config
    kind = str(text.get("model_type", config.get("model_type", "")))
    rotary = any(text.get(key) for key in ROTARY) or text.get("position_embedding_type") == "rotary"
    relative = kind in ENDLESS and not (kind.startswith("deberta") and text.get("position_biased_input", True))
    if rotary or relative or text.get("alibi"):
        return None
    places = next((int(text[key]) for key in ("max_position_embeddings", "n_positions") if text.get(key)), None)
    if places is not None and places > 0:
        return places - (int(text.get("pad_token_id") or 0) + 1 if kind in OFFSET_POSITIONS else 0)
    known = (tokenizer or {}).get("model_max_length")
    return int(known) if known and known < UNSET else None


def cuts(lengths: Sequence[int], limit: int, window: int | None) -> dict[str, Any]:
    """What a limit cuts of some texts.

    Args:
        lengths: tokens of each text, uncut.
        limit: ``train.max_length_tokens``.
        window: most tokens that the model reads.

    Returns:
        ``max_length_tokens``, the limit; ``cut``, the share of the texts that are longer; ``longest``;
        ``cuts_1_percent``, the limit that would cut 1 % of them; ``window``; ``proposed``, the lesser of these two.
    """
    ordered = sorted(lengths) or [0]
    most = ordered[min(len(ordered) - 1, int(len(ordered) * (1 - CUT)))]
    return {
        "max_length_tokens": limit,
        "cut": sum(length > limit for length in lengths) / max(1, len(lengths)),
        "longest": ordered[-1],
        "cuts_1_percent": most,
        "window": window,
        "proposed": max(8, min(most, window or most)),
    }


def words(found: Mapping[str, Any]) -> str:
    """The same in a sentence, with the value to set where many are cut."""
    window = f"; the model reads {found['window']:,} at most" if found["window"] else ""
    change = found["cut"] > CUT and found["proposed"] > found["max_length_tokens"]
    proposal = (
        f"; train.max_length_tokens: {found['proposed']} cuts 1 % or what the model cannot read" if change else ""
    )
    return (
        f"{found['cut']:.1%} of the texts are longer than train.max_length_tokens ({found['max_length_tokens']:,}); "
        f"the longest has {found['longest']:,}, 99 % have {found['cuts_1_percent']:,} or fewer{window}{proposal}"
    )
