"""What a training takes, by sizes: the sums are those of the sources, and less memory means smaller parts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ftcore.recipe.kinds import kind_class
from ftcore.training import cost
from ftcore.training.effort import Effort, equal_part

SHAPE = cost.ModelShape(weights=22_000_000, embedding_weights=12_000_000, trainable=22_000_000, layers=6, width=384)
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
    lean = cost.state_bytes(replace(SHAPE, half=True, lean=True, trainable=400_000))["weights"]
    assert lean == 2 * (SHAPE.multiplied - 400_000) + 6 * 400_000 + 4 * SHAPE.embedding_weights
    four = replace(SHAPE, weight_bytes=0.56)
    assert cost.state_bytes(replace(four, half=True)) == cost.state_bytes(four)


def test_activations_follow_korthikanti_where_they_are_not_counted() -> None:
    assert cost.kept_bytes(replace(SHAPE, half=True), 1) == 34 * 384 * 6
    kept = cost.kept_bytes(SHAPE, 1000)
    assert cost.kept_bytes(replace(SHAPE, checkpointing=True), 1000) < kept / 4
    counted = replace(SHAPE, kept=cost.ActivationMemory(1000, 10))
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
    replica = kind_class("strategies", "ddp")().held(SHAPE, 4)
    assert replica.state["gradients"] == 2 * cost.state_bytes(SHAPE)["gradients"], "once more in its buckets"
    share = kind_class("strategies", strategy)().held(SHAPE, 4)
    assert share.state["optimiser"] == replica.state["optimiser"] / 4
    assert sum(share.state.values()) < sum(replica.state.values())


LANGUAGE = replace(SHAPE, outputs=1000, cache_bytes=100, kept=cost.ActivationMemory(6000))
PAIRS = replace(WORK, effort=Effort(together=2, even=True, judged=0, copies=1), batch_rows=8)
DRAWING = Effort(together=4, learns=1, drawn=64, judged=0, even=True)


def test_a_pair_is_two_sequences_and_a_reference_is_all_weights_once_more() -> None:
    one = cost.memory_bytes(LANGUAGE, replace(PAIRS, effort=Effort(judged=0)), 8, "cpu")
    two = cost.memory_bytes(LANGUAGE, PAIRS, 8, "cpu")
    assert two["activations"] == 2 * one["activations"] == 1.5 * 16 * 128 * 6000
    assert two["loss"] == 2 * one["loss"]
    assert two["reference"] == 4 * LANGUAGE.weights
    assert "reference" not in one


def test_answers_are_learnt_from_a_group_at_a_time_and_drawn_together() -> None:
    work = replace(WORK, effort=DRAWING, batch_rows=8)
    few = cost.memory_bytes(replace(LANGUAGE, cache_bytes=0), work, 8, "cpu")
    assert few["activations"] == 1.5 * 4 * 128 * 6000, "learning is dearer, and is done by groups"
    cached = cost.memory_bytes(replace(LANGUAGE, cache_bytes=10_000), work, 8, "cpu")
    assert cached["cache"] == 1.5 * 8 * 4 * 128 * 10_000
    assert cached["loss"] == 16 * 8 * 4 * 1000
    half = cost.memory_bytes(replace(LANGUAGE, cache_bytes=10_000), work, 4, "cpu")
    assert half["cache"] == cached["cache"] / 2


def test_what_is_read_and_drawn_is_calculated_forward_only() -> None:
    plain = cost.operations(SHAPE, replace(WORK, judged_tokens=0))
    more = cost.operations(SHAPE, replace(WORK, judged_tokens=0, read_tokens=7, drawn_tokens=5))
    assert more - plain == 2 * SHAPE.multiplied * 12


def test_drawing_waits_for_the_weights_the_longer_the_fewer_are_drawn_for() -> None:
    work = replace(WORK, effort=DRAWING, drawn_tokens=1000)
    alone, together = (cost.waiting(SHAPE, work, rows, "cpu") for rows in (1, 8))
    assert alone == 8 * together == 1000 * 2 * SHAPE.multiplied * cost.ARITHMETIC_INTENSITY["cpu"] / 4
    assert cost.waiting(SHAPE, WORK, 1, "cpu") == 0


def test_other_models_are_held_and_calculated() -> None:
    other = replace(SHAPE, weights=5_000_000, embedding_weights=1_000_000, trainable=0)
    judge = replace(WORK, beside=(cost.AuxiliaryModel(other, 50.0, 32, stays=True),))
    assert cost.memory_bytes(SHAPE, judge, 32, "cpu")["other_models"] == 20_000_000
    assert cost.operations(SHAPE, judge) - cost.operations(SHAPE, WORK) == 2 * 4_000_000 * 50
    gone = replace(WORK, beside=(cost.AuxiliaryModel(other, 50.0, 32, stays=False),))
    assert "other_models" not in cost.memory_bytes(SHAPE, gone, 32, "cpu"), "a teacher is gone before the peak"
    vast = replace(WORK, beside=(cost.AuxiliaryModel(replace(other, weights=500_000_000), 50.0, 32, stays=False),))
    assert cost.memory_bytes(SHAPE, vast, 32, "cpu")["other_models"] == 2_000_000_000, "or it is the peak"


def test_a_tiled_loss_does_not_grow_with_the_batch() -> None:
    tiled = replace(PAIRS, effort=replace(PAIRS.effort, loss="tiled"))
    wide = replace(SHAPE, outputs=200_000)
    small, large = (cost.memory_bytes(wide, replace(tiled, longest=n), 8, "cpu")["loss"] for n in (512, 4096))
    assert small == large == 24 * 4096 * 32_768
    assert cost.memory_bytes(wide, replace(tiled, longest=512), 8, "cuda")["loss"] == small / 6


def test_equal_parts_divide_the_batch() -> None:
    assert [equal_part(10, most) for most in (10, 9, 4, 1)] == [10, 5, 2, 1]
    assert equal_part(12, 1, least=2) == 2
    assert equal_part(7, 3, least=2) == 7, "seven can be halved by nobody"


def test_of_a_batch_in_equal_parts_one_of_these_fits() -> None:
    ten = replace(PAIRS, batch_rows=10)
    sizes = {rows: cost.memory_bytes(LANGUAGE, ten, rows, "cpu")["total"] / GIB / cost.USABLE for rows in (2, 3)}
    assert cost.rows_at_once(LANGUAGE, ten, "cpu", sizes[3] * 1.0001) == 2
    uneven = replace(ten, effort=replace(ten.effort, even=False))
    assert cost.rows_at_once(LANGUAGE, uneven, "cpu", sizes[3] * 1.0001) == 3
    least = replace(ten, effort=replace(ten.effort, least=5))
    assert cost.rows_at_once(LANGUAGE, least, "cpu", sizes[3]) == 0
