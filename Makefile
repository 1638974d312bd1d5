# The two commands a newcomer needs: `make run` serves the store, `make test` passes the tests; `make help` lists all.
# Each makes its own virtual environment first; PYTHON chooses the interpreter (3.11 or newer).

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
export CLIENT_VENVS ?= build/venvs
PIP    := $(BIN)/python -m pip install -qq --disable-pip-version-check

.PHONY: run demo token verify restore check format test screenshots test-unit coverage crash client-venvs fuzz fuzz-http lock audit \
  sbom test-knative cluster cluster-down cluster-forget deploy e2e bench clean help
.DEFAULT_GOAL := run

# SERVURL=host:port and ROOT=folder choose where; docs/reference.md has every variable.
run: $(VENV)/.runtime ## serve the whole store at http://127.0.0.1:8080/, with its data in ./var
	@exec $(BIN)/python -m shared.serve

# DEMO_EXIT=1 ends it after the spectrogram instead of leaving the store up.
demo: $(VENV)/.extras ## stream real strain into a store, freeze it, make its spectrogram
	@exec $(BIN)/python -m scripts.demo

# NAME=airflow SCOPES=read,operate. It prints the token, and the line to be added to the file that AUTH_TOKENS names.
token: $(VENV)/.runtime ## issue a token: NAME=, SCOPES=
	@$(BIN)/python -m shared.auth.issue_token "$(NAME)" "$(SCOPES)"

# Names, sizes and checksums, archives included. It writes nothing and may run beside the store.
verify: $(VENV)/.runtime ## compare every file of the store at ROOT with what was acknowledged
	@$(BIN)/python -m shared.storage.verification

# URL=s3://bucket/prefix ROOT=folder of a store that is not there yet. STUBS=1 leaves the segments at URL.
restore: $(VENV)/.runtime ## rebuild a store on an empty volume from the copies of its archives: URL=, ROOT=
	@$(if $(URL),ARCHIVE_URL="$(URL)") $(BIN)/python -m shared.archiver.rebuild $(if $(filter 1,$(STUBS)),--stubs)

check: $(VENV)/.dev ## linter, formatter, types, import rule
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

PYTEST := -m pytest -n $(or $(JOBS),6) --dist loadgroup

# JOBS (6) at once, because many wait; TESTS=tests/guarantees passes a part. BROWSER=1 also tests the pages in a browser,
# for which chromium must be installed.
test: $(VENV)/.dev $(VENV)/.extras $(if $(BROWSER),$(VENV)/.browser) ## all tests but those that need a cluster, or TESTS=
	$(BIN)/python $(PYTEST) $(TESTS)

# Chromium must be installed. With a store of its own, in a temporary folder.
screenshots: $(VENV)/.browser $(VENV)/.extras ## pictures of the status page, for docs/screenshots
	$(BIN)/python -m tests.support.screenshots docs/screenshots

test-unit: $(VENV)/.dev ## the pure tests, in seconds: no process, no sleep
	$(BIN)/python -m pytest -q tests/unit

# Servers, workers and jobs that the tests start are counted too, unless a test kills them. The tracer makes them slower:
# a flood of requests would run into its timeouts.
coverage: $(VENV)/.dev ## branch coverage of shared/ by the unit and contract tests, or TESTS=
	@rm -rf build/coverage && mkdir -p build/coverage
	$(BIN)/coverage run $(PYTEST) -q -k "not flood" $(or $(TESTS),tests/unit tests/contract); passed=$$?; \
	  $(BIN)/coverage combine --quiet && $(BIN)/coverage report && exit $$passed

# From SEED; prints what was tried, and lost: nothing.
crash: $(VENV)/.dev ## random faults against random load, for SECONDS=60
	$(BIN)/python -W ignore -m tests.faults.chaos --seconds $(or $(SECONDS),60) $(if $(SEED),--seed $(SEED))

