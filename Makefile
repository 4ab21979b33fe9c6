# `make run` and `make test` are all that is needed; `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

export HOTLINE_BUILD := $(CURDIR)/build

.DEFAULT_GOAL := help
.PHONY: help run test test-all bench-gpu synth synth-check lint format registers wheel clean

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

test test-all: export HOTLINE_CXX_OPTIMISATION ?= -O1

test: $(VENV)/.test  ## The default tests, cocotb regressions on Verilator included
	@$(BIN)/hotline version
	@$(BIN)/python -m pytest -q -n 2 --dist worksteal $(ARGS)

test-all: $(VENV)/.test  ## All tests: also FPGA tools, more configurations, 100 000 samples (hours)
	@$(BIN)/python -m pytest -q -n 2 --dist worksteal -m '' $(ARGS)

#: Another environment: constraints.txt asks for PyTorch without CUDA.
GPU_VENV := .venv-gpu

bench-gpu:  ## On a machine with a GPU: training there beside the hybrid baseline, and the exactness tests' model; JSON in build/
	@test -x $(GPU_VENV)/bin/python || $(PYTHON) -m venv $(GPU_VENV)
	@$(GPU_VENV)/bin/python -m pip install --quiet -e '.[train]'
	@mkdir -p build
	@$(GPU_VENV)/bin/hotline train --device cuda --double --check --optimizer adagrad --lr 0.05 --json build/train_cuda.json
	@for model in rm1 rm2 rm3 rm4; do \
		$(GPU_VENV)/bin/hotline bench train --device cuda --model $$model --preset alveo --scale 0.1 --samples 200000 \
			--batch-size 4096 --json build/bench_$$model.json || exit; \
		$(GPU_VENV)/bin/hotline bench train --device cuda --model $$model --preset alveo --scale 0.1 --samples 200000 \
			--batch-size 4096 --device-memory-cap 100 --json build/bench_$${model}_capped.json || exit; \
	done

synth: $(VENV)/.test  ## Yosys and nextpnr: area, clock and critical path of the ecp5 preset (ARGS='--seeds 0': area alone, ten minutes)
	@$(BIN)/hotline synth --seeds 5 --jobs 2 $(ARGS)

synth-check: $(VENV)/.test  ## Area and clock of the ecp5 preset against its baseline: fails when either is 5 % worse (half an hour to an hour)
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
