# Two commands do all the set-up: `make search` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STUDY ?= quickstart
# One more than there are cores: tests wait for one another where they measure, and for kills and clocks.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
# Modules are compiled as they are imported: all that is installed, most of it never read, takes a minute.
INSTALL = $(BIN)/pip install --quiet --no-compile --constraint constraints.txt --editable
export PYTHONDONTWRITEBYTECODE :=
export PASER_OPT_DATA ?= $(abspath ../shared/data)

.PHONY: search test check clean

search: $(VENV)/.installed ## install, profile this machine, search STUDY, write the report
	$(BIN)/paser-opt profile $(STUDY)
	$(BIN)/paser-opt search $(STUDY)

test: $(VENV)/.tested ## install and run the tests
	$(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

check: $(VENV)/.checked ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) .
	touch $@

$(VENV)/.tested: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) '.[test]'
	touch $(VENV)/.installed $@

$(VENV)/.checked: $(VENV)/.installed
	$(INSTALL) '.[check]'
	touch $@

clean: ## remove the environment; runs/ is kept
	rm -rf $(VENV)
