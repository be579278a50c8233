"""The loop for processes that calculate with each other's weights: all must do as many forward passes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import distributed

from ftcore.training.loop import Loop


class LockstepLoop(Loop):
    """For processes that have rows of their own but must calculate in step, since each layer is gathered from all."""

    def _parts(self, batch: dict[str, Any]) -> list[tuple[dict[str, Any], torch.Tensor]]:
        """As many parts as the process with the most has; what is done again for that counts nothing."""
        parts = super()._parts(batch)
        most = torch.tensor(len(parts), device=self.args.device)
        distributed.all_reduce(most, distributed.ReduceOp.MAX)
        spare = parts[0][0] if parts else {**batch, "labels": batch["input_ids"]}  # a loss over no label is no number
        return parts + [(spare, torch.zeros((), device=self.args.device))] * (int(most) - len(parts))

    def _eval_batches(self, cut: Sequence[list[int]]) -> Iterator[tuple[list[int], int]]:
        mine = list(super()._eval_batches(cut))
        rounds = -(-len(cut) // self.args.world_size)
        yield from mine + [(cut[-1], 0)] * (rounds - len(mine))
