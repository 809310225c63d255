# Sets itself up: every target that runs xstilts first builds .venv from pyproject.toml and constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help demo test soak bench bench-quality lint docs dist clean
.DEFAULT_GOAL := help

help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22
	@echo "  PYTHON=python3.12 make ... picks the interpreter (3.10 to 3.14)."

demo: $(READY)  ## train and compare small encoders on the bundled data, write runs/quickstart/report.html
	@$(BIN)/xstilts demo

test: $(READY)  ## run the tests; those that need Chromium or the public data sets skip without them
	@$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

soak: $(READY)  ## run the long tests: hundreds of killed processes, clusters, simulations (two hours)
	@$(BIN)/python -m pytest -m soak -s
	@$(BIN)/python -m pytest -m 'hypothesis and not soak' --hypothesis-profile search

bench: $(READY)  ## measure speed and memory against Transformers' Trainer (25 minutes)
	@$(BIN)/python -m benchmarks

bench-quality: $(READY)  ## compare scores after equal training with the Trainer's (an hour)
	@$(BIN)/python -m benchmarks.quality

lint: $(READY)  ## check style and types
	@$(BIN)/ruff check .
	@$(BIN)/mypy

docs: $(READY)  ## build the documentation into site/ and check its links (Python 3.11 or newer)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

dist: $(READY)  ## build the wheel and the source distribution into dist/
	@$(BIN)/python -m hatchling build --directory dist

clean:  ## remove .venv and caches; the store (.xstilts) and the reports (runs) stay
	rm -rf .venv build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests benchmarks tools -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || \
		{ echo "xstilts needs Python 3.10 or newer; name one with PYTHON=/path/to/python3 make ..." >&2; exit 1; }
	@$(PYTHON) -m venv .venv || \
		{ echo "could not create .venv; on Debian and Ubuntu, install python3-venv" >&2; exit 1; }
	@echo "Installing xstilts and the pinned versions of constraints.txt into .venv (once; a few minutes) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[train,bundled,test,lint,translate,ray,slurm,s3,track,onnx,docs]"
	@touch $@
