"""The model card and the request: they say what the records say, in Markdown that nobody can break out of."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any, Literal

import pytest

from ftcore.data import snapshot
from ftcore.registry import served
from ftcore.registry.approvals import Answer
from ftcore.registry.promotion import ModelRegistry
from ftcore.registry.verdict import Rule, Verdict
from ftcore.reports import card
from ftcore.steps.evaluate import IN_RECORD
from ftcore.store.records import Record, now
from ftcore.store.store import read_json, write_json
from ftcore.tracking.registered import model
from tests._markup import MARK, ROW, faults
from tests._markup import text as markup_text

if TYPE_CHECKING:
    from conftest import Product

ESTIMATE = {"value": 0.85, "low": 0.82, "high": 0.88, "rows": 1200}
DIFFERENCE = {"value": 0.031, "low": 0.01, "high": 0.05, "rows": 1200}
WIN_RATE = {"value": 0.61, "low": 0.55, "high": 0.67, "rows": 200}
OPINIONS = {
    "judge": {"host": "judge.example", "model": "qwen|3", "rows": 200, "wins": 90, "ties": 60, "losses": 48}
    | {"undecided": 2, "win_rate": WIN_RATE, "agreement": {"value": 0.8, "low": 0.74, "high": 0.86, "rows": 198}},
    "general_text": {
        "rows": 1500,
        "metrics": {role: {"loss": {**ESTIMATE, "value": 3.5}} for role in ("base", "champion", "candidate")},
        "differences": {role: {"loss": {**DIFFERENCE, "value": 0.2}} for role in ("base", "champion")},
    },
}
"""What the evaluation of a model that writes has besides."""
EVALUATED = {
    "candidate": 1,
    "champion": None,
    "rows": {"test": 1200, "tweets": 40},
    "latency": {"onnx-int8": {"p50_ms": 3.5, "p95_ms": 5.0, "rows_per_s": 300.0}},
    "metrics": {
        "candidate": {"onnx-int8": {"test": {"accuracy": ESTIMATE}}, "torch": {"test": {"accuracy": ESTIMATE}}}
    },
    "differences": {"onnx-int8": {"test": {"accuracy": DIFFERENCE}}},
    "slices": {"language=de": {"rows": 60, "candidate": {"accuracy": {**ESTIMATE, "value": 0.71, "rows": 60}}}},
}
RULES = [
    {"gate": "threshold", "passed": True, "reason": "0.85 reaches 0.8", "measured": 0.85, "bound": 0.8, "rows": 1200},
    {"gate": "slice", "passed": None, "reason": "too few | rows <b>", "measured": None, "rows": 40},
]


def leave(product: Product, step: str, **figures: Any) -> None:
    made = Record(
        step=step, recipe=product.name, run_id="r1", fingerprint="", started_at=now(), work_s=61.0, figures=figures
    )
    product.shelf.write_record(made)


@pytest.fixture
def judged(product: Product) -> Product:
    """A product whose first version was trained, evaluated and judged."""
    product.declare(product.register("r1", product.publish(range(30))))
    leave(product, "train", rows=20, weights=100, trainable_weights=10, co2e_kg=0.002)
    leave(product, "evaluate", **{name: EVALUATED[name] for name in EVALUATED if name in IN_RECORD})
    write_json(product.shelf.folder("r1", "evaluate") / "evaluation.json", EVALUATED)
    verdict = {"passed": False, "rules": RULES, "candidate": 1, "champion": None}
    write_json(product.shelf.folder("r1", "gate") / "verdict.json", verdict)
    return product


def written(product: Product) -> str:
    return card.publish(product.shelf, product.tracking, product.tracking.version(1))


def test_the_card_is_one_that_hugging_face_reads(judged: Product) -> None:
    from huggingface_hub import ModelCard

    read = ModelCard(written(judged))
    assert read.data.pipeline_tag == "text-classification"
    assert read.data.model_name == judged.name
    found = {(result.dataset_name, result.metric_type): result.metric_value for result in read.data.eval_results}
    assert found[("test", "accuracy")] == 0.85
    for title in ("Intended use", "Data", "Method", "Metrics", "Verdict", "Limits", "Cost", "Approvals"):
        assert f"\n## {title}\n" in read.text


def test_the_head_is_complete(judged: Product) -> None:
    """Licence, base model, data, languages and metrics, as the hub names them; ids are such as the hub takes."""
    from huggingface_hub import ModelCard
    from huggingface_hub.utils import validate_repo_id

    stated = {"license": "Apache-2.0", "languages": ["en", "de"], "data_licenses": {"files": "cc-by-4.0"}}
    judged.declare(judged.tracking.version(1), card=stated, base="some-org/some-base@main")
    leave(judged, "train", base_license={"license": "mit", "stated_in": "README.md", "hub_id": "some-org/some-base"})
    text = written(judged)
    data = ModelCard(text).data
    assert (data.license, data.base_model, data.language) == ("apache-2.0", "some-org/some-base", ["en", "de"])
    assert (data.metrics, data.base_model_relation) == (["accuracy"], "finetune")
    for one in [*(data.datasets or []), data.base_model, *(result.dataset_type for result in data.eval_results)]:
        validate_repo_id(one)
    assert "Licence of the base model: mit (README.md); of this model: Apache-2.0." in text
    assert "Licences: files cc-by-4.0." in text
    judged.declare(judged.tracking.version(1), card={"license": "Our-Own-1"})
    other = ModelCard(written(judged)).data
    assert (other.license, other.license_name, other.language) == ("other", "our-own-1", None)
    judged.declare(judged.tracking.version(1), card={})
    assert ModelCard(written(judged)).data.license == "unknown"


def test_a_rules_interval_says_its_level(judged: Product) -> None:
    """A two-sided 90 % interval stood under 95 %."""
    ends = {"measured": 0.02, "low": 0.01, "high": 0.03, "value": 0.02}
    rule: dict[str, Any] = {
        "gate": "beats_champion",
        "passed": True,
        "reason": "better",
        "bound": 0.0,
        "rows": 9,
        **ends,
    }
    path = judged.shelf.folder("r1", "gate") / "verdict.json"
    write_json(path, read_json(path) | {"rules": [rule | {"level": 0.9392}, rule | {"gate": "old"}]})
    for text in (written(judged), card.request(judged.context("approve"), judged.tracking.version(1))):
        assert "| beats_champion | 0.02 | 0 | 0.01 to 0.03 (93.9 %) |" in text
        assert "| old | 0.02 | 0 | 0.01 to 0.03 (its level was not written down) |" in text
        assert "95 % interval |" not in text


def test_what_the_card_says(judged: Product) -> None:
    text = written(judged)
    assert "| test | accuracy | 0.85 | 0.82 to 0.88 | – | 1,200 |" in text
    assert "| slice language=de | accuracy | 0.71 |" in text
    assert "| test | accuracy | 0.031 | 0.01 to 0.05 |" in text
    assert "| ✔ | threshold | 0.85 | 0.8 | – | 1,200 | 0.85 reaches 0.8 |" in text
    assert "Undecided for want of rows: slice." in text
    assert "Fewer than 100 rows of tweets" in text
    assert "co2e kg: 0.002" in text
    assert "- training: 61 s" in text
    assert "3.5 ms, 5 ms at the 95th percentile" in text
    assert "The recipe requires no approval." in text


def opine(product: Product) -> None:
    path = product.shelf.folder("r1", "evaluate") / "evaluation.json"
    write_json(path, read_json(path) | OPINIONS)


def test_what_a_judge_and_general_texts_say_is_on_the_card(judged: Product) -> None:
    assert "## Judge" not in written(judged)
    opine(judged)
    text = written(judged)
    assert "`qwen\\|3` at `judge.example` compared the answers of candidate and champion to 200 test rows" in text
    assert "preferred the candidate on 90, the champion on 48, neither on 60; on 2 it was unclear" in text
    assert "- win rate, a tie being half a win: 0.61 (0.55 to 0.67)" in text
    assert "- both orders agree: 0.8 (0.74 to 0.86)" in text
    assert "On 1,500 texts that are not about the task" in text
    assert "| champion | loss | 3.5 | 3.5 | 0.2 | 0.01 to 0.05 |" in text


def test_no_value_can_break_out_of_its_place(judged: Product) -> None:
    judged.declare(judged.tracking.version(1), description="# <script>alert(1)</script>\n## Approvals")
    text = written(judged)
    assert "too few \\| rows &lt;b>" in text
    assert "<script" not in text
    assert text.count("\n## Approvals\n") == 1


def test_markup_in_any_value_is_text_also_where_the_markdown_is_made_html(judged: Product) -> None:
    from markdown_it import MarkdownIt

    opine(judged)
    place = judged.shelf.folder("r1", "evaluate") / "evaluation.json"
    found = read_json(place) | {"slices": {f"{ROW}={one}": EVALUATED["slices"]["language=de"] for one in (1, 2)}}  # type: ignore[index]
    found["rows"] |= {ROW: 70}
    found["judge"] |= {"model": ROW, "host": ROW}
    write_json(place, found)
    rules = [*RULES, {"gate": ROW, "passed": False, "reason": ROW, "measured": 0.1, "bound": 0.2, "rows": 5}]
    verdict = {"passed": False, "rules": rules, "candidate": 1, "champion": None}
    write_json(judged.shelf.folder("r1", "gate") / "verdict.json", verdict)
    judged.declare(judged.tracking.version(1), description=ROW)
    for markdown in (written(judged), card.request(judged.context("approve"), judged.tracking.version(1))):
        page = MarkdownIt("commonmark").enable("table").render(markdown)
        assert MARK in markup_text(page)
        assert faults(page) == []


@pytest.mark.parametrize("how", ["edited", "gone", "broken"])
def test_the_card_tells_what_was_whatever_the_file_says_by_now(judged: Product, how: str) -> None:
    """Today's description, method and limits stood on the cards of versions that knew nothing of them."""
    judged.declare(judged.tracking.version(1), description="As it was.", train={"max_length_tokens": 48})
    before = written(judged)
    if how == "gone":
        judged.path.unlink()
    elif how == "broken":
        judged.path.write_text("name: [", encoding="utf-8")
    else:
        judged.edit(
            description="As it is.", method={"kind": "full"}, base="package://other/model", approval={"required": 2}
        )
    assert written(judged) == before
    assert "As it was." in before
    assert "Texts beyond 48 tokens are cut." in before
    assert "`lora` on `package://nowhere/model`" in before


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.unlink(), "runs/r1/recipe.json is not there any more"),
        (lambda path: path.write_text("{}"), "recipe.json is no recipe of a run"),
        (
            lambda path: path.write_bytes(path.read_bytes() + b" "),
            "runs/r1/recipe.json is another one than the version's",
        ),
    ],
)
def test_a_recipe_that_is_not_known_is_not_replaced_by_todays(judged: Product, spoil: Any, words: str) -> None:
    spoil(judged.shelf.folder("r1", "recipe.json"))
    text = written(judged)
    assert "The recipe's description is not known: " in text
    assert words in text
    assert "`unknown` on `unknown`" in text
    assert "lora" not in text


