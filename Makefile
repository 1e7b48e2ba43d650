# Every target makes what it needs; the second time that is quick.
PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/.installed
TABLE ?= phantom
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test coverage lint minima bench benchmark clean

help: ## Explain the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make the environment in .venv (CPU); then use .venv/bin/wsseg

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[cpu,dev]"
	@touch $@

demo: $(STAMP) ## Train plain CAM and Cluster-Re-Supervision on phantoms; print a table, draw a picture
	$(BIN)/wsseg benchmark experiments/demo.yaml

test: $(STAMP) ## Run all tests
	$(BIN)/python -m pytest -n 2

coverage: $(STAMP) ## Run all tests and say which lines and branches of wsseg none of them runs
	$(BIN)/python -m pytest -n 2 --cov --cov-report=term-missing:skip-covered

lint: $(STAMP) ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

minima: ## Run all tests on the lowest versions that pyproject.toml allows (large downloads)
	$(PYTHON) -m venv build/minima
	grep -oE '"[A-Za-z-]+(\[[a-z]+\])?>=[^",]+' pyproject.toml \
	    | sed -E 's/"([A-Za-z-]+)[^>]*>=/\1==/' > build/minima/constraints.txt
	build/minima/bin/pip install --quiet --constraint build/minima/constraints.txt \
	    --editable ".[cpu,dev]"
	build/minima/bin/python -m pytest -n 2

bench: $(STAMP) ## Time clustering, training, loading, prediction and processes (half an hour, idle machine)
	$(BIN)/python experiments/bench/run.py

benchmark: $(STAMP) ## Rebuild a table of experiments/results: make benchmark TABLE=phantom (BraTS tables need images that are not included)
	$(BIN)/wsseg benchmark experiments/benchmarks/$(TABLE).yaml

clean: ## Remove the environment and everything that runs have written
	rm -rf .venv runs build dist
