"""Several tasks over one base: they learn together, are saved and loaded as one, and are measured apart."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pydantic import ValidationError
from safetensors import safe_open

from ftcore.data import snapshot
from ftcore.errors import DataRejectedError, NotEnoughDataError, TrainingError
from ftcore.export.exporters.onnx import Onnx
from ftcore.models import loading, outputs
from ftcore.models.outputs import Example
from ftcore.recipe.kinds import kind_class
from ftcore.recipe.training_sections import Train
from ftcore.statistics.intervals import estimate
from ftcore.tasks.multitask import Multitask
from ftcore.training import batches, callbacks, loop
from ftcore.training.job import Job
from ftcore.training.methods.full import Full
from ftcore.training.methods.lora import Lora
from ftcore.training.methods.prompt import PromptTuning
from tests import jobs
from tests.models import COLOURS, THINGS, small

EVERY = [(colour, thing) for colour in COLOURS for thing in THINGS]
ENCODER: dict[str, dict[str, Any]] = {
    "colour": {"kind": "classification", "labels": COLOURS, "sources": ["t:colour"], "weight": 2},
    "words": {"kind": "tagging", "labels": ["O", "B-COL", "B-THING"], "sources": ["t:words"]},
    "answer": {"kind": "qa", "stride_tokens": 4, "sources": ["t:answer"], "weight": 3},
    "long": {"kind": "pair", "sources": ["t:long"]},
    "several": {
        "kind": "multilabel",
        "labels": [*COLOURS, "long"],
        "separator": " ",
        "sources": ["t:several"],
        "weight": 5,
    },
}
WRITES: dict[str, dict[str, Any]] = {
    "chat": {"kind": "chat", "judge_by": "answers", "answer_tokens": 6, "sources": ["t:chat"], "weight": 3},
    "plain": {"kind": "completion", "sources": ["t:plain"]},
}
FIRST = {
    "colour/accuracy": 0.9,
    "words/f1": 0.9,
    "answer/exact_match": 0.9,
    "long/pearson": 0.9,
    "several/f1_micro": 0.8,
}


def config(parts: dict[str, dict[str, Any]]) -> Multitask:
    return Multitask.model_validate({"kind": "multitask", "parts": parts})


def row(source: str, number: int, colour: str, thing: str) -> dict[str, str | None]:
    before = THINGS[THINGS.index(thing) - 1]
    text, context, label = {
        "colour": (f"the {thing} is {colour}", None, colour),
        "words": (f"the {thing} is {colour} .", None, "O B-THING O B-COL O"),
        "answer": (f"what colour is the {thing} ?", f"the {thing} is {colour} . the {before} is a", colour),
        "long": (f"a {colour} {thing}", None, str(float(len(thing) > 4))),
        "several": (f"the {thing} is {colour}", None, f"{colour} long" if len(thing) > 4 else colour),
        "chat": (f"{colour} {thing} ?", "what colour", f"{colour} {colour}"),
        "plain": (f"the {thing} is {colour} and the {thing} is {colour}", None, None),
    }[source]
    made = {"row_id": f"{source}{number}", "text": text, "context": context, "label": label, "source": f"t:{source}"}
    return dict.fromkeys(snapshot.COLUMNS) | made


def rows(parts: dict[str, Any], every: list[tuple[str, str]] = EVERY) -> pa.Table:
    made = [row(name, number, *one) for number, one in enumerate(every) for name in parts]
    return pa.Table.from_pylist(made, schema=snapshot.schema())


def job(task: Multitask, folder: Path, model: Any, words: Any = None, **train: Any) -> Job:
    tokenizer = words or loading.tokenizer(folder / "base")
    table = rows(task.parts)
    encoded = {
        split: task.encode(tokenizer, pa.concat_tables([table] * times), 48)
        for split, times in {"train": 6, "validation": 1}.items()
    }
    settings = {"max_length_tokens": 48, "evaluations_per_epoch": 1, "patience": 10, "batch_size": 8} | train
    return jobs.made(model, tokenizer, encoded, task.collator(tokenizer), Train(**settings), folder / "checkpoints")


def said(task: Multitask, folder: Path) -> list[dict[str, Any]]:
    return task.predictor(folder, 48)(outputs.given(rows(task.parts), answers=True, sources=True))


def measured(task: Multitask, folder: Path) -> dict[str, float]:
    kept = outputs.of(outputs.column(said(task, folder)))
    sums = task.tallies(rows(task.parts), kept).sum(0)
    return {name: float(value) for name, value in task.metrics(sums).items()}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five heads over one encoder, before any training in ``before`` and after it in ``after``."""
    folder, full = tmp_path_factory.mktemp("trained"), Full()
    small("bert", folder / "base")
    torch.manual_seed(1)
    task = config(ENCODER)
    made = job(task, folder, task.load(folder / "base"), epochs=8, learning_rate=3e-3)
    full.save(made.trained.model, made.trained.tokenizer, folder / "before")
    loop.fit(made)
    full.save(made.trained.model, made.trained.tokenizer, folder / "after")
    return folder


