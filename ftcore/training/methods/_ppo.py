"""The trainer behind ``ppo``: draw answers, judge them, learn from them in small steps.

J. Schulman et al. (2016), *High-Dimensional Continuous Control Using Generalized Advantage Estimation*; Schulman et al.
(2017), *Proximal Policy Optimization Algorithms*; D. Ziegler et al. (2019), *Fine-Tuning Language Models from Human
Preferences*.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import torch  # noqa: TID253 - imported by ppo's fit alone

from ftcore.errors import TrainingError
from ftcore.store import store
from ftcore.training import checkpoints
from ftcore.training.loop import DONE
from ftcore.training.methods import _ppo_checkpoints, _preference, _reinforcement, _rewards, _surrogate

if TYPE_CHECKING:
    from ftcore.training.exchanges import Prompt
    from ftcore.training.job import Job
    from ftcore.training.methods._ppo_settings import PpoSettings

GRADIENT_NORM = 1.0
"""Longer gradients are shortened to it."""


class Rollout(NamedTuple):
    """Answers that were drawn, and what was thought of them then. ``A`` is the length of the longest answer."""

    sequences: torch.Tensor
    """Tokens of prompts and answers, ``[rows, P + A]``."""
    attention_mask: torch.Tensor
    """Of the same shape."""
    counted: torch.Tensor
    """Which of the answers' tokens are real, ``[rows, A]``."""
    logps: torch.Tensor
    """Log probability of each token when it was drawn, ``[rows, A]``."""
    values: torch.Tensor
    """What was still expected before each token, ``[rows, A]``."""
    advantages: torch.Tensor
    """By how much each token was better than expected, whitened, ``[rows, A]``."""
    returns: torch.Tensor
    """What came after all, ``[rows, A]``."""

    def take(self, rows: Sequence[int]) -> Rollout:
        """Some of its rows."""
        return Rollout(*(part[list(rows)] for part in self))


