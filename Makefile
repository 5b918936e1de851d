# Everything a developer types; 'make help' lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := $(VENV)/.installed
DEV := $(VENV)/.installed-dev

.PHONY: help demo test check format bench-routes clean
.DEFAULT_GOAL := help

help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# A stamp is older than the packaging files after they change: install again then.
$(RUN): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "vpnctl needs Python 3.11 or newer, '$(PYTHON)' is older: make PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || \
	  { echo "the venv module is missing: apt-get install python3-venv" >&2; exit 1; }
	@echo "installing into $(VENV) ..." >&2
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(DEV): $(RUN)
	@echo "installing what the tests need into $(VENV) ..." >&2
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(RUN)  ## a route server and three PEs on loopback; a rewritten route on the screen
	@$(BIN)/vpnctl demo

test: $(DEV)  ## everything: lint, types, all tests; what lacks a package or root says so
	@PYTHON=$(BIN)/python ./tests/run-all

check: $(DEV)  ## lint, types and fast tests, within two minutes
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q -n 2 -m 'not daemon'

format: $(DEV)  ## put the code into shape
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench-routes: $(DEV)  ## speed beside BIRD, FRR and GoBGP; writes lab/bench/RESULTS.md
	@$(BIN)/python -m lab.bench.routes
	@$(BIN)/python -m lab.bench.report

clean:  ## remove what was installed and built
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
