"""Rows of tasks whose text may be a conversation: read into one form, cleaned turn by turn, checked.

An answer may stand in its own column or, where that is null, as the last turn of the conversation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, ClassVar

from ftcore.data.cleaning.rows import Plain
from ftcore.data.conversations import templates
from ftcore.data.conversations import turns as conversation
from ftcore.data.conversations.turns import MalformedError
from ftcore.models.outputs import examples
from ftcore.tasks import _rows
from ftcore.tasks._base import Task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from ftcore.data.cleaning.rows import Editor, Faults, Rows
    from ftcore.data.conversations.turns import Turn
    from ftcore.models.outputs import Example, Text

_NOTHING = ("[]", "{}")
"""Empty values, which are answers but no questions."""


class Conversation(Task):
    """A task whose text may be a conversation, in the base model's own chat template."""

    TARGET = "text"
    STRUCTURES = ("text", "context", "label", "rejected")
    TEMPLATED = True
    LAST_TURN_ANSWERS: ClassVar[bool] = True
    """Whether the last turn of a row without an answer is its answer; else it is scored where it stands."""

    system: str = ""
    """System prompt of rows without a context."""

    def parse_rows(self, rows: Rows) -> Faults:
        """Bring conversations into the one form, and answers into their own column: see ``LAST_TURN_ANSWERS``."""
        faults: Faults = {}
        for place in range(len(rows)):
            try:
                _row(rows, place, last_turn=self.LAST_TURN_ANSWERS)
            except MalformedError as error:
                faults[place] = str(error)
        return faults

    def clean_rows(self, rows: Rows, editor: Editor) -> None:
        """Clean each turn by itself, and other columns as texts; roles stay, and ids of calls match their results."""
        found = {place: turns for place, text in enumerate(rows.text) if (turns := conversation.load(text or ""))}
        rest = [place for place in range(len(rows)) if place not in found]
        for place, text in zip(rest, editor.texts([rows.text[p] for p in rest], rest, lines=True), strict=True):
            rows.text[place] = text
        pieces = [(place, piece) for place, turns in found.items() for piece in conversation.pieces(turns)]
        places, texts = [place for place, _ in pieces], [piece for _, piece in pieces]
        cleaned: Iterator[str] = iter(editor.texts(texts, places, lines=True))
        named = _named(found, editor)
        for place, turns in found.items():
            edited = conversation.edit(turns, lambda _: next(cleaned))
            rows.text[place] = conversation.write(conversation.renamed(edited, named.get(place, {})))
        Plain.clean_rows(rows, editor, ("context", "label", "rejected"))

    def check_rows(self, rows: Rows) -> Faults:
        """Name rows without a text or an answer, and what ``check_requests`` finds."""
        return _rows.missing(rows, text="text", label="answer") | self.check_requests(rows)

    def check_requests(self, rows: Rows) -> Faults:
        """Name conversations in which a turn is empty or nothing is asked."""
        found: Faults = {}
        for place, text in enumerate(rows.text):
            turns = conversation.load(text or "")
            if turns and (why := conversation.check(turns)):
                found[place] = why
        return found

    def turns(self, one: Example) -> list[Turn]:
        """A row as a conversation, without its answer: in the one form, tool calls apart from content."""
        found = _loaded(one.text) or [{"role": "user", "content": one.text}]
        system = one.context or self.system
        return [{"role": "system", "content": system}, *found] if system and found[0]["role"] != "system" else found

    def prompt(self, one: Example) -> list[Turn]:
        """A row as what the model is asked, for methods that learn from rewards and preferences.

        Role and content alone, so that every template and TRL's own tables hold it: tool calls stand in the content.
        """
        return conversation.shown(self.turns(one), tool_role="user")

    def unreadable(self, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Text]) -> Faults:
        """Rows that the base model's template refuses, or of which it leaves something out, and why.

        Each costs one row: they are left out of training and evaluation, and get no prediction.
        """
        templates.templated(tokenizer)
        found: Faults = {}
        for place, one in enumerate(examples(rows)):
            answer = [] if one.answer is None else [{"role": "assistant", "content": one.answer}]
            try:
                templates.render(tokenizer, [*self.turns(one), *answer], ask=not answer)
            except templates.RefusedError as error:
                found[place] = str(error.args[0])
        return found


def _named(found: dict[int, list[Turn]], editor: Editor) -> dict[int, dict[str, str]]:
    """By row other ids for those of calls that hold personal data, which are as good within one conversation."""
    every = [(place, one) for place, turns in found.items() for one in conversation.identities(turns)]
    cleaned = editor.masked([one for _, one in every], [place for place, _ in every])
    named: dict[int, dict[str, str]] = {}
    taken = set(every)
    for (place, old), new in zip(every, cleaned, strict=True):
        if old != new:
            other = next(name for n in count(1) if (place, name := f"call_{n}") not in taken)
            taken.add((place, other))
            named.setdefault(place, {})[old] = other
    return named