class Trainer:
    """Trains a job's model in place; the reference is the model without its adapter, or a frozen copy."""

    def __init__(self, config: PpoSettings, job: Job) -> None:
        """Make the value head, zero at first, and the optimiser."""
        self.config, self.job, self.model = config, job, job.trained.model
        self.device = next(job.trained.model.parameters()).device
        width = int(job.trained.model.config.get_text_config().hidden_size)  # type: ignore[union-attr, operator]
        self.value = torch.nn.Linear(width, 1).to(self.device)
        torch.nn.init.zeros_(self.value.weight)
        torch.nn.init.zeros_(self.value.bias)
        self.reference = config.reference(job.trained.model)
        self.worth = _rewards.total(config.rewards, [reward.score(job.run.ask) for reward in config.rewards])
        self.weights = [p for p in job.trained.model.parameters() if p.requires_grad] + list(self.value.parameters())
        self.optimiser = torch.optim.AdamW(
            self.weights, lr=job.run.config.learning_rate, weight_decay=job.run.config.weight_decay
        )
        self.progress = _ppo_checkpoints.Progress(job, self.value, self.optimiser)

    def fit(self) -> dict[str, float]:
        """Train for as many epochs as the recipe says, from the last whole checkpoint on; returns the figures.

        Raises:
            TrainingError: the loss is not a number, the disk is full, the checkpoints are another recipe's.
            TransientError: stopped by a signal; a checkpoint was written.
        """
        asked = _reinforcement.prompts(self.config, self.job)
        before = _reinforcement.mean_reward(self.config, self.job, asked["validation"], self.worth)
        last = checkpoints.last(self.job.run.folder, self.job.run.identity)
        if last is not None:
            _ppo_checkpoints.load(self.progress, last)
        figures = store.read_json(self.job.run.folder / DONE) if last else None
        if figures is None:
            figures = self._train(asked["train"])
            store.write_json(self.job.run.folder / DONE, figures)
        after = _reinforcement.mean_reward(self.config, self.job, asked["validation"], self.worth)
        resumed = {"resumed": float(last is not None)}
        read = _preference.learnt_from(self.job, "prompts", asked["train"])
        drawn = int(figures.pop("tokens_drawn", 0))
        return {**read, **figures, **resumed, **_reinforcement.told(before, after, drawn)}

    def _train(self, asked: Sequence[Prompt]) -> dict[str, float]:
        """All steps that are left."""
        train, started, first, read, drawn = self.job.run.config, time.monotonic(), self.progress.done, 0, 0
        steps = max(1, round(-(-len(asked) // train.batch_size) * train.epochs))
        batches = islice(_batches(len(asked), train.batch_size, train.seed), first, None)
        watch = _ppo_checkpoints.Watch(
            self.progress, len(asked), steps, _reinforcement.tokens(self.config, self.job, asked)
        )
        self.model.eval()  # without dropout: before the first update nothing may have moved
        with closing(watch):
            for step in range(first + 1, steps + 1):
                self._warm_up(step, steps)
                rollout, seen = self.draw([asked[number] for number in next(batches)])
                read += int(rollout.attention_mask.sum())
                drawn += int(rollout.counted.sum())
                seen |= self.learn(rollout, step)
                self.progress.losses.append(seen["loss"])
                self.progress.done = step
                watch.step(seen)
        seconds = time.monotonic() - started
        return {
            "steps": steps,
            "epochs": round(steps * train.batch_size / len(asked), 3),
            "train_loss": round(sum(self.progress.losses) / steps, 5),
            "seconds": round(seconds, 2),
            "rows_per_s": round((steps - first) * train.batch_size / seconds, 2),
            "tokens_per_s": round(read / seconds, 1),
            "tokens_drawn": float(drawn),
        }

    def draw(self, asked: Sequence[Prompt]) -> tuple[Rollout, dict[str, float]]:
        """Draw an answer to each prompt and judge it; returns it with means of reward, divergence and length."""
        with torch.no_grad():
            return self._judged(asked, _reinforcement.draw(self.config, self.job, asked))

    def _judged(self, asked: Sequence[Prompt], drawn: dict[str, Any]) -> tuple[Rollout, dict[str, float]]:
        sequences, mask, start = drawn["sequences"], drawn["attention_mask"], drawn["prompt_tokens"]
        counted = mask[:, start:].bool()
        logps, values = self._accumulate(self.model, sequences, mask, start)
        with self._as_reference() as reference:
            apart = (logps - self._accumulate(reference, sequences, mask, start)[0]) * counted
        scores = torch.tensor(self.worth(asked, _reinforcement.texts(self.job, drawn)), device=self.device)
        rewards = -self.config.kl * apart
        rewards[torch.arange(len(asked)), counted.sum(-1) - 1] += scores
        advantages, returns = _surrogate.estimate(rewards, values, counted, self.config.discount, self.config.gae)
        seen = {
            "reward": float(scores.mean()),
            "kl": float(apart.sum(-1).mean()),
            "answer_tokens": float(counted.sum(-1).float().mean()),
        }
        advantages = _surrogate.whiten(advantages, counted)
        return Rollout(sequences, mask, counted, logps, values, advantages, returns), seen

    def learn(self, rollout: Rollout, step: int) -> dict[str, float]:
        """Several passes over the answers, a minibatch a step; returns means of the losses and of what was clipped."""
        seen: dict[str, list[float]] = {}
        rows = list(range(len(rollout.sequences)))
        shuffle = random.Random(f"{self.job.run.config.seed} {step}")  # noqa: S311 - an order, no secret
        for _ in range(self.config.passes):
            shuffle.shuffle(rows)
            for start in range(0, len(rows), self.config.minibatch):
                self.optimiser.zero_grad()
                found = self._gradient(rollout.take(rows[start : start + self.config.minibatch]))
                if not math.isfinite(found["loss"]):
                    what = f"the loss is {found['loss']} at step {step}"
                    raise TrainingError(what, hint="lower train.learning_rate, or raise method.kl")
                torch.nn.utils.clip_grad_norm_(self.weights, GRADIENT_NORM)
                self.optimiser.step()
                for name, value in found.items():
                    seen.setdefault(name, []).append(value)
        return {name: sum(values) / len(values) for name, values in seen.items()}

    def _gradient(self, rollout: Rollout) -> dict[str, float]:
        """Add the gradient of a minibatch, in as many parts as memory asks for; returns its losses."""
        found: dict[str, float] = {}
        for rows in self._parts(*rollout.sequences.shape):
            part = rollout.take(rows)
            share = part.counted.sum() / rollout.counted.sum()  # all losses are means over what counts
            loss, parts = self.loss(part)
            (loss * share).backward()
            for name, value in {"loss": loss.item(), **parts}.items():
                found[name] = found.get(name, 0.0) + value * share.item()
        return found

    def _parts(self, rows: int, longest: int) -> Iterator[range]:
        """Numbers of the rows that are read at once: a minibatch, or as many as ``train.micro_batch_tokens`` allows."""
        most = min(self.config.minibatch, (self.job.run.config.micro_batch_tokens or rows * longest) // longest)
        for start in range(0, rows, max(1, most)):
            yield range(start, min(rows, start + max(1, most)))

    def _accumulate(self, model: Any, sequences: torch.Tensor, mask: torch.Tensor, start: int) -> list[torch.Tensor]:
        """Log probabilities and values without a gradient, read in parts, each ``[rows, A]``."""
        parts = []
        for rows in self._parts(*sequences.shape):
            logps, _, hidden = self._logps(model, sequences[list(rows)], mask[list(rows)], start)
            parts.append((logps, self.value(hidden)[..., 0]))
        return [torch.cat(column) for column in zip(*parts, strict=True)]

    def loss(self, rollout: Rollout) -> tuple[torch.Tensor, dict[str, float]]:
        """Of a minibatch: the clipped surrogate, and the value head's clipped error by its weight."""
        start = rollout.sequences.shape[1] - rollout.counted.shape[1]
        logps, values, entropy = self.read(rollout.sequences, rollout.attention_mask, start)
        policy, clipped = _surrogate.surrogate(
            logps - rollout.logps, rollout.advantages, rollout.counted, self.config.clip
        )
        near = rollout.values + (values - rollout.values).clamp(-self.config.value_clip, self.config.value_clip)
        wrong = torch.maximum((values - rollout.returns) ** 2, (near - rollout.returns) ** 2)
        value = 0.5 * _surrogate.mean(wrong, rollout.counted)
        parts = {
            "policy_loss": policy,
            "value_loss": value,
            "clipped": clipped,
            "entropy": _surrogate.mean(entropy, rollout.counted),
        }
        return policy + self.config.value_weight * value, {name: part.item() for name, part in parts.items()}

    def read(self, sequences: torch.Tensor, mask: torch.Tensor, start: int) -> tuple[torch.Tensor, ...]:
        """Log probabilities, values and entropies of the tokens from ``start`` on, each ``[rows, A]``."""
        logps, entropy, hidden = self._logps(self.model, sequences, mask, start)
        return logps, self.value(hidden)[..., 0], entropy

    def _logps(self, model: Any, sequences: torch.Tensor, mask: torch.Tensor, start: int) -> tuple[torch.Tensor, ...]:
        places = (mask.cumsum(-1) - 1).clamp_min(0)
        read = model(input_ids=sequences, attention_mask=mask, position_ids=places, output_hidden_states=True)
        # What stands at a place is about the token behind it.
        whole = (read.logits[:, start - 1 : -1].float() / self.config.temperature).log_softmax(-1)
        logps = whole.gather(-1, sequences[:, start:, None])[..., 0]
        return logps, -(whole.exp() * whole).sum(-1), read.hidden_states[-1][:, start - 1 : -1].float()

    @contextmanager
    def _as_reference(self) -> Iterator[Any]:
        """The frozen copy, or the model as it was before its adapter learnt anything."""
        if self.reference is not None:
            yield self.reference
        else:
            with self.model.disable_adapter():  # type: ignore[operator]
                yield self.model

    def _warm_up(self, step: int, steps: int) -> None:
        """Raise the learning rate over the recipe's share of the steps, then lower it, in straight lines."""
        rising = max(1, round(steps * self.job.run.config.warmup))
        share = step / rising if step <= rising else (steps - step + 1) / (steps - rising + 1)
        for group in self.optimiser.param_groups:
            group["lr"] = self.job.run.config.learning_rate * share


def _batches(rows: int, size: int, seed: int) -> Iterator[list[int]]:
    """Row numbers of one batch after the other, each epoch in another order."""
    order: list[int] = []
    draw = random.Random(seed)  # noqa: S311 - an order, no secret
    while True:
        while len(order) < min(size, rows):
            order += draw.sample(range(rows), rows)
        yield order[:size]
        order = order[size:]
