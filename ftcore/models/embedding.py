"""Sentence embeddings of a base model: the mean of its last hidden states over the tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ftcore.errors import MissingExtraError, NotFoundError

if TYPE_CHECKING:
    import numpy as np

TOKENS = 128
"""Longer texts are cut."""
BATCH_TOKENS = 4096
"""Tokens of a batch, padding included."""


def embedder(model: Path, threads: int = 0) -> Callable[[Sequence[str]], np.ndarray]:
    """What turns texts into embeddings.

    Args:
        model: folder of a base model, encoder or decoder.
        threads: for torch; 0 leaves it at all cores.

    Returns:
        From texts to float32 ``[texts, hidden size]``, each row of length 1. Texts of like length share a batch.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        NotFoundError: the folder holds no model that they can load.
    """
    try:
        import torch
        from transformers import AutoModel, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
        network = AutoModel.from_pretrained(model, local_files_only=True, use_safetensors=True).eval()
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{error.name} is not installed", hint="pip install 'ftcore[train]'") from error
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise NotFoundError(f"no base model could be loaded from {model}: {first}") from error
    if threads:
        torch.set_num_threads(threads)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network.to(device)

    def embed(texts: Sequence[str]) -> np.ndarray:
        import numpy as np

        given = tokenizer(list(texts), truncation=True, max_length=TOKENS)["input_ids"] if texts else []
        ids = [one or [tokenizer.pad_token_id] for one in given]
        order = sorted(range(len(ids)), key=lambda place: -len(ids[place]))
        found = np.empty((len(ids), network.config.hidden_size), np.float32)
        start = 0
        while start < len(order):
            some = order[start : start + max(1, BATCH_TOKENS // max(len(ids[order[start]]), 1))]
            batch = tokenizer.pad({"input_ids": [ids[place] for place in some]}, return_tensors="pt").to(device)
            with torch.inference_mode():
                states = network(**batch).last_hidden_state
            mask = batch["attention_mask"].unsqueeze(-1).to(states.dtype)
            mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
            found[some] = torch.nn.functional.normalize(mean, dim=1).float().cpu().numpy()
            start += len(some)
        return found

    return embed