def test_a_version_of_an_earlier_ftcore_says_that_its_recipe_is_not_known(product: Product) -> None:
    product.register("r1")
    assert "the run was made by an earlier version of ftcore, which kept no recipe." in written(product)


def test_it_is_the_runs_artefact_and_the_versions_description(judged: Product) -> None:
    text = written(judged)
    version = judged.tracking.version(1)
    assert (served.folder(judged.tracking, version, "card") / "README.md").read_text(encoding="utf-8") == text
    found = judged.tracking.client.get_model_version(judged.name, "1").description
    assert found.startswith(f"# {judged.name}, version 1")
    assert text.endswith(found)
    assert model(judged.tracking).newest == 1


def test_a_long_card_is_cut_where_mlflow_takes_no_more(judged: Product) -> None:
    judged.declare(judged.tracking.version(1), description="long " * 2000)
    written(judged)
    found = judged.tracking.client.get_model_version(judged.name, "1").description
    assert len(found) == card.DESCRIPTION_LENGTH
    assert found.endswith("the whole card is the run's artefact `card/README.md`")


def test_a_version_of_which_little_is_known_has_a_card_too(product: Product) -> None:
    product.register("r1")
    text = written(product)
    assert "The version was not evaluated." in text
    assert "No gate has judged it." in text
    assert "The snapshot's manifest is not in the store." in text


