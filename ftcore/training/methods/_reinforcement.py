"""What the methods that learn from rewards share: how answers are drawn, TRL's trainers, what it came to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

from pydantic import Field

from ftcore.training.effort import Effort, equal_part
from ftcore.training.methods import _adapters, _preference, _rewards

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from ftcore.recipe.model import Recipe
    from ftcore.training.exchanges import PreferenceExample, Prompt
    from ftcore.training.job import Job
    from ftcore.training.methods._rewards import Score

MEASURED = 64
"""Most validation prompts that are answered before and after."""


class Reinforced(_preference.Alignment):
    """A method that learns from the rewards of answers that it draws."""

    TASKS: ClassVar[tuple[str, ...]] = ("chat", "completion")
    MULTITASK_REASON: ClassVar[str] = "one reward judges every answer, whichever part it belongs to"

    rewards: Annotated[tuple[_rewards.Reward, ...], Field(min_length=1)]
    """What an answer is worth: the weighted sum of these."""
    answer_tokens: Annotated[int, Field(ge=1)] = 64
    """Longest answer that is drawn, in tokens. Prompts count towards ``train.max_length_tokens`` with it."""
    temperature: Annotated[float, Field(gt=0, le=2)] = 1
    """Of the softmax that answers are drawn from."""

    def faults(self, recipe: Recipe) -> Iterator[tuple[str, str]]:
        """An adapter that changes the reference, a search, and no room for a prompt."""
        yield from super().faults(recipe)
        if recipe.search is not None:
            yield "search", f"{self.kind} has no validation loss to search by"
        if recipe.train.folds:
            yield "train.folds", f"{self.kind} has no validation loss to compare"
        limit = recipe.train.max_length_tokens
        if self.answer_tokens >= limit:
            yield (
                "method.answer_tokens",
                f"leaves no room for a prompt in the {limit} tokens of train.max_length_tokens",
            )

    def drawing(self) -> Effort:
        """For the plan: what methods that learn from rewards have in common; answers are drawn and scored."""
        return Effort(
            judged=0,
            measured=MEASURED,
            measured_at_once=_preference.AT_ONCE,
            drawn=self.answer_tokens,
            asked=tuple(model for reward in self.rewards for model in reward.models),
        )

    def lengths(
        self, recipe: Recipe, tokenizer: PreTrainedTokenizerBase, rows: Iterable[PreferenceExample]
    ) -> list[int]:
        """Tokens of each prompt with the longest answer that is drawn; prompts without room are left out."""
        room = recipe.train.max_length_tokens - self.answer_tokens
        found = (len(_preference.ids(tokenizer, one.prompt)) for one in rows)
        return [length + self.answer_tokens for length in found if length <= room]


class Grouped(Reinforced):
    """Several answers to a prompt, compared with one another."""

    generations: Annotated[int, Field(ge=2)] = 4
    """Answers that are drawn for each prompt."""

    def grouped(self, *, reference: bool, read: float) -> Effort:
        """For the plan: groups, one of which is learnt from at a time; each answer is read so often besides."""
        copies = int(reference and self.adapter is None)
        group = replace(self.drawing(), together=self.generations, learns=1, even=True)
        return replace(group, read=read + reference, copies=copies, loss="tiled")

    def lengths(
        self, recipe: Recipe, tokenizer: PreTrainedTokenizerBase, rows: Iterable[PreferenceExample]
    ) -> list[int]:
        """The same for each answer to a prompt."""
        return [one for one in super().lengths(recipe, tokenizer, rows) for _ in range(self.generations)]


def prompts(config: Reinforced, job: Job) -> dict[str, list[Prompt]]:
    """Prompts that leave room for an answer, by split; the others are left out and said in the log.

    Raises:
        NotEnoughDataError: a split has none.
        DataRejectedError: too many leave no room.
    """
    found = _preference.drop_long_prompts(job, job.data.exchanges, config.answer_tokens)
    return {split: [one.prompt for one in rows] for split, rows in found.items()}


def fit(config: Grouped, job: Job, kind: type, make: Callable[..., Any], **settings: Any) -> dict[str, float]:
    """Train by a trainer of TRL's that draws groups of answers, and measure the mean reward before and after.

    Args:
        config: rewards and how answers are drawn.
        job: what is trained.
        kind: class of the trainer.
        make: class of its settings.
        settings: what is particular to it.

    Returns:
        The loop's figures without a validation loss; ``reward_before`` and ``_after``, the mean of validation prompts.
    """
    from datasets import Dataset

    asked = prompts(config, job)
    scores = [reward.score(job.run.ask) for reward in config.rewards]
    worth = _rewards.total(config.rewards, scores)
    before, drawn = mean_reward(config, job, asked["validation"], worth), list[int]()
    rows = min(job.run.config.batch_size, len(asked["train"]))
    tokenizer = job.trained.tokenizer
    longest = max(len(_preference.ids(tokenizer, prompt)) for prompt in asked["train"]) + config.answer_tokens
    group = config.generations * longest
    at_once = (job.run.config.micro_batch_tokens or rows * group) // group
    common = _preference.choices(job, len(asked["train"])) | {
        "per_device_train_batch_size": config.generations,
        "gradient_accumulation_steps": rows,  # a step learns a prompt at a time
        "steps_per_generation": equal_part(rows, at_once),  # and draws for all of them, where memory allows
        "num_generations": config.generations,
        "max_completion_length": config.answer_tokens,
        "temperature": config.temperature,
        "reward_weights": [reward.weight for reward in config.rewards],
        "disable_dropout": True,
        "eval_strategy": "no",
        "load_best_model_at_end": False,
        "metric_for_best_model": None,
        "greater_is_better": None,
    }
    tokenizer.padding_side = "left"

    class Drawing(kind):  # type: ignore[misc]
        """Draws by the numbers it trains with: TRL draws without autocast, which weights in 16 bits would trip over."""

        def _generate_single_turn(self, *some: Any, **more: Any) -> Any:
            with self.accelerator.autocast():
                return super()._generate_single_turn(*some, **more)

    figures = _preference.run(
        job,
        Drawing,
        tokens(config, job, asked["train"]) * config.generations,
        args=make(**{**common, **settings}),
        train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in asked["train"]]),
        reward_funcs=[
            _as_trl(*both, list[int]() if number else drawn)
            for number, both in enumerate(zip(_rewards.named(config.rewards), scores, strict=True))
        ],
    )
    after = mean_reward(config, job, asked["validation"], worth)
    read = _preference.learnt_from(job, "prompts", asked["train"])
    return {**read, **figures, **told(before, after, sum(drawn))}


def tokens(config: Reinforced, job: Job, asked: Sequence[Prompt]) -> int:
    """Tokens of an answer to each prompt, as long as one may be, and of the prompts."""
    return sum(len(_preference.ids(job.trained.tokenizer, prompt)) + config.answer_tokens for prompt in asked)


class Answered(NamedTuple):
    """What some answers came to."""

    reward: float
    """Mean."""
    tokens: int
    """Drawn for them."""


def told(before: Answered, after: Answered, drawn: int) -> dict[str, float]:
    """``reward_before`` and ``_after``; ``tokens_drawn``, with those of the training in between."""
    tokens = before.tokens + drawn + after.tokens
    return {"reward_before": before.reward, "reward_after": after.reward, "tokens_drawn": float(tokens)}


def mean_reward(config: Reinforced, job: Job, asked: Sequence[Prompt], worth: Score) -> Answered:
    """Mean reward of an answer to each of the first validation prompts, drawn with the job's seed."""
    import torch

    some, rewards, tokens = asked[:MEASURED], list[float](), 0
    with torch.random.fork_rng():
        torch.manual_seed(job.run.config.seed)
        size = _preference.at_once(job)
        for start in range(0, len(some), size):
            part = some[start : start + size]
            drawn = draw(config, job, part)
            tokens += int(drawn["attention_mask"][:, drawn["prompt_tokens"] :].sum())
            rewards += worth(part, texts(job, drawn))
    return Answered(round(sum(rewards) / len(rewards), 5), tokens)


