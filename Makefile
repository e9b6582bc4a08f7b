# Everything happens in .venv; nothing is installed outside the checkout.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/pip --disable-pip-version-check -q

# The FOCUS validator wants another Python and other versions of what we use, so it has a place of its own.
PYTHON312 ?= $(shell ls $(HOME)/.pyenv/versions/3.12*/bin/python3.12 2>/dev/null | tail -1 | grep . || command -v python3.12)
FOCUS  := .cache/focus-validator-2.2.1

.PHONY: help demo test check format install focus-validator clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

demo: $(VENV)/.demo  ## install, start the service with real agent traffic, print the URLs
	$(BIN)/otel-finops demo

test: $(VENV)/.dev  ## install and run the tests (no network is used after the installation)
	$(BIN)/python -m pytest -n 3 --dist loadfile

check: $(VENV)/.dev  ## lint, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev  ## format the sources
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(VENV)/.dev  ## only install

focus-validator: $(FOCUS)/.done  ## install the official FOCUS validator for its test (needs Python 3.12 and 650 MB)

clean:  ## remove everything that these targets made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(VENV)/.pip:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "otel_finops needs Python 3.11 or newer; run: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.dev: $(VENV)/.pip pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e '.[postgres]' --group dev
	@touch $@

$(VENV)/.demo: $(VENV)/.pip pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e '.[demo]'
	@touch $@

$(FOCUS)/.done:
	@test -n "$(PYTHON312)" || { echo 'the FOCUS validator needs Python 3.12; run: make focus-validator PYTHON312=...' >&2; exit 1; }
	$(PYTHON312) -m venv $(FOCUS)
	$(FOCUS)/bin/pip --disable-pip-version-check -q install 'focus-validator==2.2.1' 'pyarrow<20'
	@touch $@
