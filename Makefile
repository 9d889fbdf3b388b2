# Each target makes .venv with what it needs; only Python 3.11+, make and a package index are assumed.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
ifeq ($(OS),Windows_NT)
BIN := .venv/Scripts
endif
INSTALL = if command -v uv >/dev/null 2>&1; then uv pip install -q --python .venv $(1); else $(BIN)/python -m pip install -q --disable-pip-version-check $(1); fi

.PHONY: demo test lint bench clean

demo: .venv/installed-core
	@mkdir -p demo
	@$(BIN)/synth generate structured --rows 100 --model offline --out demo/records.parquet --show 5

test: lint
	$(BIN)/python -m pytest -n auto --cov --cov-report=term --cov-report=json:.coverage.json
	$(BIN)/python tests/coverage_gate.py .coverage.json

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/installed-dev
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv demo dist .coverage .coverage.json .hypothesis .mypy_cache .pytest_cache .ruff_cache

.venv/pyvenv.cfg:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed and was not found; set PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "python venv failed; on Debian and Ubuntu: apt install python3-venv"; exit 1; }

.venv/installed-core: pyproject.toml .venv/pyvenv.cfg
	@echo "installing agentic-synth into .venv ..."
	@$(call INSTALL,-e .)
	@touch $@

.venv/installed-dev: pyproject.toml .venv/pyvenv.cfg
	@echo "installing agentic-synth and what its tests need into .venv ..."
	@$(call INSTALL,-e '.[dev]')
	@touch $@ .venv/installed-core
