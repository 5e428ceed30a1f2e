# Targets for people; `make help` lists them. Everything lives in .venv, with the versions that requirements.lock pins.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
    $$p -c 'import sys, venv, ensurepip; assert sys.version_info[:2] in ((3, 11), (3, 12), (3, 13))' 2>/dev/null && echo $$p && break; done)
DATA ?= digits
CLUSTERS ?= 10
OUT ?= runs/$(basename $(notdir $(DATA)))
ARGS ?=
MNIST ?= ../shared/data/mnist_full.npz
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help setup run test test-slow test-reference lint bench-step mnist-test digits-table picture clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-16s %s\n", $$1, $$2}'

setup: $(READY)  ## make the virtual environment, with pinned versions

$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 with venv is needed; none was found (set PYTHON=...)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

run: $(READY)  ## cluster images: DATA=digits CLUSTERS=10 OUT=runs/... ARGS="further options of depict-jax fit"
	$(BIN)/depict-jax fit "$(DATA)" --clusters $(CLUSTERS) --out "$(OUT)" --overwrite $(ARGS)

test: $(READY)  ## run the tests (minutes)
	$(BIN)/python -m pytest

test-slow: $(READY)  ## run the slow tests too: trainings that take many minutes
	$(BIN)/python -m pytest -m "slow or not slow"

test-reference: $(READY)  ## check against the authors' weights and assignments; they must lie in ../shared
	$(BIN)/python -m pytest -m "reference and not slow"

lint: $(READY)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench-step: $(READY) .venv-peers/.ready  ## time a joint epoch of MNIST-test beside PyTorch's, turn by turn
	$(BIN)/python experiments/benchmarks/step.py

mnist-test: $(READY)  ## cluster the MNIST-test of MNIST=file.npz (70,000 rows, the last 10,000 are it) with default settings
	$(BIN)/python experiments/mnist_test.py $(MNIST)

digits-table: $(READY)  ## digits with three seeds, beside k-means and AC-PIC on the pixels
	$(BIN)/python experiments/digits.py

picture: $(READY)  ## make the README's picture from runs/digits
	$(BIN)/python experiments/readme_picture.py runs/digits docs/digits.png

.venv-peers/.ready:
	test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 numpy
	@touch $@

clean:  ## remove the environments and caches; runs/ stays
	rm -rf .venv .venv-peers .pytest_cache .ruff_cache .mypy_cache build dist
	find src tests experiments -name __pycache__ -type d -exec rm -rf {} +
