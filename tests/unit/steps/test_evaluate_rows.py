"""Rows that evaluate judges on: cleaned as snapshots are, nobody's who was forgotten, and none that was trained on."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from ftcore.compliance import forget
from ftcore.data import snapshot
from ftcore.data.cleaning.rows import clean
from ftcore.errors import FtcoreError, NotEnoughDataError
from ftcore.evaluation import ancestry, judging_sets
from ftcore.models import base
from ftcore.store import store
from ftcore.tracking.client import Version

if TYPE_CHECKING:
    from conftest import Product

PERSONAL = {"entities": {"IP_ADDRESS": "drop_row"}}
WORDS = ["".join(random.Random(n).choices("abcdefghijklmnoprstuvwxyz", k=7)) for n in range(500)]


def version(identity: str, number: int = 1, **tags: str) -> Version:
    return Version(number, "", {"ftcore.snapshot": identity, **tags})


def read(
    product: Product, identity: str, champion: Version | None = None, candidate: Version | None = None
) -> tuple[pa.Table, dict[str, Any]]:
    given = product.context("evaluate"), candidate or version(identity, 2), champion
    rows, facts = judging_sets.read(*given)
    judging_sets.check(given[0], identity, rows, facts["excluded"])
    return rows, facts


def rows_of(product: Product, identity: str) -> list[dict[str, str]]:
    return [row for row in read(product, identity)[0].to_pylist() if row["dataset"] == "more"]


def text_of(number: int) -> str:
    """A text that is like no other number's."""
    draw = random.Random(number)
    return " ".join(draw.choices(WORDS, k=12))


def table(product: Product, numbers: range, **columns: Any) -> pa.Table:
    """Rows as ``prepare`` leaves them; ``group`` is of the number, ``side`` of the group or the text."""
    group, side = columns.get("group", lambda number: None), columns.get("side")
    key = columns.get("split_key", lambda number: None)
    made = [
        {
            "row_id": snapshot.row_id("test", f"{columns.get('ids', '')}{number}"),
            "text": columns.get("text", text_of)(number),
            "label": ("negative", "positive")[number % 2],
            "source": "test",
            "group": group(number),
            "split_key": key(number),
            "split": side(number) if side else product.side(columns.get("text", text_of)(number), group(number)),
        }
        for number in numbers
    ]
    return pa.Table.from_pylist(made, schema=snapshot.schema(split=True))


def sides(rows: pa.Table) -> dict[str, str]:
    return dict(zip(rows["text"].to_pylist(), rows["split"].to_pylist(), strict=True))


def more_csv(product: Product, lines: list[str], header: str = "text,label") -> None:
    (product.path.parent / "more.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")


def with_holdout(product: Product, **source: str) -> None:
    product.change(evaluate={"holdouts": {"more": {"kind": "files", "path": "more.csv", **source}}})


def test_holdouts_are_cleaned_as_snapshots_are(product: Product) -> None:
    with_holdout(product, group="who")
    product.change(prepare={"personal_data": PERSONAL})
    texts = [f"{text_of(n)} from reader{n}@example.org" for n in range(60)]
    lines = [f"{text},positive,c{n}" for n, text in enumerate(texts)]
    lines += [f"{text_of(n + 100)} from 10.20.30.{n},positive,d{n}" for n in range(60)]
    more_csv(product, lines, "text,label,who")
    identity = product.publish(range(30))
    expected = [n for n, text in enumerate(texts) if product.side(text, f"c{n}") == "test"]
    found = rows_of(product, identity)
    assert len(expected) > 5
    assert [row["text"] for row in found] == [f"{text_of(n)} from [EMAIL_ADDRESS]" for n in expected]
    gone = f"c{expected[0]}"
    forget.forget(product.recipe, product.shelf, product.settings, forget.ErasureRequest(gone))
    assert rows_of(product, identity) == found[1:]


def test_a_masked_text_that_the_snapshot_holds_is_no_holdout(product: Product) -> None:
    with_holdout(product)
    for number in range(30):
        text = f"write {number:x} to reader{number}@example.org"
        if product.side(text) == "test":
            break
    more_csv(product, [f"{text},positive"])
    identity = product.publish(range(20))
    assert [row["text"] for row in rows_of(product, identity)] == [f"write {number:x} to [EMAIL_ADDRESS]"]
    for split in ("train", "test"):
        rows = product.rows(range(20)).to_pylist()
        rows[0] |= {"text": f"write {number:x} to [EMAIL_ADDRESS]", "split": split}
        known = pa.Table.from_pylist(rows, schema=snapshot.schema(split=True))
        found, facts = read(product, product.publish_table(known))
        assert "more" not in judging_sets.counts(found)
        assert facts["excluded"]["more"] == {"text" if split == "train" else "test_split": 1}


