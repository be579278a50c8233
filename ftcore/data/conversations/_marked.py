"""Conversations that somebody wrote down in a chat template: turns that marks begin and end, in one text.

Read are ChatML, the templates of Llama 2 and Mistral (``[INST]``), Llama 3, Gemma, Zephyr and Phi, and dialogues of
``Human:`` and ``Assistant:`` as Anthropic's HH and Guanaco have them. The whole text must be marked turns: one that
begins with a mark and goes on otherwise is broken, one that only mentions marks is a text like any other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ftcore.data.conversations import _forms
from ftcore.data.conversations._forms import AROUND
from ftcore.data.conversations._malformed import MalformedError

_FRAME = ("<s>", "</s>", "<bos>", "<eos>", "<|begin_of_text|>", "<|end_of_text|>", "<|endoftext|>")
"""What tokenizers put before and behind a text."""
_BEGIN = re.compile(rf"(?:\s|{'|'.join(map(re.escape, _FRAME))})*")
_INSTRUCTED = ("[INST]", "[SYSTEM_PROMPT]")


@dataclass(frozen=True)
class _Family:
    """A template whose turns begin with a mark that names the role."""

    name: str
    header: re.Pattern[str]
    """The mark with the role as its group, and the line end behind it."""
    end: re.Pattern[str] | None = None
    """Mark behind a content; None where the next header, or the end of the text, ends it."""
    closed: bool = False
    """Whether each turn must have its end."""
    marks: re.Pattern[str] | None = None
    """What no content may hold; None where the marks are words."""


_FAMILIES = (
    _Family(
        "ChatML",
        re.compile(r"<\|im_start\|>[ \t]*(\w+)[ \t]*\r?\n?"),
        re.compile(r"<\|im_end\|>"),
        closed=True,
        marks=re.compile(r"<\|im_(?:start|end)\|>"),
    ),
    _Family(
        "Llama 3",
        re.compile(r"<\|start_header_id\|>[ \t]*(\w+)[ \t]*<\|end_header_id\|>\r?\n?"),
        re.compile(r"<\|eo[tm]_id\|>"),
        closed=True,
        marks=re.compile(r"<\|(?:start_header_id|end_header_id|eo[tm]_id)\|>"),
    ),
    _Family(
        "Gemma",
        re.compile(r"<start_of_turn>[ \t]*(\w+)[ \t]*\r?\n?"),
        re.compile(r"<end_of_turn>"),
        closed=True,
        marks=re.compile(r"<(?:start|end)_of_turn>"),
    ),
    _Family(
        "Zephyr",
        re.compile(r"<\|(system|user|assistant)\|>[ \t]*\r?\n?"),
        re.compile(r"</s>|<\|end\|>|<\|endoftext\|>"),
        marks=re.compile(r"<\|(?:system|user|assistant|end)\|>"),
    ),
    _Family("Guanaco", re.compile(r"###[ \t]*(Human|Assistant)[ \t]*:")),
)
_PARAGRAPHS = _Family("dialogue", re.compile(r"(?:\A|\n\r?\n)[ \t]?(Human|Assistant):"))
_LINES = _Family("dialogue", re.compile(r"(?:\A|\n)[ \t]?(Human|Assistant):"))
_BOTH = {"Human", "Assistant"}
FENCE = "```"
"""What a block of code begins and ends with in Markdown."""
_FENCED = re.compile(
    rf"{FENCE}[ \t]*(?:jsonl?|json5|python)?[ \t]*\r?\n(.*?)(\n[ \t]*{FENCE}.*|\Z)", re.DOTALL | re.IGNORECASE
)
_INST = re.compile(r"(\[/?INST\])")
_SYSTEM = re.compile(r"\s*(?:<<SYS>>(.*?)<</SYS>>|\[SYSTEM_PROMPT\](.*?)\[/SYSTEM_PROMPT\])", re.DOTALL)
_SYSTEM_MARKS = re.compile(r"<</?SYS>>|\[/?SYSTEM_PROMPT\]")


def read(text: str) -> list[dict[str, Any]] | None:
    """The messages of a text of marked turns; None for any other text.

    A header of the assistant without content at the end only asks for an answer, and is no turn.

    Raises:
        MalformedError: the text begins with a mark, and its turns cannot be told apart.
    """
    bare = _bare(text)
    if bare.startswith(_INSTRUCTED):
        return _instructed(bare)
    family = _of(text, bare)
    return None if family is None else _eval_batches(family, _unframed(bare))


def fenced(text: str) -> str | None:
    """What stands in a text that is one fenced block of code, where it begins like messages; None for any other text.

    Raises:
        MalformedError: the block has no end.
    """
    block = _FENCED.match(text)
    if not block or block[2].strip().strip("`"):
        return None  # more stands behind it: a question about a conversation
    inner = block[1].strip(AROUND)
    if not _forms.STARTS.match(inner):
        return None
    if not block[2] and _forms.MENTIONS.search(inner) and _forms.looks(inner):
        raise MalformedError(f"the block of code around a conversation is not closed: {text[:80]!r}")
    return inner if block[2] else None


def answer(text: str, written: str) -> str:
    """An answer without the mark that ends it, where the text that it answers has a chat template's marks.

    Raises:
        MalformedError: marks stand within the answer.
    """
    bare, own = _bare(text), _bare(written)
    if bare.startswith(_INSTRUCTED):
        family, marks, turn = None, _INST, own.startswith(_INSTRUCTED)
    elif (family := _of(text, bare)) and family.marks:
        marks, turn = family.marks, family.header.match(own) is not None
    else:
        return written
    if turn:  # or a whole conversation
        return written
    found = _unframed(written)
    ends = list(family.end.finditer(found)) if family and family.end else []
    if ends and ends[-1].end() == len(found):
        found = found[: ends[-1].start()]
    if stray := marks.search(found):
        raise MalformedError(f"the answer holds the mark {stray.group()!r} of a chat template")
    return found


def _bare(text: str) -> str:
    """A text without what stands before its first mark."""
    text = text.lstrip(AROUND)
    return text[_BEGIN.match(text).end() :]  # type: ignore[union-attr]


def _unframed(text: str) -> str:
    """A text without blanks and a tokenizer's marks behind it."""
    while True:
        text = text.rstrip(AROUND)
        ending = next((one for one in _FRAME if text.endswith(one)), None)
        if ending is None:
            return text
        text = text.removesuffix(ending)