def draw(config: Reinforced, job: Job, asked: Sequence[Prompt]) -> dict[str, Any]:
    """Answers drawn from the model.

    Returns:
        ``sequences`` ``[rows, prompt + answer]``, prompts padded on the left, their ``attention_mask`` of the same
        shape, which ends with the answer's end, and ``prompt_tokens``, the place where answers start.
    """
    import torch

    device = next(job.trained.model.parameters()).device
    encoded = {"input_ids": [_preference.ids(job.trained.tokenizer, prompt) for prompt in asked]}
    batch = job.trained.tokenizer.pad(encoded, padding_side="left", return_tensors="pt").to(device)
    with _adapters.still(job.trained.model), torch.no_grad():
        sequences = job.trained.model.generate(  # type: ignore[operator]
            **batch,
            max_new_tokens=config.answer_tokens,
            do_sample=True,
            temperature=config.temperature,
            top_k=0,
            top_p=1.0,
            pad_token_id=job.trained.tokenizer.pad_token_id,
        )
    length = batch["input_ids"].shape[1]
    answered = torch.ones_like(sequences[:, length:])
    ends = torch.isin(sequences[:, length:], torch.tensor(_ends(job), device=device)).long()
    answered = answered * (ends.cumsum(-1) - ends == 0)  # up to the first end, which is part of the answer
    mask = torch.cat([batch["attention_mask"], answered], dim=-1)
    return {"sequences": sequences, "attention_mask": mask, "prompt_tokens": length}


def texts(job: Job, drawn: dict[str, Any]) -> list[str]:
    """The answers as words."""
    length = drawn["prompt_tokens"]
    rows = zip(drawn["sequences"][:, length:], drawn["attention_mask"][:, length:].bool(), strict=True)
    return [job.trained.tokenizer.decode(row[kept], skip_special_tokens=True).strip() for row, kept in rows]


def _ends(job: Job) -> list[int]:
    """Tokens that end an answer."""
    named = job.trained.model.generation_config.eos_token_id  # type: ignore[union-attr]
    ends = named if isinstance(named, list) else [named]
    return [end for end in (*ends, job.trained.tokenizer.eos_token_id) if end is not None]


def _as_trl(name: str, score: Score, drawn: list[int]) -> Callable[..., list[float]]:
    """A reward as TRL calls it, answers of a conversation being messages; its curve has its name.

    ``drawn`` takes the lengths of the answers, in tokens.
    """

    def worth(
        prompts: Sequence[Any], completions: Sequence[Any], completion_ids: Sequence[Any], **_: object
    ) -> list[float]:
        drawn.extend(len(ids) for ids in completion_ids)
        answers = [one if isinstance(one, str) else one[0]["content"] for one in completions]
        return score(prompts, [answer.strip() for answer in answers])

    worth.__name__ = name
    return worth
