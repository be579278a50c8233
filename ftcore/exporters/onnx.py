"""ONNX for ONNX Runtime on CPUs: float32, and int8 weights with activations quantized as they come."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from ftcore._find import Config as Base
from ftcore.errors import ExportError
from ftcore.outputs import pairs

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ftcore.outputs import Text

EXAMPLE = {"kind": "onnx", "precisions": ["int8", "fp32"]}
TASKS: tuple[str, ...] = ("classification", "multilabel", "pair")
"""Those with one row of outputs for each text."""
# Padded and of different lengths: what the sample does not vary would be frozen into the graph, the attention mask
# included.
SAMPLE = ("Short.", "A sentence that is quite a bit longer than the first one, so that padding is needed.")


class Config(Base):
    """Which graphs to write."""

    kind: Literal["onnx"] = "onnx"
    precisions: Annotated[tuple[Literal["fp32", "int8"], ...], Field(min_length=1)] = ("int8", "fp32")
    """The first one serves; ``int8`` is a quarter of the size."""


def names(config: Config) -> list[str]:
    """Names of the exports, the serving one first; each is a folder beside the model."""
    return [f"onnx-{precision}" for precision in config.precisions]


def export(config: Config, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write one folder for each precision, with ``model.onnx``, its weights and ``tokenizer.json``.

    Raises:
        ExportError: the exporter cannot translate the model.
    """
    from transformers.exporters import (
        ExportFormat,
        OnnxConfig,
        OnnxExporter,
        OnnxRuntimeDynamicConfig,
        OnnxRuntimeQuantizer,
    )

    sample = dict(tokenizer(list(SAMPLE), padding=True, return_tensors="pt"))
    with _quietly():
        try:
            program = OnnxExporter().export(model, sample, config=OnnxConfig(dynamic=True, ort_fusions="cpu")).program
            for precision, name in zip(config.precisions, names(config), strict=True):
                graph = program
                if precision == "int8":
                    quantizer = OnnxRuntimeQuantizer(OnnxRuntimeDynamicConfig(per_channel=True))
                    graph = quantizer.quantize(program, sample, ExportFormat.ONNX)
                (folder / name).mkdir(parents=True, exist_ok=True)
                OnnxExporter.save_program(graph, folder / name / "model.onnx")
                tokenizer.backend_tokenizer.save(str(folder / name / "tokenizer.json"))
        except (RuntimeError, ValueError, TypeError) as error:
            raise ExportError(f"{type(model).__name__} cannot be exported to ONNX: {error}") from error


def load(folder: Path, max_length_tokens: int, threads: int) -> Callable[[Sequence[Text]], dict[str, np.ndarray]]:
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
    tokenizer.enable_padding()
    wanted, given = ([node.name for node in nodes] for nodes in (session.get_inputs(), session.get_outputs()))

    def run(texts: Sequence[Text]) -> dict[str, np.ndarray]:
        encoded = tokenizer.encode_batch(pairs(texts))
        columns: dict[str, Any] = {
            "input_ids": [row.ids for row in encoded],
            "attention_mask": [row.attention_mask for row in encoded],
            "token_type_ids": [row.type_ids for row in encoded],
        }
        made = session.run(None, {name: np.array(columns[name], np.int64) for name in wanted})
        return dict(zip(given, map(np.asarray, made), strict=True))

    return run


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
