"""ONNX for ONNX Runtime on CPUs: float32, and int8 with scales that were measured on train rows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ftcore.errors import ExportError
from ftcore.export.exporters._base import Exporter
from ftcore.export.exporters._parity import TEXTS, mixed, prove, torch_outputs
from ftcore.models.features import pad_as, padding_side, tokens
from ftcore.models.outputs import Sample, pairs

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ftcore.models.outputs import Text

CALIBRATED = 128
"""Rows that the range of activations is measured on, one by one."""


class Onnx(Exporter):
    """Which graphs to write."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "onnx", "precisions": ["int8", "fp32"]}
    TASKS: ClassVar[tuple[str, ...]] = ("classification", "multilabel", "pair")
    """Those with one row of outputs for each text."""

    kind: Literal["onnx"] = "onnx"
    precisions: Annotated[tuple[Literal["fp32", "int8"], ...], Field(min_length=1)] = ("int8", "fp32")
    """The first one serves; ``int8`` is a quarter of the size."""

    def names(self) -> list[str]:
        """Names of the exports, the serving one first; each is a folder beside the model."""
        return [f"onnx-{precision}" for precision in self.precisions]

    def exact(self) -> list[str]:
        """Those in float32: their outputs must be the model's."""
        return [name for name in self.names() if name.endswith("fp32")]

    def export(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        folder: Path,
        sample: Sample | None = None,
    ) -> None:
        """Write one folder for each precision, with ``model.onnx``, its weights and ``tokenizer.json``; prove each."""
        from transformers.exporters import OnnxConfig, OnnxExporter

        from ftcore.export.exporters import _int8

        pad_as(model, tokenizer)
        model.config.get_text_config().use_cache = (
            False  # a decoder's keys and values would be outputs of the graph, too
        )
        sample = sample if sample and sample.texts else Sample(TEXTS)
        # Padded and of different lengths: what the sample does not vary is frozen into the graph, the mask included.
        varied = dict(tokens(model, tokenizer, TEXTS[:2], sample.max_length_tokens))

        def feeds(names: Sequence[str]) -> list[dict[str, np.ndarray]]:
            rows = [tokens(model, tokenizer, [text], sample.max_length_tokens) for text in sample.texts[:CALIBRATED]]
            return [{name: row[name].numpy() for name in names} for row in rows]

        with _quietly():
            try:
                program = (
                    OnnxExporter().export(model, varied, config=OnnxConfig(dynamic=True, ort_fusions="cpu")).program
                )
                for precision, name in zip(self.precisions, self.names(), strict=True):
                    graph = _int8.quantize(program, feeds) if precision == "int8" else program
                    (folder / name).mkdir(parents=True, exist_ok=True)
                    OnnxExporter.save_program(graph, folder / name / "model.onnx")
                    _write_tokenizer(model, tokenizer, folder / name / "tokenizer.json")
            except (RuntimeError, ValueError, TypeError) as error:
                raise ExportError(f"{type(model).__name__} cannot be exported to ONNX: {error}") from error
        right = torch_outputs(model, tokenizer, sample.max_length_tokens)
        proven = mixed(sample)
        for name in self.names():
            run = self.load(folder / name, sample.max_length_tokens, 1)
            prove(name, run, right, proven, exact=name in self.exact())

    @classmethod
    def load(
        cls, folder: Path, max_length_tokens: int, threads: int
    ) -> Callable[[Sequence[Text]], dict[str, np.ndarray]]:
        """The exported model: texts to what the graph gives, by name. Loads neither torch nor transformers.

        Raises:
            ExportError: the folder holds no model that ONNX Runtime can open.
        """
        import numpy as np
        import onnxruntime
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        try:
            session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # onnxruntime and tokenizers raise classes of their own that share no parent
            raise ExportError(f"{folder} holds no ONNX model that can be opened: {error}") from error
        tokenizer.enable_truncation(max_length_tokens)
        if tokenizer.padding is None:  # of an older export, whose model has no use for the token: it goes by the mask
            tokenizer.enable_padding()
        pad_id = (tokenizer.padding or {})["pad_id"]
        wanted = [node.name for node in session.get_inputs()]
        given = [node.name for node in session.get_outputs() if node.name.endswith("logits")]

        def run(texts: Sequence[Text]) -> dict[str, np.ndarray]:
            encoded = tokenizer.encode_batch(pairs(texts))
            columns: dict[str, Any] = {
                "input_ids": [row.ids or [pad_id] for row in encoded],
                "attention_mask": [row.attention_mask or [1] for row in encoded],
                "token_type_ids": [row.type_ids or [0] for row in encoded],
            }
            arrays = {name: np.array(columns[name], np.int64) for name in {*wanted, "attention_mask"}}
            mask = arrays["attention_mask"]
            mask[~mask.any(-1), 0] = 1  # a text without any token: see training.features.tokens
            made = session.run(given, {name: arrays[name] for name in wanted})
            return dict(zip(given, map(np.asarray, made), strict=True))

        return run


def _write_tokenizer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path: Path) -> None:
    """Write the tokenizer with the padding that the model was trained with."""
    from tokenizers import Tokenizer

    plain = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    plain.no_truncation()
    plain.enable_padding(
        direction=padding_side(model, tokenizer),
        pad_id=tokenizer.pad_token_id,
        pad_type_id=tokenizer.pad_token_type_id,
        pad_token=str(tokenizer.pad_token),
    )
    plain.save(str(path))


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep the exporters' notes on what they skip and test out of the log; what goes wrong is raised."""
    import contextlib
    import io

    loggers = [logging.getLogger(name) for name in ("", "torch.onnx", "transformers", "onnxruntime")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
