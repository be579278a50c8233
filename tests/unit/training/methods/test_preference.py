"""Methods that learn from preferences and rewards, on a model of two small layers: what is liked becomes likelier."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from ftcore.data.conversations import templates
from ftcore.errors import DataRejectedError, NotEnoughDataError, RecipeError, TransientError
from ftcore.models.features import Features
from ftcore.recipe import reading as recipe
from ftcore.recipe.kinds import kind_class
from ftcore.recipe.training_sections import Train
from ftcore.tasks import _language
from ftcore.training import checkpoints
from ftcore.training.callbacks import Point
from ftcore.training.exchanges import PreferenceExample
from ftcore.training.job import Job
from ftcore.training.methods import _ppo, _preference, _reinforcement, kto
from ftcore.training.strategies.ddp import Ddp
from tests import jobs
from tests.models import THINGS, VOCABULARY, small

TRAIN = Train(
    epochs=6, learning_rate=1e-2, batch_size=8, max_length_tokens=48, precision="fp32", warmup=0, patience=50, seed=5
)
ADAPTER = {"rank": 4, "alpha": 8, "dropout": 0}
SHORT = {"rewards": [{"kind": "regex", "pattern": "red|green|blue|white"}], "answer_tokens": 4}
PAIRED = ("dpo", "kto", "orpo")
DRAWN = ("rloo", "grpo", "ppo")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama that nobody trained, with a tokenizer of some forty words."""
    folder = tmp_path_factory.mktemp("llama")
    small("llama", folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():  # so far apart that an adapter, which leaves words as they are, can choose among them
        model.get_input_embeddings().weight.mul_(10)
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def made(llama: Path, tmp_path: Path) -> Iterator[Callable[..., tuple[Job, Any]]]:
    """Make a job of a kind, with its configuration: 16 rows of which the good answer says blue, the worse one red."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    points: list[Point] = []

    def make(
        kind: str, *, exchanges: Any = None, train: Train = TRAIN, folder: str = "checkpoints", **given: Any
    ) -> tuple[Job, Any]:
        settings = (SHORT if kind in DRAWN else {}) | {"kind": kind, "adapter": ADAPTER} | given
        config = kind_class("methods", kind).model_validate(settings)
        torch.manual_seed(11)
        tokenizer = AutoTokenizer.from_pretrained(llama)
        tokenizer.chat_template = templates.CHATML
        model = _language.causal(llama)
        if kind == "reward":
            model = AutoModelForSequenceClassification.from_pretrained(llama, num_labels=1)
        rows = {"train": list(exchanged(16)), "validation": list(exchanged(8))} if exchanges is None else exchanges
        none = {split: Features({"input_ids": [[1]] * len(some)}, ["r"] * len(some)) for split, some in rows.items()}
        job = jobs.made(
            config.apply(model, tokenizer), tokenizer, none, dict, train, tmp_path / folder, identity="this",
            track=points.extend, exchanges=rows,
        )  # fmt: skip
        return job, config

    yield make
    torch.set_num_threads(threads)


def exchanged(count: int) -> Iterator[PreferenceExample]:
    for number in range(count):
        thing = THINGS[number % len(THINGS)]
        said = [{"role": "user", "content": f"what colour is the {thing} ?"}]
        yield PreferenceExample(f"r{number}", said, f"the {thing} is blue", f"the {thing} is red")


def untrained(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}


def curve(job: Job) -> dict[str, list[float]]:
    points: list[Point] = job.run.track.__self__  # type: ignore[attr-defined]
    found: dict[str, list[float]] = {}
    for point in points:
        for name, value in point.metrics.items():
            found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize("kind", PAIRED)
@pytest.mark.parametrize("whole", [False, True])
def test_the_good_answer_becomes_the_likelier_one(kind: str, whole: bool, made: Any, tmp_path: Path) -> None:
    rate = TRAIN.model_copy(update={"learning_rate": 2e-3}) if whole else TRAIN
    job, config = made(kind, train=rate, **({"adapter": None} if whole else {}))
    before = untrained(job.trained.model)
    figures = config.fit(job, Ddp())
    assert figures["margin_after"] > figures["margin_before"] + 0.5
    assert figures["preferred_after"] >= 0.9 > figures["preferred_before"]
    assert figures["pairs"] == 16
    assert figures["validation_loss"] < curve(job)["eval_loss"][0]
    assert {"rewards/margins", "eval_rewards/margins", "kl" if kind == "kto" else "rewards/accuracies"} <= curve(
        job
    ).keys()
    assert all(torch.equal(dict(job.trained.model.named_parameters())[name], value) for name, value in before.items())
    read_back(job, config, tmp_path, whole=whole)


def read_back(job: Job, config: Any, folder: Path, *, whole: bool) -> None:
    """What is saved answers as what was trained did, and nothing of it is pickled."""
    said = _preference.ids(job.trained.tokenizer, job.data.exchanges["train"][0].prompt, "the door is blue")
    with torch.no_grad():
        expected = job.trained.model.eval()(input_ids=torch.tensor([said])).logits
    config.save(job.trained.model, job.trained.tokenizer, folder / "made")
    kind = AutoModelForSequenceClassification if config.kind == "reward" else AutoModelForCausalLM
    again = kind.from_pretrained(folder / "made" / "model", use_safetensors=True).eval()
    with torch.no_grad():
        assert torch.allclose(again(input_ids=torch.tensor([said])).logits, expected, atol=1e-4)
    files = {path.suffix for path in (folder / "made").rglob("*") if path.is_file()}
    assert ".safetensors" in files
    assert not files & {".bin", ".pt", ".pkl", ".pth"}
    assert (folder / "made" / "adapter").is_dir() is not whole
    if not whole:
        kept = json.loads((folder / "made" / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
        assert kept["r"] == ADAPTER["rank"]
        assert not (folder / "made" / "adapter" / "ref").exists()


def test_a_reward_model_scores_the_good_answer_higher(made: Any, tmp_path: Path) -> None:
    job, config = made("reward", centre=0.01)
    figures = config.fit(job, Ddp())
    assert figures["preferred_after"] == 1.0
    assert figures["margin_after"] > max(figures["margin_before"], 0) + 1
    assert {"accuracy", "margin"} <= curve(job).keys()
    read_back(job, config, tmp_path, whole=False)


@pytest.mark.parametrize("kind", DRAWN)
def test_what_is_rewarded_is_said_more_often(kind: str, made: Any, tmp_path: Path) -> None:
    train = TRAIN.model_copy(update={"epochs": 24 if kind == "ppo" else 10, "learning_rate": 2e-2, "batch_size": 16})
    more = {"kl": 0.01} if kind == "ppo" else {"generations": 4, "beta": 0.01}
    job, config = made(kind, train=train, **more)
    before = untrained(job.trained.model)
    figures = config.fit(job, Ddp())
    rewards = curve(job)["reward"]
    assert figures["reward_before"] <= 0.5
    assert figures["reward_after"] >= figures["reward_before"] + 0.3
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.3
    assert abs(curve(job)["kl"][0]) < 1e-4, "at first the model is its own reference"
    assert all(torch.equal(dict(job.trained.model.named_parameters())[name], value) for name, value in before.items())
    assert figures["prompts"] == 16
    assert "validation_loss" not in figures
    read_back(job, config, tmp_path, whole=False)


def test_all_weights_can_be_trained_by_ppo_beside_a_frozen_copy(made: Any) -> None:
    job, config = made("ppo", adapter=None, train=TRAIN.model_copy(update={"epochs": 1, "learning_rate": 1e-3}))
    trainer = _ppo.Trainer(config, job)
    reference = copy.deepcopy(trainer.reference.state_dict())
    trainer.fit()
    assert all(torch.equal(value, reference[name]) for name, value in trainer.reference.state_dict().items())
    assert not torch.equal(job.trained.model.lm_head.weight, reference["lm_head.weight"])


@pytest.mark.parametrize("kind", ["dpo", "grpo", "ppo"])
def test_a_run_that_was_told_to_stop_goes_on_from_its_checkpoint(
    kind: str, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftcore.training import callbacks

    train = TRAIN.model_copy(update={"epochs": 3, "batch_size": 8})
    straight, config = made(kind, train=train, folder="straight")
    expected = config.fit(straight, Ddp())
    with monkeypatch.context() as patch:
        end = callbacks.CheckpointTimer.on_step_end

        def stop(self: Any, args: Any, state: Any, control: Any, **more: Any) -> Any:
            self.stopping = state.global_step == 2
            return end(self, args, state, control, **more)

        patch.setattr(callbacks.CheckpointTimer, "on_step_end", stop)
        job, config = made(kind, train=train)
        with pytest.raises(TransientError, match="stopped at step 2"):
            config.fit(job, Ddp())
    assert checkpoints.last(job.run.folder, "this").name == "checkpoint-2"  # type: ignore[union-attr]
    job, config = made(kind, train=train)
    figures = config.fit(job, Ddp())
    assert figures["resumed"] == 1.0
    assert figures["steps"] == 6
    if kind == "ppo":  # TRL's trainers draw anew after a checkpoint, or shuffle
        assert figures["reward_after"] == expected["reward_after"]
        assert figures["train_loss"] == expected["train_loss"]
        weights = dict(straight.trained.model.named_parameters())
        assert all(torch.equal(weight, weights[name]) for name, weight in job.trained.model.named_parameters())
    again, config = made(kind, train=train)
    assert config.fit(again, Ddp())["steps"] == 6, "what is done is not done again"


def test_rows_without_a_worse_answer_are_left_out_and_said(made: Any, caplog: pytest.LogCaptureFixture) -> None:
    rows = list(exchanged(4))
    some = [rows[0], *(one._replace(worse=None) for one in rows[1:])]
    job, _ = made("dpo", exchanges={"train": some})
    assert len(_preference.pairs(job)["train"]) == 1
    assert "3 of 4 rows of train have no rejected answer" in caplog.text
    job, _ = made("dpo", exchanges={"train": some[1:]})
    with pytest.raises(DataRejectedError, match="no row of the train split has a rejected answer"):
        _preference.pairs(job)


LONG = PreferenceExample("long", "the door " * 40, "the door is blue", "the door is red")


@pytest.mark.parametrize("kind", ["orpo", "dpo", "kto", "reward", "grpo"])
def test_prompts_that_leave_no_room_are_left_out_and_said(
    kind: str, made: Any, caplog: pytest.LogCaptureFixture
) -> None:
    rows = {"train": [*exchanged(7), LONG], "validation": [*exchanged(7), LONG]}
    job, config = made(kind, exchanges=rows, train=TRAIN.model_copy(update={"epochs": 1}))
    figures = config.fit(job, Ddp())
    assert figures["rows_left_out"] == 1
    assert math.isfinite(figures["reward_after" if kind == "grpo" else "validation_loss"])
    assert "1 of 8 prompts of the validation split are longer than" in caplog.text


def test_too_many_prompts_that_leave_no_room_are_refused(made: Any) -> None:
    job, config = made("grpo", exchanges={"train": [*exchanged(1), *[LONG] * 4]})
    with pytest.raises(DataRejectedError, match=r"4 of 5 prompts of the train split .* 20% may be"):
        _reinforcement.prompts(config, job)
    job, _ = made("dpo", exchanges={"train": [LONG]})
    with pytest.raises(NotEnoughDataError, match="no prompt"):
        _preference.pairs(job)


@pytest.mark.parametrize("kind", [*PAIRED, "reward", *DRAWN])
def test_sixteen_bits_train_too(kind: str, made: Any) -> None:
    job, config = made(kind, train=TRAIN.model_copy(update={"epochs": 1, "precision": "bf16"}))
    figures = config.fit(job, Ddp())
    assert math.isfinite(figures["train_loss"])
    assert all(p.dtype == torch.float32 for p in job.trained.model.parameters()), "weights are as they were"


def test_an_answer_ends_with_its_end_and_nothing_behind_it_counts(made: Any) -> None:
    job, config = made("ppo", answer_tokens=8)
    job.trained.model.generation_config.eos_token_id = list(range(11, len(VOCABULARY)))  # nearly every token is an end
    prompts = [one.prompt for one in exchanged(4)]
    drawn = _reinforcement.draw(config, job, [prompts[0], "the door is", *prompts[2:]])
    answers = drawn["attention_mask"][:, drawn["prompt_tokens"] :]
    assert (answers.sum(-1) >= 1).all()
    assert drawn["attention_mask"][1].sum() < drawn["attention_mask"][0].sum()


DOCUMENT: dict[str, Any] = {
    "name": "taste",
    "task": {"kind": "chat"},
    "base": "./model",
    "sources": [{"kind": "files", "path": "pairs.jsonl", "rejected": "worse"}],
    "gates": [{"kind": "threshold", "metric": "token_accuracy", "minimum": 0}],
    "exports": [],
}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"method": {"kind": "dpo"}, "sources": [{"kind": "files", "path": "rows.jsonl"}]},
            "no source maps `rejected`",
        ),
        ({"method": {"kind": "dpo", "adapter": {"init": "pissa"}}}, "init must be default"),
        ({"method": {"kind": "dpo", "loss": "ipo", "label_smoothing": 0.1}}, "the loss ipo has none"),
        ({"method": {"kind": "reward"}}, "reward does not fit the task chat; it fits preference"),
        ({"method": {"kind": "kto"}, "train": {"batch_size": 7}}, "4, 6, 8 or more"),
        ({"method": {"kind": "ppo", "rewards": []}}, "at least 1 item"),
        ({"method": {"kind": "grpo", **SHORT, "answer_tokens": 128}}, "leaves no room for a prompt"),
        ({"method": {"kind": "grpo", "rewards": [{"kind": "regex", "pattern": "("}]}}, "no regular expression"),
        ({"method": {"kind": "rloo", "rewards": [{"kind": "fame"}]}}, "rewards"),
        ({"method": {"kind": "rloo", "rewards": [{"kind": "registered", "model": "taste"}]}}, "pattern"),
        ({"method": {"kind": "ppo", **SHORT}, "train": {"folds": 3}}, "no validation loss to compare"),
        ({"method": {"kind": "dpo"}, "train": {"distributed": {"processes": 2}}}, "one process"),
        ({"method": {"kind": "dpo"}, "train": {"label_smoothing": 0.1}}, "a loss of its own"),
    ],
)
def test_a_recipe_that_cannot_be_trained_says_so_at_once(change: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        recipe.parse(DOCUMENT | change)


def test_kto_never_sets_an_answer_beside_its_own_prompt(made: Any) -> None:
    job, _ = made("kto")
    rows = list(exchanged(len(THINGS)))
    read = list(kto.unpaired(rows, job, half=4))
    own = {(one.prompt[0]["content"], text) for one in rows for text in (one.good, one.worse)}
    assert [row["label"] for row in read] == [True] * 4 + [False] * 4 + [True] * 2 + [False] * 2
    for batch in (read[:8], read[8:]):
        beside = zip(batch, [batch[-1], *batch[:-1]], strict=True)
        mixed = {(row["prompt"][0]["content"], other["completion"][0]["content"]) for row, other in beside}
        assert not mixed & own
    assert {(row["prompt"][0]["content"], row["completion"][0]["content"]) for row in read} == own


@pytest.mark.parametrize("kind", [*PAIRED, *DRAWN])
def test_a_recipe_may_name_it(kind: str) -> None:
    method = {"kind": kind, **(SHORT if kind in DRAWN else {})}
    assert recipe.parse(DOCUMENT | {"method": method}).method.kind == kind


LONGEST, PROMPTED = 28, 27


def test_the_lengths_are_those_that_the_other_tests_count_on(made: Any) -> None:
    job, config = made("dpo")
    recipe_ = recipe.parse(DOCUMENT | {"method": {"kind": "dpo"}, "train": {"max_length_tokens": 48}})
    found = config.lengths(recipe_, job.trained.tokenizer, job.data.exchanges["train"])
    assert (len(found), max(found)) == (32, LONGEST)
    cut = recipe.parse(DOCUMENT | {"method": {"kind": "dpo"}, "train": {"max_length_tokens": 10}})
    assert set(config.lengths(cut, job.trained.tokenizer, job.data.exchanges["train"])) == {10}
    without = [one._replace(worse=None) for one in job.data.exchanges["train"]]
    assert config.lengths(recipe_, job.trained.tokenizer, without) == []
    job, config = made("rloo")
    drawn = config.lengths(recipe_, job.trained.tokenizer, job.data.exchanges["train"])
    assert (len(drawn), max(drawn)) == (16 * 4, PROMPTED), "each prompt as often as it is answered"
    assert config.lengths(cut, job.trained.tokenizer, job.data.exchanges["train"]) == []


@pytest.mark.parametrize("kind", ["dpo", "orpo", "reward"])
def test_a_batch_in_parts_has_the_gradient_of_the_whole(kind: str, made: Any) -> None:
    found = {}
    for name, most in (("whole", None), ("parts", 2 * 2 * LONGEST)):
        train = TRAIN.model_copy(update={"micro_batch_tokens": most, "epochs": 1, "learning_rate": 1e-3})
        job, config = made(kind, train=train, folder=name)
        settings = _preference.choices(job, 16)
        assert settings.get("gradient_accumulation_steps", 1) == (1 if most is None else 4)
        figures = config.fit(job, Ddp())
        assert figures["steps"] == 2
        found[name] = torch.cat([p.detach().flatten() for p in job.trained.model.parameters() if p.requires_grad])
    assert torch.allclose(found["parts"], found["whole"], atol=1e-4), "two steps of Adam move by 2e-3"


def test_parts_of_kto_are_of_two_pairs_or_more(made: Any) -> None:
    job, config = made("kto", train=TRAIN.model_copy(update={"micro_batch_tokens": 1, "epochs": 1}))
    figures = config.fit(job, Ddp())
    assert figures["steps"] == 4, "a step is still of eight answers"


@pytest.mark.parametrize("whole", [False, True])
def test_ppo_learns_the_same_in_parts(whole: bool, made: Any) -> None:
    found = []
    for most in (None, 3 * PROMPTED):
        train = TRAIN.model_copy(update={"micro_batch_tokens": most, "epochs": 1, "learning_rate": 1e-3})
        extra = {"adapter": None} if whole else {}
        job, config = made("ppo", train=train, folder=f"parts-{most}", minibatch=4, **extra)
        trainer = _ppo.Trainer(config, job)
        asked = _reinforcement.prompts(config, job)["train"][:8]
        torch.manual_seed(3)
        rollout, _ = trainer.draw(asked)
        trainer.learn(rollout, 1)
        found.append(torch.cat([weight.detach().flatten() for weight in trainer.weights]))
    assert torch.allclose(found[0], found[1], atol=1e-5)


@pytest.mark.parametrize("kind", DRAWN)
def test_what_is_drawn_is_counted(kind: str, made: Any) -> None:
    job, config = made(kind, train=TRAIN.model_copy(update={"epochs": 1}))
    figures = config.fit(job, Ddp())
    answers = 16 * (1 if kind == "ppo" else config.generations) + 2 * 8
    assert answers <= figures["tokens_drawn"] <= answers * config.answer_tokens


def test_groups_are_drawn_in_parts_where_memory_is_short(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from trl import GRPOTrainer

    drawn: list[int] = []
    plain = GRPOTrainer._generate

    def generate(self: Any, prompts: list[Any]) -> Any:
        drawn.append(len(prompts))
        return plain(self, prompts)

    monkeypatch.setattr(GRPOTrainer, "_generate", generate)
    for most, expected in ((None, [32, 32]), (2 * 4 * PROMPTED, [8] * 8)):
        drawn.clear()
        train = TRAIN.model_copy(update={"micro_batch_tokens": most, "epochs": 1})
        job, config = made("grpo", train=train, folder=f"drawn-{most}", generations=4)
        assert config.fit(job, Ddp())["steps"] == 2
        assert drawn == expected


@pytest.mark.parametrize("kind", ["dpo", "kto", "grpo", "rloo"])
def test_the_lengths_that_a_plan_counts_are_those_that_the_trainer_reads(kind: str, made: Any) -> None:
    job, config = made(kind, train=TRAIN.model_copy(update={"epochs": 1}))
    asked = recipe.parse(DOCUMENT | {"method": {"kind": "dpo"}, "train": {"max_length_tokens": 48}})
    planned = sum(config.lengths(asked, job.trained.tokenizer, job.data.exchanges["train"]))
    figures = config.fit(job, Ddp())
    read = curve(job)["num_tokens"][-1]
    if kind in DRAWN:  # an answer may end before its longest
        measured = 2 * 8 * config.answer_tokens
        saved = 16 * config.generations * config.answer_tokens + measured - figures["tokens_drawn"]
        assert planned - saved - measured <= read <= planned
    else:
        assert read == planned
