# A fresh clone needs only `make demo` (a first answer, no torch) and `make test` (everything).

VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL = $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check

# The first of these that starts and is new enough: a launcher may be on the path with no Python
# of that version behind it. Evaluated only where the environment has to be made.
PYTHON ?= $(shell for candidate in python3.11 python3; do \
	if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; \
	then echo $$candidate; break; fi; done)

.PHONY: help demo install test lint docs bench fuzz

help:
	@echo 'make demo     answer the case study and draw case_study.png (installs no torch)'
	@echo 'make install  everything, editable, in $(VENV)'
	@echo 'make test     the tests'
	@echo 'make lint     ruff, mypy and the import walls'
	@echo 'make docs     the documentation in docs/_build/html'
	@echo 'make bench    accuracy and speed; asserts nothing'
	@echo 'make fuzz     10,000 damaged files (FUZZ="--seed 7" for others), then every key of every'
	@echo '              shipped scenario, then the coverage of their intervals by 40 other seeds'

demo: $(VENV)/core.stamp
	$(BIN)/fedsim scenario scenarios/case_study.toml --plot case_study.png

install: $(VENV)/all.stamp

test: $(VENV)/all.stamp
	$(BIN)/python -m pytest

lint: $(VENV)/all.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/all.stamp
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

bench: $(VENV)/all.stamp
	$(BIN)/python -m pytest tests/benchmark --numprocesses=0 --benchmark-enable

fuzz: $(VENV)/all.stamp
	PYTHONPATH=tests $(BIN)/python -m fuzz --cases 10000 $(FUZZ)
	PYTHONPATH=tests $(BIN)/python -m fuzz.settings
	PYTHONPATH=tests $(BIN)/python -m fuzz.coverage

# Stamps, so that only a change of the dependencies costs an installation. The full one satisfies
# the core one too.
$(VENV)/core.stamp: pyproject.toml | $(BIN)/python
	@echo 'installing fedsim into $(VENV) ...'
	@$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/all.stamp: pyproject.toml | $(BIN)/python
	@echo 'installing fedsim with every extra into $(VENV) ...'
	@$(PIP_INSTALL) --editable '.[runtime,dev,docs]'
	@touch $(VENV)/core.stamp $@

$(BIN)/python:
	@if test -z '$(PYTHON)' || \
		! '$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then \
		echo 'fedsim needs Python 3.11 or newer, and found $(or $(PYTHON),neither python3.11 nor a new enough python3);' >&2; \
		echo 'name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)' >&2; \
		exit 1; \
	fi
	@'$(PYTHON)' -m venv $(VENV)
