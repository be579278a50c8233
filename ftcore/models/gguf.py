"""Models in GGUF, as llama.cpp keeps them: unpacked once into safetensors that can be trained."""

from __future__ import annotations

import shutil
import struct
import tempfile
from pathlib import Path

from filelock import FileLock

from ftcore.errors import TrainingError
from ftcore.store.store import log


def unpack(file: Path, cache: Path) -> Path:
    """A folder with the model's float weights as safetensors, its configuration and tokenizer.

    Quantized weights become the floats that they stand for; what quantizing lost does not come back. A second call
    finds what the first one made.

    Args:
        file: the GGUF file.
        cache: where unpacked models are kept; takes four bytes a weight.

    Raises:
        TrainingError: the file is no GGUF model of an architecture that transformers knows.
    """
    status = file.stat()
    target = cache / "bases" / f"{file.stem}-{status.st_size:x}-{int(status.st_mtime):x}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.parent / f"{target.name}.lock"):
        if not (target / "config.json").is_file():
            log.info("unpacking %s, a minute or two", file.name)
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unpack-") as folder:
                made = Path(folder) / "model"
                _convert(file, made)
                shutil.rmtree(target, ignore_errors=True)
                made.rename(target)
    return target


def _convert(file: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        packed = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    except (OSError, ValueError, KeyError, IndexError, RuntimeError, ImportError, struct.error) as error:
        raise TrainingError(f"{file} cannot be read as a GGUF model: {error}") from error
    # A model that was read from GGUF refuses to be saved; a fresh one with its weights does not.
    config = packed.config.__class__.from_dict(
        {key: value for key, value in packed.config.to_dict().items() if key != "quantization_config"}
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(packed.state_dict())
    model.tie_weights()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
