"""What a plan counts for methods that do not just read every row forward and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ftcore.data import snapshot
from ftcore.data.conversations import templates
from ftcore.errors import DataRejectedError
from ftcore.planning import estimates, shape_cache, sizes
from ftcore.training import cost
from tests.conftest import Product
from tests.models import COLOURS, THINGS, small

TRAIN = {"epochs": 3, "max_length_tokens": 48, "batch_size": 8, "evaluations_per_epoch": 2, "precision": "fp32"}
LENGTH = {"kind": "length", "most": 20}
PAIRS = [(colour, thing) for colour in COLOURS for thing in THINGS]
JUDGED = len(PAIRS) // 4


@pytest.fixture
def words(tmp_path: Path) -> Any:
    """The tokenizer of a model of two small layers, which lies in ``tmp_path / "llama"``."""
    from transformers import AutoTokenizer

    small("llama", tmp_path / "llama")
    found = AutoTokenizer.from_pretrained(tmp_path / "llama")
    found.chat_template = templates.CHATML
    return found


@pytest.fixture
def needed(product: Product, words: Any, tmp_path: Path) -> Callable[..., sizes.TrainingRequirements]:
    """Sizes of a recipe with 24 pairs, of which 18 train and 6 validate."""

    def make(
        kind: str, task: str = "chat", train: dict[str, Any] | None = None, **method: Any
    ) -> sizes.TrainingRequirements:
        import pyarrow as pa

        product.change(
            base=str(tmp_path / "llama"),
            task={"kind": task},
            method={"kind": kind, **method},
            train=TRAIN | (train or {}),
            sources=[{"kind": "files", "path": "rows.jsonl", "rejected": "worse"}],
            gates=[
                {"kind": "threshold", "metric": "preferred" if task == "preference" else "perplexity", "minimum": 0}
            ],
            exports=[],
        )
        made = [
            {
                "row_id": snapshot.row_id("test", f"{n}"),
                "text": f"what colour is the {thing} ?",
                "label": f"the {thing} is {colour}",
                "rejected": f"a {thing}",
                "source": "test",
                "split": "train" if n % 4 else "validation",
            }
            for n, (colour, thing) in enumerate(PAIRS)
        ]
        rows = pa.Table.from_pylist(made, schema=snapshot.schema(split=True))
        quarantine = snapshot.schema().append(rows.schema.field("split").with_name("reason")).empty_table()
        identity = snapshot.publish(product.shelf, lambda: [rows], quarantine, {"rows": rows.num_rows})
        return sizes.need(product.context("plan"), identity, len(PAIRS) - JUDGED)

    return make


def spoken(words: Any, thing: str, answer: str | None) -> int:
    """Tokens of a conversation."""
    said = [{"role": "user", "content": f"what colour is the {thing} ?"}]
    said += [{"role": "assistant", "content": answer}] if answer else []
    text = words.apply_chat_template(said, tokenize=False, add_generation_prompt=answer is None)
    return len(words(text, add_special_tokens=False)["input_ids"])


def pairs(words: Any, validation: bool = False) -> Iterator[int]:
    for number, (colour, thing) in enumerate(PAIRS):
        if (number % 4 == 0) is validation:
            yield spoken(words, thing, f"the {thing} is {colour}") + spoken(words, thing, f"a {thing}")


@pytest.mark.parametrize(
    ("kind", "task", "read", "judged"),
    [("dpo", "chat", 1, 2), ("kto", "chat", 3, 4), ("orpo", "chat", 0, 1), ("reward", "preference", 0, 1)],
)
def test_both_answers_of_a_pair_are_read_by_whoever_reads_them(
    kind: str, task: str, read: int, judged: int, needed: Callable[..., sizes.TrainingRequirements], words: Any
) -> None:
    work = needed(kind, task).work
    train, validation = sum(pairs(words)), sum(pairs(words, validation=True))
    assert work.tokens == pytest.approx(3 * train)
    measured = 2 * validation  # before and after
    assert work.read_tokens == pytest.approx(3 * train * read + measured)
    assert work.judged_tokens == pytest.approx(3 * 2 * validation * judged)
    assert work.effort.together == 2
    assert work.longest == max(spoken(words, thing, f"the {thing} is red") for thing in THINGS)


def test_kto_counts_pairs_of_a_batch_of_answers(needed: Callable[..., sizes.TrainingRequirements]) -> None:
    assert needed("kto").work.batch_rows == 4
    assert needed("dpo").work.batch_rows == 8


@pytest.mark.parametrize(("kind", "read"), [("grpo", 1), ("rloo", 2)])
def test_every_answer_of_a_group_is_drawn_read_and_learnt_from(
    kind: str, read: int, needed: Callable[..., sizes.TrainingRequirements], words: Any
) -> None:
    work = needed(kind, rewards=[LENGTH], generations=4, answer_tokens=6).work
    asked = [spoken(words, thing, None) for number, (_, thing) in enumerate(PAIRS) if number % 4]
    tested = [spoken(words, thing, None) for number, (_, thing) in enumerate(PAIRS) if number % 4 == 0]
    answers = 3 * 4 * len(asked)
    whole = 3 * 4 * sum(asked) + 6 * answers
    assert work.tokens == pytest.approx(whole)
    assert work.drawn_tokens == pytest.approx(6 * (answers + 2 * JUDGED))
    assert work.read_tokens == pytest.approx(whole * read + 3 * 4 * sum(asked) + 2 * sum(tested))
    assert work.judged_tokens == 0, "there is no validation loss"
    assert work.longest == max(asked) + 6


def test_more_cut_rows_than_allowed_are_refused_with_the_length_to_set(
    needed: Callable[..., sizes.TrainingRequirements], words: Any
) -> None:
    longest = max(spoken(words, thing, f"the {thing} is {colour}") for colour, thing in PAIRS)
    limit = longest - 2
    with pytest.raises(DataRejectedError, match=rf"rows of the train split are longer than {limit} tokens") as caught:
        needed("lora", train={"max_length_tokens": limit, "max_truncated": 0.0})
    assert f"set train.max_length_tokens to {longest}" in caught.value.hint
    assert needed("lora", train={"max_length_tokens": limit, "max_truncated": 1.0}).cuts is not None


def test_prompts_without_room_are_not_counted(needed: Callable[..., sizes.TrainingRequirements]) -> None:
    work = needed("rloo", rewards=[LENGTH], answer_tokens=47).work
    assert work.tokens == work.drawn_tokens == work.read_tokens == 0


def test_without_a_penalty_nobody_reads_for_it(needed: Callable[..., sizes.TrainingRequirements]) -> None:
    anchored = needed("grpo", rewards=[LENGTH], answer_tokens=6, adapter=None).work
    free = needed("grpo", rewards=[LENGTH], answer_tokens=6, adapter=None, beta=0).work
    assert (anchored.effort.copies, free.effort.copies) == (1, 0)
    assert anchored.read_tokens - free.read_tokens == pytest.approx(free.tokens)


def test_ppo_learns_several_times_from_whole_batches(
    needed: Callable[..., sizes.TrainingRequirements], words: Any
) -> None:
    method = {"rewards": [LENGTH], "answer_tokens": 6, "passes": 4, "minibatch": 4}
    need = needed("ppo", train={"precision": "bf16", "gradient_checkpointing": True}, **method)
    work, shape = need.work, need.shapes["cpu"]
    asked = [spoken(words, thing, None) for number, (_, thing) in enumerate(PAIRS) if number % 4]
    mean = sum(asked) / len(asked) + 6
    drawn = 3 * 3 * 8  # three epochs of three batches: the third is filled up
    assert work.tokens == pytest.approx(drawn * mean * 4)
    assert work.drawn_tokens == pytest.approx(6 * (drawn + 2 * JUDGED))
    assert (work.batch_rows, work.effort.draws) == (4, 8)
    assert not shape.half, "its loop knows float32 alone"
    assert not shape.checkpointing


def test_a_reward_model_is_held_and_asked(
    needed: Callable[..., sizes.TrainingRequirements], product: Product, tiny: Path, new_product: Callable[[], Product]
) -> None:
    from transformers import AutoModelForSequenceClassification

    other = new_product()
    other.crown("first", folders=[tiny / "model"])
    reward = {"kind": "classifier", "model": f"models:/{other.name}@champion", "label": "positive"}
    work = needed("rloo", rewards=[reward], generations=4, answer_tokens=6).work
    (judge,) = work.beside
    model = AutoModelForSequenceClassification.from_pretrained(tiny / "model")
    assert judge.shape.weights == sum(p.numel() for p in model.parameters())
    assert judge.stays
    assert judge.sequences == 8 * 4
    assert judge.tokens == pytest.approx(work.tokens)


def test_a_model_that_is_not_here_is_left_out_and_named(
    needed: Callable[..., sizes.TrainingRequirements], caplog: pytest.LogCaptureFixture
) -> None:
    reward = {"kind": "registered", "model": "models:/nobody_made_it@champion"}
    assert needed("rloo", rewards=[reward], answer_tokens=6).work.beside == ()
    assert "the estimate leaves out models:/nobody_made_it@champion" in caplog.text


def test_a_teacher_reads_all_rows_once_and_goes(product: Product, tiny: Path) -> None:
    method = {"kind": "distill", "teacher": str(tiny / "model")}
    product.change(base=str(tiny / "model"), method=method, train={**TRAIN, "max_length_tokens": 32})
    identity = product.publish(range(160))
    context = product.context("plan")
    rows = {split: sizes.count(context, identity, split) for split in ("train", "validation")}
    work = sizes.need(context, identity, rows["train"]).work
    (teacher,) = work.beside
    assert not teacher.stays
    assert teacher.tokens == pytest.approx(work.tokens / 3 + work.judged_tokens / 6)


def test_few_shot_reads_two_rows_a_pair_and_a_batch_of_them_at_once(product: Product, tiny: Path) -> None:
    from transformers import AutoTokenizer

    method = {"kind": "few_shot", "rows_per_label": 4, "pairs": 20}
    product.change(base=str(tiny / "model"), method=method, train={**TRAIN, "max_length_tokens": 32})
    identity = product.publish(range(160))
    need = sizes.need(product.context("plan"), identity, 100)
    texts = snapshot.read(product.shelf, identity, ["train"])["text"].to_pylist()
    lengths = [len(ids) for ids in AutoTokenizer.from_pretrained(tiny / "model")(texts)["input_ids"]]
    assert need.work.tokens == pytest.approx(2 * 20 * sum(lengths) / len(lengths))
    assert need.work.batch_rows == need.work.effort.least == 32
    one = cost.memory_bytes(need.shapes["cpu"], need.work, 32, "cpu")["total"] / 2**30 / cost.USABLE
    assert cost.rows_at_once(need.shapes["cpu"], need.work, "cpu", one * 1.001) == 32
    assert cost.rows_at_once(need.shapes["cpu"], need.work, "cpu", one * 0.999) == 0, "it cannot do half a batch"


def test_the_estimate_tells_what_is_drawn_and_how_a_batch_is_done(
    needed: Callable[..., sizes.TrainingRequirements], product: Product
) -> None:
    from ftcore.training.workers import Worker

    need = needed("grpo", rewards=[LENGTH], generations=4, answer_tokens=6)
    found = estimates.estimate(product.context("plan"), need, Worker(name="w", memory_gib=8, tflops=1))
    assert found["tokens_drawn"] == round(need.work.drawn_tokens)
    assert (found["rows_at_once"], found["accumulation"]) == (8, 8), "all are drawn at once, a prompt's are learnt from"
    assert found["micro_batch_tokens"] == 8 * 4 * need.work.longest
    assert found["hours"] > found["operations"] / 0.35e12 / 3600, "drawing waits for the weights"
    pair = estimates.estimate(product.context("plan"), needed("dpo"), Worker(name="w", memory_gib=8, tflops=1))
    assert (pair["rows_at_once"], pair["accumulation"], pair["waited_operations"]) == (8, 1, 0)


def test_what_does_not_fit_is_told_changes_that_the_method_knows(
    needed: Callable[..., sizes.TrainingRequirements], product: Product
) -> None:
    from dataclasses import replace

    from ftcore.training.workers import Worker

    need, context = needed("ppo", rewards=[LENGTH], answer_tokens=6, adapter=None), product.context("plan")
    shape = replace(need.shapes["cpu"], weights=400_000_000, trainable=400_000_000)
    said = estimates.remedy(context, replace(need, shapes={"cpu": shape}), Worker(name="w", memory_gib=5))
    assert said == "method.adapter: {} would make it fit on w"
    cached = replace(need.shapes["cpu"], cache_bytes=3_000_000)
    said = estimates.remedy(context, replace(need, shapes={"cpu": cached}), Worker(name="w", memory_gib=1.75))
    assert said == "method.answer_tokens: 3 would make it fit on w"


def test_trials_that_end_early_and_folds_without_their_rows_cost_less(product: Product, tiny: Path) -> None:
    from ftcore.store.records import Record, now
    from ftcore.training.workers import Worker

    search = {"space": {"train.learning_rate": {"low": 1e-5, "high": 1e-3}}, "trials": 20, "random_trials": 4}
    product.change(base=str(tiny / "model"), train={**TRAIN, "max_length_tokens": 32}, search=search)
    context, worker = product.context("plan", "r2"), Worker(name="w", memory_gib=8)
    # Of 16 trials that may end early half do so at the first of six evaluations.
    assert estimates.trainings(context, worker, None) == pytest.approx(1 + 12 + 8 / 6)
    product.change(search={**search, "prune": False}, train={**TRAIN, "max_length_tokens": 32, "folds": 5})
    assert estimates.trainings(product.context("plan", "r2"), worker, None) == 1 + 20 + 4
    product.shelf.add_to_ledger("plan", "r1", "train", "first")
    known = {"tune": {"worked_s": 60.0, "trials": {"all": 10}}, "train": {"worked_s": 30.0}}
    for step, figures in known.items():
        record = Record(step=step, recipe=product.name, run_id="r1", fingerprint="", figures=figures, started_at=now())
        product.shelf.write_record(record)
    assert estimates.trainings(product.context("plan", "r2"), worker, None) == pytest.approx(1 + 20 * 0.2 + 4)
    gpus = {"train": {**TRAIN, "max_length_tokens": 32, "distributed": {"processes": 4}}}
    product.change(**gpus)
    gpu = Worker(name="g", memory_gib=80, device="cuda")
    assert estimates.trainings(product.context("plan", "r2"), gpu, None) == pytest.approx(1 + 4 * 20 * 0.2)
    short = yaml.safe_load(product.path.read_text(encoding="utf-8"))["search"] | {"minutes": 30}
    product.change(search=short, train={**TRAIN, "max_length_tokens": 32})
    assert estimates.trainings(product.context("plan", "r2"), worker, 0.25) == pytest.approx(1 + 2)


def test_a_second_plan_takes_the_sizes_that_the_first_one_counted(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}", encoding="utf-8")
    calls: list[int] = []

    def count() -> cost.ModelShape:
        calls.append(1)
        return cost.ModelShape(7, 3, 2, 1, 4, kept=cost.ActivationMemory(5.0, 0.5, 1.0) if len(calls) < 4 else None)

    first = shape_cache.counted(tmp_path / "cache", base, {"device": "cpu"}, count)
    assert shape_cache.counted(tmp_path / "cache", base, {"device": "cpu"}, count) == first
    assert len(calls) == 1
    shape_cache.counted(tmp_path / "cache", base, {"device": "cuda"}, count)
    (base / "config.json").write_text('{"layers": 2}', encoding="utf-8")
    shape_cache.counted(tmp_path / "cache", base, {"device": "cpu"}, count)
    assert len(calls) == 3, "another device and another base model are counted"
    for path in (tmp_path / "cache").iterdir():
        path.write_text('{"weights": 1}', encoding="utf-8")
    again = shape_cache.counted(tmp_path / "cache", base, {"device": "cpu"}, count)
    assert again.kept is None, "a damaged file is counted again"
    assert shape_cache.counted(tmp_path / "cache", base, {"device": "cpu"}, count) == again
    assert len(calls) == 4