@pytest.mark.parametrize("threshold", [0.8, None])
def test_a_holdout_row_that_is_nearly_a_training_row_does_not_judge(product: Product, threshold: float | None) -> None:
    with_holdout(product)
    product.change(prepare={"near_duplicates": threshold})
    invoice = "Dear team, the invoice number {} for our {} order was charged twice, please refund it as soon as you can"
    train = table(product, range(300), text=lambda n: invoice.format(n, "spring"), side=lambda n: "train")
    own = table(product, range(20), ids="own", side=lambda n: "test")
    more_csv(product, [f'"{invoice.format(n, "summer")}",positive' for n in range(300)])
    found, facts = read(product, product.publish_table(pa.concat_tables([train, own])))
    held = judging_sets.counts(found).get("more", 0)
    if threshold:
        assert held <= 2, "LSH meets 99 of 100 pairs at the threshold"
        assert facts["excluded"]["more"]["near_duplicate"] > 30
    else:
        assert held > 30
        assert facts["excluded"] == {}


def test_after_a_larger_test_share_no_row_of_the_champions_judges(product: Product) -> None:
    champions = table(product, range(400))
    champion = version(product.publish_table(champions), 1)
    product.change(prepare={"test": 0.4})
    ours = table(product, range(500))
    trained = {text for text, side in sides(champions).items() if side != "test"}
    moved = {text for text, side in sides(ours).items() if side == "test"} & trained
    assert len(moved) > 50, "the share moves training rows into test, which is what this is about"
    found, facts = read(product, product.publish_table(ours), champion)
    judged = set(found["text"].to_pylist())
    assert not judged & trained
    assert judged == {text for text, side in sides(ours).items() if side == "test"} - trained
    assert facts["excluded"] == {"test": {"row": len(moved)}}
    assert [one["snapshot"] for one in facts["trained_on"]] == [facts["trained_on"][0]["snapshot"], champion.snapshot]


def test_a_row_is_recognised_by_its_text_where_its_id_changed(product: Product) -> None:
    champion = version(product.publish_table(table(product, range(60), side=lambda n: "train")), 1)
    ours = table(product, range(50, 70), ids="other file ", text=lambda n: text_of(n).upper(), side=lambda n: "test")
    found, facts = read(product, product.publish_table(ours), champion)
    assert facts["excluded"] == {"test": {"text": 10}}
    assert found.num_rows == 10


@pytest.mark.parametrize("named", ["key", "group", "group with its source"])
def test_a_group_that_any_model_trained_on_does_not_judge(product: Product, named: str) -> None:
    """By the split key, or, in snapshots of earlier versions, by the group's name."""
    mine: dict[str, Any] = {"group": lambda n: f"C-{n // 5}"}
    theirs = dict(mine)
    if named == "key":
        mine = {"group": lambda n: f"pseudonym {n // 5}", "split_key": lambda n: f"hash {n // 5}"}
        theirs = {"group": lambda n: None, "split_key": lambda n: f"hash {n // 5}"}
    elif named == "group with its source":
        theirs = {"group": lambda n: f"test:C-{n // 5}"}
    old = table(product, range(25), ids="old", side=lambda n: "train", text=lambda n: text_of(n + 1000), **theirs)
    champion = version(product.publish_table(old), 1)
    ours = table(product, range(50), side=lambda n: "test", **mine)
    found, facts = read(product, product.publish_table(ours), champion)
    assert facts["excluded"] == {"test": {"group": 25}}
    assert found["text"].to_pylist() == [text_of(n) for n in range(25, 50)]


def test_a_group_that_was_added_later_is_recognised_by_its_name(product: Product) -> None:
    """Published rows keep the split keys of their texts; new rows of their group have the group's."""
    old = table(
        product, range(20), group=lambda n: f"C-{n // 5}", split_key=lambda n: f"text {n}", side=lambda n: "train"
    )
    new = table(
        product,
        range(20, 60),
        group=lambda n: f"C-{(n - 20) // 5}",
        split_key=lambda n: f"group {(n - 20) // 5}",
        side=lambda n: "test",
    )
    found, facts = read(product, product.publish_table(pa.concat_tables([old, new])))
    assert facts["excluded"] == {"test": {"group": 20}}
    assert found["text"].to_pylist() == [text_of(n) for n in range(40, 60)]