def test_the_request_shows_the_verdict_the_differences_and_who_has_answered(judged: Product) -> None:
    judged.change(approval={"required": 2})
    given = Answer(person="mira", decision="approve", at=now(), reason="fine", run_id="r1", witness={"by": "airflow"})
    registrar = ModelRegistry(judged.recipe, judged.shelf, judged.tracking)
    assert registrar.answer(judged.tracking.version(1), given) == ""
    text = card.request(judged.context("approve"), judged.tracking.version(1))
    assert text.startswith(f"Version 1 of **{judged.name}** needs 2 approvals, and has 1 (mira).")
    assert "| ✘ |" not in text
    assert "| ? | slice |" in text
    assert "| test | accuracy | 0.031 | 0.01 to 0.05 |" in text
    assert "- mira approved on" in text
    assert f"`ftcore models show {judged.name} 1`" in text


def test_the_request_leads_to_the_pages_where_somebody_says_where_they_are(judged: Product) -> None:
    opine(judged)
    rows = judged.rows(range(9))
    identity = snapshot.publish(judged.shelf, lambda: [rows], rows.slice(0, 0), {"rows": 9, "run_id": "data-1"})
    made = Record(step="validate", recipe=judged.name, run_id="data-1", fingerprint="", started_at=now())
    docs = {"data_docs": "data_docs/index.html"}
    judged.shelf.write_record(made.model_copy(update={"paths": docs}))
    judged.tracking.tag(judged.tracking.version(1), {"snapshot": identity})

    by_hand = card.request(judged.context("approve"), judged.tracking.version(1))
    assert "- Validation report: `data_docs/index.html` in the store\n" in by_hand
    asked = judged.context("approve", pages="/airflow/plugin/models/ftcore")
    assert "Snapshot report" not in card.request(asked, judged.tracking.version(1)), "it left none"
    judged.shelf.write_record(made.model_copy(update={"paths": docs | {"report": "snapshots/ab/report.html"}}))
    text = card.request(asked, judged.tracking.version(1))
    model = f"/airflow/plugin/models/ftcore/models/{judged.name}"
    assert f"- [The model's page]({model}/versions/1)\n" in text
    assert f"- [Snapshot report]({model}/runs/data-1/reports/snapshot)\n" in text
    assert f"- [Validation report]({model}/runs/data-1/reports/validation)\n" in text
    assert "`qwen\\|3` as judge of 200 answers: win rate 0.61 (0.55 to 0.67)" in text
    assert "ftcore models show" not in text