# gwpy, gwdatafind and others, one environment for each combination of versions; tests with them are skipped without.
client-venvs: $(CLIENT_VENVS)/gwpy4/.installed $(CLIENT_VENVS)/gwpy3/.installed ## install the field's clients for their tests

NODE          := unshare --map-root-user --net --mount --
KNATIVE_TESTS := $(BIN)/python -m pytest tests/knative

# TARGETS names some of them. atheris is guided by coverage.
fuzz: $(VENV)/.fuzz ## random input for each parser with atheris, for SECONDS=60 each
	$(BIN)/python -W ignore -m tests.fuzz --seconds $(or $(SECONDS),60) $(TARGETS)

fuzz-http: $(VENV)/.dev ## COUNT=100000 fuzzed requests at running stores, from SEED=
	$(BIN)/python -W ignore -m tests.fuzz.http --count $(or $(COUNT),100000) --seed $(or $(SEED),1)

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header

# Every package of the image with its hashes, from the direct pins; versions stay unless a pin forces another one.
# UPGRADE=1 takes the newest.
lock: $(VENV)/.release ## lock the packages of the image, with hashes
	$(LOCK) $(if $(UPGRADE),--upgrade) requirements.txt --output-file requirements.lock
	$(LOCK) $(if $(UPGRADE),--upgrade) pyproject.toml --extra s3 --constraint requirements.lock --output-file requirements-s3.lock
	$(LOCK) $(if $(UPGRADE),--upgrade) pyproject.toml --extra preproc --constraint requirements.lock \
	  --constraint requirements-s3.lock --output-file requirements-preproc.lock
	$(LOCK) $(if $(UPGRADE),--upgrade) pyproject.toml --extra otel --constraint requirements.lock \
	  --constraint requirements-s3.lock --constraint requirements-preproc.lock --output-file requirements-otel.lock
	echo 'setuptools>=77' | $(LOCK) $(if $(UPGRADE),--upgrade) - --output-file requirements-build.lock

audit: $(VENV)/.release ## known faults in what we depend on; needs the internet
	@mkdir -p build
	@$(BIN)/pip-audit --local --skip-editable --strict 2> build/audit.log; found=$$?; \
	  cat build/audit.log >&2; \
	  if [ $$found -ne 0 ] && grep -qE "could not be audited|Connection|Timeout|resol" build/audit.log; then \
	    echo "audit: skipped, the list of known faults is out of reach"; else exit $$found; fi

sbom: $(VENV)/.release ## what the image is made of, as CycloneDX: build/sbom.json
	@mkdir -p build
	$(PYTHON) -m venv --clear build/sbom
	build/sbom/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml --output-file build/sbom.json build/sbom
	@rm -rf build/sbom

# The real parts of Knative, installed by Go into a cache (some minutes the first time); the tests that put pods
# together run in namespaces of their own, in which a user who is not root may do so.
test-knative: $(VENV)/.dev ## the store behind Knative's own parts; needs Go
	knative/tools/install.sh all
	@$(NODE) true || echo "no namespaces here: the tests with pods are skipped" >&2
	if $(NODE) true 2>/dev/null; then KNATIVE_NODE=1 $(NODE) $(KNATIVE_TESTS); else $(KNATIVE_TESTS); fi

# Linux and root, Go, Debian's packages and PyPI: docs/knative.md. Half an hour the first time. KIND=1 makes one with Docker.
CLUSTER_HOME ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/dt-datastore/cluster
CLUSTER      := CLUSTER_HOME="$(CLUSTER_HOME)" knative/local/$(if $(KIND),kind.sh,cluster.sh)

cluster: ## start a cluster on this machine: a node with Knative and this checkout's images; KIND=1 with Docker
	@$(CLUSTER) up

cluster-down: ## end it, with all that it stored
	@$(CLUSTER) down

cluster-forget: ## end it, and delete what was built for it
	@$(CLUSTER) forget