def test_every_head_over_one_encoder_learns(trained: Path) -> None:
    task = config(ENCODER)
    before, after = measured(task, trained / "before" / "model"), measured(task, trained / "after" / "model")
    assert set(after) == set(task.better)
    for metric, bound in FIRST.items():
        assert not before[metric] >= bound, f"{metric}: nothing was learnt that was not there before"
        assert after[metric] >= bound, metric


def test_what_is_saved_is_one_body_with_heads_and_loads_to_the_same_answers(trained: Path, tmp_path: Path) -> None:
    folder = trained / "after" / "model"
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}
    with safe_open(folder / "model.safetensors", framework="np") as file:
        places = Counter(name.partition(".")[0] for name in file.keys())  # noqa: SIM118 - it is no mapping
    assert set(places) == {"bert", *(f"head_{name}" for name in ENCODER)}
    assert places["bert"] > 30
    task, full = config(ENCODER), Full()
    full.save(task.load(folder), loading.tokenizer(folder), tmp_path)
    assert said(task, tmp_path / "model") == said(task, folder)


def test_a_saved_model_is_a_base_like_any_other(trained: Path) -> None:
    plain = kind_class("tasks", "classification")(labels=COLOURS).load(trained / "after" / "model")
    mine = config(ENCODER).load(trained / "after" / "model")
    taken = plain.bert.encoder.layer[1].output.dense.weight
    assert torch.equal(taken, mine.base_model.encoder.layer[1].output.dense.weight)


@pytest.mark.parametrize("kind", ["lora", "dora", "ia3"])
def test_an_adapter_learns_with_all_heads_and_merges(kind: str, tmp_path: Path) -> None:
    small("bert", tmp_path / "base")
    task, method = config({name: ENCODER[name] for name in ("colour", "words")}), kind_class("methods", kind)
    settings = method.model_validate(method.EXAMPLE)
    made = job(task, tmp_path, task.load(tmp_path / "base"), epochs=2, learning_rate=1e-2)
    model = settings.apply(made.trained.model, made.trained.tokenizer)
    made = jobs.changed(made, model=model)
    figures = loop.fit(made)
    assert figures["validation_loss"] < 0.9 * figures["validation_loss_before"]
    settings.save(model, made.trained.tokenizer, tmp_path / "made")
    with safe_open(tmp_path / "made" / "adapter" / "adapter_model.safetensors", framework="np") as file:
        names = "\n".join(file.keys())
    assert all(f"head_{name}.classifier.weight" in names for name in task.parts)
    assert len(said(task, tmp_path / "made" / "model")) == 2 * len(EVERY)


