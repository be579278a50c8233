"""Every fault of a recipe is found at once and named by its place in the YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

from ftcore.errors import RecipeError
from ftcore.export.exporters.onnx import Onnx
from ftcore.recipe import reading
from ftcore.recipe.kinds import kind_class, kinds


def faults(document: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(RecipeError) as error:
        reading.parse(document)
    assert len(dict(error.value.faults)) == len(error.value.faults)
    return dict(error.value.faults)


def in_file(tmp_path: Path, data: bytes | str) -> list[tuple[str, str]]:
    path = tmp_path / "r.yaml"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    with pytest.raises(RecipeError) as error:
        reading.read(path)
    assert str(path) in str(error.value)
    return error.value.faults


def test_a_recipe_is_read(tmp_path: Path, minimal: dict[str, Any]) -> None:
    path = tmp_path / "minimal.yaml"
    path.write_text("# a comment\n" + yaml.safe_dump(minimal), encoding="utf-8")
    read = reading.read(path)
    assert read == reading.parse(minimal)
    assert read.task.labels == ("negative", "positive")
    assert read.suite == "classification"


def test_defaults_are_filled_in_and_nothing_can_be_changed(minimal: dict[str, Any]) -> None:
    read = reading.parse(minimal)
    assert read.resolved()["watch"]["min_rows"] == read.watch.min_rows == 200
    assert reading.parse(read.resolved()) == read
    for part, name in ((read, "name"), (read.train, "epochs"), (read.sources[0], "path")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(part, name, "other")


def test_all_faults_are_listed_at_once(minimal: dict[str, Any]) -> None:
    del minimal["base"]
    found = faults(
        minimal
        | {
            "name": "Not A Name",
            "colour": "red",
            "train": {"epochs": 0, "epoch": 3},
            "sources": [{"kind": "files", "path": "x.csv"}, {"kind": "files", "pth": "x.csv", "max_rows": 0}],
            "evaluate": {"holdouts": {"other": {"kind": "files", "path": 3}, "files": {"kind": "files"}}},
            "task": {"kind": "classification", "labels": ["one"]},
            "gates": [{"kind": "threshold"}, {"kind": "mood"}, {}],
            "method": {"kind": "lora", "rank": "many"},
        }
    )
    assert set(found) == {
        "base",
        "name",
        "colour",
        "train.epochs",
        "train.epoch",
        "sources[1].path",
        "sources[1].pth",
        "sources[1].max_rows",
        "evaluate.holdouts.other.path",
        "evaluate.holdouts.files.path",
        "task.labels",
        "gates[0]",
        "gates[1]",
        "gates[2]",
        "method.rank",
    }
    assert found["base"] == found["sources[1].path"] == "is required"
    assert found["gates[0]"] == "give either minimum or maximum"
    assert found["colour"] == found["train.epoch"] == "unknown key"
    assert found["gates[1]"] == f"unknown kind 'mood'; known: {', '.join(kinds('gates'))}"
    assert found["gates[2]"] == "needs a kind"
    assert "(got 'many')" in found["method.rank"]


@pytest.mark.parametrize(
    ("key", "value", "room"),
    [
        ("task", {"kind": "mood"}, "tasks"),
        ("method", {"kind": "mood"}, "methods"),
        ("sources", [{"kind": "mood"}], "sources"),
        ("exports", [{"kind": "mood"}], "exporters"),
        ("watch", {"detectors": [{"kind": "mood"}]}, "detectors"),
        ("evaluate", {"holdouts": {"mine": {"kind": "mood"}}}, "sources"),
    ],
)
def test_an_unknown_kind_names_the_known_ones(minimal: dict[str, Any], key: str, value: object, room: str) -> None:
    (message,) = [m for m in faults(minimal | {key: value}).values() if "kind" in m]
    assert message == f"unknown kind 'mood'; known: {', '.join(kinds(room))}"


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"gates": [{"kind": "fairness", "by": "language"}]}, "gates[0].by", "'language' is none of evaluate.slices"),
        ({"gates": [{"kind": "slice", "by": ["language"]}]}, "gates[0].by", "'language' is none of evaluate.slices"),
        ({"gates": [{"kind": "forgetting", "datasets": ["x"]}]}, "gates[0].datasets", "unknown dataset 'x'"),
        ({"gates": [{"kind": "slice", "metric": "bleu"}]}, "gates[0].metric", "unknown metric 'bleu'"),
        ({"on_undecided": "ask"}, "on_undecided", "there is no approval to wait for"),
    ],
)
def test_what_contradicts_the_rest_is_named(
    minimal: dict[str, Any], changes: dict[str, Any], path: str, message: str
) -> None:
    assert message in faults(minimal | changes)[path]


@pytest.mark.parametrize("key", ["name", "task", "base", "sources", "method", "gates"])
def test_a_missing_key_is_named(minimal: dict[str, Any], key: str) -> None:
    del minimal[key]
    assert faults(minimal) == {key: "is required"}


@pytest.mark.parametrize("key", ["sources", "gates"])
def test_a_list_must_not_be_empty(minimal: dict[str, Any], key: str) -> None:
    assert "at least 1" in faults(minimal | {key: []})[key]


def test_a_recipe_may_ask_for_no_export(minimal: dict[str, Any]) -> None:
    del minimal["exports"]
    minimal["gates"] = [{"kind": "threshold", "minimum": 0.5}]
    assert reading.parse(minimal).exports == ()
    minimal["gates"] = [{"kind": "parity"}]
    assert faults(minimal) == {"gates[0].kind": "parity compares exports, and the recipe has none"}


@pytest.mark.parametrize("kind", sorted({*kinds("tasks")} - {*Onnx.TASKS, "multitask"}))
def test_an_export_that_cannot_hold_the_tasks_model_is_a_fault(minimal: dict[str, Any], kind: str) -> None:
    task = kind_class("tasks", kind)
    gates = [{"kind": "threshold", "minimum": 0}]
    found = faults(minimal | {"task": task.EXAMPLE, "exports": [{"kind": "onnx"}], "gates": gates})
    assert found["exports[0].kind"].startswith(f"onnx cannot export the task {kind}, only classification")


@pytest.mark.parametrize("kind", kinds("tasks"))
@pytest.mark.parametrize("column", ["text", "label", "score", "colour"])
@pytest.mark.parametrize("detector", kinds("detectors"))
def test_a_detector_of_a_column_that_predictions_do_not_fill_is_a_fault(
    minimal: dict[str, Any], kind: str, column: str, detector: str
) -> None:
    """Real answers of the task decide: a score that is always none has nothing to watch."""
    has = {
        "classification": {"text": "text", "label": "cat", "score": "num"},
        "multilabel": {"text": "text", "label": "cat", "score": "num"},
        "pair": {"text": "text", "score": "num"},
        "preference": {"text": "text", "score": "num"},
        "completion": {"text": "text", "score": "num"},
        "multitask": {"text": "text", "label": "cat", "score": "num"},
    }.get(kind, {"text": "text", "label": "text"})
    task = kind_class("tasks", kind)
    named = [name for part in task.EXAMPLE.get("parts", {}).values() for name in part["sources"]]
    files = [{"kind": "files", "path": "rows.csv", "name": name.removeprefix("files:")} for name in named]
    changed = {"task": task.EXAMPLE, "exports": [], "gates": [{"kind": "threshold", "minimum": 0}]}
    changed |= {"sources": files or minimal["sources"]}
    detectors = [{"kind": "text_drift"}, {"kind": detector, "column": column}]
    fits = has.get(column) in {"text_drift": ("text",), "value_drift": ("num", "cat")}[detector]
    if fits:
        assert reading.parse(minimal | changed | {"watch": {"detectors": detectors}})
        return
    found = faults(minimal | changed | {"watch": {"detectors": detectors}})
    assert list(found) == ["watch.detectors[1].column"]
    if column not in has:
        wanted = f"predictions of the task {kind} have no {column}; they have {', '.join(has)}"
        assert found["watch.detectors[1].column"] == wanted


def test_a_distance_between_numbers_is_not_taken_of_categories(minimal: dict[str, Any]) -> None:
    detectors = [{"kind": "value_drift", "column": "label", "method": "wasserstein"}]
    found = faults(minimal | {"watch": {"detectors": detectors}})
    assert found == {
        "watch.detectors[0].method": "wasserstein needs numbers, 'label' holds categories; use jensenshannon"
    }


@pytest.mark.parametrize("kind", kinds("tasks"))
def test_a_gate_that_names_no_metric_judges_by_the_tasks_first(minimal: dict[str, Any], kind: str) -> None:
    task = kind_class("tasks", kind)
    gates = [{"kind": "threshold", "minimum": 0}, {"kind": "beats_champion"}]
    named = [name for part in task.EXAMPLE.get("parts", {}).values() for name in part["sources"]]
    files = [{"kind": "files", "path": "rows.csv", "name": name.removeprefix("files:")} for name in named]
    changed = {"task": task.EXAMPLE, "exports": [], "gates": gates, "sources": files or minimal["sources"]}
    read = reading.parse(minimal | changed)
    assert [gate.metric for gate in read.gates] == [next(iter(read.metrics))] * 2


MOOD = {"kind": "classification", "labels": ["a", "b"], "sources": ["files:moods"]}
STARS = {"kind": "pair", "sources": ["files:stars", "vader:nyt"]}


def several(**parts: object) -> dict[str, Any]:
    """A recipe's task of several parts, with a source for two of them."""
    named = [{"kind": "files", "path": "a.csv", "name": name} for name in ("moods", "stars")]
    return {
        "task": {"kind": "multitask", "parts": {"mood": MOOD, "stars": STARS, **parts}},
        "sources": [*named, {"kind": "vader", "domain": "nyt"}, {"kind": "feedback"}],
        "exports": [],
        "gates": [{"kind": "threshold", "minimum": 0}, {"kind": "beats_champion", "metric": "stars/mae"}],
    }


