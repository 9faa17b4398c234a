# Each target does all of its own set-up: nothing is needed but make and Python 3.11 or newer.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help lab test test-python test-checked pictures lint clean browser

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

lab: $(VENV)/.lab ## open the lab: JupyterLab on the dashboard, with a recorded trace loaded
	$(BIN)/potadlab lab

test: $(VENV)/.test browser ## run every test, compiled
	$(BIN)/python -m pytest

test-python: $(VENV)/.test ## the core's tests without compilation (for the debugger, for coverage)
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest -m core

test-checked: $(VENV)/.test ## the core's tests, compiled with bounds checks
	NUMBA_BOUNDSCHECK=1 $(BIN)/python -m pytest -m core

pictures: $(VENV)/.test browser ## README's pictures anew, from the tests in the browser
	POTADLAB_PICTURES=pictures $(BIN)/python -m pytest tests/browser/test_lab.py \
	  tests/browser/test_failures_and_claims.py tests/browser/test_costs.py

lint: $(VENV)/.test ## style, layout, types, who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean: ## forget .venv and everything compiled
	$(PYTHON) .ci/clean.py

# The stamps: an environment with what the lab needs, and the same with what the tests need.
$(VENV)/.lab: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(call install,-e .)
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(call install,-e '.[test]')
	@touch $@ $(VENV)/.lab

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "make: no '$(PYTHON)' here; install Python 3.11 or newer, or say make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: potadlab needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V 2>&1). Say make PYTHON=python3.11 (or newer)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -f $(VENV)/bin/python; \
	  echo "make: '$(PYTHON) -m venv' failed; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }

# The tested versions where they can be had, else the newest that pyproject.toml allows.
define install
@echo "installing into $(VENV) (once, about a minute) ..."
@$(BIN)/python -m pip install -qq -c constraints.txt $(1) || { \
  echo "the tested versions (constraints.txt) do not install here; taking the newest allowed" >&2; \
  $(BIN)/python -m pip install -qq $(1); }
endef

# The browser tests need a Chromium: found, or installed through apt as root, or told how to get.
browser:
	@sh .ci/browser