def test_a_prompt_before_the_texts_of_all_parts_learns(tmp_path: Path) -> None:
    small("bert", tmp_path / "base")
    task, settings = config({name: ENCODER[name] for name in ("colour", "words", "several")}), PromptTuning(tokens=4)
    plain, words = task.load(tmp_path / "base"), loading.tokenizer(tmp_path / "base")
    model = settings.apply(plain, words)
    made = job(task, tmp_path, model, words, epochs=2, learning_rate=1e-2)
    figures = loop.fit(made)
    assert figures["validation_loss"] < 0.9 * figures["validation_loss_before"]
    settings.save(model, words, tmp_path / "made")
    asked = [Example("the door is red", source=name) for name in ("colour", "several")]
    before = task.predictor(tmp_path / "made" / "model", 48)(asked)
    assert len(loading.tokenizer(tmp_path / "made" / "model")("red")["input_ids"]) == 4 + 3
    assert len(said(task, tmp_path / "made" / "model")) == 3 * len(EVERY)
    task = config({name: ENCODER[name] for name in ("colour", "several")})
    exported = task.exportable(tmp_path / "made" / "model").eval()
    Onnx(precisions=("fp32",)).export(exported, words, tmp_path)
    after = task.exported(Onnx.load(tmp_path / "onnx-fp32", 48, 1))(asked)
    assert after[0]["colour"] == pytest.approx(before[0]["colour"], abs=1e-4)
    assert after[1]["several"] == pytest.approx(before[1]["several"], abs=1e-4)


def test_a_language_model_learns_to_chat_and_to_go_on(tmp_path: Path) -> None:
    small("llama", tmp_path / "base")
    task = config(WRITES)
    assert task.generative
    before = measured(task, tmp_path / "base")
    made = job(task, tmp_path, task.load(tmp_path / "base"), epochs=6, learning_rate=5e-3)
    assert made.data.rows["train"].packable
    loop.fit(made)
    Full().save(made.trained.model, made.trained.tokenizer, tmp_path / "made")
    after = measured(task, tmp_path / "made" / "model")
    assert before["chat/exact_match"] < 0.1
    assert after["chat/exact_match"] > 0.7
    assert after["plain/perplexity"] < 3 < before["plain/perplexity"]


def test_rows_are_asked_of_their_part_whatever_the_batch(trained: Path) -> None:
    ask = config(ENCODER).predictor(trained / "after" / "model", 48)
    asked = [Example("the door is red", source="colour"), Example("the door is red .", source="t:words")]
    both, alone = ask(asked), ask(asked[:1])
    assert [[name for name, one in row.items() if one is not None] for row in both] == [["colour"], ["words"]]
    assert both[0]["colour"] == pytest.approx(alone[0]["colour"])
    labels, sure = config(ENCODER).answers(both)
    assert labels == ["red", "O B-THING O B-COL O"]
    assert sure[0] > 0.5
    assert np.isnan(sure[1])
    with pytest.raises(DataRejectedError, match="does not name its part"):
        ask(["the door is red"])
    with pytest.raises(DataRejectedError, match="'weather' belongs to no part"):
        ask([Example("the door is red", source="weather")])


