# make demo: the whole pipeline on drawn practice art.  make test, make lint: what CI runs.
# make test-fast: without tests that take more than a few seconds or need a browser.

PYTHON ?= python3
BIN := .venv/bin
DEMO_TIME ?= 5m30s

.PHONY: demo test test-fast lint clean-demo

demo: .venv/ready
	$(BIN)/figment demo-art demo/pictures --pictures 400 --seed 0
	$(BIN)/figment make demo/pictures -o demo --resolution 64 --time $(DEMO_TIME)

test: .venv/ready
	$(BIN)/python -m pytest

test-fast: .venv/ready
	$(BIN)/python -m pytest -m "not slow and not browser"

lint: .venv/ready
	$(BIN)/ruff format --check figment tests runs benchmarks
	$(BIN)/ruff check figment tests runs benchmarks
	$(BIN)/mypy

.venv/ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean-demo:
	rm -rf demo
