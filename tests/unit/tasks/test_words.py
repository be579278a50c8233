"""Texts of every script are compared by words, or by characters where a script puts no spaces between words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import tokenize
from rouge_score.rouge_scorer import RougeScorer, _lcs_table
from sacrebleu import metrics as sacrebleu

from ftcore.statistics.intervals import values
from ftcore.tasks import _words
from ftcore.tasks.chat import Chat
from ftcore.tasks.qa import QuestionAnswering
from tests.models import rows

# What is right, and the same with one word changed.
SCRIPTS = {
    "Cyrillic": ("Кошка спит на тёплой крыше", "Собака спит на тёплой крыше"),
    "Arabic": ("القط ينام على السطح الدافئ", "الكلب ينام على السطح الدافئ"),
    "Devanagari": ("बिल्ली गर्म छत पर सोती है", "कुत्ता गर्म छत पर सोता है"),
    "Han": ("猫在温暖的屋顶上睡觉", "狗在温暖的屋顶上睡觉"),
    "Japanese": ("猫は暖かい屋根の上で眠る", "犬は暖かい屋根の上で眠る"),
    "Katakana": ("コーヒーを飲みました", "ジュースを飲みました"),
    "Thai": ("แมวนอนบนหลังคาอุ่น", "หมานอนบนหลังคาอุ่น"),
    "Lao": ("ແມວນອນຢູ່ເທິງຫຼັງຄາ", "ໝານອນຢູ່ເທິງຫຼັງຄາ"),
    "Khmer": ("ឆ្មាដេកលើដំបូល", "ឆ្កែដេកលើដំបូល"),
    "Myanmar": ("ကြောင်သည်ခေါင်မိုးပေါ်တွင်အိပ်သည်", "ခွေးသည်ခေါင်မိုးပေါ်တွင်အိပ်သည်"),
    "Hangul": ("고양이는 따뜻한 지붕에서 잔다", "강아지는 따뜻한 지붕에서 잔다"),
    "Greek": ("Η γάτα κοιμάται στη ζεστή στέγη", "Ο σκύλος κοιμάται στη ζεστή στέγη"),
    "Hebrew": ("החתול ישן על הגג החם", "הכלב ישן על הגג החם"),
    "Tamil": ("பூனை சூடான கூரையில் தூங்குகிறது", "நாய் சூடான கூரையில் தூங்குகிறது"),
    "Georgian": ("კატა თბილ სახურავზე სძინავს", "ძაღლი თბილ სახურავზე სძინავს"),
    "Latin": ("The cat sleeps on the warm roof", "The dog sleeps on the warm roof"),
    "French": ("Le café est très cher à Genève", "Le thé est très cher à Genève"),
}
ASCII = st.text("abcAB 19.,_'-!?", max_size=30)


def scores(written: str, right: str) -> dict[str, float]:
    """BLEU, chrF, ROUGE-L, exact match and word F1 of one row."""
    table = rows(("x", None, right))
    found = {}
    for prefix, task in (("", Chat()), ("qa_", QuestionAnswering())):
        sums = task.tallies(table, [written]).sum(0)[None]
        found |= {prefix + n: float(v[0]) for n, v in values(task.metrics, sums).items()}
    return {name: value for name, value in found.items() if not np.isnan(value)}


@pytest.mark.parametrize("script", SCRIPTS)
def test_equal_texts_are_one_and_a_changed_word_is_between(script: str) -> None:
    right, changed = SCRIPTS[script]
    assert scores(right, right) == pytest.approx(
        dict.fromkeys(("chrf", "bleu", "rouge_l", "exact_match", "qa_f1", "qa_exact_match"), 1.0)
    )
    found = scores(changed, right)
    assert found.pop("exact_match") == found.pop("qa_exact_match") == 0
    assert set(found) == {"chrf", "bleu", "rouge_l", "qa_f1"}
    assert all(0.05 < value < 0.98 for value in found.values()), found


@settings(max_examples=60)
@given(st.text(max_size=20))
def test_any_text_equals_itself(text: str) -> None:
    found = scores(text, text)
    assert all(value == pytest.approx(1) for value in found.values())
    assert found["rouge_l"] == found["exact_match"] == found["qa_f1"] == 1


@settings(max_examples=60)
@given(st.lists(st.tuples(ASCII, ASCII), min_size=1, max_size=4))
def test_ascii_is_scored_as_by_rouge_score_and_sacrebleu(pairs: list[tuple[str, str]]) -> None:
    written, right = [one for one, _ in pairs], [other for _, other in pairs]
    table = rows(*(("x", None, label) for label in right))
    found = Chat().metrics(Chat().tallies(table, written).sum(0))
    bleu = sacrebleu.BLEU(effective_order=True).corpus_score(written, [right])
    chrf = sacrebleu.CHRF().corpus_score(written, [right])
    assert found["bleu"] * 100 == pytest.approx(bleu.score, nan_ok=True) or not bleu.sys_len + bleu.ref_len
    assert found["chrf"] * 100 == pytest.approx(chrf.score) or np.isnan(found["chrf"])
    each = [
        RougeScorer(["rougeL"]).score(label, text)["rougeL"].fmeasure
        for text, label in pairs
        if any(map(str.isalnum, text)) and any(map(str.isalnum, label))
    ]
    if len(each) == len(pairs):  # a text without any word is compared by its characters
        assert found["rouge_l"] == pytest.approx(np.mean(each))


@settings(max_examples=60)
@given(ASCII)
def test_words_of_ascii_are_rouge_scores(text: str) -> None:
    tokens = tokenize.tokenize(text, None)
    assert tokens in ([], _words.words(text))


@settings(max_examples=60)
@given(*[st.lists(st.sampled_from("abcd"), max_size=12)] * 2)
def test_the_longest_common_subsequence_is_rouge_scores(one: list[str], other: list[str]) -> None:
    assert _words.common_subsequence(one, other) == _lcs_table(one, other)[-1][-1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("iPhone 15的价格", ["iphone", "15", "的", "价", "格"]),
        ("बिल्ली।", ["बिल्ली"]),
        ("می‌خواهم", ["می‌خواهم"]),
        ("ｉＰｈｏｎｅ", ["iphone"]),
        ("don't_stop", ["don", "t", "stop"]),
        ("Cafe\u0301", ["café"]),
        ("กำ", ["ก\u0e4d", "า"]),
        ("🙂", ["🙂"]),
        ("", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert _words.words(text) == words


@pytest.mark.parametrize(
    ("written", "right", "f1"),
    [
        ("«Москва».", "Москва", 1),
        ("दिल्ली।", "दिल्ली", 1),
        ("北京。", "北京", 1),
        ("the Eiffel Tower", "Eiffel Tower!", 1),
        ("A股", "股", 2 / 3),  # no English article
        ("витамин A", "витамин C", 1 / 2),
        ("１９８０", "1980", 1),
    ],
)
def test_punctuation_of_every_script_and_articles_of_english_count_for_nothing(
    written: str, right: str, f1: float
) -> None:
    assert scores(written, right)["qa_f1"] == pytest.approx(f1)


def test_of_nothing_written_and_nothing_right_no_ngram_is_measured() -> None:
    assert scores("", "") == {"rouge_l": 1, "exact_match": 1, "qa_f1": 1, "qa_exact_match": 1}