def _of(text: str, bare: str) -> _Family | None:
    """The template by whose mark a text begins, as a turn does and a sentence about it does not."""
    for family in _FAMILIES:
        header = family.header.match(bare)
        if header and family.end and (header.group().endswith("\n") or family.end.search(bare)):
            return family
        if header and not family.end and {*family.header.findall(bare)} == _BOTH:
            return family
    if not bare.startswith(("Human:", "Assistant:")):
        return None
    if text.startswith(("\n\nHuman:", "\n\nAssistant:")) or {*_PARAGRAPHS.header.findall(bare)} == _BOTH:
        return _PARAGRAPHS
    return _LINES if bare.startswith("Human:") and {*_LINES.header.findall(bare)} == _BOTH else None


def _eval_batches(family: _Family, text: str) -> list[dict[str, Any]]:
    headers = list(family.header.finditer(text))
    until = [*(one.start() for one in headers[1:]), len(text)]
    found: list[dict[str, Any]] = []
    for number, (header, to) in enumerate(zip(headers, until, strict=True), 1):
        role, content = header.group(1).lower(), text[header.end() : to]
        where = f"turn {number} ({role}) of a text in the form of {family.name}"
        end = family.end.search(content) if family.end else None
        asks = end is None and to == len(text) and role in ("assistant", "model") and not content.strip()
        if end is None and family.closed and not asks:
            raise MalformedError(f"{where} has no end mark")
        if end is not None and (rest := _unframed(_bare(content[end.end() :]))):
            raise MalformedError(f"more stands behind {where}: {rest[:60]!r}")
        content = content[: end.start()] if end else content
        if family.marks and (stray := family.marks.search(content)):
            raise MalformedError(f"{where} holds {stray.group()!r}")
        if not asks and (content.strip() or role != "system"):
            found.append({"role": role, "content": content.strip()})
    if not found:
        raise MalformedError(f"a text in the form of {family.name} asks nothing")
    return found


def _instructed(text: str) -> list[dict[str, Any]]:
    """Turns of Llama 2 and Mistral: the user's in brackets, the assistant's behind them."""
    found: list[dict[str, Any]] = []
    if text.startswith("[SYSTEM_PROMPT]") and (system := _SYSTEM.match(text)):
        found.append({"role": "system", "content": system[2].strip()})
        text = _bare(text[system.end() :])
    before, *pieces = _INST.split(text)
    marks, bodies = pieces[::2], pieces[1::2]
    if before.strip() or not marks or marks != ["[INST]", "[/INST]"] * (len(marks) // 2):
        raise MalformedError("the marks [INST] and [/INST] of a text do not take turns")
    for place, (mark, body) in enumerate(zip(marks, bodies, strict=True)):
        if mark == "[/INST]":
            said = _unframed(_bare(body))
            if said or place < len(marks) - 1:
                found.append({"role": "assistant", "content": said})
            continue
        system = None if found else _SYSTEM.match(body)
        if system:
            found.append({"role": "system", "content": (system[1] or system[2] or "").strip()})
        found.append({"role": "user", "content": body[system.end() if system else 0 :].strip()})
    for number, turn in enumerate(found, 1):
        if stray := _SYSTEM_MARKS.search(turn["content"]):
            raise MalformedError(f"turn {number} ({turn['role']}) of a text with [INST] holds {stray.group()!r}")
    return found
