"""What the server imports that processes are forked from; see ``tests.forks``."""

import importlib
from contextlib import suppress

from ftcore import pipeline

for step in (*pipeline.RING["data"], *pipeline.RING["finetune"]):
    for name in getattr(importlib.import_module(f"ftcore.steps.{step}"), "NEEDS", ()):
        with suppress(ImportError):
            importlib.import_module(name)
importlib.import_module("tests.integration._together")
