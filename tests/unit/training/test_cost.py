"""What a training takes, by sizes: the sums are those of the sources, and less memory means smaller parts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ftcore._find import find
from ftcore.training import cost

SHAPE = cost.Shape(weights=22_000_000, embedding_weights=12_000_000, trainable=22_000_000, layers=6, width=384)
WORK = cost.Work(tokens=100_000, longest=128, judged_tokens=10_000, judged_longest=128, batch_rows=32)
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


def test_products_in_16_bits_keep_copies_of_the_weights() -> None:
    more = cost.state_bytes(replace(SHAPE, half=True))["weights"] - cost.state_bytes(SHAPE)["weights"]
    assert more == 2 * SHAPE.multiplied
    four = replace(SHAPE, weight_bytes=0.56)
    assert cost.state_bytes(replace(four, half=True)) == cost.state_bytes(four)


def test_activations_follow_korthikanti_where_they_are_not_counted() -> None:
    assert cost.kept_bytes(replace(SHAPE, half=True), 1) == 34 * 384 * 6
    kept = cost.kept_bytes(SHAPE, 1000)
    assert cost.kept_bytes(replace(SHAPE, checkpointing=True), 1000) < kept / 4
    counted = replace(SHAPE, kept=cost.Kept(1000, 10))
    assert cost.kept_bytes(counted, 100) == 100 * 1000 + 100 * 100 * 10


def test_a_language_model_has_logits_their_logarithms_and_gradients() -> None:
    few = replace(WORK, judged_longest=1)
    loss = cost.memory_bytes(replace(SHAPE, outputs=50_000), few, 32, "cpu")["loss"]
    assert loss == 32 * 128 * 50_000 * 12
    assert cost.memory_bytes(SHAPE, few, 32, "cpu")["loss"] == 0


def test_judging_may_be_the_peak_since_it_takes_more_rows_at_once() -> None:
    wide = replace(SHAPE, outputs=500_000)
    assert cost.memory_bytes(wide, WORK, 32, "cpu")["loss"] == 2 * 32 * 128 * 500_000 * 10
    assert cost.memory_bytes(wide, WORK, 16, "cpu")["loss"] == 16 * 128 * 500_000 * 12, "parts are judged in parts"


@pytest.mark.parametrize(("memory_gib", "rows"), [(100, 32), (0.8, 0)])
def test_the_whole_batch_where_it_fits_and_nothing_where_not_even_a_row_does(memory_gib: float, rows: int) -> None:
    assert cost.rows_at_once(SHAPE, WORK, "cpu", memory_gib) == rows


def test_parts_are_halved_until_they_fit() -> None:
    need = cost.memory_bytes(SHAPE, WORK, 8, "cpu")["total"]
    assert cost.rows_at_once(SHAPE, WORK, "cpu", need / GIB / cost.USABLE * 1.001) == 8
    assert cost.rows_at_once(SHAPE, WORK, "cpu", need / GIB / cost.USABLE * 0.999) == 4


@pytest.mark.parametrize("strategy", ["fsdp2", "zero3", "tensor"])
def test_several_processes_share_the_state_that_each_replica_has(strategy: str) -> None:
    replica = find("strategies", "ddp").held(SHAPE, 4)
    assert replica.state["gradients"] == 2 * cost.state_bytes(SHAPE)["gradients"], "once more in its buckets"
    share = find("strategies", strategy).held(SHAPE, 4)
    assert share.state["optimiser"] == replica.state["optimiser"] / 4
    assert sum(share.state.values()) < sum(replica.state.values())