def test_a_task_may_have_parts_each_with_sources_of_its_own(minimal: dict[str, Any]) -> None:
    read = reading.parse(minimal | several())
    assert [gate.metric for gate in read.gates] == ["mood/accuracy", "stars/mae"]
    assert (read.metrics["mood/f1"], read.metrics["stars/mae"]) == ("higher", "lower")
    assert [read.task_of(source).kind for source in ("files:moods", "vader:nyt", "feedback:mood", "stars")] == [
        "classification", "pair", "classification", "pair",
    ]  # fmt: skip
    assert reading.parse(yaml.safe_load(yaml.safe_dump(read.resolved()))) == read


def test_every_source_belongs_to_a_part_and_every_part_has_sources(minimal: dict[str, Any]) -> None:
    more = [*several()["sources"], {"kind": "files", "path": "b/*.csv"}, {"kind": "vader", "domain": "movie"}]
    changed = several(tags={"kind": "tagging", "labels": ["O", "B-X"], "sources": ["files:tags"]}) | {"sources": more}
    holdout = {"holdouts": {"tweets": {"kind": "vader", "domain": "tweets"}}}
    assert faults(minimal | changed | {"evaluate": holdout}) == {
        "sources[4]": "needs a name, by which a part can say that its rows are the part's",
        "sources[5]": "belongs to no part: none of task.parts has vader:movie among its sources",
        "evaluate.holdouts.tweets": "belongs to no part: none of task.parts has vader:tweets among its sources",
        "task.parts.tags.sources": "the recipe has no source files:tags",
    }


