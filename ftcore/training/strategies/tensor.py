"""Each process has a part of every layer, by the plan that transformers has for it; all read the same rows.

M. Shoeybi et al. (2019), *Megatron-LM*. For one machine whose GPUs are joined by fast links: every layer waits for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ftcore.errors import TrainingError
from ftcore.training import cost
from ftcore.training.strategies._base import Strategy

if TYPE_CHECKING:
    from torch import nn

    from ftcore.recipe.model import Recipe
    from ftcore.recipe.training_sections import Train
    from ftcore.training.cost import ModelShape, ProcessMemory
    from ftcore.training.job import Job

METHODS = ("full", "lora")


class TensorParallel(Strategy):
    """Parts of every layer, by transformers."""

    SHARES_ROWS: ClassVar[bool] = False

    kind: Literal["tensor"] = "tensor"

    def faults(self, recipe: Recipe) -> Iterator[tuple[str, str]]:
        """Methods whose weights transformers' plans do not know, and machines that are too far apart."""
        kind, where = recipe.method.kind, "train.distributed.strategy"
        if kind not in METHODS:
            yield where, f"tensor cannot divide what {kind} trains; take {' or '.join(METHODS)}, or fsdp2"
        if recipe.method.frozen_adapters:
            yield where, "tensor divides one adapter only; leave method.stack out, or take fsdp2"
        if recipe.train.distributed.machines > 1:
            yield where, "tensor is for one machine, since every layer waits for all processes; take fsdp2"

    def held(self, shape: ModelShape, processes: int) -> ProcessMemory:
        """A share of the state; of the activations, 24 of Korthikanti's 34 parts are divided and 10 are not."""
        state = {name: size / processes for name, size in cost.state_bytes(shape).items()}
        return cost.ProcessMemory(state, (10 + 24 / processes) / 34)

    def spread(
        self, model: nn.Module, build: Callable[[nn.Module], nn.Module], train: Train
    ) -> tuple[nn.Module, Callable[[nn.Module], nn.Module]]:
        """Divide what the method made, so that its updates start as they do in one process.

        Raises:
            TrainingError: transformers has no plan for this architecture, or its heads cannot be shared alike.
        """
        from ftcore.training import pieces

        mesh = pieces.mesh("tp")
        rules = _rules(model, mesh.size())
        made = build(model)
        empty = pieces.emptied(made)
        _divide(pieces.plain(made), rules, mesh.size())
        return made, partial(pieces.whole, empty)

    def fit(self, job: Job) -> dict[str, float]:
        """Train in the common loop, all processes in step and on the same rows."""
        from ftcore.training import loop, pieces

        return loop.fit(job, pieces.Alike)


def _rules(model: Any, processes: int) -> dict[str, str]:
    """How each weight and each module of the base is divided, by its name."""
    from transformers.distributed import DistributedConfig

    name = type(model).__name__
    if not model.tp_plan:
        raise TrainingError(
            f"transformers has no plan to divide the layers of {name}",
            hint="train.distributed.strategy: fsdp2 works with every architecture",
        )
    text = model.config.get_text_config()
    for what in ("num_attention_heads", "num_key_value_heads"):
        heads = getattr(text, what, None)
        if heads and heads % processes:
            raise TrainingError(
                f"{name} has {heads} {what}, which {processes} processes cannot share alike",
                hint="change train.distributed.processes, or take the strategy fsdp2",
            )
    found: dict[str, str] = model._resolve_parallel_plans(DistributedConfig(tp_size=processes))[0]  # noqa: SLF001
    return found


def _divide(model: Any, rules: dict[str, str], processes: int) -> None:
    """Apply the rules; an update is divided where its layer is: behind, if that gives a part, else in front."""
    from transformers.distributed import DistributedConfig
    from transformers.distributed.tensor_parallel import apply_tensor_parallelism

    from ftcore.training import pieces

    modules, inner = dict(model.named_modules()), {}
    tied = model.all_tied_weights_keys  # divided with the weight that they are
    for name, style in ((name, style) for name, style in rules.items() if name not in tied):
        module, dot, weight = (name, "", "") if name in modules else name.rpartition(".")
        wrapped = hasattr(modules[module], "base_layer")
        inner[f"{module}.base_layer{dot}{weight}" if wrapped else name] = style
        if wrapped and not weight:
            update = f"{module}.lora_{'B' if style.startswith('colwise') else 'A'}.default"
            inner |= {f"{update}.weight": style, update: style}
    config, _, manager = type(model).prepare_distribute_model(DistributedConfig(tp_size=processes))
    model.config.distributed_config, model._mesh_manager = config, manager  # noqa: SLF001
    model._tp_size = config.tp_size  # noqa: SLF001 # by this Trainer knows that rows are not shared
    apply_tensor_parallelism(model, manager.get_mesh("tp"), inner)
    model.tie_weights()
    pieces.mark(model)
