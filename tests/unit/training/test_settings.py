"""Each setting of ``train`` does what it says, seen in the curve, the weights or the model's answers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, TrainerCallback

from ftcore.errors import TrainingError
from ftcore.training import dropout, loop, smoothing
from ftcore.training.callbacks import Point
from ftcore.training.job import Job
from tests import jobs

Make = Callable[..., Job]


class Points(list[dict[str, float]]):
    """Every point of the curve."""

    def __call__(self, points: list[Point]) -> None:
        self.extend(point.metrics for point in points)

    def of(self, name: str) -> list[float]:
        return [point[name] for point in self if name in point]


def trained(job: Make, tmp: Any, **config: Any) -> tuple[Points, Job]:
    points = Points()
    one = job(track=points, folder=tmp / "-".join(map(str, config.values())), config=config)
    loop.fit(one)
    return points, one


def movement(one: Job, before: torch.Tensor) -> float:
    now = torch.cat([value.detach().flatten() for value in one.trained.model.parameters()])
    return float((now - before).norm())


def test_the_learning_rate_follows_its_schedule(job: Make, tmp_path: Any) -> None:
    peak, warmup = 3e-2, {"warmup": 0.25, "epochs": 2}
    rates = {
        name: trained(job, tmp_path, learning_rate_schedule=name, **warmup)[0].of("learning_rate")
        for name in ("linear", "cosine", "constant", "inverse_sqrt")
    }
    for name, curve in rates.items():
        assert len(curve) == 16, name
        assert curve[0] < curve[2] < max(curve) == pytest.approx(peak), name
    assert rates["constant"][4:] == [pytest.approx(peak)] * 12
    assert rates["linear"][10] == pytest.approx(peak * (1 - 6 / 12))
    assert rates["cosine"][7] == pytest.approx(peak * (1 + math.cos(math.pi * 3 / 12)) / 2)
    assert rates["inverse_sqrt"][15] == pytest.approx(peak * math.sqrt(4 / 15))


def test_a_long_gradient_is_shortened(job: Make, tmp_path: Any) -> None:
    before = torch.cat([value.detach().flatten() for value in job().trained.model.parameters()])
    settings = {"epochs": 0.125, "weight_decay": 0.0, "warmup": 0.0}
    # Adam's first step does not depend on the gradient's length until it nears Adam's epsilon of 1e-8.
    moved = [movement(trained(job, tmp_path, max_gradient_norm=norm, **settings)[1], before) for norm in (0, 1, 1e-8)]
    assert moved[0] == pytest.approx(moved[1], rel=1e-3)
    assert moved[2] < moved[0] / 2


def test_weight_decay_shrinks_the_weights(job: Make, tmp_path: Any) -> None:
    sizes = [
        sum(
            float(p.detach().norm())
            for p in trained(job, tmp_path, weight_decay=decay)[1].trained.model.parameters()
            if p.dim() > 1
        )
        for decay in (0.0, 5.0)
    ]
    assert sizes[1] < 0.8 * sizes[0]


def test_label_smoothing_curbs_confidence_and_leaves_the_validation_loss_alone(job: Make, tmp_path: Any) -> None:
    sure, _ = trained(job, tmp_path, label_smoothing=0.0, epochs=8, seed=2)
    humble, one = trained(job, tmp_path, label_smoothing=0.4, epochs=8, seed=2)
    # the least that a smoothed loss can be is the entropy of its target, 0.8 to 0.2
    least = -(0.8 * math.log(0.8) + 0.2 * math.log(0.2))
    assert min(sure.of("loss")) < 0.1
    assert min(humble.of("loss")) >= least - 1e-4
    rows = one.data.rows["validation"]
    with torch.no_grad():
        logits = torch.cat([one.trained.model.eval()(torch.tensor([ids])).logits for ids in rows.columns["input_ids"]])
    plain = torch.nn.functional.cross_entropy(logits, torch.tensor(rows.columns["labels"]))
    assert min(humble.of("eval_loss")) == pytest.approx(float(plain), abs=1e-3)
    assert float(logits.softmax(-1).max()) < 0.97


def test_smoothing_is_torchs_own(job: Make) -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 5, 7), torch.randint(0, 7, (3, 5))
    labels[0, :3] = -100
    ask = torch.nn.functional.cross_entropy
    for shifts in (False, True):
        cut = (logits[:, :-1], labels[:, 1:]) if shifts else (logits, labels)
        flat = (cut[0].flatten(0, 1), cut[1].flatten())
        found = smoothing.smoothed(ask(*flat), {"logits": logits}, labels, 0.1, shifts=shifts)
        assert float(found) == pytest.approx(float(ask(*flat, label_smoothing=0.1)), rel=1e-5)
    with pytest.raises(TrainingError, match="chooses one of several answers"):
        smoothing.smoothed(torch.tensor(1.0), {"logits": torch.zeros(2, 1)}, torch.zeros(2, 1), 0.1, shifts=False)


class Embedded(TrainerCallback):
    """What the embeddings give for the same token, while it trains."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, *, model: Any, **_: Any) -> None:
        model.get_input_embeddings().register_forward_hook(
            lambda module, _, out: self.seen.append(out.detach()[0, 0].clone()) if module.training else None
        )


def test_neftune_adds_noise_of_its_size_while_it_trains_and_leaves_the_model_without(job: Make, tmp_path: Any) -> None:
    seen = Embedded()
    one = jobs.changed(job(config={"neftune_alpha": 2.0, "learning_rate": 1e-12}), callbacks=[seen])
    loop.fit(one)
    plain = one.trained.model.get_input_embeddings().weight[2].detach()
    noise = torch.stack(seen.seen) - plain
    assert noise.abs().max() > 0.01
    assert noise.abs().max() <= 2.0 / math.sqrt(4 * 16) + 1e-6, "rows have 4 tokens or more, and 16 numbers a token"
    one.trained.model.train()
    assert torch.equal(one.trained.model.get_input_embeddings()(torch.tensor([2]))[0], plain)


def test_patience_ends_a_training_that_gets_no_better(job: Make, tmp_path: Any) -> None:
    points, _ = trained(job, tmp_path, learning_rate=1e-12, epochs=10, patience=2)
    # the first evaluation is the best one until rounding says otherwise
    assert len(points.of("eval_loss")) < 20


def test_the_chance_of_dropout_is_set_everywhere_and_a_model_without_is_refused(job: Make) -> None:
    model = job().trained.model
    dropout.set_chance(model, 0.5)
    assert {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)} == {0.5}
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    llama = LlamaForCausalLM(LlamaConfig(vocab_size=50, **shape))
    dropout.set_chance(llama, 0.3)
    assert llama.model.layers[0].self_attn.attention_dropout == 0.3
    ids = torch.arange(10)[None]
    torch.manual_seed(1)
    llama.train()
    assert not torch.equal(llama(ids).logits, llama(ids).logits)
    with pytest.raises(TrainingError, match="no dropout"):
        dropout.set_chance(torch.nn.Linear(2, 2), 0.1)
