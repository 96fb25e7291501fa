# Every target sets up what it needs from nothing: a virtual environment in .venv, filled under constraints.txt.
# Installing happens once, and again when pyproject.toml or constraints.txt change.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --no-build-isolation -c constraints.txt

# Two busy processes on two cores slow each other threefold when idle OpenMP threads spin.
export OMP_WAIT_POLICY := PASSIVE
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo serve test test-full check clean system-packages

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/installed  ## make the bundled demonstration and serve it
	$(BIN)/proponent demo

serve: $(VENV)/installed  ## serve what is in PROPONENT_HOME (default ./var)
	$(BIN)/proponent serve

test: $(VENV)/installed-dev system-packages  ## the tests that every change must pass
	$(BIN)/python -m pytest -m "not full"

test-full: test  ## all tests: also the large counts
	$(BIN)/python -m pytest -m full

check: $(VENV)/installed-dev  ## lint, types and import rules only
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:  ## remove what make and the tools made; PROPONENT_HOME stays
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find app backend migrations tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# A stamp is written only when the whole step succeeded, so a step that failed is done again.
$(VENV)/created:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt "setuptools>=77"
	touch $@

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/created
	$(INSTALL) -e .
	touch $@

# kronfluence, which a test compares with, declares torchvision and uses none of it; a torchvision for another build of
# torch does not load. What it does use is in the extra.
$(VENV)/installed-dev: pyproject.toml constraints.txt | $(VENV)/created
	$(INSTALL) -e '.[dev]'
	$(INSTALL) --no-deps kronfluence
	touch $(VENV)/installed $@

# The browser and the database server that some tests drive; without them those tests are skipped, saying so.
system-packages:
	@missing=""; \
	command -v chromium >/dev/null || missing="$$missing chromium"; \
	{ compgen -G '/usr/lib/postgresql/*/bin/initdb' || command -v initdb; } >/dev/null || missing="$$missing postgresql"; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  export DEBIAN_FRONTEND=noninteractive; \
	  apt-get update -q && apt-get install -q -y --no-install-recommends $$missing && exit 0; \
	  echo "apt-get could not install:$$missing" >&2; \
	fi; \
	echo "Not installed:$$missing. The tests that need them are skipped; as root, make test installs them." >&2
