# make quickstart   set everything up and train a small fast style transfer on pictures made by code (no data, no weights)
# make test         set everything up and run the tests
# make check        formatting, lint and types, as CI runs them
# make gpu-check    on a machine with 1-8 CUDA devices: is CUDA right, and how fast (under 10 minutes, one JSON)
# CPU=1             use torch's CPU wheels (about 0.3 GB instead of 3 GB) where their index can be reached
# PYTHON=python3.12 which Python to use (3.11 or newer)

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu
JOBS ?= 2

.PHONY: quickstart test test-slow check gpu-check wheel clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# //p' Makefile

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "stylebench needs Python 3.11 or newer; this is $$($(PYTHON) --version). Name one: make PYTHON=python3.12"; exit 1; }
	@echo "Setting up $(VENV): about 3 GB to download (0.3 GB with CPU=1) and 6 GB on the disk, 2-5 minutes, once."
	$(PYTHON) -m venv $(VENV)

$(VENV)/.torch: | $(BIN)/python
ifdef CPU
	$(BIN)/python -m pip install --quiet --index-url $(TORCH_CPU_INDEX) torch torchvision \
	  || { echo "The CPU wheels' index cannot be reached; run make without CPU=1."; exit 1; }
else
	$(BIN)/python -m pip install --quiet "torch>=2.6" "torchvision>=0.21"
endif
	@touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.torch
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $@

quickstart: $(VENV)/.installed
	$(BIN)/stylebench train experiment=quickstart/procstyle

test: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile -m "not slow and not gpu and not network"

test-slow: $(VENV)/.installed
	$(BIN)/python -m pytest -q -m "slow and not network"

check: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

gpu-check: $(VENV)/.installed
	$(BIN)/python tests/gpu_check.py

wheel: $(VENV)/.installed
	$(BIN)/python -m build --wheel

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
