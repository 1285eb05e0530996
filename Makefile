# The front door. `make` alone lists the verbs.
.DEFAULT_GOAL := help
.PHONY: help setup up down status checkout follow traffic verify test test-fast test-compose check dashboards clean lock

# The first Python that is new enough.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin

help: ## list these verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/.ready ## the Python environment only

# uv when it is there, else venv and pip; both check every hash.
.venv/.ready: requirements-dev.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and none was found. Name one: make PYTHON=/path/to/python3"; exit 1; }
	@echo "setting up .venv with $(PYTHON)"
	@rm -rf .venv
	@if command -v uv >/dev/null; then \
		uv venv --quiet --seed --python $(PYTHON) .venv && \
		uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-dev.lock; \
	else \
		{ $(PYTHON) -m venv .venv || { echo "Python's venv module is missing (Debian, Ubuntu: the package python3-venv)"; exit 1; }; } && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock; \
	fi
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index --editable .
	@touch $@

up: setup ## start everything; Ctrl-C stops it
	@$(BIN)/demo up

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

test: setup ## all tests; starts the real stack once
	@$(BIN)/pytest

test-fast: setup ## the tests that need no stack
	@$(BIN)/pytest -m 'not stack'

test-compose: setup ## docker-compose.yaml on a real engine (DOCKER_HOST, COMPOSE)
	@$(BIN)/pytest tests/compose

check: setup ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

dashboards: setup ## write the dashboards' JSON
	@$(BIN)/python -m grafana.build

lock: ## pin the newest versions again (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade --group dev -c requirements.lock \
		pyproject.toml -o requirements-dev.lock

clean: ## remove what runs and tests left here; the built binaries stay in the cache
	@if [ -x $(BIN)/demo ]; then $(BIN)/demo down; fi
	@rm -rf .demo .venv .mypy_cache .ruff_cache .pytest_cache
