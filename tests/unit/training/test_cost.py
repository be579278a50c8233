"""What a training takes, by sizes: the sums are those of the sources, and less memory means smaller parts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ftcore.training import cost

SHAPE = cost.Shape(weights=22_000_000, embedding_weights=12_000_000, trainable=22_000_000, layers=6, width=384)
WORK = cost.Work(tokens=100_000, longest=128, judged_tokens=10_000)
GIB = 2**30


def test_full_training_keeps_sixteen_bytes_a_weight() -> None:
    assert sum(cost.state_bytes(SHAPE).values()) == 16 * SHAPE.weights


def test_updates_need_no_optimiser_for_the_base() -> None:
    lora = replace(SHAPE, trainable=400_000)
    state = cost.state_bytes(lora)
    assert state["optimiser"] == 8 * 400_000
    assert state["weights"] == 4 * SHAPE.weights
    four_bits = cost.state_bytes(replace(lora, weight_bytes=0.5))
    assert four_bits["weights"] == 0.5 * 10_000_000 + 4 * 12_000_000


def test_operations_are_six_a_weight_and_token_and_four_where_the_base_stays() -> None:
    assert cost.operations(SHAPE, replace(WORK, judged_tokens=0)) == 6 * 10_000_000 * 100_000
    lora = cost.operations(replace(SHAPE, trainable=0), replace(WORK, judged_tokens=0))
    assert lora == 4 * 10_000_000 * 100_000
    assert cost.operations(SHAPE, WORK) == (6 * 100_000 + 2 * 10_000) * 10_000_000
    again = cost.operations(replace(SHAPE, checkpointing=True), replace(WORK, judged_tokens=0))
    assert again == 8 * 10_000_000 * 100_000


def test_activations_follow_korthikanti() -> None:
    assert cost.activation_bytes(replace(SHAPE, half=True), 1) == 34 * 384 * 6
    kept = cost.activation_bytes(SHAPE, 1000)
    assert cost.activation_bytes(replace(SHAPE, checkpointing=True), 1000) < kept / 4
    assert cost.activation_bytes(replace(SHAPE, outputs=50_000), 1000) - kept == 1000 * 12 * 50_000


@pytest.mark.parametrize(("memory_gib", "rows"), [(100, 32), (1.0, 0)])
def test_the_whole_batch_where_it_fits_and_nothing_where_not_even_a_row_does(memory_gib: float, rows: int) -> None:
    assert cost.rows_at_once(SHAPE, WORK, 32, "cpu", memory_gib) == rows


def test_parts_are_halved_until_they_fit() -> None:
    one = cost.memory_bytes(SHAPE, WORK.longest, "cpu")
    need = one["total"] + 7 * one["activations"]
    assert cost.rows_at_once(SHAPE, WORK, 32, "cpu", need / GIB / cost.USABLE * 1.001) == 8
    assert cost.rows_at_once(SHAPE, WORK, 32, "cpu", need / GIB / cost.USABLE * 0.999) == 4