# IMAGE from the Dockerfile, PREPROC_IMAGE from its target `preproc`; FUNCTIONS=datastore for the embedded topology, by
# default the split one.
deploy: $(VENV)/.runtime ## deploy to a cluster with func: IMAGE=, PREPROC_IMAGE=, NAMESPACE=, FUNCTIONS=
	@test -n "$(IMAGE)" || { echo "make deploy IMAGE=... [PREPROC_IMAGE=...] [NAMESPACE=...] [FUNCTIONS=...]" >&2; exit 2; }
	$(BIN)/python knative/deploy.py --image "$(IMAGE)" --preproc-image "$(PREPROC_IMAGE)" \
	  --namespace "$(or $(NAMESPACE),datastore)" $(FUNCTIONS)

# By default that of `make cluster`, in whose network the tests then run. Another one has Knative Serving and Eventing;
# docs/operations.md says which versions and flags.
e2e: $(VENV)/.dev ## the tests that need a cluster: on that of `make cluster`, or KUBECONFIG=
	DATASTORE_NAMESPACE="$(NAMESPACE)" DATASTORE_IMAGE="$(IMAGE)" DATASTORE_PREPROC_IMAGE="$(PREPROC_IMAGE)" \
	  DATASTORE_OVERLAY="$(OVERLAY)" \
	  $(if $(KUBECONFIG),DATASTORE_KUBECONFIG="$(abspath $(KUBECONFIG))",$(CLUSTER) run) \
	  $(BIN)/python -m tests.e2e

# SECONDS (2) of each load, SIZES (1000,100000,1000000) of the batches. PEER=http://host:port/ puts the same loads on
# another server with the same routes, in turn; PEER_API= is where it serves /streamdata, PEER_CLEAN=1 cleans it at times.
bench: $(VENV)/.dev $(VENV)/.extras ## the store beside the machine's limits; PEER= beside another server
	$(BIN)/python -m bench.preproc
	$(BIN)/python -m bench.strain
	$(BIN)/python -m bench.datasets
	$(BIN)/python -m bench.archives
	$(BIN)/python -m bench --json build/bench.json $(if $(SECONDS),--seconds $(SECONDS)) \
	  $(if $(SIZES),--sizes $(SIZES)) $(if $(PEER),--peer $(PEER)) $(if $(PEER_API),--peer-api $(PEER_API)) \
	  $(if $(filter 1,$(PEER_CLEAN)),--peer-clean)

clean: ## remove the virtual environment and the caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

help: ## list the targets
	@awk -F ':.* ## ' '/^[a-z0-9-]+:.* ## / { printf "  make %-16s%s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# -- the virtual environment: a stamp file for each thing that is installed into it

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	@echo "installing what is needed into $(VENV), once; this takes a minute"
	@$(PYTHON) -m venv $(VENV)

# pip 25.1 is the first with dependency groups.
$(VENV)/.runtime: requirements.txt pyproject.toml | $(BIN)/python
	$(PIP) 'pip>=25.1'
	$(PIP) --editable .
	@touch $@

# What gwclient, preproc and archives on S3 need beyond the store itself; tests of them are skipped without it.
$(VENV)/.extras: $(VENV)/.runtime
	$(PIP) --editable '.[client,preproc,s3,otel]'
	@touch $@

# The dependency groups of pyproject.toml, by name.
$(VENV)/.dev $(VENV)/.fuzz $(VENV)/.browser $(VENV)/.release: $(VENV)/.%: $(VENV)/.runtime
	$(PIP) --group $*
	@touch $@

$(CLIENT_VENVS)/gwpy4/.installed $(CLIENT_VENVS)/gwpy3/.installed: $(CLIENT_VENVS)/%/.installed: pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install -qq --disable-pip-version-check 'pip>=25.1'
	$(@D)/bin/python -m pip install -qq --disable-pip-version-check --group clients-$*
	@touch $@
