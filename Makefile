# Targets for people; `make help` lists them. Everything lives in .venv, with the versions that requirements.lock pins.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
    $$p -c 'import sys, venv, ensurepip; assert sys.version_info[:2] in ((3, 11), (3, 12), (3, 13))' 2>/dev/null && echo $$p && break; done)
DATA ?= digits
CLUSTERS ?= 10
OUT ?= runs/$(basename $(notdir $(DATA)))
ARGS ?=
MINUTES ?= 10
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help setup run doctor test test-slow test-reference fuzz lint bench bench-step bench-acpic bench-predict bench-startup bench-seeds bench-microbatches bench-stream bench-scaling bench-job-test bench-job-full bench-peers bench-peers-test bench-peers-full picture clean

help:  ## list the targets
	@grep -hE '^[a-zA-Z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-18s %s\n", $$1, $$2}'

setup: $(READY)  ## make the virtual environment, with pinned versions

$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 with venv is needed; none was found (set PYTHON=...)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

run: $(READY)  ## cluster images: DATA=digits CLUSTERS=10 OUT=runs/... ARGS="further options of depict-jax fit"
	$(BIN)/depict-jax fit "$(DATA)" --clusters $(CLUSTERS) --out "$(OUT)" --overwrite $(ARGS)

doctor: $(READY)  ## devices, versions, memory, whether the fast path is on, and a check of the training step
	$(BIN)/depict-jax doctor

test: $(READY)  ## run the tests (minutes)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

test-slow: .venv/.notebooks  ## run the slow tests too: trainings that take many minutes
	$(BIN)/python -m pytest -m "slow or not slow"

test-reference: $(READY)  ## check against the authors' weights and assignments; they must lie in ../shared
	$(BIN)/python -m pytest -m "reference and not slow"

fuzz: $(READY)  ## damaged files of every kind to every reader, for MINUTES=10; findings go to runs/fuzz
	$(BIN)/python -m tests.fuzz_readers --minutes $(MINUTES)