def test_a_prompt_that_many_groups_share_makes_none_of_them_a_trained_one(product: Product) -> None:
    group, key = (lambda n: f"C-{n // 5}"), (lambda n: f"group {n // 5}")
    test = table(product, range(40), group=group, split_key=key, side=lambda n: "test")
    hi = table(
        product,
        range(40, 48),
        group=lambda n: f"C-{n - 40}",
        split_key=lambda n: "text hi",
        text=lambda n: "hi there",
        side=lambda n: "train",
    )
    found, facts = read(product, product.publish_table(pa.concat_tables([test, hi])))
    assert found.num_rows == 40
    assert facts["excluded"] == {}


def test_a_champion_from_before_there_were_groups_rules_out_whole_groups(product: Product) -> None:
    """It trained on two rows of each group, as texts of their own; the group's other rows are not independent."""
    old = table(product, range(40), side=lambda n: "train" if n % 4 < 2 else "test")
    champion = version(product.publish_table(old), 1)
    ours = table(product, range(80), group=lambda n: f"C-{n // 4}", side=lambda n: "test")
    found, facts = read(product, product.publish_table(ours), champion)
    assert facts["excluded"] == {"test": {"row": 20, "group": 20}}
    assert found["text"].to_pylist() == [text_of(n) for n in range(40, 80)]


def test_a_group_that_was_dropped_from_the_recipe_changes_nothing(product: Product) -> None:
    old = table(product, range(100), group=lambda n: f"C-{n // 5}")
    champion = version(product.publish_table(old), 1)
    ours = table(product, range(300))
    found, _ = read(product, product.publish_table(ours), champion)
    trained = {text for text, side in sides(old).items() if side != "test"}
    assert not trained & set(found["text"].to_pylist())
    assert found.num_rows > 10


def test_a_masked_group_is_nobodys_name(product: Product) -> None:
    ours = table(product, range(40), group=lambda n: "test:[EMAIL_ADDRESS]", side=lambda n: ("test", "train")[n % 2])
    found, facts = read(product, product.publish_table(ours))
    assert found.num_rows == 20
    assert facts["excluded"] == {}


def test_a_near_copy_of_a_row_that_only_the_champion_trained_on_does_not_judge(product: Product) -> None:
    """``prepare`` takes such a row out of the candidate's training rows; it cannot take it out of the champion's."""
    champion = version(product.publish_table(table(product, range(30), side=lambda n: "train")), 1)
    ours = table(product, range(20, 60), ids="new", text=lambda n: text_of(n) + "s", side=lambda n: "test")
    found, facts = read(product, product.publish_table(ours), champion)
    assert facts["excluded"] == {"test": {"near_duplicate": 10}}
    assert found.num_rows == 30


def test_one_passage_with_two_questions_is_two_texts(product: Product) -> None:
    rows = table(product, range(40), text=lambda n: "is it true?", side=lambda n: ("test", "train")[n % 2])
    rows = rows.set_column(2, "context", pa.array([text_of(n) for n in range(40)], pa.string()))
    assert read(product, product.publish_table(rows))[0].num_rows == 20


def test_rows_of_every_model_behind_the_compared_ones_are_left_out(product: Product) -> None:
    first = product.register("r1", product.publish_table(table(product, range(20), side=lambda n: "train")))
    tags = {ancestry.PARENTS: f'["models:/{product.name}/{first.number}"]'}
    second = product.publish_table(table(product, range(20, 40), side=lambda n: "validation"))
    middle = product.tracking.register(
        "r2", product.tracking.open_run("r2", {}), "model", tags | {"ftcore.snapshot": second}
    )
    ours = product.publish_table(table(product, range(70), side=lambda n: "test"))
    tags = {ancestry.PARENTS: f'["models:/{product.name}/{middle.number}"]'}
    found, facts = read(product, ours, candidate=version(ours, 3, **tags))
    assert found["text"].to_pylist() == [text_of(n) for n in range(40, 70)]
    assert facts["excluded"] == {"test": {"row": 40}}
    assert [one["model"].rpartition("/")[2] for one in facts["trained_on"]] == ["3", "2", "1"]


def test_a_model_behind_whose_snapshot_is_gone_is_named(product: Product, caplog: pytest.LogCaptureFixture) -> None:
    ours = product.publish_table(table(product, range(70), side=lambda n: "test"))
    tags = {ancestry.PARENTS: f'["models:/{product.name}/77"]'}
    _, facts = read(product, ours, version("0123456789abcdef", 1), version(ours, 3, **tags))
    unknown = [one["model"] for one in facts["trained_on"] if one["snapshot"] is None]
    assert sorted(unknown) == [f"models:/{product.name}/1", f"models:/{product.name}/77"]
    assert caplog.text.count("cannot be left out") == 2


