# The front door. `make` alone lists the verbs.
.DEFAULT_GOAL := help
.PHONY: help setup dev demo up up-full down status checkout follow traffic verify rehearse test test-fast test-full test-compose bench \
	bench-embedded profile check audit sbom dashboards docs pictures clean lock

# The first Python that is new enough.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
NO_ENGINE := --ignore tests/compose/test_engine.py
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Files are compiled when they are first used: that is sooner ready. Who keeps Python from writing them has them compiled here,
# or every start of every process would compile all again, for six seconds.
LATER := $(if $(PYTHONDONTWRITEBYTECODE),,yes)
install = if command -v uv >/dev/null; then \
	uv pip install --quiet $(if $(LATER),,--compile-bytecode) --python $(BIN)/python --require-hashes -r $(1); \
	else $(PIP) $(if $(LATER),--no-compile) --require-hashes -r $(1); fi

help: ## list these verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/.ready ## the Python environment that the demo runs in

# uv when it is there, else venv and pip; both check every hash.
.venv/.ready: requirements/runtime.lock requirements/build.lock pyproject.toml telemetry/pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and none was found. Name one: make PYTHON=/path/to/python3"; exit 1; }
	@echo "setting up .venv with $(PYTHON)"
	@rm -rf .venv
	@if command -v uv >/dev/null; then \
		uv venv --quiet --seed --python $(PYTHON) .venv; \
	else \
		$(PYTHON) -m venv .venv || { echo "Python's venv module is missing (Debian, Ubuntu: the package python3-venv)"; exit 1; }; \
	fi
	@$(call install,requirements/runtime.lock) && $(call install,requirements/build.lock)
	@$(PIP) --no-deps --no-build-isolation --no-index --editable ./telemetry --editable .
	@touch $@

# What tests and checks need besides.
.venv/.dev: .venv/.ready requirements/dev.lock
	@echo "adding what the tests need"
	@$(call install,requirements/dev.lock)
	@touch $@

dev: .venv/.dev

# OpenTelemetry's distribution, to be compared with: in an environment of its own, or it would instrument ours too.
.venv-bench/.ready: BIN := .venv-bench/bin
.venv-bench/.ready: requirements/bench.lock
	@echo "setting up .venv-bench, once, for OpenTelemetry's zero-code distribution and py-spy"
	@rm -rf .venv-bench && $(PYTHON) -m venv .venv-bench
	@$(call install,requirements/bench.lock)
	@$(PIP) --no-deps --no-build-isolation --no-index --editable ./telemetry --editable .
	@touch $@

demo: setup ## the guided first run: start, buy, prove, follow one failure; leaves it running
	@$(BIN)/demo tour

up: setup ## start everything, with Python alone; Ctrl-C stops it
	@$(BIN)/demo up

up-full: setup ## the same on the real Collector, Prometheus, Tempo and Loki
	@$(BIN)/demo up --full

down: setup ## stop everything, from another terminal
	@$(BIN)/demo down

status: setup ## what runs
	@$(BIN)/demo status

checkout: setup ## buy once
	@$(BIN)/demo checkout

follow: setup ## the newest failed purchase, through traces and logs
	@$(BIN)/demo follow --last-error

traffic: setup ## a minute of customers
	@$(BIN)/demo traffic --rate 5 --for 60s

verify: setup ## prove that every purchase is whole in all three pillars
	@$(BIN)/demo verify

rehearse: setup ## break one thing after the other under load, in the long form, on the stack that runs; takes an hour
	@$(BIN)/demo rehearse --all --long

# Two runs side by side: one mostly waits for the stack, the other needs none. Its report is printed last.
test: dev ## all tests that need Python alone; starts the embedded stack
	@mkdir -p .demo/logs; \
	nice -n 10 $(BIN)/pytest -m 'not full and not stack' >.demo/logs/test-fast.log 2>&1 & fast=$$!; \
	trap 'kill $$fast 2>/dev/null' INT TERM; \
	$(BIN)/pytest -m 'stack and not full' $(NO_ENGINE); stack=$$?; \
	wait $$fast; fast=$$?; cat .demo/logs/test-fast.log; exit $$((stack | fast))

test-fast: dev ## those of them that start no stack
	@$(BIN)/pytest -m 'not full and not stack'

test-full: dev ## the end-to-end tests, rules, panels and links on the real stack, as far as its binaries are there
	@STACK=full $(BIN)/pytest -m 'full or stack' $(NO_ENGINE)

test-compose: dev ## docker-compose.yaml on a real engine (DOCKER_HOST, COMPOSE)
	@$(BIN)/pytest tests/compose

# One after the other: each wants the machine for itself. The Collector is built if it must be.
bench: dev .venv-bench/.ready ## what telemetry costs, measured, into docs/benchmarks.md; takes an hour and the whole machine
	@$(BIN)/python -m bench.http --write
	@$(BIN)/python -m bench.http.profile nothing checkout --write
	@$(BIN)/python -m bench.collector --write
	@$(BIN)/python -m bench.footprint --write

profile: dev .venv-bench/.ready ## where the time of a request goes (ROUTE=nothing, charges or checkout)
	@$(BIN)/python -m bench.http.profile $(ROUTE)

bench-embedded: dev ## how fast the embedded store takes in and answers; takes some minutes
	@$(BIN)/python -m bench.local_store

check: dev ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# In an environment of its own: it brings a pip, and a dozen libraries that nothing else here wants.
.venv/.audit: .venv/.ready requirements/audit.lock
	@$(PYTHON) -m venv .venv/audit
	@.venv/audit/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/audit.lock
	@touch $@

audit: .venv/.audit ## whether a locked package has a known vulnerability (asks PyPI)
	@for lock in requirements/*.lock; do .venv/audit/bin/pip-audit --strict --disable-pip --progress-spinner off -r $$lock || exit; done

sbom: dev ## the bill of materials, CycloneDX, on stdout
	@$(BIN)/python -m bench.bill

dashboards: dev ## write the dashboards' JSON
	@$(BIN)/python -m grafana.build

docs: dev ## write the generated pages of docs/reference/
	@$(BIN)/python -m docs.generate

pictures: dev ## draw every state of the page that runs, into .demo/pictures, in Chromium; the best are in docs/images
	@$(BIN)/python -m tests.console.pictures .demo/pictures

lock: ## pin the newest versions again (needs uv)
	uv pip compile --no-emit-package three-pillars --quiet --universal --python-version 3.11 --generate-hashes --upgrade pyproject.toml -o requirements/runtime.lock
	uv pip compile --no-emit-package three-pillars --quiet --universal --python-version 3.11 --generate-hashes --upgrade --group build -o requirements/build.lock
	uv pip compile --no-emit-package three-pillars --quiet --universal --python-version 3.11 --generate-hashes --upgrade --group dev -c requirements/runtime.lock \
		-c requirements/build.lock pyproject.toml -o requirements/dev.lock
	uv pip compile --no-emit-package three-pillars --quiet --universal --python-version 3.11 --generate-hashes --upgrade --group bench -c requirements/runtime.lock \
		-c requirements/build.lock pyproject.toml -o requirements/bench.lock
	uv pip compile --no-emit-package three-pillars --quiet --universal --python-version 3.11 --generate-hashes --upgrade --group audit -o requirements/audit.lock

clean: ## remove what runs and tests left here; the built binaries stay in the cache
	@if [ -x $(BIN)/demo ]; then $(BIN)/demo down; fi
	@rm -rf .demo .venv .venv-bench .mypy_cache .ruff_cache .pytest_cache