def test_the_run_that_was_cut_short_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    """The data position is that of the epoch's order of parts, which the seed and the epoch decide."""
    small("bert", tmp_path / "base")
    task = config({name: ENCODER[name] for name in ("colour", "words")})
    torch.manual_seed(1)
    start = task.load(tmp_path / "base").state_dict()

    def curve(folder: Path, stop: int | None = None) -> list[tuple[int, float]]:
        points: list[tuple[int, float]] = []

        def track(found: list[Any]) -> None:
            points.extend((one.step, one.metrics["loss"]) for one in found if "loss" in one.metrics)

        def tick() -> None:
            nonlocal steps
            steps += 1
            if steps == stop:
                raise KeyboardInterrupt

        steps = 0
        model = task.load(tmp_path / "base")
        model.load_state_dict(start)
        made = job(task, tmp_path, model, epochs=2, learning_rate=1e-3, evaluations_per_epoch=4, precision="fp32")
        watched = [callbacks.TrialCallback(tick, lambda number, loss: None)]
        made = jobs.changed(made, folder=folder, track=track, callbacks=watched)
        with suppress(KeyboardInterrupt):
            loop.fit(made)
        return points

    whole = dict(curve(tmp_path / "whole"))
    first = curve(tmp_path / "cut", stop=len(whole) // 2 + 2)
    rest = dict(curve(tmp_path / "cut"))
    assert 0 < min(rest) - 1 <= max(step for step, _ in first)
    assert {step: whole[step] for step in rest} == pytest.approx(rest, rel=1e-5)


def test_the_order_follows_the_weights_not_the_rows() -> None:
    parts = ["much"] * 3000 + ["few"] * 50 + ["none"] * 10
    shares = {"much": 0.5, "few": 0.4, "none": 0.1}
    lengths = [int(n) for n in torch.randint(5, 60, (len(parts),), generator=torch.Generator().manual_seed(1))]
    rows = type("Rows", (), {"parts": parts, "shares": shares, "lengths": lengths})()
    order = batches.ordered(rows, 16, seed=3)
    drawn = list(order)
    cut = [drawn[start : start + 16] for start in range(0, len(drawn), 16)]
    owners = [{parts[number] for number in batch} for batch in cut]
    assert all(len(one) == 1 for one in owners), "a batch holds rows of one part"
    counts = Counter(one.pop() for one in owners)
    assert len(order) == len(drawn) == -(-3060 // 16) * 16
    assert all(abs(counts[name] - share * len(cut)) < 1 for name, share in shares.items())
    assert set(Counter(n for n in drawn if parts[n] == "few").values()) <= {24, 25}, "gone through again and again"
    assert max(Counter(n for n in drawn if parts[n] == "much").values()) == 1
    assert list(order) == drawn
    order.epoch = 1
    assert list(order) != drawn


def test_a_part_with_less_than_a_batch_comes_in_some_epochs() -> None:
    rows = type("Rows", (), {"parts": ["a"] * 60 + ["b"] * 4, "shares": {"a": 0.9, "b": 0.1}, "lengths": [3] * 64})()
    order = batches.ordered(rows, 16, seed=5)
    seen = 0
    for epoch in range(200):
        order.epoch = epoch
        seen += sum(number >= 60 for number in order) // 16
    assert 60 < seen < 100, "a tenth of 800 batches"


def test_packed_sequences_hold_rows_of_one_part(tmp_path: Path) -> None:
    small("llama", tmp_path / "base")
    task = config(WRITES)
    encoded = task.encode(loading.tokenizer(tmp_path / "base"), rows(task.parts), 48)
    packed = batches.Packed(encoded, 48)
    assert len(packed) < len(encoded)
    assert sorted(number for one in packed.bins for number in one) == list(range(len(encoded)))
    for numbers, part in zip(packed.bins, packed.parts, strict=True):
        assert {encoded.parts[number] for number in numbers} == {part}


def test_each_metric_is_measured_on_the_rows_of_its_part() -> None:
    task = config({name: ENCODER[name] for name in ("colour", "long")})
    table = rows(task.parts)
    about = task.about(table)
    assert {name: int(mask.sum()) for name, mask in about.items()} == dict.fromkeys(task.better, len(EVERY))
    answers = [dict.fromkeys(task.parts) for _ in range(table.num_rows)]
    for place, one in enumerate(table.to_pylist()):
        name = one["source"].removeprefix("t:")
        answers[place][name] = [0.7, 0.1, 0.1, 0.1] if name == "colour" else float(one["label"])
    tallies = task.tallies(table, answers)
    found = task.metrics(tallies.sum(0))
    assert found["colour/accuracy"] == 0.25, "of the rows that ask for a colour"
    assert found["long/pearson"] == pytest.approx(1)
    mine = table.filter(pa.array(about["colour/accuracy"]))
    plain = task.parts["colour"].tallies(mine, np.tile([0.7, 0.1, 0.1, 0.1], (len(EVERY), 1)))
    chosen = tallies[about["colour/accuracy"]]
    both = estimate(task.metrics, chosen, 500, 1)["colour/accuracy"]
    assert both == estimate(task.parts["colour"].metrics, plain, 500, 1)["accuracy"]


def test_outputs_of_all_parts_survive_parquet(trained: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    task = config(ENCODER)
    made = said(task, trained / "after" / "model")
    pq.write_table(pa.table({"said": outputs.column(made)}), tmp_path / "said.parquet")
    kept = outputs.of(pq.read_table(tmp_path / "said.parquet")["said"])
    table = rows(task.parts)
    assert np.array_equal(task.tallies(table, kept), task.tallies(table, made))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"one": ENCODER["colour"]}, "at least 2 items"),
        ({"one": ENCODER["colour"], "two": WRITES["chat"]}, r"one \(classification\) on encoder, two \(chat\)"),
        ({"one": ENCODER["colour"], "two": ENCODER["colour"]}, "t:colour belongs to two parts, one and two"),
        ({"one": ENCODER["colour"], "two": {"kind": "multitask", "sources": ["x"]}}, "'multitask' .* does not match"),
        ({"one": ENCODER["colour"], "two": {"kind": "preference", "sources": ["x"]}}, "'preference' .* does not match"),
        ({"one": ENCODER["colour"], "two": {"kind": "pair"}}, "Field required"),
        ({"one": ENCODER["colour"], "two": {"kind": "pair", "sources": ["x"], "weight": 0}}, "greater than 0"),
        ({"one": ENCODER["colour"], "Two": {"kind": "pair", "sources": ["x"]}}, "should match pattern"),
    ],
)  # fmt: skip
def test_parts_that_make_no_model_are_refused(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config(parts)


def test_every_part_must_have_what_it_needs() -> None:
    task = config({name: ENCODER[name] for name in ("colour", "long")})
    table = rows(task.parts)
    task.check({"train": table, "validation": table})
    colours = table.filter(pa.array([one == "t:colour" for one in table["source"].to_pylist()]))
    with pytest.raises(NotEnoughDataError, match="part long: the validation split has no row of t:long"):
        task.check({"train": table, "validation": colours})
    three = colours.filter(pa.array([one != "red" for one in colours["label"].to_pylist()]))
    longs = table.filter(pa.array([one == "t:long" for one in table["source"].to_pylist()]))
    task.check({"train": table, "validation": pa.concat_tables([three, longs])})
    strange = pa.Table.from_pylist([row("words", 0, *EVERY[0])], schema=snapshot.schema())
    with pytest.raises(DataRejectedError, match="'t:words' belongs to no part"):
        task.check({"train": pa.concat_tables([table, strange])})


SHAPE = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
         "intermediate_size": 64, "max_position_embeddings": 80, "pad_token_id": 0}  # fmt: skip