.PHONY: notebooks
notebooks: .venv/.notebooks  ## run the notebooks (minutes); the executed copies go to runs/notebooks
	mkdir -p runs/notebooks
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/jupyter-execute --output "../runs/notebooks/{notebook_name}" notebooks/*.ipynb

.venv/.notebooks: $(READY) requirements-notebooks.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements-notebooks.lock
	@touch $@

lint: $(READY)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Not with --quiet: a warning that is not shown does not fail a strict build.
.PHONY: docs
docs: .venv-docs/.ready  ## build the documentation into build/docs; broken links and warnings fail it
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=src .venv-docs/bin/python -m mkdocs build
	@echo "build/docs/index.html"

bench: bench-step bench-acpic bench-predict bench-startup  ## every benchmark but the long ones (a quarter of an hour); on an idle machine
	$(BIN)/python -m experiments.benchmarks.record

bench-step: $(READY) .venv-peers/.ready  ## the joint training step beside PyTorch's, stock convolutions and the machine's peak
	$(BIN)/python -m experiments.benchmarks.step

bench-acpic: $(READY)  ## AC-PIC: time, memory, growth to 80,000 samples, labels against the authors'
	$(BIN)/python -m experiments.benchmarks.acpic

bench-predict: $(READY)  ## images a second of depict-jax predict, and its memory
	$(BIN)/python -m experiments.benchmarks.predict

bench-startup: $(READY)  ## --help, import, and how soon a second fit trains
	$(BIN)/python -m experiments.benchmarks.startup

bench-seeds: $(READY)  ## several seeds as one vmapped program beside the same in turn, on one device and on eight
	$(BIN)/python -m experiments.benchmarks.seeds

bench-microbatches: $(READY)  ## what a step costs in microbatches, which any number of devices computes to the same bits
	$(BIN)/python -m experiments.benchmarks.microbatches

bench-stream: $(READY)  ## long: a million images that stay in their file; resumes
	$(BIN)/python -m experiments.benchmarks.stream

bench-scaling: $(READY)  ## long: cost against N, K, image size and batch; writes experiments/benchmarks/SCALING.md; resumes
	$(BIN)/python -m experiments.benchmarks.scaling

bench-job-test: $(READY)  ## long: MNIST-test from pixels, time to ACC .90 to .96, memory; resumes
	$(BIN)/python -m experiments.benchmarks.job test

bench-job-full: $(READY)  ## long: the same for all 70,000 images of MNIST
	$(BIN)/python -m experiments.benchmarks.job full

bench-peers: bench-peers-test bench-peers-full  ## long: ClustPy's DEC, IDEC, DCN and N2D on the same images; resumes

bench-peers-test: $(READY) .venv-clustpy/.ready
	$(BIN)/python -m experiments.benchmarks.peers test

bench-peers-full: $(READY) .venv-clustpy/.ready
	$(BIN)/python -m experiments.benchmarks.peers full

DATASETS := mnist-full mnist-test usps cmu-pie digits frgc ytf
EXPERIMENTS := $(addprefix experiment-,$(DATASETS))
TABLES := $(addprefix table-,clustering rows factors approaches q-steps imbalance precision semi-supervised)
.PHONY: $(EXPERIMENTS) experiment-NAME $(TABLES) table-NAME table-quick tables setup-rows
table-quick: $(READY)  ## five minutes: a real table of digits and of 2,000 images of MNIST-test, into runs/table-quick
	$(BIN)/python -m experiments.quick

experiment-NAME:  ## long: one of the paper's data sets (mnist-full, mnist-test, usps, cmu-pie, digits, frgc, ytf), seed by seed; resumes
	@echo "name a data set: make $(firstword $(EXPERIMENTS))"; exit 2

$(EXPERIMENTS): experiment-%: $(READY)
	$(BIN)/python -m experiments.run $* $(ARGS)
	$(BIN)/python -m experiments.tables

table-NAME:  ## long: what one table of experiments/RESULTS.md lacks (clustering, rows, factors, approaches, q-steps, imbalance, precision, semi-supervised); ARGS="--seeds 1"; resumes
	@echo "name a table: make $(firstword $(TABLES))"; exit 2

table-clustering: COMMAND = run $(DATASETS)
table-rows: COMMAND = rows $(DATASETS)
table-factors: COMMAND = factors mnist-test usps cmu-pie digits
table-approaches: COMMAND = approaches mnist-test usps --cells approaches
table-q-steps: COMMAND = approaches mnist-test usps --cells q-steps
table-imbalance: COMMAND = imbalance
table-precision: COMMAND = run digits --precision bfloat16 --seeds 3
table-semi-supervised: COMMAND = semi_supervised
$(TABLES): $(READY)
	$(BIN)/python -m experiments.$(COMMAND) $(ARGS)
	$(BIN)/python -m experiments.tables

tables: $(READY)  ## experiments/RESULTS.md, CLAIMS.md, the figure of times and the scores on other pages, from the results that are there
	$(BIN)/python -m experiments.tables

setup-rows: $(READY) .venv/.umap .venv-clustpy/.ready  ## install what the rows beside ours need: umap-learn, ClustPy

.venv/.umap: experiments/peers/requirements-umap.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

picture: $(READY)  ## make the README's picture from runs/digits
	$(BIN)/python -m experiments.readme_picture runs/digits docs/digits.png

.venv-docs/.ready: requirements-docs.lock
	test -x .venv-docs/bin/python || $(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

.venv-peers/.ready:
	test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 numpy
	@touch $@

.venv-clustpy/.ready: experiments/peers/requirements-clustpy.txt
	test -x .venv-clustpy/bin/python || $(PYTHON) -m venv .venv-clustpy
	.venv-clustpy/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

clean:  ## remove the environments and caches; runs/ stays
	rm -rf .venv .venv-docs .venv-peers .venv-clustpy .pytest_cache .ruff_cache .mypy_cache build dist
	find src tests experiments -name __pycache__ -type d -exec rm -rf {} +