@pytest.mark.parametrize("tag", ["", "[", "7", "{}", '"models:/a/1"'])
def test_a_tag_of_parents_that_was_changed_is_named(product: Product, tag: str) -> None:
    """It came as a bare JSONDecodeError."""
    ours = product.publish_table(table(product, range(70), side=lambda n: "test"))
    with pytest.raises(FtcoreError, match=r"the tag ftcore.parents of version 3 is no list of models") as caught:
        read(product, ours, candidate=version(ours, 3, **{ancestry.PARENTS: tag}))
    assert "restore it in MLflow" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "reference", ["models:/teacher", "models:/teacher/", "models:/teacher/newest", "models:/a/1/2"]
)
def test_a_reference_without_a_version_is_named(product: Product, reference: str) -> None:
    product.change(method={"kind": "distill", "teacher": reference})
    with pytest.raises(FtcoreError, match=rf"{reference} names no version\n  hint: write models:/NAME/NUMBER"):
        ancestry.parents(product.context("train"))
    with pytest.raises(FtcoreError, match=rf"{reference} names no version"):
        base.resolve(reference, product.settings, product.path.parent)


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"PAR1 nothing of use PAR1"])
def test_a_cache_that_is_damaged_is_made_again(
    product: Product, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with_holdout(product)
    more_csv(product, [f"{text_of(n)},positive" for n in range(100)])
    identity = product.publish(range(1000, 1030))
    found = rows_of(product, identity)
    (file,) = (product.shelf.root / "cache").iterdir()
    file.write_bytes(damage)
    assert rows_of(product, identity) == found
    assert "cannot be read, and its rows are made again" in caplog.text
    assert store.read_table(file).num_rows == len(found)


def test_a_test_split_that_was_trained_on_altogether_is_refused(product: Product) -> None:
    champion = version(product.publish_table(table(product, range(30), side=lambda n: "train")), 1)
    ours = product.publish_table(table(product, range(30), side=lambda n: "test"))
    with pytest.raises(NotEnoughDataError, match=r"no row of snapshot \w+ can judge; left out are 30 rows of test: "):
        read(product, ours, champion)


def test_what_a_training_uses_of_the_registry_is_tagged(product: Product) -> None:
    first = product.crown("r1")
    product.change(base=f"models:/{product.name}@champion", method={"kind": "lora"})
    assert ancestry.parents(product.context("train")) == [f"models:/{product.name}/{first.number}"]
    product.change(base="package://nowhere/model")
    assert ancestry.tags(product.context("train")) == {ancestry.PARENTS: "[]"}


def test_only_what_judges_is_cleaned_and_once(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    with_holdout(product)
    more_csv(product, [f"{text_of(n)},positive" for n in range(200)])
    cleaned: list[int] = []

    def counting(rows: pa.Table, *more: Any) -> Any:
        cleaned.append(rows.num_rows)
        return clean(rows, *more)

    monkeypatch.setattr("ftcore.data.cleaning.rows.clean", counting)
    identity = product.publish(range(1000, 1030))
    found = rows_of(product, identity)
    assert sum(cleaned) == len(found) < 70
    assert rows_of(product, identity) == found
    assert sum(cleaned) == len(found), "the second time they come from the store"
    for change in ({"prepare": {"personal_data": PERSONAL}}, {"prepare": {"test": 0.25}}):
        cleaned.clear()
        product.change(**change)
        rows_of(product, identity)
        assert cleaned
    cleaned.clear()
    more_csv(product, [f"{text_of(n)},negative" for n in range(200)])
    assert {row["label"] for row in rows_of(product, identity)} == {"negative"}
    assert cleaned


def test_a_forgotten_subject_is_not_in_the_cache(product: Product) -> None:
    with_holdout(product, group="who")
    more_csv(product, [f"{text_of(n)},positive,c{n}" for n in range(60)], "text,label,who")
    identity = product.publish(range(1000, 1030))
    (file,) = (rows_of(product, identity), list((product.shelf.root / "cache").iterdir()))[1]
    hers = store.read_table(file).to_pylist()[0]
    number = next(n for n in range(60) if text_of(n) == hers["text"])
    forget.forget(product.recipe, product.shelf, product.settings, forget.ErasureRequest(f"c{number}"))
    assert not list((product.shelf.root / "cache").iterdir())
    assert hers["text"] not in [row["text"] for row in rows_of(product, identity)]
    assert hers["text"] not in store.read_table(file)["text"].to_pylist()
