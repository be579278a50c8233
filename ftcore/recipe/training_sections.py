"""The sections of a recipe about training: when, at what cost, how, and which settings are tried."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import Field, field_validator, model_validator

from ftcore.recipe.kinds import Config, kind_class, kinds

if TYPE_CHECKING:
    from ftcore.training.strategies._base import Strategy

AUTO = "auto"
Share = Annotated[float, Field(ge=0, le=1)]


class Budget(Config):
    """Limits of a training run; above one of them, a person has to approve it. Null sets no limit."""

    hours: Annotated[float, Field(ge=0)] | None = None
    """Hours of training."""
    money: Annotated[float, Field(ge=0)] | None = None
    """Price, in the currency of the workers' file."""
    energy_kwh: Annotated[float, Field(ge=0)] | None = None
    """Electricity, in kWh."""
    co2e_g: Annotated[float, Field(ge=0)] | None = None
    """Greenhouse gases, in grams of CO2 equivalent."""


class Plan(Config):
    """When to train again, and what it may cost."""

    min_new_rows: Annotated[int, Field(ge=1)] = 1000
    """Training rows that the champion has not seen before a new one is trained automatically."""
    budget: Budget = Budget()
    """Limits of spending without approval; a training that would take more waits for ``--param budget=approved``."""


class Distributed(Config):
    """Training in several processes, which torchrun starts.

    An incomplete batch at the end of an epoch is filled up with rows of its beginning.
    """

    strategy: str = "auto"
    """How they share the work: ``ddp``, each has the whole model and a share of every batch; ``fsdp2`` and ``zero3``,
    the weights are shared out as well; ``tensor``, each has a part of every layer and all rows. ``auto`` lets the plan
    take ddp where a whole model fits into a worker, and fsdp2 where not."""

    processes: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes on each machine, as a rule one for each GPU."""
    machines: Annotated[int, Field(ge=1, le=1024)] = 1
    """Machines; all see the same store and the same cache folder."""
    rendezvous: Annotated[str, Field(pattern=r"^([\w.\-]+:\d+)?$")] = ""
    """``HOST:PORT`` of one of several machines, where they find each other."""

    @field_validator("strategy")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value != AUTO and value not in kinds("strategies"):
            raise ValueError(f"there is no strategy {value!r}; known: {', '.join((AUTO, *kinds('strategies')))}")
        return value

    @property
    def total(self) -> int:
        """Processes on all machines."""
        return self.processes * self.machines

    @property
    def readers(self) -> int:
        """Processes that read rows of their own."""
        return self.total if self.chosen is None or self.chosen.SHARES_ROWS else 1

    @property
    def chosen(self) -> Strategy | None:
        """The strategy; None where the plan is to choose it."""
        if self.strategy == AUTO:
            return None
        found: Strategy = kind_class("strategies", self.strategy)()
        return found

    @model_validator(mode="after")
    def _machines_meet(self) -> Distributed:
        if self.machines > 1 and not self.rendezvous:
            raise ValueError("several machines need a rendezvous, HOST:PORT of one of them")
        return self


class Train(Config):
    """How the training loop runs, whatever the method."""

    epochs: Annotated[float, Field(gt=0, le=100)] = 2
    """Passes over the training rows."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 5e-4
    """Peak learning rate."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    """Rows per optimiser step."""
    max_length_tokens: Annotated[int, Field(ge=8)] = 128
    """Longer texts are cut; the record counts them."""
    max_truncated: Share = 0.2
    """Largest share of the rows that may be cut before training is refused; of a small split, or a sample, only a share
    that is surely larger counts, by three standard errors."""
    warmup: Share = 0.06
    """Share of the steps over which the learning rate rises."""
    learning_rate_schedule: Literal["linear", "cosine", "constant", "inverse_sqrt"] = "linear"
    """How the learning rate goes on after the warmup: ``linear`` and ``cosine`` fall to nothing, ``inverse_sqrt`` falls
    ever more slowly, ``constant`` stays."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Decoupled weight decay of AdamW."""
    max_gradient_norm: Annotated[float, Field(ge=0)] = 1
    """Norm to which a longer gradient is shortened; 0 leaves gradients as they are."""
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Dropout of the base model; null leaves it as it came. That of the updates is the method's."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0
    """Share of the loss that asks for all answers alike, against overconfidence. The validation loss has none."""
    class_weights: Literal["none", "balanced"] | dict[str, Annotated[float, Field(gt=0)]] = "none"
    """Weight of each label in the loss: ``balanced`` counts each label alike, however many rows it has
    (``rows / (labels · rows of the label)``; with several labels a row, rows without over rows with it); or
    ``{label: weight}``, 1 for those that it leaves out. The validation loss has the same weights."""
    sampling: Literal["natural", "square_root", "balanced"] = "natural"
    """How rows are drawn: ``natural`` reads each once an epoch, ``balanced`` draws each label equally often,
    ``square_root`` by the root of its rows, which repeats rare rows less. An epoch has as many rows either way."""
    neftune_alpha: Annotated[float, Field(ge=0)] = 0
    """Noise on the embeddings while training, uniform within ``alpha / √(tokens · width)`` (Jain et al. 2023); 5 is
    common for chat. 0 adds none."""
    evaluations_per_epoch: Annotated[int, Field(ge=1, le=50)] = 2
    """How often the validation loss is measured and a checkpoint written."""
    patience: Annotated[int, Field(ge=1)] = 3
    """Evaluations without a lower validation loss before training stops early."""
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 10
    """Most minutes between two checkpoints, which are also written where the validation loss is measured."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Numbers of the matrix products; ``auto`` takes bfloat16 where the hardware multiplies it. Weights, their updates
    and the optimiser stay float32."""
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"] = "auto"
    """How attention is calculated; ``auto`` takes FlashAttention on a GPU where the package flash-attn is installed,
    else torch's own kernels (``sdpa``) where the model has them. ppo and few_shot leave it as it came."""
    kernels: Literal["auto", "torch"] = "auto"
    """Whose kernels train: ``auto`` takes our own where they are quicker, for LoRA's layers, dropout and frozen weights
    in 16 bits, and none with ``compile``; ``torch`` leaves all to torch, transformers and peft. Results are the same up
    to rounding. ppo and few_shot take none."""
    micro_batch_tokens: Annotated[int, Field(ge=1)] | None = None
    """Most tokens, padding included, that are calculated at once; a larger batch is done in parts with the same
    gradient. Null does it whole, and in halves once memory has run out."""
    packing: bool = True
    """Whether short rows share a sequence, where the task's rows can."""
    gradient_checkpointing: bool = False
    """Whether activations are calculated again instead of kept: a third more time for much less memory."""
    compile: bool = False
    """Whether the model goes through ``torch.compile``, which pays in long runs on a GPU."""
    distributed: Distributed = Distributed()
    """Whether several processes train one model."""
    seed: int = 17
    """Seeds the data order, dropout and the new layers."""
    folds: Annotated[int, Field(ge=0, le=20)] = 0
    """Parts of the training rows for a cross-validation before the training, at least 2; rows of one group stay
    together. It shows how much the metrics depend on the rows, and costs as many trainings; 0 does none."""

    @field_validator("folds")
    @classmethod
    def _are_several(cls, value: int) -> int:
        if value == 1:
            raise ValueError("one fold would train on nothing; give 2 or more, or 0 for none")
        return value

    @model_validator(mode="after")
    def _batch_can_be_shared(self) -> Train:
        readers = self.distributed.readers
        if self.batch_size % readers:
            raise ValueError(f"batch_size {self.batch_size} cannot be shared by {readers} processes alike")
        return self


