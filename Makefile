# labctl: targets for people. `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
# Most tests wait for virtual machines: four files of them at a time, in the order that
# tests/conftest.py gives. 'make test PARALLEL=' for one.
PARALLEL ?= -n 4 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help venv packages demo test lint bench bench-env clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(STAMP) ## Make the virtual environment .venv with labctl and its tools

$(STAMP): pyproject.toml
	@.ci/apt-install $(if $(shell $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null && echo yes),,python3 python3-venv) openssh-client
	@echo "Making $(VENV) (labctl and its Python packages from PyPI)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

packages: $(STAMP) ## Install the Debian packages of the virtual lab and the simulator
	@.ci/apt-install $$($(VENV)/bin/labctl lab packages) iverilog

demo: packages ## Start a virtual Debian box, set it up, prove it (KEEP=1 leaves it running)
	@KEEP='$(KEEP)' .ci/demo

lint: $(STAMP) ## Check style, formatting and types
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

test: packages lint ## Run lint, types, unit and integration tests (LONG=1: also those that take minutes)
	$(VENV)/bin/pytest $(PARALLEL) $(if $(LONG),--long) $(PYTEST_ARGS)

bench-env: $(STAMP) ## Install the peers of the benchmarks into .bench-venv
	$(VENV)/bin/python bench/env.py

bench: packages ## Run every benchmark beside its peers
	@missed=0; for script in $$(grep -l "^AIMS" bench/*.py | grep -v /console_); do \
	  $(VENV)/bin/python $$script || missed=$$?; done; exit $$missed

clean: ## Take the virtual lab down; remove the environments and caches of this clone
	@[ ! -x $(VENV)/bin/labctl ] || $(VENV)/bin/labctl lab down || true
	rm -rf $(VENV) .bench-venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
