"""Sizes of model and work that an estimate starts from: a skeleton without weights, and the rows' real lengths."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ftcore.context import Context
from ftcore.data import snapshot
from ftcore.errors import DataRejectedError, FtcoreError, NotEnoughDataError, RecipeError
from ftcore.models import base
from ftcore.planning import shape_cache
from ftcore.recipe.sections import task_class
from ftcore.recipe.training_sections import AUTO
from ftcore.store.store import read_json
from ftcore.training import cost
from ftcore.training.effort import Effort
from ftcore.training.readable_rows import readable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    import pyarrow as pa

    from ftcore.models.features import Features
    from ftcore.recipe.model import Recipe
    from ftcore.training.batches import ByLength

log = logging.getLogger(__name__)

SAMPLE = 2000
"""Rows whose length is measured."""
PASSES = 5
"""Passes over the sample in which lengths of batches are counted."""
DEVICES = ("cpu", "cuda")
TAUGHT_AT_ONCE = 32
"""Rows that a teacher reads at once."""
CACHED_BYTES = 4
"""Of a number that is kept while tokens are drawn, which is done outside of autocast."""


@dataclass(frozen=True)
class TrainingRequirements:
    """What the recipe asks for, whoever does it."""

    shapes: dict[str, cost.ModelShape]
    """The model, by the device that it is calculated on."""
    work: cost.Work
    devices: tuple[str, ...]
    """Kinds of device that can do it."""
    cuts: dict[str, Any] | None = None
    """What ``train.max_length_tokens`` cuts of the training rows, see ``window.cuts``."""


def need(context: Context, identity: str, rows: int, devices: Collection[str] = DEVICES) -> TrainingRequirements:
    """Sizes of model and work, on some kinds of device.

    Raises:
        NotFoundError: the base model is not here.
        MissingExtraError: its package is not installed.
        RecipeError: it is of another kind than the task stands on.
        NotEnoughDataError: the rows do not suffice for the task.
        DataRejectedError: it cannot learn from them.
    """
    from ftcore.models import loading, stands

    recipe = context.recipe
    folder = base.resolve(recipe.base, context.settings, context.recipe_path.parent, weights=False)
    if said := stands.fault(recipe.task, folder):
        raise RecipeError(recipe.name, [("base", said[0])], said[1])
    tokenizer = loading.tokenizer(folder)
    tables = {split: snapshot.read(context.shelf, identity, [split]) for split in ("train", "validation")}
    _can_be_learnt(context, tables)
    effort = recipe.method.effort(recipe, rows)
    shapes = {device: _shape(context, folder, tokenizer, device, plain=effort.plain) for device in devices}
    train, validation = (_lengths(context, split, table, tokenizer) for split, table in tables.items())
    work = _work(context, effort, (train, rows), (validation, tables["validation"].num_rows))
    able = [device for device in DEVICES if all(device in one.devices for one in choosy(recipe))]
    return TrainingRequirements(shapes, work, tuple(able), _cuts(context, tables["train"], tokenizer, folder))


def _cuts(context: Context, table: pa.Table, tokenizer: Any, folder: Path) -> dict[str, Any]:
    """What the limit cuts of a sample of the training rows, as the task lays them out."""
    from ftcore.models import window

    recipe = context.recipe
    rows = recipe.task.encode(tokenizer, _sampled(table), window.UNSET)
    config, settings = (read_json(folder / name) or {} for name in ("config.json", "tokenizer_config.json"))
    return window.cuts(rows.lengths, recipe.train.max_length_tokens, window.of(config, settings))


def _sampled(table: pa.Table) -> pa.Table:
    """Rows evenly drawn."""
    return table.take(list(range(0, table.num_rows, max(1, table.num_rows // SAMPLE))))


class DeviceRequirement(NamedTuple):
    """What a recipe names that cannot be done on every kind of device."""

    path: str
    kind: str
    devices: tuple[str, ...]
    instead: str
    """What can be done on any."""


def choosy(recipe: Recipe) -> list[DeviceRequirement]:
    """Method and strategy, where they need a certain kind of device."""
    asked = recipe.train.distributed
    method, strategy = recipe.method, asked.chosen if asked.total > 1 else None
    named = [DeviceRequirement("method.kind", method.kind, method.DEVICES, "lora")]
    if strategy:
        named.append(DeviceRequirement("train.distributed.strategy", strategy.kind, strategy.DEVICES, "fsdp2"))
    return [one for one in named if one.devices]


def _work(context: Context, effort: Effort, train: tuple[_Lengths, int], validation: tuple[_Lengths, int]) -> cost.Work:
    """How much is read and drawn, from lengths and rows of both splits."""
    recipe, (lengths, rows), (judged, judging) = context.recipe, train, validation
    done = rows * recipe.train.epochs if effort.rows is None else effort.rows
    looks = recipe.train.epochs * recipe.train.evaluations_per_epoch * effort.judged
    measured = 2 * min(effort.measured, judging) if judged.sequences else 0  # before and after
    answers = done * lengths.sequences + measured if effort.drawn else 0.0
    before = measured * judged.mean
    if effort.drawn:  # what stands before the answers is read once more, and measured by one answer to each
        before = done * lengths.mean + measured * judged.mean / (judged.sequences or 1) - answers * effort.drawn
    return cost.Work(
        tokens=done * lengths.mean * effort.learnt,
        longest=lengths.longest,
        judged_tokens=judging * looks * judged.mean,
        judged_longest=judged.longest,
        batch_rows=effort.batch or max(1, min(recipe.train.batch_size, rows) // recipe.train.distributed.readers),
        read_tokens=done * lengths.mean * effort.read + before,
        drawn_tokens=answers * effort.drawn,
        effort=effort,
        lengths=lengths.batches + judged.batches,
        beside=tuple(_beside(context, effort, done * lengths.mean, rows * lengths.mean + judging * judged.mean)),
    )


def _beside(
    context: Context, effort: Effort, asked_tokens: float, taught_tokens: float
) -> Iterator[cost.AuxiliaryModel]:
    """Other models that the method asks or is taught by, as far as they are here."""
    batch = (effort.draws or effort.batch or context.recipe.train.batch_size) * effort.together
    for references, tokens, sequences, stays in (
        (effort.asked, asked_tokens, batch, True),
        (effort.teachers, taught_tokens, TAUGHT_AT_ONCE, False),
    ):
        for reference in references:
            try:
                yield cost.AuxiliaryModel(_other(context, reference), tokens, sequences, stays)
            except FtcoreError as error:
                log.warning("the estimate leaves out %s, which is not here: %s", reference, error)


def _other(context: Context, reference: str) -> cost.ModelShape:
    """Sizes of a model that is read and not trained."""
    import torch
    import transformers

    folder = base.resolve(reference, context.settings, context.recipe_path.parent, weights=False)
    kind = (read_json(folder / "ftcore.json") or {}).get("task", {}).get("kind", context.recipe.task.kind)
    architecture = task_class(kind).ARCHITECTURE
    with torch.device("meta"):
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
        model = getattr(transformers, architecture).from_config(config, dtype=torch.float32)
        return _counted(model, config, architecture)


def count(context: Context, identity: str, split: str) -> int:
    """Rows of a split."""
    return sum(table.num_rows for table in snapshot.batches(context.shelf, identity, [split], ["row_id"]))


def _shape(context: Context, folder: Path, tokenizer: Any, device: str, *, plain: bool) -> cost.ModelShape:
    """Sizes of the model with what is to be trained in it, counted now or by an earlier plan."""
    from ftcore.training import precision

    recipe, architecture = context.recipe, context.recipe.task.architecture
    half = not plain and precision.expected(recipe.train.precision, device) == "bf16"
    resolved = recipe.model_dump(mode="json")
    settings = {name: resolved[name] for name in ("task", "method", "train")}
    settings |= {"architecture": architecture, "device": device, "half": half, "plain": plain}
    count = partial(_skeleton, context, folder, tokenizer, (architecture, device, half, plain))
    return shape_cache.counted(context.settings.cache / "shapes", folder, settings, count)


def _skeleton(context: Context, folder: Path, tokenizer: Any, how: tuple[str, str, bool, bool]) -> cost.ModelShape:
    """Count on a model that has shapes and no numbers, by architecture, device, and whether in 16 bits and plain."""
    import torch
    import transformers

    from ftcore.models import loading
    from ftcore.planning import activations
    from ftcore.training import dropout

    recipe, method = context.recipe, context.recipe.method
    architecture, device, half, plain = how
    kernels = recipe.train.kernels == "auto"

    def without_weights() -> Any:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
        return getattr(transformers, architecture).from_config(config, dtype=torch.float32)

    with torch.device("meta"):
        skeleton = loading.model(without_weights, folder, tokenizer)
        if recipe.train.dropout is not None:
            dropout.set_chance(skeleton, recipe.train.dropout)
        bare = _counted(skeleton, skeleton.config, architecture=architecture)
        model = method.sketch(skeleton, tokenizer)
    return replace(
        bare,
        weights=sum(p.numel() for p in model.parameters()),
        trainable=sum(p.numel() for p in model.parameters() if p.requires_grad),
        weight_bytes=method.WEIGHT_BYTES,
        checkpointing=recipe.train.gradient_checkpointing and not plain,
        half=half,
        lean=half and device == "cuda" and kernels and recipe.train.distributed.strategy in (AUTO, "ddp"),
        kept=activations.kept(model, device, half=half, kernels=kernels),
    )


def _counted(model: Any, config: Any, architecture: str = "") -> cost.ModelShape:
    """Sizes of a model as it comes, of which nothing is to be trained."""
    import torch

    lookups = {m.weight for m in model.modules() if isinstance(m, torch.nn.Embedding)}  # several may share one
    text, language = config.get_text_config(), architecture.endswith(("LM", "Seq2SeqLM"))
    heads = getattr(text, "num_attention_heads", 1)
    head_width = getattr(text, "head_dim", None) or text.hidden_size // heads
    heads = getattr(text, "num_key_value_heads", None) or heads  # several may share keys and values
    return cost.ModelShape(
        weights=sum(p.numel() for p in model.parameters()),
        # Where input and output share their weights they are looked up and multiplied.
        embedding_weights=0
        if language and getattr(config, "tie_word_embeddings", False)
        else sum(weight.numel() for weight in lookups),
        trainable=0,
        layers=int(text.num_hidden_layers),
        width=int(text.hidden_size),
        outputs=int(text.vocab_size) if language else 0,
        cache_bytes=2 * CACHED_BYTES * text.num_hidden_layers * heads * head_width,
    )


@dataclass(frozen=True)
class _Lengths:
    mean: float
    """Tokens of a row of the snapshot, which may be read in several pieces."""
    longest: int
    """Tokens of the longest row, or sequence where several rows share one."""
    sequences: float = 1
    """Sequences that a row is read in."""
    batches: int = 0
    """Different lengths of batches."""


def _can_be_learnt(context: Context, tables: dict[str, pa.Table]) -> None:
    """What ``train`` would refuse is refused before it waits for a worker."""
    for split, table in tables.items():
        if not table.num_rows:
            raise NotEnoughDataError(
                f"the {split} split has no row",
                hint="add rows, or change the shares in prepare; rows of one group, or of one text, are never parted",
            )
    context.recipe.task.check(tables)


def _lengths(context: Context, split: str, table: pa.Table, tokenizer: Any) -> _Lengths:
    """Of a sample of the rows, evenly drawn, as the task encodes and the loop packs them, or as the method says."""
    from ftcore.training import batches, exchanges

    recipe, method = context.recipe, context.recipe.method
    chosen = _sampled(table)
    task, limit = recipe.task, recipe.train.max_length_tokens
    chosen, _ = readable(task, tokenizer, chosen, f"a sample of the {split} split")
    rows = task.encode(tokenizer, chosen, limit)
    _whole_enough(context, split, rows, partial(task.encode, tokenizer, chosen))
    found = method.lengths(recipe, tokenizer, exchanges.of(chosen, task.prompt))
    if found is not None:
        mean, each = sum(found) / chosen.num_rows, len(found) / chosen.num_rows
        return _Lengths(mean, max(found or [1]), each, len(set(found)))
    packed = recipe.train.packing and rows.packable and not method.OWN_LOOP
    read: Any = batches.Packed(rows, limit) if packed else rows
    # An epoch of several parts has of each as much as its weight says; judging reads every row once.
    size, longest = recipe.train.batch_size, max(read.lengths or [1])
    if split != "train":
        ordered = sorted(read.lengths)
        return _Lengths(
            rows.tokens / chosen.num_rows, longest, batches=len({*ordered[2 * size - 1 :: 2 * size], longest})
        )
    epoch = batches.ordered(read, size, recipe.train.seed)
    passes = recipe.train.epochs * table.num_rows / chosen.num_rows
    return _Lengths(epoch.tokens / chosen.num_rows, longest, batches=_batch_lengths(epoch, passes))


def _whole_enough(context: Context, split: str, rows: Features, encode: Callable[[int], Features]) -> None:
    """Refuse here what ``train`` would refuse for too many rows that are cut, and say which length cuts few enough."""
    from ftcore.models import loading, window

    train, count = context.recipe.train, max(1, len(rows))
    most = train.max_truncated
    try:
        loading.whole_enough(rows, split, train.max_length_tokens, most)
    except DataRejectedError as error:
        ordered = sorted(encode(window.UNSET).lengths)
        wanted = ordered[min(count - 1, int(count * (1 - most)))]
        hint = f"set train.max_length_tokens to {wanted}, which cuts {most:.0%} of them or fewer; {error.hint}"
        raise DataRejectedError(str(error), hint=hint) from error


def _batch_lengths(order: ByLength, passes: float) -> int:
    """Different lengths that batches are padded to, in some passes over rows; more passes than a few add hardly any."""
    found, steps = set(), max(1, round(passes * len(order) / order.batch_size))
    for epoch in range(min(PASSES, -(-steps * order.batch_size // len(order)))):
        order.epoch = epoch
        found |= {int(order.lengths[one].max()) for one in _pieces(list(order), order.batch_size)}
    return min(len(found), steps)


def _pieces(numbers: list[int], size: int) -> Iterator[list[int]]:
    """Numbers in pieces of a size."""
    return (numbers[start : start + size] for start in range(0, len(numbers), size))