@pytest.mark.parametrize(
    ("change", "path", "message"),
    [
        ({"task": several(mood=MOOD | {"labels": ["a"]})["task"]}, "task.parts.mood.labels", "at least 2 items"),
        ({"task": several(mood=MOOD | {"kind": "no"})["task"]}, "task.parts.mood", "unknown kind 'no'; known: chat,"),
        ({"task": several(mood=several()["task"])["task"]}, "task.parts.mood", "unknown kind 'multitask'"),
        ({"task": several(mood={"sources": ["x"]})["task"]}, "task.parts.mood", "needs a kind"),
        ({"task": several(talk={"kind": "chat", "sources": ["files:t"]})["task"]}, "task", "all parts must stand"),
        (
            {"method": {"kind": "few_shot"}},
            "method.kind",
            "few_shot does not fit the task multitask: its pairs are alike or not by one set of labels; take ",
        ),
        (
            several(mood={"kind": "qa", "sources": ["files:moods"]}) | {"method": {"kind": "prompt"}},
            "method.kind",
            "prompt does not fit the task qa of the part mood; it fits classification, multilabel, pair, tagging",
        ),
        (
            several(mood=MOOD | {"kind": "tagging", "labels": ["O", "B-A"]}) | {"exports": [{"kind": "onnx"}]},
            "exports[0].kind",
            "onnx cannot export the task tagging of the part mood, only classification, multilabel, pair; leave",
        ),
        ({"gates": [{"kind": "threshold", "metric": "accuracy", "minimum": 0}]}, "gates[0].metric", "unknown metric"),
    ],
)  # fmt: skip
def test_parts_that_cannot_be_are_told_by_their_path(
    minimal: dict[str, Any], change: dict[str, Any], path: str, message: str
) -> None:
    assert message in faults(minimal | several() | change)[path]


