# The two commands a newcomer needs: `make run` serves the store, `make test` passes the tests.
# Each makes its own virtual environment first; PYTHON chooses the interpreter (3.11 or newer). `make test BROWSER=1`
# also tests the pages in a browser, for which chromium must be installed.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: run token demo test test-unit test-knative crash fuzz fuzz-http audit sbom lock deploy e2e bench check format clean
.DEFAULT_GOAL := run

run: $(VENV)/.runtime
	@exec $(BIN)/python -m shared.serve

# Makes a token for the file that AUTH_TOKENS names: prints the token, and the line to be added there.
token: $(VENV)/.runtime
	@$(BIN)/python -m shared.auth.issue_token "$(NAME)" "$(SCOPES)"

# Real strain in, a spectrogram out. DEMO_EXIT=1 ends it there instead of leaving the store up.
demo: $(VENV)/.extras
	@exec $(BIN)/python -m scripts.demo

# All tests but those that need a cluster, JOBS (4) at once; TESTS=tests/guarantees passes a part of them.
test: $(VENV)/.dev $(if $(BROWSER),$(VENV)/.browser)
	$(BIN)/python -m pytest -n $(or $(JOBS),4) --dist loadgroup $(TESTS)

# The pure tests, in seconds: no process is started and nothing is waited for.
test-unit: $(VENV)/.dev
	$(BIN)/python -m pytest -q tests/unit

# Random faults against random load for SECONDS (60), from SEED; prints what was tried, and lost: nothing.
crash: $(VENV)/.dev
	$(BIN)/python -W ignore -m tests.faults.chaos --seconds $(or $(SECONDS),60) $(if $(SEED),--seed $(SEED))

NODE          := unshare --map-root-user --net --mount --
KNATIVE_TESTS := $(BIN)/python -m pytest tests/knative

# Each parser for SECONDS (60) with atheris, guided by coverage.
fuzz: $(VENV)/.fuzz
	$(BIN)/python -W ignore -m tests.fuzz --seconds $(or $(SECONDS),60) $(TARGETS)

# COUNT (100000) fuzzed requests at running stores, from SEED.
fuzz-http: $(VENV)/.dev
	$(BIN)/python -W ignore -m tests.fuzz.http --count $(or $(COUNT),100000) --seed $(or $(SEED),1)

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header

# Every package of the image with its hashes, from the direct pins; versions stay unless a pin forces another one.
# UPGRADE=1 takes the newest.
lock: $(VENV)/.release
	$(LOCK) $(if $(UPGRADE),--upgrade) requirements.txt --output-file requirements.lock
	$(LOCK) $(if $(UPGRADE),--upgrade) pyproject.toml --extra preproc --constraint requirements.lock --output-file requirements-preproc.lock
	echo 'setuptools>=77' | $(LOCK) $(if $(UPGRADE),--upgrade) - --output-file requirements-build.lock

# Known faults in what we depend on; needs the internet.
audit: $(VENV)/.release
	@mkdir -p build
	@$(BIN)/pip-audit --local --skip-editable --strict 2> build/audit.log; found=$$?; \
	  cat build/audit.log >&2; \
	  if [ $$found -ne 0 ] && grep -qE "could not be audited|Connection|Timeout|resol" build/audit.log; then \
	    echo "audit: skipped, the list of known faults is out of reach"; else exit $$found; fi

# What the image is made of, as CycloneDX: build/sbom.json.
sbom: $(VENV)/.release
	@mkdir -p build
	$(PYTHON) -m venv --clear build/sbom
	build/sbom/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml --output-file build/sbom.json build/sbom
	@rm -rf build/sbom

# The real parts of Knative, installed by Go into a cache (some minutes the first time); the tests that put pods
# together run in namespaces of their own, in which a user who is not root may do so.
test-knative: $(VENV)/.dev
	knative/tools/install.sh all
	@$(NODE) true || echo "no namespaces here: the tests with pods are skipped" >&2
	if $(NODE) true 2>/dev/null; then KNATIVE_NODE=1 $(NODE) $(KNATIVE_TESTS); else $(KNATIVE_TESTS); fi

# Deploys with `func`: IMAGE from the Dockerfile, PREPROC_IMAGE from its target `preproc`; FUNCTIONS=datastore for the
# embedded topology, by default the split one.
deploy: $(VENV)/.runtime
	@test -n "$(IMAGE)" || { echo "make deploy IMAGE=... [PREPROC_IMAGE=...] [NAMESPACE=...] [FUNCTIONS=...]" >&2; exit 2; }
	$(BIN)/python knative/deploy.py --image "$(IMAGE)" --preproc-image "$(PREPROC_IMAGE)" \
	  --namespace "$(or $(NAMESPACE),datastore)" $(FUNCTIONS)

# Against a cluster with Knative Serving and Eventing; docs/operations.md says which versions and flags.
e2e: $(VENV)/.dev
	@test -n "$(KUBECONFIG)" || { echo "make e2e KUBECONFIG=... [NAMESPACE=...] [IMAGE=...] [PREPROC_IMAGE=...] [OVERLAY=...]" >&2; exit 2; }
	DATASTORE_KUBECONFIG="$(abspath $(KUBECONFIG))" DATASTORE_NAMESPACE="$(NAMESPACE)" DATASTORE_IMAGE="$(IMAGE)" \
	  DATASTORE_PREPROC_IMAGE="$(PREPROC_IMAGE)" DATASTORE_OVERLAY="$(OVERLAY)" \
	  $(BIN)/python -m pytest -v tests/e2e/test_cluster.py tests/contract/test_data_buffer.py

# SECONDS (2) of each load, SIZES (1000,100000,1000000) of the batches. PEER=http://host:port/ puts the same loads on
# another server with the same routes, in turn; PEER_API= is where it serves /streamdata, PEER_CLEAN=1 cleans it at times.
bench: $(VENV)/.dev $(VENV)/.extras
	$(BIN)/python -m bench.preproc
	$(BIN)/python -m bench --json build/bench.json $(if $(SECONDS),--seconds $(SECONDS)) \
	  $(if $(SIZES),--sizes $(SIZES)) $(if $(PEER),--peer $(PEER)) $(if $(PEER_API),--peer-api $(PEER_API)) \
	  $(if $(filter 1,$(PEER_CLEAN)),--peer-clean)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

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

$(VENV)/.fuzz: requirements-fuzz.txt | $(VENV)/.dev
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements-fuzz.txt
	@touch $@

$(VENV)/.release: requirements-release.txt | $(VENV)/.dev
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements-release.txt
	@touch $@

$(VENV)/.browser: requirements-browser.txt | $(VENV)/.dev
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements-browser.txt
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
