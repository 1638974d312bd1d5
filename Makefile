# The two commands a newcomer needs: `make run` serves the store, `make test` passes the tests.
# Each makes its own virtual environment first; PYTHON chooses the interpreter (3.11 or newer).

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: run demo bench test check format clean
.DEFAULT_GOAL := run

run: $(VENV)/.runtime
	@exec $(BIN)/python -m shared.serve

# Real strain in, a spectrogram out. DEMO_EXIT=1 ends it there instead of leaving the store up.
demo: $(VENV)/.extras
	@exec $(BIN)/python -m client.demo

bench: $(VENV)/.dev $(VENV)/.extras
	@for script in bench/*.py; do PYTHONPATH=. $(BIN)/python $$script || exit 1; done

test: $(VENV)/.dev
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

# What gwclient and preproc need beyond the store itself; tests of either are skipped without it.
$(VENV)/.extras: requirements-client.txt requirements-preproc.txt $(VENV)/.runtime
	$(BIN)/pip install --quiet --disable-pip-version-check $(foreach file,$(wordlist 1,2,$^),--requirement $(file))
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