DISTIL = {"vocab_size": 64, "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "max_position_embeddings": 80}


def other(folder: Path, kind: str, shape: dict[str, Any]) -> None:
    """A model of some architecture that nobody trained, in ``folder/base``."""
    import transformers

    small("bert", folder / "base")
    words = loading.tokenizer(folder / "base")
    made = transformers.AutoModel.from_config(getattr(transformers, kind)(**shape))
    made.save_pretrained(folder / "base")
    words.save_pretrained(folder / "base")


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("RobertaConfig", SHAPE),
        ("DistilBertConfig", DISTIL),
        ("ElectraConfig", SHAPE | {"embedding_size": 32}),
        ("DebertaV2Config", SHAPE),
        ("ModernBertConfig", SHAPE | {"bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}),
    ],
)
def test_heads_of_many_architectures_stand_apart(kind: str, shape: dict[str, Any], tmp_path: Path) -> None:
    other(tmp_path, kind, shape)
    task, lora = config(ENCODER), Lora(rank=2)
    words = loading.tokenizer(tmp_path / "base")
    model = lora.apply(task.load(tmp_path / "base"), words)
    lora.save(model, words, tmp_path)
    once = said(task, tmp_path / "model")
    assert once == said(task, tmp_path / "model"), "no head is drawn anew"
    assert [next(name for name, one in row.items() if one is not None) for row in once[:5]] == list(ENCODER)


@pytest.mark.parametrize(
    ("kind", "shape", "message"),
    [
        ("AlbertConfig", SHAPE | {"embedding_size": 16}, "AlbertForSequenceClassification does not answer the same"),
        ("LlamaConfig", SHAPE | {"num_key_value_heads": 2}, "keep their body in different places: model, transformer"),
    ],
)
def test_an_architecture_whose_heads_do_not_stand_apart_is_refused(
    kind: str, shape: dict[str, Any], message: str, tmp_path: Path
) -> None:
    other(tmp_path, kind, shape)
    with pytest.raises(TrainingError, match=message):
        config(ENCODER).load(tmp_path / "base")


def test_a_model_whose_heads_cannot_stand_apart_is_refused(tmp_path: Path) -> None:
    small("t5", tmp_path / "base")
    with pytest.raises(TrainingError):
        loading.model(lambda: config(ENCODER).load(tmp_path / "base"), tmp_path, loading.tokenizer(tmp_path / "base"))
