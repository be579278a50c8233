"""Batches waste nothing, lose nothing and come in the same order each time."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ftcore.models.features import IGNORED, Features
from ftcore.training import batches

lengths = st.lists(st.integers(1, 40), min_size=1, max_size=200)


def features(lengths: list[int]) -> Features:
    ids = [[number + 1] * length for number, length in enumerate(lengths)]
    return Features({"input_ids": ids, "labels": ids}, [f"r{n}" for n in range(len(ids))], packable=True)


@given(lengths, st.integers(1, 16), st.integers(0, 5))
def test_an_epoch_holds_each_row_once_and_can_be_drawn_again(lengths: list[int], size: int, epoch: int) -> None:
    order = batches.ByLength(lengths, size, seed=3)
    order.epoch = epoch
    first = list(order)
    assert sorted(first) == list(range(len(lengths)))
    assert list(order) == first
    assert len(order) == len(lengths)


def test_batches_are_of_like_length_and_in_another_order_each_epoch() -> None:
    lengths = [int(n) for n in torch.randint(5, 60, (960,), generator=torch.Generator().manual_seed(1))]
    order = batches.ByLength(lengths, 32, seed=3)
    first = list(order)
    cut = [[lengths[n] for n in first[start : start + 32]] for start in range(0, 960, 32)]
    padded = sum(max(batch) * len(batch) for batch in cut)
    assert sum(lengths) / padded > 0.97
    longest = [max(batch) for batch in cut]
    assert longest not in (sorted(longest), sorted(longest, reverse=True)), "or each epoch would be a curriculum"
    order.epoch = 1
    assert list(order) != first


@given(lengths)
def test_packing_keeps_every_token_and_overfills_nothing(lengths: list[int]) -> None:
    packed = batches.Packed(features(lengths), 40)
    assert sorted(number for one in packed.bins for number in one) == list(range(len(lengths)))
    assert max(packed.lengths) <= 40
    assert sum(packed.lengths) == packed.tokens == sum(lengths)
    bound = -(-sum(lengths) // 40)
    assert len(packed) <= bound * 11 / 9 + 1 or len(packed) <= sum(length > 20 for length in lengths) + bound


def test_a_packed_sequence_starts_its_positions_anew_with_each_row() -> None:
    packed = batches.Packed(features([3, 5, 2]), 8)
    batch = batches.collate_packed([packed[0], packed[1]], pad=9)
    assert batch["input_ids"].tolist() == [[2, 2, 2, 2, 2, 1, 1, 1], [3, 3, 9, 9, 9, 9, 9, 9]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 3, 4, 0, 1, 2], [0, 1, 0, 0, 0, 0, 0, 0]]
    assert batch["labels"][0].tolist() == [IGNORED, 2, 2, 2, 2, IGNORED, 1, 1]
    assert batch["labels"][1].tolist() == [IGNORED, 3, *[IGNORED] * 6]


def test_a_batch_knows_its_rows() -> None:
    packed = batches.Packed(features([3, 5, 2]), 8)
    collate = batches.remembering(batches.collate_packed)
    assert collate([packed[0], packed[1]])[batches.ROWS].tolist() == [[1, 0], [2, -1]]


@pytest.mark.parametrize(("budget", "sizes"), [(None, [5]), (100, [5]), (20, [2, 2, 1]), (1, [1] * 5)])
def test_parts_keep_to_the_budget(budget: int | None, sizes: list[int]) -> None:
    batch = {"input_ids": torch.arange(50).view(5, 10), "labels": torch.arange(5), "scale": torch.tensor(2.0)}
    parts = batches.parts(batch, budget)
    assert [len(part["labels"]) for part in parts] == sizes
    assert torch.equal(torch.cat([part["input_ids"] for part in parts]), batch["input_ids"])
    assert all(part["scale"] == 2 for part in parts)