@pytest.mark.parametrize("name", ["", "9lives", "Upper", "a-b", "a b", "../up", "x" * 41, "ä", "a\n"])
def test_a_name_must_fit_everywhere(minimal: dict[str, Any], name: str) -> None:
    assert set(faults(minimal | {"name": name})) == {"name"}


@pytest.mark.parametrize("base", ["./my model", "../a:b@c", "/models/Zoë [R&D] #1 100%", "~/my model"])
def test_a_folder_as_a_base_may_be_called_anything(minimal: dict[str, Any], base: str) -> None:
    assert reading.parse(minimal | {"base": base}).base == base


def test_a_base_with_blanks_is_refused_with_what_to_write(minimal: dict[str, Any]) -> None:
    assert "starts with / or ./" in faults(minimal | {"base": "my model"})["base"]


@pytest.mark.parametrize("base", ["package://", "models:/x", "models:/x@", "https://host/model", "a b", "", "hub:x"])
def test_a_base_must_be_one_of_four_forms(minimal: dict[str, Any], base: str) -> None:
    assert set(faults(minimal | {"base": base})) == {"base"}


@pytest.mark.parametrize(
    "base",
    ["package://a.b/c-1/d", "./here", "/there", "org/model", "org/model@main", "models:/x@champion", "models:/x/3"],
)
def test_the_four_forms_of_a_base(minimal: dict[str, Any], base: str) -> None:
    assert reading.parse(minimal | {"base": base}).base == base


@pytest.mark.parametrize("cron", ["hourly", "* * * *", "* * * * * *", "", "3", "61 99 * * *", "0 0 30 2 *"])
def test_a_schedule_must_be_cron(minimal: dict[str, Any], cron: str) -> None:
    assert "five cron fields" in faults(minimal | {"schedule": {"data": cron}})["schedule.data"]


@pytest.mark.parametrize("cron", ["0 3 * * 1", "*/15 6-20 * * mon-fri", "@hourly", None])
def test_a_schedule_is_cron_or_nothing(minimal: dict[str, Any], cron: str | None) -> None:
    assert reading.parse(minimal | {"schedule": {"data": cron, "monitor": cron}}).schedule.monitor == cron


@pytest.mark.parametrize("shares", [{"test": 0}, {"validation": 0}, {"validation": 0.5, "test": 0.5}, {"test": 1}])
def test_no_split_may_be_empty(minimal: dict[str, Any], shares: dict[str, float]) -> None:
    assert all(path.startswith("prepare") for path in faults(minimal | {"prepare": shares}))


