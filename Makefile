# `make run` and `make test` are all that is needed; `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

export HOTLINE_BUILD := $(CURDIR)/build

.DEFAULT_GOAL := help
.PHONY: help run test test-all gpu-wheels bench-gpu synth synth-check lint format registers wheel clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/bin/python:
	@echo "Creating $(VENV) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=..."; exit 2; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing what the main job needs ..."
	@$(PIP) -e .
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing what the tests need (PyTorch included) ..."
	@$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.run

run: $(VENV)/.run  ## The main job: a generated click log through the RTL, compared with golden
	@$(BIN)/hotline run

test test-all: export HOTLINE_CXX_OPTIMISATION ?= -Og

test: $(VENV)/.test  ## The default tests, cocotb regressions on Verilator included
	@$(BIN)/hotline version
	@$(BIN)/python -m pytest -q -n 2 --dist worksteal $(ARGS)

test-all: $(VENV)/.test  ## All tests: also FPGA tools, more configurations, 100 000 samples (hours)
	@$(BIN)/python -m pytest -q -n 2 --dist worksteal -m '' $(ARGS)

#: The machine with the GPU: its Python has PyTorch with CUDA. Nothing is installed there but what `make gpu-wheels` brought along.
GPU_PYTHON ?= python3
GPU_DEVICE ?= cuda
GPU_SIZES ?= --minutes 5.5
GPU_RUN := PYTHONPATH=$(CURDIR)/build/gpu-packages:golden:rtl:sim:fpga $(GPU_PYTHON) -m hotline_cli
WHEELS := numba llvmlite typer rich click shellingham markdown-it-py mdurl Pygments annotated-doc typing_extensions

gpu-wheels:  ## For a machine with a GPU and no network: what it lacks, for Python 3.12, as wheels in build/wheels (63 MB)
	@$(PYTHON) -m pip download --quiet -d build/wheels -c constraints.txt --no-deps --only-binary=:all: --python-version 3.12 \
		--platform manylinux2014_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_28_x86_64 $(WHEELS)

bench-gpu:  ## On a machine with a GPU: training there, compared with plain training, then all systems on RM1 to RM4; JSON and a table in build/gpu
	@mkdir -p build/gpu
	@test ! -d build/wheels || $(GPU_PYTHON) -m pip install --quiet --no-index --no-deps --target build/gpu-packages --upgrade \
		build/wheels/*.whl
	-@$(GPU_RUN) train --device $(GPU_DEVICE) --held-out 0 --double --check --json build/gpu/train.json
	@COLUMNS=160 $(GPU_RUN) bench gpu --device $(GPU_DEVICE) $(GPU_SIZES) --json build/gpu/bench.json > build/gpu/bench.txt; \
		status=$$?; cat build/gpu/bench.txt; exit $$status

synth: $(VENV)/.test  ## Yosys and nextpnr: area, clock and critical path of the ecp5 preset (ARGS='--seeds 0': area alone, ten minutes)
	@$(BIN)/hotline synth --seeds 5 --jobs 2 $(ARGS)

synth-check: $(VENV)/.test  ## Area and clock of the ecp5 preset against its baseline: fails when either is 5 % worse (half an hour)
	@$(BIN)/hotline synth --seeds 1 --check fpga/baselines/ecp5.json $(ARGS)

lint: $(VENV)/.test  ## ruff, mypy and the layering check
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

format: $(VENV)/.test  ## Format the code
	@$(BIN)/ruff check --fix -q . ; $(BIN)/ruff format .

registers: $(VENV)/.test  ## Registers' page, C header, IP-XACT; the table of docs/fpga.md
	@$(BIN)/python docs/generate.py

wheel: $(VENV)/.test  ## Build the wheel into dist/
	@$(BIN)/python -m build --wheel -q

clean:  ## Remove builds; the virtual environment stays
	rm -rf build dist *.egg-info
