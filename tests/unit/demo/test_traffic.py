"""The demo's traffic is the same each time, and its labels are true."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pyarrow import csv

from ftcore.data.sources import vader
from ftcore.demo import traffic

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Product


@pytest.mark.usefixtures("assets")
def test_the_traffic_is_always_the_same(product: Product, tmp_path: Path) -> None:
    context = product.context("ingest")
    first, again = (traffic.write(context, tmp_path / name, traffic.REQUESTS) for name in ("one", "two"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    format_ = csv.ParseOptions(newlines_in_values=True)
    requests, labels = (csv.read_csv(path, parse_options=format_).to_pylist() for path in first)
    assert len(requests) == len({row["request_id"] for row in requests}) == sum(traffic.REQUESTS.values())
    assert len(labels) / len(requests) == pytest.approx(traffic.LABELLED, abs=0.04)
    truth = {}
    for domain in traffic.REQUESTS:
        for table in vader.Vader(domain=domain).read(context):
            truth |= dict(zip(table["row_id"].to_pylist(), table["label"].to_pylist(), strict=True))
    assert all(truth[row["request_id"]] == row["label"] for row in labels)
