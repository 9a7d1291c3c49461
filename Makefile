# Every target sets up all that it needs, from a bare Python 3.11 or newer.

PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13 python3.14; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
READY := .venv/ready

.PHONY: help demo test test-all soak bench check format lock clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

demo: $(READY)  ## Watch a history become a persona, and the persona learn
	$(BIN)/personaagent models fetch
	$(BIN)/personaagent demo

test: $(READY)  ## Run the quick tests: all but those that kill processes, drive a browser or take seconds
	$(BIN)/personaagent models fetch minilm
	$(BIN)/pytest -m "not soak and not slow"

test-all: $(READY)  ## Run every test, those on processes that are killed and on small real models included
	$(BIN)/personaagent models fetch smollm2 minilm
	$(BIN)/pytest

soak: $(READY)  ## Run the full counts of which `make test-all` runs a share; takes long
	$(BIN)/pytest -m soak

bench: $(READY)  ## Measure speeds side by side
	failed=0; for benchmark in benchmarks/[a-z]*.py; do $(BIN)/python $$benchmark || failed=1; done; exit $$failed

check: $(READY)  ## Style, types, dependencies, layers and sizes
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/deptry .
	$(BIN)/pyright
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	$(BIN)/lint-imports
	$(BIN)/pytest tests/ground/test_sizes.py

format: $(READY)  ## Put imports and layout right
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lock: $(READY)  ## Choose the newest versions that pyproject.toml allows
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--custom-compile-command "make lock" --all-extras --group dev pyproject.toml --output-file requirements.lock

clean:  ## Remove what was installed and built, but no home folder and no model
	rm -rf .venv build dist *.egg-info .hypothesis .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# uv installs in seconds what pip needs minutes for; the lock has its hash like any other.
$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer found: install one, or name it: make PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv
	awk '/^[^ ]/ { wanted = /^uv==/ } wanted' requirements.lock > .venv/uv.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt
	$(BIN)/uv pip install --quiet --python .venv --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python .venv --no-deps --no-build-isolation --editable .
	touch $@