def test_labels_must_differ(minimal: dict[str, Any]) -> None:
    found = faults(minimal | {"task": {"kind": "classification", "labels": ["a", "b", "a"]}})
    assert found == {"task.labels": "each label may stand here once"}


def test_no_number_may_be_infinite(tmp_path: Path, minimal: dict[str, Any]) -> None:
    assert set(faults(minimal | {"train": {"weight_decay": float("inf")}})) == {"train.weight_decay"}


@pytest.mark.parametrize(
    ("text", "line"), [("name: a\nname: b\n", "line 2"), ("train:\n  epochs: 1\n  seed: 1\n  epochs: 2\n", "line 4")]
)
def test_a_key_may_stand_once(tmp_path: Path, text: str, line: str) -> None:
    ((where, message),) = in_file(tmp_path, text)
    assert where.startswith(line)
    assert "stands here twice" in message


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: x\n  bad: [1,\n", "line 2"),
        ("name: [x\n", "line 2"),
        ("\tname: x\n", "line 1"),
        ("a: 1\n? [b, c]\n: 1\n", "line 2"),
        ("a: !!python/object/apply:os.getcwd []\n", "line 1"),
    ],
)
def test_bad_yaml_names_its_line(tmp_path: Path, text: str, line: str) -> None:
    ((where, message),) = in_file(tmp_path, text)
    assert where.startswith(line)
    assert message


@pytest.mark.parametrize("text", ["", "# only a comment\n", "- a\n- list\n", "just words\n", "---\n"])
def test_a_recipe_is_a_mapping(tmp_path: Path, text: str) -> None:
    assert in_file(tmp_path, text) == [("", "is empty or not a mapping of keys to values")]


def test_bytes_that_are_no_utf8_are_named(tmp_path: Path) -> None:
    assert in_file(tmp_path, b"name: caf\xe9\n") == [("", "is not UTF-8: byte 9")]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="No such file"):
        reading.read(tmp_path / "none.yaml")
    with pytest.raises(RecipeError, match="cannot be read"):
        reading.read(tmp_path)


@pytest.mark.parametrize(
    ("keys", "path", "words"),
    [
        (
            {"method": {"kind": "prompt", "tokens": 40}, "train": {"max_length_tokens": 64}},
            "method.tokens",
            "half is the",
        ),
        (
            {"method": {"kind": "qlora", "stack": [{"model": "models:/x@champion"}]}},
            "method.stack",
            "adapters cannot be stacked on a base of four bits; use lora",
        ),
    ],
)
def test_a_method_that_cannot_work_here_is_a_fault(
    keys: dict[str, Any], path: str, words: str, minimal: dict[str, Any]
) -> None:
    with pytest.raises(RecipeError) as caught:
        reading.parse(minimal | keys)
    ((where, message),) = caught.value.faults
    assert where == path
    assert words in message


