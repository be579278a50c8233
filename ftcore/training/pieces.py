"""Training a model whose weights lie in pieces, one in each process: the loops, checkpoints, and the whole model."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader
from torch import distributed, nn
from torch.distributed import checkpoint
from torch.distributed.checkpoint import state_dict
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.utils.data import DataLoader
from transformers.trainer import SCHEDULER_NAME

from ftcore.training.in_step import LockstepLoop
from ftcore.training.job import Job
from ftcore.training.loop import Loop

PIECES = "pieces"
"""Folder of a checkpoint with the learnt weights and the optimiser, which any number of processes can read."""
LEARNT = state_dict.StateDictOptions(ignore_frozen_params=True, strict=False)
WHOLE = state_dict.StateDictOptions(full_state_dict=True, cpu_offload=True)


def mesh(name: str) -> DeviceMesh:
    """All processes in a row."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    if not distributed.is_initialized():
        distributed.init_process_group("cpu:gloo,cuda:nccl" if device == "cuda" else "gloo")
    return init_device_mesh(device, (distributed.get_world_size(),), mesh_dim_names=(name,))


def plain(model: Any) -> Any:
    """The model of transformers inside peft's, or itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def mark(model: nn.Module) -> None:
    """Tell Trainer that the weights are where they belong and that gradients find their way."""
    plain(model)._is_distributed_loading_by_transformers = True  # noqa: SLF001 # what its own loading sets


def emptied(model: nn.Module) -> nn.Module:
    """A copy with the shapes of the weights and none of their numbers."""
    memo: dict[int, Any] = {
        id(weight): nn.Parameter(torch.empty_like(weight, device="meta"), requires_grad=weight.requires_grad)
        for weight in model.parameters()
    }
    return copy.deepcopy(model, memo)


def whole(empty: nn.Module, trained: nn.Module) -> nn.Module:
    """Gather all pieces into the empty model, in the first process; the others have nothing left to do with theirs."""
    weights = state_dict.get_model_state_dict(trained, options=WHOLE)
    return trained if distributed.get_rank() else filled(empty, weights)


def filled(empty: nn.Module, weights: dict[str, Any]) -> nn.Module:
    """The empty model with these weights; buffers are as they were."""
    empty.load_state_dict(weights, strict=False, assign=True)
    plain(empty).tie_weights()
    lacking = [name for name, weight in empty.named_parameters() if weight.is_meta]
    assert not lacking, f"no process had {lacking[0]}"
    return empty


class ShardedCheckpoints:
    """A loop's checkpoints, to which each process writes its pieces; any number of processes can read them."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    lr_scheduler: Any
    args: Any
    state: Any

    def __init__(self, job: Job, **settings: Any) -> None:
        """Wire a job into Trainer, which keeps no optimiser in pieces, and says so; here it is kept."""
        super().__init__(job, save_only_model=True, **settings)  # type: ignore[call-arg]
        self.args.save_only_model = False

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Only the folder, which must be there when Trainer looks for the best one: weights come with the optimiser."""
        Path(str(output_dir)).mkdir(parents=True, exist_ok=True)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        state = {"model": self._weights(), "optimizer": self._moments()}
        checkpoint.save(state, checkpoint_id=Path(output_dir) / PIECES)
        if self.args.should_save:
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        del model
        state = {"model": self._weights()}
        checkpoint.load(state, checkpoint_id=Path(resume_from_checkpoint) / PIECES)
        state_dict.set_model_state_dict(self.model, state["model"], options=LEARNT)

    def _load_optimizer_and_scheduler(self, path: str | None) -> None:
        if path is None:
            return
        state = {"optimizer": self._moments()}
        checkpoint.load(state, checkpoint_id=Path(path) / PIECES)
        state_dict.set_optimizer_state_dict(self.model, self._inner(), state["optimizer"], options=LEARNT)
        self.lr_scheduler.load_state_dict(torch.load(Path(path) / SCHEDULER_NAME, weights_only=True))

    def _load_best_model(self) -> None:
        self._load_from_checkpoint(self.state.best_model_checkpoint)

    def _weights(self) -> dict[str, Any]:
        found: dict[str, Any] = state_dict.get_model_state_dict(self.model, options=LEARNT)
        return found

    def _moments(self) -> dict[str, Any]:
        found: dict[str, Any] = state_dict.get_optimizer_state_dict(self.model, self._inner(), options=LEARNT)
        return found

    def _inner(self) -> torch.optim.Optimizer:
        return getattr(self.optimizer, "optimizer", self.optimizer)


class Shards(ShardedCheckpoints, LockstepLoop):
    """For processes that have rows of their own and a piece of every weight."""

    @contextmanager
    def _apart(self, model: Any) -> Iterator[None]:
        model.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            model.set_requires_gradient_sync(True)


class Alike(ShardedCheckpoints, Loop):
    """For processes that all read the same rows, each with its part of every layer."""

    def _build_accelerator_args(self, **parts: Any) -> dict[str, Any]:
        made: dict[str, Any] = super()._build_accelerator_args(**parts)
        return made | {"parallelism_config": None}  # accelerate 1.15 takes none on CPUs, and only shares rows by it

    def get_train_dataloader(self) -> Any:
        """Every row for every process."""
        size = self.args.train_batch_size
        loader = DataLoader(self.train_dataset, size, sampler=self.order, collate_fn=self.data_collator)
        return prepare_data_loader(loader, self.args.device, 1, 0, put_on_device=True)

    def _eval_batches(self, cut: Sequence[list[int]]) -> Iterator[tuple[list[int], int]]:
        return ((numbers, 1) for numbers in cut)