def test_rows_that_do_not_judge_and_labels_that_are_never_predicted_are_told(judged: Product) -> None:
    path = judged.shelf.folder("r1", "gate") / "verdict.json"
    more: dict[str, Any] = {
        "excluded": {"test": {"row": 101, "group": 4}},
        "not_known": ["models:/old/2"],
        "never_predicted": {"rare|": 3},
    }
    write_json(path, read_json(path) | more)
    for text in (written(judged), card.request(judged.context("approve"), judged.tracking.version(1))):
        assert (
            "- Left out of the evaluation: 105 rows of test: a compared model was trained or validated on the row "
            "(101); a compared model was trained or validated on rows of the same group (4).\n"
        ) in text
        assert "- The training rows of models:/old/2 are not known any more" in text
        assert "- Labels that the candidate never predicts: rare\\| (3 rows)." in text


@pytest.mark.parametrize(
    ("on_undecided", "head"),
    [
        ("ask", "**Undecided, up to the people who approve (on_undecided: ask)**"),
        ("fail", "**Not passed: undecided (on_undecided: fail)**"),
    ],
)
def test_the_setting_that_decided_is_named(judged: Product, on_undecided: Literal["fail", "ask"], head: str) -> None:
    path = judged.shelf.folder("r1", "gate") / "verdict.json"
    rules = [
        Rule(gate="parity", passed=None, reason="undecided: 20 rows"),
        Rule(gate="size", passed=True, reason="it is small"),
    ]
    write_json(path, Verdict.of(rules, on_undecided, candidate=1, champion=None).to_json())
    for text in (written(judged), card.request(judged.context("approve"), judged.tracking.version(1))):
        assert head in text
        assert f"- No gate failed; undecided: parity; the recipe's setting on_undecided: {on_undecided} " in text


