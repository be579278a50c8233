"""All kernels together: they are there while a model trains, nothing of them is left, and ``torch`` takes none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from ftcore.recipe.training_sections import Train
from ftcore.training import kernels, loop
from ftcore.training.job import Job
from ftcore.training.methods.lora import Lora
from tests import jobs


def state(model: nn.Module) -> list[Any]:
    """All that a kernel may change."""
    modules = [(type(one), vars(one).get("forward"), len(one._forward_pre_hooks)) for one in model.modules()]
    weights = [(id(one), one.dtype, one.device) for one in model.parameters()]
    return [ALL_ATTENTION_FUNCTIONS["sdpa"], *modules, *weights]


@pytest.fixture
def adapted(job: Callable[..., Job]) -> Job:
    made = job(config={"precision": "bf16", "epochs": 1})
    return jobs.changed(made, model=Lora(rank=2, dropout=0.1).apply(made.trained.model, made.trained.tokenizer))


@pytest.mark.parametrize("name", kernels.KERNELS)
def test_each_kernel_is_put_in_and_taken_away_however_it_ends(name: str, adapted: Job) -> None:
    before = state(adapted.trained.model)

    def interrupted() -> None:
        with kernels.KERNELS[name](adapted.trained.model, adapted.run.config):
            assert state(adapted.trained.model) != before
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert state(adapted.trained.model) == before


@pytest.mark.parametrize("settings", [{"kernels": "torch"}, {"compile": True}], ids=str)
def test_none_is_put_in_where_none_is_wanted(settings: dict[str, Any], adapted: Job) -> None:
    before = state(adapted.trained.model)
    with kernels.accelerated(adapted.trained.model, adapted.run.config.model_copy(update=settings)):
        assert state(adapted.trained.model) == before


def test_after_a_training_the_model_is_as_it_was(adapted: Job) -> None:
    inner = adapted.trained.model.get_base_model()  # around it accelerate leaves its autocast, which `save` takes off
    before = state(inner)
    changed: list[bool] = []
    inner.register_forward_hook(lambda model, *_: changed.append(state(model) != before))
    loop.fit(adapted)
    assert changed
    assert all(changed)
    assert state(inner) == before


def test_with_and_without_them_the_same_is_learnt(job: Callable[..., Job]) -> None:
    losses = []
    for which in ("auto", "torch"):
        made = job(config={"kernels": which, "epochs": 1})
        for module in made.trained.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        torch.manual_seed(2)
        model = Lora(rank=2).apply(made.trained.model, made.trained.tokenizer)
        losses.append(loop.fit(jobs.changed(made, model=model, folder=made.run.folder / which))["validation_loss"])
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_a_recipe_names_whose_kernels_train() -> None:
    assert Train().kernels == "auto"
    with pytest.raises(ValueError, match="'auto' or 'torch'"):
        Train(kernels="ours")  # type: ignore[arg-type]
