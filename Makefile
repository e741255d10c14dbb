# Everything runs in .venv, which uv makes from pyproject.toml; uv itself comes from pip when it is not installed.
# PYTHON=3.12 picks another interpreter (any from 3.11 to 3.13).

.DEFAULT_GOAL := help
.PHONY: help run test lint demo bench clean

BOOT := .boot
UV := $(or $(shell command -v uv 2>/dev/null),$(BOOT)/bin/uv)
UV_PYTHON_FLAG := $(if $(PYTHON),--python $(PYTHON),)

# Without byte code every import of a large package costs seconds.
unexport PYTHONDONTWRITEBYTECODE
unexport VIRTUAL_ENV
# Interpreters come from the machine, never from a download.
export UV_PYTHON_DOWNLOADS := never
# uv does not read pip's setting for local wheels.
ifneq ($(strip $(PIP_FIND_LINKS)),)
export UV_FIND_LINKS := $(PIP_FIND_LINKS)
endif

help:
	@echo "make run    set everything up and start the service (port 8000)"
	@echo "make test   set everything up and run lint, types, import rules and all tests"
	@echo "make demo   the closed loop on really trained networks (minutes)"
	@echo "make bench  measure serving speed and memory"

$(BOOT)/bin/uv:
	python3 -m venv $(BOOT)
	$(BOOT)/bin/pip install --quiet --disable-pip-version-check "uv>=0.9,<1"

run: $(UV)
	@$(UV) sync --quiet --inexact --no-default-groups $(UV_PYTHON_FLAG)
	@.venv/bin/archcast serve

.venv/.test-ready: $(UV) pyproject.toml
	$(UV) sync --quiet $(UV_PYTHON_FLAG)
	@touch $@

# Tests of one file stay together, in as many processes as there are cores; each computes on one thread.
test: lint
	OMP_NUM_THREADS=1 .venv/bin/pytest --numprocesses=auto --dist=loadfile

lint: .venv/.test-ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

demo: .venv/.test-ready
	.venv/bin/python scripts/demo.py

bench: .venv/.test-ready
	.venv/bin/python scripts/bench_serving.py

clean:
	rm -rf .venv $(BOOT) .mypy_cache .ruff_cache .pytest_cache