def test_an_interval_that_is_undefined_is_called_so(judged: Product) -> None:
    place = judged.shelf.folder("r1", "evaluate") / "evaluation.json"
    figures = read_json(place) | {
        "slices": {
            "language=de": {
                "rows": 1,
                "candidate": {"accuracy": {"value": 1.0, "low": None, "high": None, "rows": 1, "groups": 1}},
            }
        }
    }
    write_json(place, figures)
    alike = {"value": 1.0, "low": None, "high": None, "rows": 9, "groups": 9}
    figures["slices"]["language=fr"] = {"rows": 9, "candidate": {"accuracy": alike}}
    told = {"value": None, "low": None, "high": None, "rows": 9, "undefined": "every row has the same label"}
    figures["slices"]["label=negative"] = {"rows": 9, "candidate": {"precision": told}}
    write_json(place, figures)
    text = written(judged)
    assert "| slice language=de | accuracy | 1 | – (a single row) | – | 1 |" in text
    assert "| slice language=fr | accuracy | 1 | – (nothing varies) | – | 9 |" in text
    assert "| slice label=negative | precision (of positive) | – | every row has the same label | – | 9 |" in text


def test_markdown_has_one_empty_line_between_blocks_and_one_blank_between_words(
    judged: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = {
        "snapshot": "ab12",
        "created_at": "2026-01-02T03:04:05",
        "rows": 1300,
        "splits": {"train": 1200, "test": 100},
        "quarantined": 7,
        "labels": {"negative": 700, "positive": 600},
        "removed_entities": ["EMAIL_ADDRESS", "PERSON"],
        "personal_data": {"EMAIL_ADDRESS": 12},
        "settings": {"prepare": {"personal_data": {"entities": {"PERSON": "pseudonym"}, "model": "en_core"}}},
    }
    opine(judged)
    searched = {"settings": {"train.epochs": 3, "method.rank": 8}, "trials": {"all": 12}}
    leave(judged, "train", rows=20, weights=100, trainable_weights=10, **searched)
    place = judged.shelf.folder("r1", "gate") / "verdict.json"
    groups = {"gate": "beats_champion", "passed": True, "reason": "0.02 better", "measured": 0.02, "bound": 0.0}
    rules = [*RULES, groups | {"value": 0.02, "low": 0.01, "high": 0.03, "rows": 1120, "groups": 97}]
    left_out = {"excluded": {"test": {"row": 101, "group": 4}}, "never_predicted": {"rare": 3}}
    empty: dict[str, Any] = {}
    for known, verdict in ((empty, empty), (manifest, {"rules": rules, **left_out})):
        write_json(place, read_json(place) | verdict)
        monkeypatch.setattr(card, "_manifest", lambda *_, known=known: known)
        for text in (written(judged), card.request(judged.context("approve"), judged.tracking.version(1))):
            assert "\n\n\n" not in text
            assert text.endswith("\n")
            assert not text.endswith("\n\n")
            lines = text.split("\n---\n")[-1].splitlines()
            for before, line in itertools.pairwise(lines):
                assert line == line.rstrip()
                assert not re.search(r"\S  \S|\s[.,;:](?:\s|$)|[.;][A-Z(]|[a-z],\d|[a-z]\(", line), line
                starts = line.startswith(("- ", "|", "#")) and line[0] != before[:1]
                assert not starts or not before, f"an empty line is missing before: {line}"
    text = written(judged)
    assert "1,300 rows (1,200 train, 100 test); 7 rows were quarantined.\n\n- negative: 700 rows\n- positive" in text
    assert "settled `train.epochs: 3`, `method.rank: 8`." in text
    assert (
        "- positive: 600 rows\n\nPersonal data was looked for in the texts. Found: EMAIL_ADDRESS 12 (masked)." in text
    )
    assert "Looked for and not found: PERSON." in text
    assert "of planted ones 99.96% are found. PERSON are found by the model `en_core`: of planted names" in text


def test_rows_are_shown_with_their_groups_where_they_differ() -> None:
    shown = [card._rows_and_groups(one) for one in ({"rows": 1120, "groups": 97}, {"rows": 40, "groups": 40}, {})]
    assert shown == ["1,120 (97 groups)", "40", "0"]
