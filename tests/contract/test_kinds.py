"""Every kind that lies in a room keeps the room's contract, which is the room's ``_template.py``."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import ValidationError

from ftcore import settings
from ftcore.cli import scaffold
from ftcore.data.cleaning.rows import ask
from ftcore.data.sources import files
from ftcore.data.sources._mapping import Batch, Mapper
from ftcore.recipe import kinds, reading
from ftcore.training.methods._base import Method
from ftcore.training.strategies._base import Strategy

CLASSES = {"gates", "methods"}
