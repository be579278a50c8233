"""How memory that ran out is told, and given back."""

from __future__ import annotations

import gc

import torch


def ran_out(error: BaseException) -> bool:
    """Whether an error says that there is not enough memory, on a GPU or a CPU."""
    words = ("not enough memory", "can't allocate memory", "out of memory", "could not create a memory object")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(word in str(error) for word in words)


def free() -> None:
    """Give back what nobody holds on to."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
