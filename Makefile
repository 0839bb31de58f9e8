# Needs Python >= 3.10 (with venv), make and gcc. Everything else is installed into .venv by the first target
# that needs it, in the versions of constraints.txt.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt
# The test workers are the parallelism: more threads than cores only get into each other's way.
# Work is stolen, as slow tests lie beside each other: one worker would end with all of them.
PYTEST := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest
BENCHMARKS := $(filter-out benchmarks/measuring.py,$(wildcard benchmarks/*.py))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check format test-slow test-gpu docs bench clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s  %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.installed ## generate scenes, fit a tiny model, validate, predict, report: all of it, offline, into demo/
	$(BIN)/vfmseg demo

test: $(VENV)/.installed-dev ## run the fast tests on all cores
	$(PYTEST) -n auto --dist worksteal

check: $(VENV)/.installed-dev ## lint, formatting, types and the import rule
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test-slow: $(VENV)/.installed-dev ## run the slow tests; with VFMSEG_CAMVID=camvid.zip those on CamVid, too
	$(PYTEST) -n auto --dist worksteal -m "slow or camvid"

test-gpu: $(VENV)/.installed-dev ## run the tests that need a CUDA device
	$(BIN)/python -m pytest -m gpu

docs: $(VENV)/.installed-docs ## write the generated reference pages and build the documentation into site/
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/generate_rein_recipes.py
	$(BIN)/python -m mkdocs build --strict

bench: $(VENV)/.installed-dev ## run every script in benchmarks/, one after another
	@set -e; for script in $(BENCHMARKS); do echo "== $$script"; $(BIN)/python $$script; done

clean: ## remove .venv, caches and everything built; runs/ stays
	rm -rf $(VENV) site build dist demo .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache
	find src tests benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.created:
	@command -v $(PYTHON) > /dev/null || { echo "There is no $(PYTHON). Name a Python 3.10 or newer: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "vfmseg needs Python 3.10 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/.created
	@echo "Installing vfmseg into $(VENV): once, some minutes and several GB, most of it torch ..."
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/.created
	@echo "Installing vfmseg and its development tools into $(VENV): once, some minutes and several GB, most of it torch ..."
	$(INSTALL) --editable '.[dev]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-docs: pyproject.toml constraints.txt | $(VENV)/.created
	$(INSTALL) --editable '.[docs]'
	@touch $(VENV)/.installed $@
