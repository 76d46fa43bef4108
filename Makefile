# make demo   exports the packaged network to five targets, proves each, runs it on two photos
# make test   linters, type checks, then the tests; with SLOW=1 those that take long, too
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo test lint wheel matrix bench clean

PYTHON ?= python3.11
WORKERS ?= 2
SLOW ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
MODEL := mobilenetv4_conv_small
BUNDLE := runs/$(MODEL).bundle

help:
	@echo "make demo    export $(MODEL) to five targets, prove each, run it on two photos"
	@echo "make test    ruff, mypy, import rules, then pytest but for its slow tests; make test SLOW=1 runs them, too"
	@echo "make lint    the same without pytest"
	@echo "make wheel   dist/edge_sdk-*.whl, to install elsewhere"
	@echo "make matrix  every network to every target (w8a8: one a family), into docs/matrix.md; goes on where it stopped"
	@echo "make bench   the numbers of the README, measured here"
	@echo "make clean   remove runs, builds and caches; $(VENV) stays"
	@echo "Each makes $(VENV) first, from requirements.lock. Another interpreter: make PYTHON=/path/to/python3.11 demo"

$(READY): requirements.lock pyproject.toml
	@command -v "$(PYTHON)" >/dev/null || { echo "error: $(PYTHON) was not found; install Python 3.11, or: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "error: $(PYTHON) is $$("$(PYTHON)" --version 2>&1); Python 3.11 is needed, for which requirements.lock was resolved" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "error: $(PYTHON) has no venv module; on Debian or Ubuntu: apt-get install python3.11-venv" >&2; exit 1; }
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY)
	$(BIN)/sdk export $(MODEL) --target all --out runs/
	$(BIN)/sdk verify $(BUNDLE)
	$(BIN)/sdk run $(BUNDLE) sdk/photos/chelsea.png sdk/photos/coffee.png
	@echo "The report: $(BUNDLE)/report.html"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Two workers, because an export may take 4 GB; one thread each, because two that take every core are slower
# than one; a file stays with one worker, so that its fixtures are made once; the longest come first, as
# tests/conftest.py sorts them, so that both workers end together.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(if $(SLOW),,-m "not slow")

# setuptools would take old files out of a build folder that is already there.
wheel: $(READY)
	rm -rf build
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	rm -rf build

matrix: $(READY)
	$(BIN)/sdk matrix --out docs

bench: $(READY)
	$(BIN)/python tests/benchmarks/startup.py
	$(BIN)/python tests/benchmarks/zoo.py
	$(BIN)/python tests/benchmarks/export.py

clean:
	rm -rf runs build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -path ./$(VENV) -prune -o -type d -name __pycache__ -exec rm -rf {} +
