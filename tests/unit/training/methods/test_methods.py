"""Every method on a tiny model: only what is meant to changes, the loss falls, what is saved answers the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerBase

from ftcore.errors import TrainingError
from ftcore.recipe import kinds
from ftcore.tasks.classification import Classification
from ftcore.training import loop
from ftcore.training.methods import _adapters, _lora, _prompt, full, ia3, lora, prefix, prompt
from tests import jobs

if TYPE_CHECKING:
    from ftcore.training.job import Job

TEXTS = ["a good film", "the plot was bad", "great story", "awful end", "a bright good story", "the film is dull"]
LABELS = [1, 0, 1, 0, 1, 0]
CONFIG = Classification(labels=("negative", "positive"))
HERE = "cuda" if torch.cuda.is_available() else "cpu"
KINDS = [
    kind
    for kind in kinds.kinds("methods")
    if HERE in (kinds.kind_class("methods", kind).DEVICES or (HERE,))
    and "classification" in (kinds.kind_class("methods", kind).TASKS or ("classification",))
]
CHANGES: dict[str, set[str]] = {
    "prefix": {"classifier", "prompt_encoder"},
    "prompt": {"classifier", "trainable_tokens_delta"},
    "ia3": {"classifier", "ia3_l"},
    "lora": {"classifier", "lora_A", "lora_B"},
}
"""Parts of the names of the weights that may change, where it is not all of them."""


@pytest.fixture
def words(tiny: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(tiny / "model")


@pytest.fixture
def plain(tiny: Path) -> nn.Module:
    torch.manual_seed(7)
    torch.set_num_threads(1)
    return AutoModelForSequenceClassification.from_pretrained(tiny / "model")


def train(model: nn.Module, words: PreTrainedTokenizerBase, steps: int = 40, rate: float = 0.02) -> None:
    batch = words(TEXTS, padding=True, return_tensors="pt")
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate)
    model.train()
    for _ in range(steps):
        model(**batch, labels=torch.tensor(LABELS)).loss.backward()
        optimiser.step()
        optimiser.zero_grad()


def loss(model: nn.Module, words: PreTrainedTokenizerBase) -> float:
    said = answers(model, words)
    return float(-said[range(len(LABELS)), LABELS].log().mean())


def answers(model: nn.Module, words: PreTrainedTokenizerBase) -> torch.Tensor:
    model.eval()
    with torch.inference_mode():
        return model(**words(TEXTS, padding=True, return_tensors="pt")).logits.softmax(-1)


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_changes_only_what_it_means_to_and_is_read_back_the_same(
    kind: str, plain: nn.Module, words: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    method = kinds.kind_class("methods", kind)
    config = method.model_validate(method.EXAMPLE)
    model = config.apply(plain, words)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    untrained = loss(model, words)
    train(model, words)
    assert loss(model, words) < untrained - 0.05
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert changed <= trained
    assert len(changed) >= len(trained) - 1
    if kind in CHANGES:
        assert all(any(part in name for part in CHANGES[kind]) for name in changed), changed
    expected = answers(model, words)
    config.save(model, words, tmp_path)
    found = CONFIG.predictor(tmp_path / "model", 32)(TEXTS)
    assert found == pytest.approx(expected.numpy(), abs=1e-5)
    assert not [path for path in tmp_path.rglob("*") if path.suffix in {".bin", ".pt", ".pkl"}]


def test_a_merge_that_changes_the_answers_is_an_error(
    plain: nn.Module, words: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = lora.Lora(rank=2).apply(plain, words)
    train(model, words)
    layer = next(module for module in model.modules() if hasattr(module, "get_delta_weight"))
    monkeypatch.setattr(layer, "get_delta_weight", lambda adapter: torch.ones_like(layer.base_layer.weight))
    with pytest.raises(TrainingError, match=r"merged and unmerged model differ by .+ 0.0001 is allowed"):
        _adapters.merged(model, words)


def test_a_model_that_was_trained_in_sixteen_bits_is_compared_in_its_own_precision(
    training_job: Callable[..., Job], tmp_path: Path
) -> None:
    job = training_job(precision="bf16")
    config = lora.Lora(rank=2)
    adapted = config.apply(job.trained.model, job.trained.tokenizer)
    loop.fit(jobs.changed(job, model=adapted))
    config.save(adapted, job.trained.tokenizer, tmp_path)
    assert (tmp_path / "model" / "model.safetensors").is_file()


def test_a_merge_of_what_is_no_number_is_an_error(plain: nn.Module, words: PreTrainedTokenizerBase) -> None:
    model = lora.Lora(rank=2).apply(plain, words)
    layer = next(module for module in model.modules() if hasattr(module, "lora_B"))
    layer.lora_B["default"].weight.data[:] = float("nan")
    with pytest.raises(TrainingError):
        _adapters.merged(model, words)


def test_a_pattern_that_is_none_is_said(plain: nn.Module, words: PreTrainedTokenizerBase) -> None:
    with pytest.raises(TrainingError, match="targets are no regular expression: nothing to repeat"):
        lora.Lora(targets="*query").apply(plain, words)


@pytest.mark.parametrize("targets", ["nothing", ("nothing",)])
def test_targets_that_match_nothing_are_named_beside_those_there_are(
    targets: Any, plain: nn.Module, words: PreTrainedTokenizerBase
) -> None:
    with pytest.raises(
        TrainingError, match=r"match none of its layers\n.*its linear layers are bert.encoder.layer.N.att"
    ):
        lora.Lora(targets=targets).apply(plain, words)


def test_blocks_that_are_not_there_are_named(plain: nn.Module, words: PreTrainedTokenizerBase) -> None:
    with pytest.raises(TrainingError, match=r"none of the layers in the blocks 7\n.*its blocks are 0 to 0"):
        lora.Lora(layers=(7,)).apply(plain, words)
    with pytest.raises(TrainingError, match="targets are no regular expression"):
        lora.Lora(targets="*query", layers=(0,)).apply(plain, words)


@pytest.mark.parametrize(
    "changes",
    [
        {"init": "pissa"},
        {"init": "olora"},
        {"rank_stabilised": True},
        {"targets": r".*attention\.self\.(query|value)"},
        {"targets": ("query", "value"), "layers": (0,)},
        {"targets": r".*attention\.self\.(query|value)", "layers": (0, 5)},
        {"layers": (0, 5)},
    ],
    ids=str,
)
def test_loras_settings(
    changes: dict[str, Any], plain: nn.Module, words: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    start = answers(plain, words)
    config = lora.Lora.model_validate({"kind": "lora", "rank": 2, **changes})
    model = config.apply(plain, words)
    assert answers(model, words) == pytest.approx(start, abs=1e-5), "an update changes nothing before it was trained"
    adapted = {name.rsplit(".lora_A", 1)[0] for name, _ in model.named_parameters() if "lora_A" in name}
    if "targets" in changes:
        assert {name.rsplit(".", 1)[1] for name in adapted} == {"query", "value"}
    if "layers" in changes:
        assert {int(name.split("layer.")[1].split(".")[0]) for name in adapted} == {0}
    train(model, words)
    expected = answers(model, words)
    config.save(model, words, tmp_path)
    assert (tmp_path / "adapter").is_dir() is ("init" not in changes)
    assert CONFIG.predictor(tmp_path / "model", 32)(TEXTS) == pytest.approx(expected.numpy(), abs=1e-5)


def test_an_adapter_is_stacked_under_a_new_one(
    plain: nn.Module, tiny: Path, words: PreTrainedTokenizerBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = lora.Lora(rank=2, dropout=0).apply(plain, words)
    head = {name for name, _ in first.named_parameters() if "classifier" in name}
    for name, parameter in first.named_parameters():
        parameter.requires_grad = parameter.requires_grad and name not in head
    train(first, words)
    learnt = answers(first, words)
    lora.Lora(rank=2).save(first, words, tmp_path / "first")
    monkeypatch.setattr(_lora, "_fetch", lambda reference: tmp_path / "first" / "adapter")
    fresh = AutoModelForSequenceClassification.from_pretrained(tiny / "model")
    config = lora.Lora(rank=2, stack=({"model": "models:/first@champion"},))  # type: ignore[arg-type]
    both = config.apply(fresh, words)
    assert answers(both, words) == pytest.approx(learnt, abs=1e-5), "the old one counts before the new one has learnt"
    before = {name: p.detach().clone() for name, p in both.named_parameters() if "earlier_0" in name}
    train(both, words)
    assert all(torch.equal(p, before[name]) for name, p in both.named_parameters() if name in before)
    expected = answers(both, words)
    config.save(both, words, tmp_path / "second")
    found = CONFIG.predictor(tmp_path / "second" / "model", 32)(TEXTS)
    assert found == pytest.approx(expected.numpy(), abs=1e-5)


def test_weights_that_are_frozen_stay(plain: nn.Module, words: PreTrainedTokenizerBase) -> None:
    model = full.Full(freeze=("embeddings", r"layer\.0\.")).apply(plain, words)
    assert {name.split(".")[1] for name, p in model.named_parameters() if p.requires_grad} == {
        "pooler",
        "weight",
        "bias",
    }
    with pytest.raises(TrainingError, match="no weight matches 'nowhere'"):
        full.Full(freeze=("nowhere",)).apply(plain, words)
    with pytest.raises(TrainingError, match="leaves nothing to train"):
        full.Full(freeze=(".",)).apply(plain, words)


def test_a_prompt_stands_after_the_first_special_token_and_counts_towards_the_limit(
    words: PreTrainedTokenizerBase,
) -> None:
    numbers = _prompt.add(words, 3)
    first, *_, last = words("a good film")["input_ids"]
    assert words("a good film")["input_ids"][1:4] == numbers
    assert (first, last) == (words.cls_token_id, words.sep_token_id)
    assert len(words("a good film " * 20, truncation=True, max_length=10)["input_ids"]) == 10
    pair = words("a film", "a plot")
    assert pair["input_ids"][1:4] == numbers
    assert pair["token_type_ids"].count(1) == 3


def test_a_prompt_may_start_from_words(plain: nn.Module, words: PreTrainedTokenizerBase) -> None:
    start = plain.get_input_embeddings().weight.detach().clone()
    model = prompt.PromptTuning(tokens=3, text="good film").apply(plain, words)
    good, film = words.convert_tokens_to_ids(["good", "film"])
    rows = model.get_input_embeddings().weight[-3:]
    assert torch.equal(rows, start[[good, film, good]])


def test_a_prefix_is_part_of_the_onnx_graph(plain: nn.Module, words: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    from ftcore.export.exporters import onnx
    from ftcore.models import base

    model = prefix.PrefixTuning(tokens=4).apply(plain, words)
    train(model, words)
    prefix.PrefixTuning(tokens=4).save(model, words, tmp_path)
    read = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    config = onnx.Onnx(precisions=("fp32",))
    config.export(base.with_prefix(read, tmp_path / "model"), words, tmp_path)
    logits = onnx.Onnx.load(tmp_path / "onnx-fp32", 32, 1)(TEXTS)["logits"]
    assert CONFIG.outputs(logits) == pytest.approx(answers(model, words).numpy(), abs=1e-4)
    assert answers(read, words) != pytest.approx(answers(model, words), abs=1e-3), "the prefix makes a difference"


@pytest.mark.parametrize(
    ("kind", "task"), [("DistilBert", "SEQ_CLS"), ("Roberta", "SEQ_CLS"), ("Electra", "TOKEN_CLS")]
)
def test_the_whole_head_trains_whatever_it_is_called(kind: str, task: str, words: PreTrainedTokenizerBase) -> None:
    import transformers

    small: dict[str, Callable[[], Any]] = {
        "DistilBert": lambda: transformers.DistilBertForSequenceClassification(
            transformers.DistilBertConfig(vocab_size=99, dim=16, n_layers=1, n_heads=2, hidden_dim=32)
        ),
        "Roberta": lambda: transformers.RobertaForSequenceClassification(
            transformers.RobertaConfig(
                vocab_size=99, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
            )
        ),
        "Electra": lambda: transformers.ElectraForTokenClassification(
            transformers.ElectraConfig(
                vocab_size=99, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
            )
        ),
    }
    plain = small[kind]()
    assert _adapters.task_type(plain) == task
    heads = _adapters.head(plain)
    model = lora.Lora(rank=2).apply(plain, words)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    for head in heads:
        parts = {name for name, _ in model.named_parameters() if f".{head}." in name and "modules_to_save" in name}
        assert parts, head
        assert parts <= trained
    assert not [name for name in trained if "lora_" not in name and "modules_to_save" not in name]


def test_ia3_scales_what_it_is_told_to(plain: nn.Module, words: PreTrainedTokenizerBase) -> None:
    model = ia3.Ia3(targets=("key", "intermediate.dense"), feedforward=("intermediate.dense",)).apply(plain, words)
    scaled = {name.split(".ia3_l")[0].rsplit(".", 1)[1] for name, _ in model.named_parameters() if "ia3_l" in name}
    assert scaled == {"key", "dense"}
    with pytest.raises(ValueError, match="not among the targets: value"):
        ia3.Ia3(targets=("key",), feedforward=("value",))


@pytest.mark.parametrize("kind", prefix.PrefixTuning.TASKS)
def test_every_task_that_a_prefix_fits_answers_with_it(
    kind: str, plain: nn.Module, words: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    from ftcore.models import base

    task = kinds.kind_class("tasks", kind)
    config = task.model_validate(task.EXAMPLE)
    base.write_model(plain, words, tmp_path / "base")
    model = prefix.PrefixTuning(tokens=4).apply(config.load(tmp_path / "base"), words)
    torch.nn.init.normal_(model.prompt_encoder["default"].embedding.weight, std=3)
    prefix.PrefixTuning(tokens=4).save(model, words, tmp_path)
    expected = config.reader(model.eval(), words, 32)(TEXTS)
    assert config.predictor(tmp_path / "model", 32)(TEXTS) == pytest.approx(expected, abs=1e-4)
    assert config.reader(model.get_base_model(), words, 32)(TEXTS) != pytest.approx(expected, abs=1e-4)
