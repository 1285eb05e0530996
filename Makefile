# All tasks of the project. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: FORCE help setup dev demo up up-full up-cluster binaries binaries-cluster test-cluster down status checkout follow traffic verify rehearse \
	up-kubernetes down-kubernetes test test-fast test-full test-long test-real test-clients test-compose test-kubernetes bench bench-embedded profile check audit sbom dashboards \
	docs pictures clean lock

# Variables of the caller's shell that would change where packages are installed, which packages they
# are, or which modules Python finds. Those that say where packages come from (PIP_INDEX_URL and its
# like) are passed on.
unexport PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT PIP_PYTHON PIP_REQUIREMENT PIP_EDITABLE PIP_GROUP \
	PIP_CONSTRAINT PIP_BUILD_CONSTRAINT PIP_REQUIRE_HASHES PIP_NO_DEPS PIP_ONLY_DEPS PIP_DRY_RUN \
	PIP_IGNORE_INSTALLED PIP_PLATFORM PIP_PYTHON_VERSION PIP_IMPLEMENTATION PIP_ABI PIP_REPORT \
	PIP_UPLOADED_PRIOR_TO
unexport UV_PYTHON UV_SYSTEM_PYTHON UV_CONSTRAINT UV_BUILD_CONSTRAINT UV_OVERRIDE UV_EXCLUDE \
	UV_EXCLUDE_NEWER UV_NO_VERIFY_HASHES
unexport PYTHONHOME PYTHONPATH PYTHONPLATLIBDIR PYTHONSAFEPATH PYTHONINSPECT PYTHONUSERBASE \
	PYTHONWARNINGS __PYVENV_LAUNCHER__

# The first Python on PATH that is new enough. -I: whatever PYTHONHOME and PYTHONPATH are. It is
# looked for at its first use, and only once.
PYTHON ?= $(eval PYTHON := $$(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$$$p -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$$$p && break; done))$(PYTHON)
BIN := .venv/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-user
# Python compiles each module at its first import, so the installation does not, which makes it
# faster. Where PYTHONDONTWRITEBYTECODE is set, the installation compiles everything: otherwise every
# start of every process would compile it again, which takes six seconds.
COMPILE_NOW := $(if $(PYTHONDONTWRITEBYTECODE),yes)
install = if command -v uv >/dev/null; then \
	uv pip install --quiet $(if $(COMPILE_NOW),--compile-bytecode) --python $(BIN)/python --require-hashes -r $(1); \
	else $(PIP) $(if $(COMPILE_NOW),,--no-compile) --require-hashes -r $(1); fi

# Without an index, so without the user's configuration of pip.
EDITABLE = PIP_CONFIG_FILE=/dev/null $(BIN)/python -m pip --isolated install --quiet --disable-pip-version-check \
	--no-deps --no-build-isolation --no-index --editable .

help: ## list these verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: .venv/.ready ## create .venv, the Python environment of the demo

# "yes" if .venv was set up in another folder, which was then renamed or copied, or if its Python is
# gone: its scripts would not start, or would run the code of the other folder.
MOVED := $(if $(wildcard .venv/.ready),$(shell d=$$(pwd -P)/.venv/bin/python; \
	head -n 2 .venv/bin/demo 2>/dev/null | grep -qF -e "!$$d" -e "\"$$d" -e "'$$d" && [ -x "$$d" ] || echo yes))

define relocate
$(BIN)/python -I requirements/relocate.py 2>/dev/null
endef

# With uv where it is installed, else with venv and pip. Both check every hash.
define set_up
test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and none was found. Set its path: make PYTHON=/path/to/python3"; exit 1; }; \
echo "setting up .venv with $(PYTHON)"; \
rm -rf .venv; \
if command -v uv >/dev/null; then \
	uv venv --quiet --seed --python "$(PYTHON)" .venv; \
else \
	"$(PYTHON)" -m venv .venv || { echo "Python's venv module is missing (Debian, Ubuntu: the package python3-venv)"; exit 1; }; \
fi && \
{ $(call install,requirements/runtime.lock); } && { $(call install,requirements/build.lock); } && \
{ $(BIN)/python -c 'import hatchling' 2>/dev/null || { echo "pip has installed the packages outside of .venv: remove target, prefix and root from its configuration (pip config list)"; exit 1; }; } && \
$(EDITABLE) && touch .venv/.ready
endef