def test_a_method_that_does_not_fit_the_task_is_a_fault(
    minimal: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftcore.training.methods import few_shot

    monkeypatch.setattr(few_shot.FewShot, "TASKS", ("chat",))
    with pytest.raises(RecipeError, match=r"few_shot does not fit the task classification; it fits chat"):
        reading.parse(minimal | {"method": {"kind": "few_shot"}})


@pytest.mark.parametrize("kind", kinds("methods"))
def test_a_method_trains_several_parts_or_says_why_not_and_what_does(minimal: dict[str, Any], kind: str) -> None:
    method = kind_class("methods", kind)
    document = minimal | several() | {"method": method.EXAMPLE}
    if "multitask" in (method.TASKS or ("multitask",)):
        assert reading.parse(document).method.kind == kind
        return
    message = faults(document)["method.kind"]
    assert message.startswith(f"{kind} does not fit the task multitask: {method.MULTITASK_REASON}; take ")
    assert message.endswith(", or give each part a recipe of its own")
    assert {"full", "lora", "prompt"} <= set(message.partition("; take ")[2].split(", "))


def test_anchors_and_merges_work(tmp_path: Path, minimal: dict[str, Any]) -> None:
    path = tmp_path / "r.yaml"
    gates = "gates:\n  - &first {kind: threshold, minimum: 0.5}\n  - {<<: *first, minimum: 0.6}\n"
    path.write_text(yaml.safe_dump({k: v for k, v in minimal.items() if k != "gates"}) + gates, encoding="utf-8")
    assert [gate.minimum for gate in reading.read(path).gates] == [0.5, 0.6]


def test_a_recipe_is_found_by_name_or_path(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").touch()
    assert reading.locate("mine", tmp_path) == reading.locate(str(tmp_path / "mine.yaml"), tmp_path)
    with pytest.raises(RecipeError, match=r"no such recipe; in .*: mine"):
        reading.locate("yours", tmp_path)


def test_the_json_schema_is_one_and_says_what_each_key_means(minimal: dict[str, Any]) -> None:
    schema = reading.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid(minimal)
    for broken in (minimal | {"colour": 1}, minimal | {"gates": []}, minimal | {"method": {"kind": "mood"}}):
        assert not validator.is_valid(broken)
    parts = [schema, *schema["$defs"].values()]
    undescribed = [
        f"{part['title']}.{name}"
        for part in parts
        for name, field in part.get("properties", {}).items()
        if "description" not in field and name != "kind" and "$ref" not in field
    ]
    assert undescribed == []


@pytest.mark.parametrize(
    "endpoint",
    [
        *("judge.example.com", "ftp://judge.example.com", "https://", "http://[x"),
        *("https://me:hunter2@judge.example.com/v1", "https://hunter2@judge.example.com/v1"),
        "https://judge.example.com/v1?api_key=hunter2",
    ],
)
def test_a_judge_has_an_address_that_holds_no_password(minimal: dict[str, Any], endpoint: str) -> None:
    found = faults(minimal | {"evaluate": {"judge": {"endpoint": endpoint, "model": "wise"}}})
    assert list(found) == ["evaluate.judge"]
    assert "the key is FTCORE_JUDGE_KEY" in found["evaluate.judge"]
    assert "hunter2" not in str(found)


def test_what_a_task_cannot_do_is_not_asked_of_it(minimal: dict[str, Any]) -> None:
    judge = {"endpoint": "https://judge.example.com/v1", "model": "wise"}
    general = {"kind": "vader", "domain": "nyt", "max_rows": 20}
    writes = minimal | {"exports": [], "gates": [{"kind": "beats_baseline"}]}
    both = {"evaluate": {"judge": judge, "general_text": general}}
    assert set(faults(minimal | both)) == {"evaluate.judge", "evaluate.general_text"}
    assert set(faults(writes | both | {"task": {"kind": "seq2seq"}})) == {"evaluate.general_text"}
    assert set(faults(writes | both | {"task": {"kind": "completion"}})) == {"evaluate.judge"}
    assert reading.parse(writes | both | {"task": {"kind": "chat"}}).evaluate.general_text
    wrong = {"evaluate": {"general_text": general | {"domain": "moon"}}, "task": {"kind": "chat"}}
    assert list(faults(writes | wrong)) == ["evaluate.general_text.domain"]


@pytest.mark.parametrize(
    ("strategy", "method", "machines", "word"),
    [
        ("fsdp2", "qlora", 1, "fsdp2 cannot cut four-bit weights"),
        ("zero3", "qlora", 1, "zero3 cannot cut four-bit weights"),
        ("tensor", "ia3", 1, "tensor cannot divide what ia3 trains"),
        ("tensor", "lora", 2, "tensor is for one machine"),
        ("pipeline", "lora", 1, "there is no strategy 'pipeline'; known: auto, ddp, fsdp2, tensor, zero3"),
        ("auto", "few_shot", 1, "few_shot trains in one process"),
    ],
)
def test_what_processes_cannot_train_together_is_a_fault(
    strategy: str, method: str, machines: int, word: str, minimal: dict[str, Any]
) -> None:
    asked = {"processes": 2, "machines": machines, "strategy": strategy, "rendezvous": "first:29500"}
    found = faults(minimal | {"method": {"kind": method}, "train": {"distributed": asked}})
    assert any(path.startswith("train.distributed") and word in said for path, said in found.items()), found


def test_a_strategy_is_a_file_and_an_unknown_one_is_a_fault(minimal: dict[str, Any]) -> None:
    found = faults(minimal | {"train": {"distributed": {"processes": 2, "strategy": "magic"}}})
    assert "known: auto, ddp, fsdp2, tensor, zero3" in found["train.distributed.strategy"]


def test_processes_that_read_the_same_rows_need_not_share_a_batch(minimal: dict[str, Any]) -> None:
    asked = {"batch_size": 5, "distributed": {"processes": 2, "strategy": "tensor"}}
    assert reading.parse(minimal | {"train": asked}).train.distributed.readers == 1
    shared = {**asked, "distributed": {"processes": 2}}
    assert "cannot be shared by 2 processes alike" in str(faults(minimal | {"train": shared}))


@pytest.mark.parametrize(
    ("task", "method", "told"),
    [
        ({"kind": "pair"}, "lora", "the task pair does not choose"),
        ({"kind": "multilabel", "labels": ["a", "b"]}, "full", "the task multilabel does not choose"),
        ({"kind": "qa"}, "full", "the task qa does not choose"),
        ({"kind": "preference"}, "lora", "the task preference does not choose"),
        ({"kind": "classification", "labels": ["a", "b"]}, "few_shot", "few_shot has a loss of its own"),
        (
            {
                "kind": "multitask",
                "parts": {"a": {"kind": "pair", "sources": ["files:r"]}, "b": {"kind": "qa", "sources": ["files:s"]}},
            },
            "lora",
            "the task pair does not choose",
        ),
    ],
)
def test_label_smoothing_needs_labels(minimal: dict[str, Any], task: Any, method: str, told: str) -> None:
    changed = {"task": task, "method": {"kind": method}, "exports": [], "gates": [{"kind": "beats_champion"}]}
    assert told in faults(minimal | changed | {"train": {"label_smoothing": 0.1}})["train.label_smoothing"]


@pytest.mark.parametrize("setting", [{"class_weights": "balanced"}, {"sampling": "balanced"}], ids=str)
@pytest.mark.parametrize(
    ("task", "method", "told"),
    [
        ({"kind": "pair"}, "lora", "the task pair has no classes to balance"),
        ({"kind": "completion"}, "lora", "the task completion has no classes to balance"),
        ({"kind": "tagging", "labels": ["O", "B-X"]}, "lora", "the task tagging has no classes to balance"),
        ({"kind": "classification", "labels": ["a", "b"]}, "few_shot", "few_shot trains with a loss of its own"),
    ],
)
def test_what_has_no_classes_is_not_balanced(
    minimal: dict[str, Any], task: Any, method: str, told: str, setting: dict[str, Any]
) -> None:
    changed = {"task": task, "method": {"kind": method}, "exports": [], "gates": [{"kind": "beats_champion"}]}
    assert told in faults(minimal | changed | {"train": setting})[f"train.{next(iter(setting))}"]


def test_class_weights_are_of_the_tasks_labels(minimal: dict[str, Any]) -> None:
    labels = minimal["task"]["labels"]
    assert reading.parse(minimal | {"train": {"class_weights": {labels[0]: 2}}}).train.class_weights == {labels[0]: 2}
    assert (
        "unknown label 'rare'"
        in faults(minimal | {"train": {"class_weights": {"rare": 2}}})["train.class_weights.rare"]
    )
    assert faults(minimal | {"train": {"class_weights": {labels[0]: 0}}})
    twice = {"class_weights": "balanced", "sampling": "square_root"}
    assert "corrects already" in faults(minimal | {"train": twice})["train.sampling"]
    distilled = {"method": {"kind": "distill", "teacher": "champion"}, "train": {"class_weights": "balanced"}}
    assert "distill trains with a loss of its own" in faults(minimal | distilled)["train.class_weights"]
