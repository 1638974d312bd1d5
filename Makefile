# The two commands a newcomer needs: `make run` serves the store, `make test` passes the tests.
# Each makes its own virtual environment first; PYTHON chooses the interpreter (3.11 or newer). `make test BROWSER=1`
# also tests the pages in a browser, for which chromium must be installed.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: run test check format clean
.DEFAULT_GOAL := run

run: $(VENV)/.runtime
	@exec $(BIN)/python -m shared.serve

test: $(VENV)/.dev $(if $(BROWSER),$(VENV)/.browser)
	$(BIN)/python -m pytest $(TESTS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.txt pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt
	@touch $@

$(VENV)/.browser: requirements-browser.txt | $(VENV)/.dev
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements-browser.txt
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