# A moved environment is relocated, unless it is out of date in any case.
.venv/.ready: requirements/runtime.lock requirements/build.lock pyproject.toml $(if $(MOVED),FORCE)
	@$(if $(and $(MOVED),$(if $(filter-out FORCE,$?),,yes)),$(relocate) ||) { $(set_up); }

FORCE:

# The additional packages of the tests and checks.
.venv/.dev: .venv/.ready requirements/dev.lock
	@echo "adding the packages of the tests"
	@$(call install,requirements/dev.lock)
	@touch $@

dev: .venv/.dev

# pytest compiles the tests when it collects them. The worker processes start at the same time, so
# each of them would compile all of them. An error of the collection is reported by the tests.
.venv/.compiled: export PYTHONDONTWRITEBYTECODE =
.venv/.compiled: .venv/.dev
	@$(BIN)/pytest -qq --collect-only >/dev/null || true
	@touch $@

# OpenTelemetry's zero-code distribution, which the benchmarks compare with. It has an environment of
# its own, because it instruments every application of its environment.
.venv-bench/.ready: BIN := .venv-bench/bin
.venv-bench/.ready: requirements/bench.lock
	@echo "setting up .venv-bench, once, for OpenTelemetry's zero-code distribution and py-spy"
	@rm -rf .venv-bench && "$(PYTHON)" -m venv .venv-bench
	@$(call install,requirements/bench.lock)
	@$(EDITABLE)
	@touch $@

demo: setup ## start the stack and take the guided tour: buy, verify, follow one failure
	@$(BIN)/demo tour

up: setup ## start the local mode, which needs Python alone; Ctrl-C stops it
	@$(BIN)/demo up

up-full: setup binaries ## start the full mode: real Collector, Prometheus, Tempo and Loki
	@$(BIN)/demo up --full

# An existing binary is not built again.
binaries: setup ## build Collector, Prometheus and Alertmanager into ~/.cache, once; takes 4 minutes
	@$(BIN)/python -m native.build

up-cluster: setup binaries-cluster ## start several of each: two tiers of Collectors, Thanos, Tempo and Loki
	@$(BIN)/demo up --cluster

# Kafka is for Tempo alone.
binaries-cluster: setup ## build Collector, Thanos, object store and Kafka into ~/.cache, once; takes 6 minutes
	@$(BIN)/python -m native.build otel-collector versitygw thanos $(if $(shell command -v tempo && command -v loki),kafka)

up-kubernetes: setup ## start the demo on the cluster that kubectl reaches, and verify it there
	@$(BIN)/python -m three_pillar_demo.kubernetes up

down-kubernetes: setup ## remove the demo from the cluster
	@$(BIN)/python -m three_pillar_demo.kubernetes down

down: setup ## stop everything, from another terminal
	@$(BIN)/demo down

status: setup ## show the state of every component
	@$(BIN)/demo status

checkout: setup ## buy once
	@$(BIN)/demo checkout

follow: setup ## show the trace and logs of the newest failed purchase
	@$(BIN)/demo follow --last-error

traffic: setup ## generate traffic for one minute
	@$(BIN)/demo traffic --rate 5 --for 60s

verify: setup ## check that all three pillars have every purchase
	@$(BIN)/demo verify

rehearse: setup ## inject every failure under load into the running stack; takes an hour
	@$(BIN)/demo rehearse --all --long

# Each worker process has ports, a state folder and, for the tests marked `stack`, a stack of its own.
# The workers are more than the cores of a small machine, because many tests wait. A worker takes file
# by file, in the order of tests/conftest.py.
WORKERS ?= 6
BY_FILE = --dist loadfile --no-loadscope-reorder
PARALLEL = -n $(WORKERS) $(BY_FILE)
PYTHON_ALONE = not full and not engine and not kubernetes and not cluster

# Tests start hundreds of processes, and each would compile the sources of the project again.
test test-fast test-long test-real test-clients test-cluster: export PYTHONDONTWRITEBYTECODE =

test: .venv/.compiled ## run the tests that need Python alone; starts the local mode
	@$(BIN)/pytest $(PARALLEL) -m '$(PYTHON_ALONE) and not long'

test-fast: .venv/.compiled ## run the tests that start no stack
	@$(BIN)/pytest $(PARALLEL) -m '$(PYTHON_ALONE) and not long and not stack'

test-full: test-long test-real ## run the long tests, and those of the full mode; without Tempo or Loki, a part of them

test-long: .venv/.compiled ## run the long cases of the tests that need Python alone
	@$(BIN)/pytest $(PARALLEL) -m '$(PYTHON_ALONE) and long'

