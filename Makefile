# The commands of this project. `make demo` shows it, `make test` proves it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCALCLOUD_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/nuages
WORKERS ?= 3
# Tests by area, for their helpers are modules of their own; in some, fixtures and arguments need not be typed.
STRICT := fidelity e2e
LAX := engine
UNTYPED := --allow-untyped-defs --allow-incomplete-defs --allow-untyped-calls --no-warn-return-any

# What is missing is said in one line, with the command that helps on this machine.
INSTALLER = $(shell for tool in apt-get dnf brew; do command -v $$tool >/dev/null && echo $$tool && break; done)
AGAIN = 'make $(or $(MAKECMDGOALS),setup) PYTHON=python3.11'
NEW_PYTHON_apt-get := run 'sudo apt-get install python3.11 python3.11-venv'
NEW_PYTHON_dnf := run 'sudo dnf install python3.11'
NEW_PYTHON_brew := run 'brew install python@3.11'
GET_PYTHON = $(or $(NEW_PYTHON_$(INSTALLER)),install it from https://www.python.org/downloads/), then $(AGAIN)
VENV_apt-get = run 'sudo apt-get install $(notdir $(PYTHON))-venv'
GET_VENV = $(or $(VENV_$(INSTALLER)),$(GET_PYTHON))

.DEFAULT_GOAL := help
.PHONY: help setup controlplane demo smoke test lint types layers soak sweeps lock crds clean

help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.installed ## the Python environment, from hash-pinned requirements

$(VENV)/.installed: requirements-dev.txt pyproject.toml localcloud/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Python 3.11 or later is needed, and $(PYTHON) is none: $(GET_PYTHON)."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "$(PYTHON) has no venv module: $(GET_VENV)."; exit 1; }
	@test -x $(BIN)/python || { echo "making $(VENV) with $(PYTHON)"; $(PYTHON) -m venv $(VENV); }
	@grep -A 40 '^uv==' requirements-dev.txt | awk 'NR > 1 && /^[a-z]/ { exit } { print }' > $(VENV)/uv.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt
	@echo "installing the packages of requirements-dev.txt (about a minute the first time)"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-dev.txt
	@echo "installing nuages and localcloud"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e . -e ./localcloud
	@touch $@

controlplane: setup ## the Kubernetes control plane, built once and cached
	@$(BIN)/python -m localcloud.controlplane

demo: setup ## from nothing to a page served by Django; stays up until Ctrl-C
	@$(BIN)/localcloud demo

smoke: setup ## the demo, unattended and checked
	@$(BIN)/localcloud demo --check

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy operator/nuages localcloud
	for area in $(STRICT); do MYPYPATH=tests/$$area $(BIN)/mypy tests/$$area || exit; done
	for area in $(LAX); do MYPYPATH=tests/$$area $(BIN)/mypy $(UNTYPED) tests/$$area || exit; done

layers: setup
	$(BIN)/lint-imports

test: lint types layers controlplane ## lint, types, layering and all tests
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup

# All of it is run, whatever a part finds; it fails where the sweeps have left points, and says how many.
soak: controlplane ## the long runs: all sweeps, any spec in any order, a thousand apps at rest; see docs/quality.md
	@$(MAKE) --no-print-directory sweeps || failed=1; \
	$(BIN)/pytest tests/apiserver/test_state_machine.py --hypothesis-profile soak || failed=1; \
	$(BIN)/python benchmarks/steady.py --apps 1 10 100 1000 --projects 10 || failed=1; \
	$(SWEEP) --summary || failed=1; \
	exit $${failed:-0}

# The sweeps of one shard end together after SWEEP_MINUTES, with status 3 where they leave points for the next
# `make sweeps`: what passed with this very code is not run again. SHARD=3/12 runs that one alone. So many shards that
# a machine of two processors comes to the end of each, also at half of its speed.
SHARD ?= $(foreach number,1 2 3 4 5 6 7 8 9 10 11 12,$(number)/12)
SWEEP_MINUTES ?= 30
SWEEP_RESULTS ?= .sweep
SWEEP := $(BIN)/python tests/sweep crash fault real-crash --results $(SWEEP_RESULTS)
sweeps: controlplane ## crash sweep and fault sweep, all points; SHARD=3/12: one part
	@for shard in $(SHARD); do \
		$(SWEEP) --shard $$shard --minutes $(SWEEP_MINUTES) || [ $$? -eq 3 ] || failed=1; \
	done; exit $${failed:-0}

crds: setup ## write crds/ and docs/reference.md from the models
	$(BIN)/nuages crds --output crds
	$(BIN)/nuages reference

lock: setup ## pin the requirements again
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header -q -o requirements.txt
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header -c requirements.txt -q -o requirements-dev.txt

clean: ## remove the environment and every local cloud of this folder
	@! $(BIN)/localcloud status >/dev/null 2>&1 || \
		{ echo "A localcloud runs in .localcloud: run '$(BIN)/localcloud down' first."; exit 1; }
	rm -rf $(VENV) .localcloud build dist