def _loaded(text: str) -> list[Turn] | None:
    found = conversation.load(text)
    with suppress(conversation.MalformedError):  # rows of an earlier version are in the form in which they came
        found = found or conversation.read(text)
    return found


def _row(rows: Rows, place: int, *, last_turn: bool) -> None:
    if (rows.text[place] or "").strip() in _NOTHING or conversation.is_nothing(rows.text[place]):
        raise MalformedError(f"the text looks like a conversation and cannot be read: {rows.text[place]} holds nothing")
    for name in ("text", "context", "label", "rejected"):
        _plain(name, getattr(rows, name), place)
    for column in (rows.label, rows.rejected):
        column[place] = column[place] and conversation.answer(rows.text[place], column[place] or "")
    turns = _read("text", rows.text[place])
    before = _read("context", rows.context[place])
    if before is not None:  # a history, or a system prompt written as a turn
        turns = [*before, *(turns or [{"role": "user", "content": rows.text[place] or ""}])]
        rows.context[place] = None
    asked = turns or [{"role": "user", "content": rows.text[place] or ""}]
    if len(asked) > 1 and asked[-1]["role"] == "assistant":
        asked = asked[:-1]  # the answer is there already, and the same prompt may stand before the label
    for name in ("label", "rejected"):
        column = getattr(rows, name)
        column[place] = _said(name, column[place], asked)
    if turns is None:
        return
    if turns[-1]["role"] == "assistant":
        turns = _answered(rows, place, turns, last_turn=last_turn)
    context = rows.context[place]
    if context and turns[0]["role"] == "system" and context.strip() != turns[0]["content"].strip():
        raise MalformedError("the row has a system prompt as context and another one in its conversation")
    rows.text[place] = conversation.write(turns)


def _plain(name: str, column: list[str | None], place: int) -> None:
    """Make content parts that stand without a turn their text."""
    try:
        found = conversation.parts(column[place])
    except MalformedError as error:
        raise MalformedError(f"{name}: {error}") from None
    if found is not None:
        column[place] = found
    elif conversation.is_nothing(column[place]):
        raise MalformedError(f"{name} is a list of nulls: {column[place]}")


def _read(name: str, value: str | None) -> list[Turn] | None:
    try:
        return conversation.read(value)
    except MalformedError as error:
        raise error if name == "text" else MalformedError(f"{name}: {error}") from None


def _answered(rows: Rows, place: int, turns: list[Turn], *, last_turn: bool) -> list[Turn]:
    """The turns before the answer, where the conversation ends with it."""
    last, label = turns[-1], rows.label[place]
    if label is None and not last_turn:
        return turns
    if last.get("tool_calls"):
        raise MalformedError("the conversation ends with tool calls, which cannot be learned as an answer")
    if len(turns) == 1:
        raise MalformedError("the conversation has only an assistant turn: there is no question")
    if turns[-2]["role"] == "assistant":  # read again, the first of them would be taken for the answer
        raise MalformedError("the conversation ends with two assistant turns, and one of them has to be the answer")
    if label is None:
        rows.label[place] = last["content"]
    elif label.strip() != last["content"].strip():
        raise MalformedError("the conversation ends with an assistant turn, and the row has another answer")
    return turns[:-1]


def _said(name: str, written: str | None, asked: list[Turn]) -> str | None:
    """An answer's text. A block of code is read as a conversation only where it repeats what is asked."""
    try:
        said = _read(name, written)
        if said is None or (conversation.is_fenced(written) and said[: len(asked)] != asked):
            return written
        return _answer(name, said, asked)
    except MalformedError:
        if conversation.is_fenced(written):
            return written
        raise


def _answer(name: str, said: list[Turn], asked: list[Turn]) -> str:
    """The text of an answer that is written as turns, with or without those that it answers."""
    if said[: len(asked)] == asked:
        said = said[len(asked) :]
    elif len(said) > 1 and said[0]["role"] == "system" and said[1 : 1 + len(asked)] == asked:
        said = said[1 + len(asked) :]
    if len(said) != 1 or said[0]["role"] != "assistant":
        roles = ", ".join(turn["role"] for turn in said) or "no turn"
        raise MalformedError(
            f"{name} is a conversation, and after the question it holds {roles}, not one assistant turn"
        )
    if said[0].get("tool_calls"):
        raise MalformedError(f"{name} is a tool call, which cannot be learned as an answer")
    return str(said[0]["content"])