# 0 is one test after the other, because the stack with Tempo and Loki needs two cores. Without Tempo
# and Loki, the tests mostly wait, and with several workers they take less time.
REAL_WORKERS ?= 0

test-real: dev binaries ## run the tests of the full mode; without Tempo or Loki, a part of them
	@STACK=full $(BIN)/pytest -n $(REAL_WORKERS) $(BY_FILE) -m '(full or stack) and not engine and not cluster'

# The tests of this folder are skipped unless CLIENTS is set; it names the clients that must run.
test-clients: dev ## let programs in other languages send to the local store; installs them first
	@CLIENTS="$(CLIENTS)" $(BIN)/pytest tests/clients

test-compose: dev ## test docker-compose.yaml on a container engine (DOCKER_HOST, COMPOSE)
	@$(BIN)/pytest tests/compose

# It builds etcd, kube-apiserver and kubectl first, once.
test-kubernetes: dev ## let a real API server judge the manifests of deploy/kubernetes
	@$(BIN)/python -m native.build etcd kubernetes
	@$(BIN)/pytest tests/kubernetes

# Tempo and Loki on PATH are tested too; without them the local store is in their place.
test-cluster: dev binaries-cluster ## let the cluster lose one process of each kind under load
	@$(BIN)/pytest tests/cluster

# One after the other, because each needs the whole machine.
bench: dev binaries .venv-bench/.ready ## measure the cost of telemetry, for docs/benchmarks.md; takes ninety minutes
	@$(BIN)/python -m bench.http.previous
	@$(BIN)/python -m bench.http.peer
	@$(BIN)/python -m bench.http --write
	@$(BIN)/python -m bench.http.in_process --write
	@$(BIN)/python -m bench.http.profile nothing checkout --write
	@$(BIN)/python -m bench.collector --write
	@$(BIN)/python -m bench.tiers --write
	@$(BIN)/python -m bench.footprint --write

profile: dev .venv-bench/.ready ## profile the requests of one route (ROUTE=nothing, charges or checkout)
	@$(BIN)/python -m bench.http.profile $(ROUTE)

bench-embedded: dev ## measure ingest and queries of the local store, and its web UI; takes ten minutes
	@$(BIN)/python -m bench.local_store
	@$(BIN)/python -m bench.web_pages

check: dev ## run ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# pip-audit has an environment of its own, because it depends on pip and on a dozen libraries that
# nothing else here needs.
.venv/.audit: .venv/.ready requirements/audit.lock
	@"$(PYTHON)" -m venv .venv/audit
	@.venv/audit/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/audit.lock
	@touch $@

audit: .venv/.audit ## check the locked packages for known vulnerabilities (asks PyPI)
	@for lock in requirements/*.lock examples/*/requirements.lock; do .venv/audit/bin/pip-audit --strict --disable-pip --progress-spinner off -r $$lock || exit; done

sbom: dev ## print the bill of materials (CycloneDX)
	@$(BIN)/python -m bench.bill

dashboards: dev ## write the JSON of the Grafana dashboards
	@$(BIN)/python -m grafana.build

docs: dev ## write the generated pages of docs/
	@$(BIN)/python -m docs.generate

pictures: dev ## take screenshots of the running web UI with Chromium, into .demo/pictures
	@$(BIN)/python -m tests.demo.web.pictures .demo/pictures

COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade
CONSTRAINTS := -c requirements/runtime.lock -c requirements/build.lock
lock: ## update the lock files in requirements/ to the newest versions (needs uv)
	$(COMPILE) pyproject.toml -o requirements/runtime.lock
	$(COMPILE) --group build -o requirements/build.lock
	$(COMPILE) --group dev $(CONSTRAINTS) pyproject.toml -o requirements/dev.lock
	$(COMPILE) --group bench $(CONSTRAINTS) pyproject.toml -o requirements/bench.lock
	$(COMPILE) --group audit -o requirements/audit.lock
	$(COMPILE) examples/flask_app/requirements.in -o examples/flask_app/requirements.lock

clean: ## stop the stack and remove .demo, .venv and caches; keep the built binaries
	@$(if $(MOVED),$(relocate);) \
	if [ -x $(BIN)/demo ]; then $(BIN)/demo down || echo "the stack could not be asked to stop"; fi
	@rm -rf .demo .venv .venv-bench .bench-previous .bench-peer .mypy_cache .ruff_cache .pytest_cache
