# Needs Python 3.11 or newer with venv and pip; everything else goes into .venv.
#   make study    the demonstration: install, then one energy study end to end
#   make test     install with the development extra, then every check that CI runs
#   make docs     install with the extra docs, then build the documentation as a site, in site/

PYTHON ?= $(shell for python in python3.11 python3; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo "$$python" && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
# What was installed last, compared by content: a new checkout date alone installs nothing.
INSTALLED := .venv/installed.toml
INSTALLED_DEV := .venv/installed-dev.toml

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help study test tests types docs lint format clean

help:
	@sed -n '2,4s/^# *//p' Makefile

study: $(INSTALLED)
	$(BIN)/python run_study.py --space energy

# Types are checked beside the tests, which leave a core idle where they wait.
test: $(INSTALLED_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(MAKE) --jobs=2 types tests

# Three workers on two cores: one in three tests waits, for Ray or another process. The files with
# the longest tests begin, so that none of them is left alone at the end.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --durations=10

tests: $(INSTALLED_DEV)
	$(PYTEST) --dist loadfile --no-loadscope-reorder tests/golden tests/unit tests/property
	$(PYTEST) --dist worksteal tests/integration

types: $(INSTALLED_DEV)
	$(BIN)/mypy

lint: $(INSTALLED_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(INSTALLED)
	$(PIP) -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

format: $(INSTALLED_DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found; install one, or name it: make PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv .venv

$(INSTALLED): pyproject.toml | $(BIN)/python
	@cmp -s pyproject.toml $@ || { echo "Installing into .venv; torch is large, this takes some minutes." >&2; $(PIP) -e '.[all]'; }
	@cp pyproject.toml $@

$(INSTALLED_DEV): pyproject.toml | $(BIN)/python
	@cmp -s pyproject.toml $@ || { echo "Installing into .venv; torch is large, this takes some minutes." >&2; $(PIP) -e '.[dev]'; }
	@cp pyproject.toml $(INSTALLED)
	@cp pyproject.toml $@

clean:
	rm -rf .venv build site *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