Setting: TypeAlias = bool | int | float | str | None


class Dimension(Config):
    """What may be tried for one setting: numbers from ``low`` to ``high``, or one of some ``choices``."""

    low: float | None = None
    """Least."""
    high: float | None = None
    """Most."""
    log: bool = False
    """Whether to draw evenly from the logarithm, as is usual for learning rates."""
    choices: tuple[Setting, ...] = ()
    """Values that have no order, or few."""

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Dimension:
        if self.choices:
            if self.low is not None or self.high is not None or self.log:
                raise ValueError("give either choices, or low and high")
            if len({(type(one), one) for one in self.choices}) < max(2, len(self.choices)):
                raise ValueError("choices must be two or more, and differ")
            return self
        if self.low is None or self.high is None:
            raise ValueError("give low and high, or choices")
        if not self.low < self.high:
            raise ValueError(f"low must be less than high (got {self.low:g} and {self.high:g})")
        if self.log and self.low <= 0:
            raise ValueError(f"low must be above 0 for a logarithm (got {self.low:g})")
        return self


class Search(Config):
    """Which settings are tried before the training, and how long. The best by its validation loss trains."""

    space: Annotated[dict[str, Dimension], Field(min_length=1)]
    """Search space, by the setting's place in the recipe, such as ``train.learning_rate`` or ``method.rank``. The
    first trial is the recipe's own setting where it lies in this space."""
    trials: Annotated[int, Field(ge=1, le=10_000)] = 20
    """Most trials, those that were cut short or failed included. Raise it to go on with a finished search."""
    minutes: Annotated[float, Field(gt=0)] | None = None
    """Most minutes that a worker spends on trials; null does not look at the clock."""
    minimise: Literal["validation_loss"] = "validation_loss"
    """What a trial is judged by. The test split is never read."""
    prune: bool = True
    """Whether a trial ends early whose best validation loss so far is above the median of the earlier trials' at the
    same evaluation."""
    random_trials: Annotated[int, Field(ge=1)] = 6
    """Trials drawn at random before the others teach what to draw (TPE) and what to end early."""
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Airflow tasks that share the trials; without Airflow one does them all."""
