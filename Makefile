PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# ONNX Runtime from 1.29 on would write an id into the home folder and phone home.
export ORT_DISABLE_TELEMETRY := 1
# Most of what takes long waits (for brokers, back-offs, pauses), so two at a time take little more than half. A file stays whole:
# its tests may share brokers.
PYTEST_JOBS ?= --numprocesses 2 --dist loadfile
STAMP := $(VENV)/.installed-

.PHONY: demo test check soak fuzz fuzz-models format bench schemas models clean

demo: $(STAMP)demo
	$(BIN)/fleet demo --out build/demo $(DEMO_ARGS)

test: $(STAMP)dev
	$(BIN)/python tests/system_packages.py
	$(BIN)/python -m pytest $(PYTEST_JOBS) $(PYTEST_ARGS)

soak: $(STAMP)dev
	$(BIN)/python tests/system_packages.py
	$(BIN)/python -m tests.faults.soak --out build/soak $(SOAK_ARGS)

fuzz: $(STAMP)dev
	$(BIN)/python -m tests.fuzz --out build/fuzz $(FUZZ_ARGS)

fuzz-models: $(STAMP)dev
	$(BIN)/python -m tests.fuzz_models --out build/fuzz-models $(FUZZ_ARGS)

check: $(STAMP)dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m fleet_contract.schema --check docs

format: $(STAMP)dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)dev
	$(BIN)/python -m benchmarks $(ONLY)

schemas: $(STAMP)dev
	$(BIN)/python -m fleet_contract.schema docs

models: $(STAMP)dev
	$(BIN)/python -m models

clean:
	rm -rf build dist *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(STAMP)%: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$*]"
	touch $@
