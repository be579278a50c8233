"""What a look at a published snapshot finds: texts, calls, groups, ids and where rows came from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa
from upath import UPath

from ftcore.data import snapshot
from ftcore.data.cleaning.audit import audit
from ftcore.recipe.sections import Prepare
from ftcore.store.store import RecipeStore

if TYPE_CHECKING:
    from pathlib import Path

MAIL = "anna@example.org"


def test_every_place_where_a_row_can_name_somebody_is_looked_at(tmp_path: Path) -> None:
    calls = [{"id": "1", "type": "function", "function": {"name": "mail", "arguments": {"to": [{MAIL: 1}]}}}]
    said = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "", "tool_calls": calls}]
    changes = {
        "content": {"text": f"to {MAIL}"},
        "call": {"text": json.dumps(said)},
        "answer": {"label": MAIL},
        "worse": {"rejected": MAIL},
        "group": {"group": MAIL},
        "id": {"source_id": MAIL, "origin": f"feedback on the request {MAIL}"},
        "file": {"origin": f"mails/{MAIL}/a.csv, line 1"},
        "phone": {"source_id": "2025550123", "source": "calls"},
        "nothing": {"source_id": "1025550123", "origin": "notes.md, line 4111111111111111"},
    }
    plain = {"text": "hello", "source": "t", "split": "train"}
    rows = pa.Table.from_pylist(
        [plain | {"row_id": name} | change for name, change in changes.items()], schema=snapshot.schema(split=True)
    )
    quarantine = snapshot.schema().append(pa.field("reason", pa.string())).empty_table()
    shelf = RecipeStore(UPath(tmp_path) / "store" / "demo", "demo", tmp_path / "locks")
    manifest = {
        "rows": rows.num_rows,
        "target": "text",
        "removed_entities": ["EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD"],
        "settings": {"prepare": Prepare().model_dump(mode="json")},
    }
    found = audit(shelf, snapshot.publish(shelf, lambda: [rows], quarantine, manifest))
    assert found["found"] == {"EMAIL_ADDRESS": len(changes) - 2, "PHONE_NUMBER": 1}
    assert set(found["row_ids"]) == {*changes} - {"nothing"}
