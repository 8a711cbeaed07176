# What this needs: Python 3.11 or newer, and make. Everything else is installed into .venv.
# Installing is repeated only when pyproject.toml changes; the stamps .venv/.installed-* remember it.

.DEFAULT_GOAL := help
.PHONY: help demo test lint types contract check examples bench docs format clean

ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$python && break; done)
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input --editable

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.installed-base ## install, run the main job end to end, and say what happened
	@$(BIN)/python -m tocsin.demo

test: $(VENV)/.installed-test ## run every test, two at a time (ARGS="-k name" are given to pytest)
	@$(BIN)/python -m pytest --numprocesses 2 $(ARGS)

lint: $(VENV)/.installed-dev ## find mistakes and formatting differences
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: $(VENV)/.installed-dev ## check the types, strictly
	@$(BIN)/mypy

contract: $(VENV)/.installed-test ## check which room imports which
	@$(BIN)/lint-imports --no-logo

check: lint types contract ## lint, types and contract

examples: $(VENV)/.installed-base ## check each example, and run the tests it brings along
	@set -e; for example in examples/*/; do \
		echo "$$example"; $(BIN)/tocsin check "$$example"; $(BIN)/tocsin test "$$example"; done

bench: $(VENV)/.installed-test ## measure, with a reference loop in the same run (takes minutes)
	@$(BIN)/python -m benchmarks $(ARGS)

docs: $(VENV)/.installed-docs ## write the pages made from the code, and build the site into build/docs
	@$(BIN)/python -m docs.generate
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

format: $(VENV)/.installed-dev ## format the code and mend what can be mended
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

clean: ## remove .venv and what the checks left behind
	@rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage build dist

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "tocsin needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "No venv module: on Debian and Ubuntu, install python3-venv"; exit 1; }

$(VENV)/.installed-base: pyproject.toml | $(BIN)/python
	@echo "Installing tocsin into $(VENV) ..."
	@$(INSTALL) .
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(BIN)/python
	@echo "Installing tocsin and what its tests need into $(VENV) ..."
	@$(INSTALL) '.[test]'
	@touch $(VENV)/.installed-base $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	@echo "Installing tocsin and what its checks need into $(VENV) ..."
	@$(INSTALL) '.[dev]'
	@touch $(VENV)/.installed-base $(VENV)/.installed-test $@

$(VENV)/.installed-docs: pyproject.toml | $(BIN)/python
	@echo "Installing tocsin and what builds its documentation into $(VENV) ..."
	@$(INSTALL) '.[docs]'
	@touch $(VENV)/.installed-base $@
