"""Texts that are written: scores are those of the libraries that everybody uses, likelihoods those of the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu import metrics as sacrebleu
from transformers import AutoModelForCausalLM

from ftcore.errors import DataRejectedError, NotEnoughDataError, TrainingError
from ftcore.models import loading
from ftcore.models.features import IGNORED
from ftcore.models.outputs import Example, examples
from ftcore.tasks import _language
from ftcore.tasks.chat import Chat
from ftcore.tasks.completion import Completion
from ftcore.tasks.seq2seq import Seq2Seq
from ftcore.training import batches
from tests.models import rows, small

RIGHT = ["the red door is a boat", "what colour is the green car ?", "a lamp", "the house is white .", ""]
SAID = ["the red car is a boat", "what colour is the green car ?", "", "white the house .", "a chair"]

CHAT = Chat()


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("llama")
    small("llama", folder)
    return folder


class TestScores:
    def test_corpus_scores_are_sacrebleus_and_means_are_rouges(self) -> None:
        table = rows(*((f"{n}", None, right) for n, right in enumerate(RIGHT)))
        tallies = CHAT.tallies(table, SAID)
        found = {name: float(value) for name, value in CHAT.metrics(tallies.sum(0)).items()}
        assert found["bleu"] * 100 == pytest.approx(
            sacrebleu.BLEU(effective_order=True).corpus_score(SAID, [RIGHT]).score
        )
        assert found["chrf"] * 100 == pytest.approx(sacrebleu.CHRF().corpus_score(SAID, [RIGHT]).score)
        scorer = RougeScorer(["rougeL"])
        each = [scorer.score(right, said)["rougeL"].fmeasure for right, said in zip(RIGHT, SAID, strict=True)]
        assert found["rouge_l"] == pytest.approx(np.mean(each))
        assert found["exact_match"] == pytest.approx(1 / 5)
        assert np.isnan([found["perplexity"], found["token_accuracy"]]).all()

    def test_what_was_not_written_has_likelihoods_only(self) -> None:
        table = rows(("a", None, "b"), ("c", None, "d"))
        tallies = CHAT.tallies(table, np.array([[2.0, 4, 1], [6.0, 4, 3]], np.float32))
        found = CHAT.metrics(np.stack([tallies.sum(0), tallies[0]]))
        assert found["perplexity"] == pytest.approx(np.exp([1.0, 0.5]))
        assert found["token_accuracy"] == pytest.approx([0.5, 0.25])
        assert np.isnan(found["chrf"]).all()
        assert np.isnan(found["exact_match"]).all()

    def test_of_no_row_nothing_is_known(self) -> None:
        nothing = CHAT.tallies(rows(), [])
        assert nothing.shape == (0, _language.WIDTH)
        assert all(np.isnan(value) for value in CHAT.metrics(nothing.sum(0)).values())


class TestWanted:
    def test_a_split_without_rows_is_too_little(self) -> None:
        with pytest.raises(NotEnoughDataError, match="the validation split has no row"):
            Chat().check({"train": rows(("a", None, "b")), "validation": rows()})

    def test_rows_without_an_answer_are_named(self) -> None:
        with pytest.raises(DataRejectedError, match="1 rows of the train split have no label") as error:
            Seq2Seq().check({"train": rows(("a", None, "b"), ("c", None, None))})
        assert "row 1" in str(error.value)


class TestChat:
    @pytest.fixture
    def words(self, llama: Path) -> Any:
        return loading.tokenizer(llama)

    def encoded(self, words: Any, length: int, *given: tuple[str, str | None, str | None], **config: Any) -> Any:
        return Chat(**config).encode(words, rows(*given), length)

    def test_only_the_answer_is_learnt_and_it_ends(self, words: Any) -> None:
        one = self.encoded(words, 60, ("what is red ?", "a lamp .", "the door"))[0]
        learnt = [token for token in one["labels"] if token != IGNORED]
        assert words.convert_ids_to_tokens(learnt) == ["the", "door", "[SEP]"]
        assert one["labels"][-len(learnt) :] == learnt == one["input_ids"][-len(learnt) :]
        said = words.decode(one["input_ids"])
        assert said.index("system a lamp") < said.index("user what is red") < said.index("assistant the door")

    def test_a_long_conversation_loses_its_beginning(self, words: Any) -> None:
        given = ("the red door " * 10, None, "green car")
        whole, cut = self.encoded(words, 200, given), self.encoded(words, 12, given)
        assert (whole.truncated, cut.truncated) == (0, 1)
        assert cut[0]["input_ids"] == whole[0]["input_ids"][-12:]
        assert cut[0]["labels"] == whole[0]["labels"][-12:]

    def test_a_long_answer_keeps_its_beginning_behind_one_token(self, words: Any) -> None:
        cut = self.encoded(words, 8, ("a ?", None, "red green blue " * 6))[0]
        assert words.convert_ids_to_tokens(cut["input_ids"][1:]) == ["red", "green", "blue"] * 2 + ["red"]
        assert cut["labels"] == [IGNORED, *cut["input_ids"][1:]]

    def test_the_system_prompt_is_the_rows_own_or_the_recipes(self) -> None:
        config = Chat(system="the house")
        assert config.prompt(Example("a ?"))[0] == {"role": "system", "content": "the house"}
        assert config.prompt(Example("a ?", "the boat"))[0]["content"] == "the boat"
        assert [m["role"] for m in Chat().prompt(Example("a ?"))] == ["user"]

    def test_a_conversation_so_far_may_be_given_as_json(self) -> None:
        said = [("user", "a ?"), ("assistant", "b"), ("user", "c")]
        text = json.dumps([{"role": role, "content": content} for role, content in said])
        assert [m["content"] for m in Chat().prompt(Example(text))] == ["a ?", "b", "c"]
        for odd in ("[sic] what ?", '["a"]', "[]", '[{"role": "user"}]'):
            assert Chat().prompt(Example(odd)) == [{"role": "user", "content": odd}]

    def test_a_template_without_the_system_role_says_so(self, words: Any) -> None:
        words.chat_template = (
            "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
            "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}"
            "{% if add_generation_prompt %}assistant: {% endif %}"
        )
        assert len(self.encoded(words, 60, ("a ?", None, "b"))) == 1
        with pytest.raises(TrainingError, match="refuses a conversation of system, user: System role") as error:
            self.encoded(words, 60, ("a ?", "be brief", "b"))
        assert "put it into the text" in error.value.hint

    def test_an_encoder_is_no_language_model(self, tmp_path: Path) -> None:
        small("bert", tmp_path)
        with pytest.raises(TrainingError, match="is an encoder: it reads what comes behind a token"):
            Chat().load(tmp_path)

    def test_a_template_that_passes_over_the_system_role_says_so(self, words: Any) -> None:
        words.chat_template = (
            "{% for m in messages if m.role != 'system' %}{{ m.role }}: {{ m.content | trim }}{% endfor %}"
            "{% if add_generation_prompt %}assistant: {% endif %}"
        )
        assert len(self.encoded(words, 60, (" a ? ", None, "b"))) == 1
        with pytest.raises(TrainingError, match="leaves out turns of the role system"):
            self.encoded(words, 60, ("a ?", "be brief", "b"))

    def test_likelihoods_are_those_of_each_row_alone_and_of_the_models_own_loss(self, words: Any, llama: Path) -> None:
        given = [("a ?", None, "red"), ("what is the colour of the door ?", "the house", "blue green blue")]
        config = Chat()
        predict = config.predictor(llama, 60)
        asked = [Example(*row) for row in given]
        together = predict(asked)
        assert together == pytest.approx(np.concatenate([predict([one]) for one in asked]), rel=1e-5)
        model = AutoModelForCausalLM.from_pretrained(llama).eval()
        for found, one in zip(together, (self.encoded(words, 60, row)[0] for row in given), strict=True):
            batch = {name: torch.tensor([values]) for name, values in one.items()}
            with torch.inference_mode():
                assert found[0] / found[1] == pytest.approx(model(**batch).loss.item(), rel=1e-5)

    def test_a_question_without_an_answer_is_answered_alike_alone_and_in_a_batch(self, llama: Path) -> None:
        predict = Chat(answer_tokens=5).predictor(llama, 60)
        asked = [
            Example("a ?"),
            Example("what is the colour of the red door ?", "the house"),
            Example("is the car red ?"),
        ]
        together = predict(asked)
        assert together == [predict([one])[0] for one in asked]
        assert all(isinstance(text, str) for text in together)

    def test_packed_rows_lose_what_each_alone_loses(self, words: Any, llama: Path) -> None:
        features = self.encoded(words, 60, *((f"the {c} ?", None, f"{c} is red") for c in ("door", "car", "a lamp")))
        packed = batches.Packed(features, 60)
        assert len(packed) < len(features)
        model = AutoModelForCausalLM.from_pretrained(llama).eval()
        collate = Chat().collator(words)
        with torch.inference_mode():
            batch = collate([features[n] for n in range(3)])
            plain = _language.likelihoods(model(**batch).logits[:, :-1], batch["labels"][:, 1:]).sum(0)
            joined = batches.collate_packed([packed[n] for n in range(len(packed))])
            labels = joined.pop("labels")
            together = _language.likelihoods(model(**joined, use_cache=False).logits[:, :-1], labels[:, 1:]).sum(0)
        assert together == pytest.approx(plain, rel=1e-5)


class TestCompletion:
    TEXT = "the red door is a boat and the green car is a lamp . what is the colour of the house ?"

    @pytest.mark.parametrize("stride", [1, 3, 7])
    @pytest.mark.parametrize("length", [8, 9, 64])
    def test_windows_learn_each_token_once(self, llama: Path, length: int, stride: int) -> None:
        words = loading.tokenizer(llama)
        features = Completion(stride_tokens=stride).encode(words, rows((self.TEXT, None, None)), length)
        ids = [*words(self.TEXT)["input_ids"], words.eos_token_id]
        learnt = [token for n in range(len(features)) for token in features[n]["labels"][1:] if token != IGNORED]
        assert learnt == ids[1:]
        assert max(features.lengths) <= length
        assert set(features.row_ids) == {"0"}

    def test_perplexity_is_that_of_the_models_own_loss(self, llama: Path) -> None:
        words, model = loading.tokenizer(llama), AutoModelForCausalLM.from_pretrained(llama).eval()
        ids = torch.tensor([[*words(self.TEXT)["input_ids"], words.eos_token_id]])
        with torch.inference_mode():
            loss = model(input_ids=ids, labels=ids).loss.item()
        found = Completion().predictor(llama, 64)([self.TEXT])
        sums = Completion().tallies(rows((self.TEXT, None, None)), found).sum(0)
        values = Completion().metrics(sums)
        assert values["perplexity"] == pytest.approx(np.exp(loss), rel=1e-5)
        bits = loss * (ids.shape[1] - 1) / np.log(2) / len(self.TEXT.encode())
        assert values["bits_per_byte"] == pytest.approx(bits, rel=1e-5)

    def test_a_longer_context_changes_a_window_but_not_the_count(self, llama: Path) -> None:
        short, long = (Completion(stride_tokens=stride).predictor(llama, 8)([self.TEXT])[0] for stride in (1, 7))
        assert short[1] == long[1]
        assert short[0] != long[0]

    def test_every_row_will_do_and_none_needs_a_label(self) -> None:
        assert Completion().valid(None)
        labels, scores = Completion().answers(np.array([[0.0, 3, 3], [np.log(4), 2, 1]]))
        assert labels == ["", ""]
        assert scores == pytest.approx([1.0, 0.5])


def test_seq2seq_is_judged_by_likelihood_where_asked(tmp_path: Path) -> None:
    small("t5", tmp_path)
    config = Seq2Seq(judge_by="likelihood", prefix="what : ")
    asked = examples([Example("the red door", None, "a boat"), Example("the lamp", None, "green car is red")])
    predict = config.predictor(tmp_path, 32)
    found = predict(asked)
    words, model = loading.tokenizer(tmp_path), config.load(tmp_path).eval()
    for one, row in zip(found, asked, strict=True):
        batch = words("what : " + row.text, return_tensors="pt")
        with torch.inference_mode():
            loss = model(**batch, labels=words(row.answer, return_tensors="pt")["input_ids"]).loss.item()
        assert one[0] / one[1] == pytest.approx(loss, rel=1e-4)
    written = predict([Example("the red door")])
    assert isinstance(written[0], str)
