# Everything a developer types; 'make help' lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := $(VENV)/.installed
DEV := $(VENV)/.installed-dev
# Without its bytecode each of hundreds of processes would compile the whole program again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo lab-demo migrate-demo lab-packages test check format bench-routes bench-peers bench-hostile bench-stories bench-lab bench-sidecar bench-provision bench-migrate clean
.DEFAULT_GOAL := help

help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# A stamp is older than the packaging files after they change: install again then.
$(RUN): setup.cfg pyproject.toml setup.py $(wildcard vpnctl/sidecar/elimination/kernel/*.c)
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

lab-packages:
	@./lab/install

lab-demo: lab-packages $(RUN)  ## real routers in namespaces, a ping that gets through; needs root
	@$(BIN)/vpnctl lab demo

migrate-demo: lab-packages $(DEV)  ## a running machine moves to another cloud and back; needs root, QEMU
	@./tests/guests/fetch
	@$(BIN)/python -m lab.moving.demo

test: $(DEV)  ## everything: lint, types, all tests; what lacks a package or root says so
	@PYTHON=$(BIN)/python ./tests/run-all

check: $(DEV)  ## lint, types and fast tests, within two minutes
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@VPNCTL_BRIEF=1 $(BIN)/python -m pytest -q -n 2 -m 'not daemon'

format: $(DEV)  ## put the code into shape
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench-routes: $(DEV)  ## speed beside BIRD, FRR and GoBGP; writes lab/bench/RESULTS.md
	@$(BIN)/python -m lab.bench.routes
	@$(BIN)/python -m lab.bench.report

bench-peers: $(DEV)  ## 100 PEs of 10,000 routes; a slow, a flapping and a hostile one
	@$(BIN)/python -m lab.bench.peers
	@$(BIN)/python -m lab.bench.report

bench-hostile: $(DEV)  ## mutated UPDATEs by the hundred thousand: leaks, defects, memory
	@$(BIN)/python -m lab.bench.hostile
	@$(BIN)/python -m lab.bench.report

bench-lab: lab-packages $(DEV)  ## the lab of the paper's testbed: up, down, memory; needs root
	@$(BIN)/python -m lab.bench.testbed
	@$(BIN)/python -m lab.bench.report

bench-sidecar: $(DEV)  ## a guest's memory made small, beside zstd and QEMU; CAPTURES=DIR
	@$(BIN)/python -m lab.bench.sidecar $(if $(CAPTURES),--captures $(CAPTURES))
	@$(BIN)/python -m lab.bench.link $(if $(CAPTURES),--captures $(CAPTURES))
	@$(BIN)/python -m lab.bench.report

bench-provision: $(DEV)  ## endpoints on 1, 20 and 100 Junos-like routers; root for BGP's port
	@$(BIN)/python -m lab.bench.provision
	@$(BIN)/python -m lab.bench.report

bench-wan: $(DEV)  ## rate and delay of an emulated WAN link; needs root, iperf3 and ping
	@$(BIN)/python -m lab.bench.wan
	@$(BIN)/python -m lab.bench.report

bench-migrate: lab-packages $(DEV)  ## running machines moved over the paper's lines, beside QEMU; needs root
	@$(BIN)/python -m lab.bench.migrate
	@$(BIN)/python -m lab.bench.report

bench-stories: lab-packages $(DEV)  ## first and last packets, gaps, on real routers; needs root
	@$(BIN)/python -m lab.bench.stories
	@$(BIN)/python -m lab.bench.report

clean:  ## remove what was installed and built
	rm -rf $(VENV) build vpnctl/sidecar/elimination/kernel/*.so *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
