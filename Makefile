# All commands. `make demo` and `make test` do all of their own set-up on a bare machine.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The tests start many hundred processes. Without compiled files, each of them compiles every module that it imports.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
PORT ?= 8000
N ?= 100000
M ?= 1000
SEED ?= 1
VENV := .venv
BIN := $(VENV)/bin

# The newest Python here that runs Django 6: the other end of the matrix. (A pyenv shim without a version does not count.)
NEWEST := $(shell for python in python3.13 $(HOME)/.pyenv/versions/3.13.*/bin/python python3.12 $(HOME)/.pyenv/versions/3.12.*/bin/python; do \
	"$$python" -c '' 2>/dev/null && echo "$$python" && break; done)
VENV6 := .venv-django6

# The benchmark's peers have an environment of their own.
VENV_BENCH := .venv-bench

# Tests that also run on PostgreSQL and MariaDB.
ON_SERVERS := tests/store tests/test_messages.py tests/worker tests/dispatch tests/upgrade/test_frozen.py tests/faults/test_databases.py

RUNNERS := tests/runners tests/dispatch
NETWORK := tests/brokers tests/transports tests/server tests/live
CHANNELS := tests/channels tests/examples
PUSHER := tests/pusher
FRESH := tests/fresh
PAGES := tests/docs tests/accounts
BROWSER := tests/browser

# They depend on neither Django's nor Python's version, or are too costly for that: once in a run is enough.
PURE := tests/simulation tests/benchmarks tests/store/test_history.py tests/test_architecture.py tests/test_waits.py tests/faults/test_catalogue.py tests/security/test_catalogue.py

.PHONY: help install services messages fmt lint types quick test newest js databases on-postgres on-mariadb runners network channels pusher pusher-clients fresh pages others browser load faults probe soak security audit simulate bench figures demo example-channels example-pusher clean

help: ## this list
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

install: $(VENV)/.demo $(VENV)/.dev ## the virtual environment for development

# The demo needs fewer packages than development, so it starts sooner.
$(VENV)/.demo: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet --editable . --group demo
	touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.demo
	$(BIN)/pip install --quiet --group test --group lint --group bench --editable '.[celery,tasks,rq,dramatiq,huey,procrastinate,q2,redis,postgres,channels,server,push]'
	touch $@

$(VENV6)/.dev: pyproject.toml
	test -x $(VENV6)/bin/python || $(NEWEST) -m venv $(VENV6)
	$(VENV6)/bin/pip install --quiet --upgrade 'pip>=25.1'
	$(VENV6)/bin/pip install --quiet --editable '.[celery,tasks,rq,dramatiq,huey,procrastinate,q2,redis,postgres,channels,server,push]' --group test --group demo 'django>=6'
	touch $@

services: ## install what the tests need: Redis, PostgreSQL, MariaDB, RabbitMQ, Chromium, node, gettext
	.ci/services

messages: $(VENV)/.dev ## collect the texts to translate, and compile the translations (src/telltale/locale)
	cd src/telltale && $(CURDIR)/$(BIN)/django-admin makemessages --all --no-location --no-obsolete --no-wrap
	cd src/telltale && $(CURDIR)/$(BIN)/django-admin compilemessages

fmt: $(VENV)/.dev ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/.dev ## format and style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev ## type checks
	$(BIN)/mypy

# Checks the types in the modules' JSDoc. No lock file: it would record a registry's host. package.json pins the version.
node_modules/.installed: package.json
	npm install --no-save --no-package-lock --include=dev --no-audit --no-fund --silent
	touch $@

# The lock file has no address in it: npm's option omit-lockfile-registry-resolved.
DRIVERS := tests/pusher/drivers
$(DRIVERS)/node_modules/.installed: $(DRIVERS)/package.json $(DRIVERS)/package-lock.json
	npm --prefix $(DRIVERS) ci --no-audit --no-fund --silent
	touch $@

HTMX := tests/docs/htmx
$(HTMX)/node_modules/.installed: $(HTMX)/package.json $(HTMX)/package-lock.json
	npm --prefix $(HTMX) ci --no-audit --no-fund --silent
	touch $@

SOFT := tests/docs/soft
$(SOFT)/node_modules/.installed: $(SOFT)/package.json $(SOFT)/package-lock.json
	npm --prefix $(SOFT) ci --no-audit --no-fund --silent
	touch $@

FRAMEWORKS := tests/docs/frameworks
$(FRAMEWORKS)/node_modules/.installed: $(FRAMEWORKS)/package.json $(FRAMEWORKS)/package-lock.json
	npm --prefix $(FRAMEWORKS) ci --no-audit --no-fund --silent
	touch $@

js: node_modules/.installed $(FRAMEWORKS)/node_modules/.installed ## types and tests of the browser's modules, in node
	node_modules/.bin/tsc -p jsconfig.json
	node --test tests/js/*.test.js

quick: lint types js ## lint, types and all tests that need no service, in two processes
	$(BIN)/pytest -q -n 2 --dist worksteal -m 'not service and not fault'

browser: $(VENV)/.dev services ## the demo's pages in a real browser
	$(BIN)/pytest $(BROWSER)

newest: ## the quick tests, Django's own tasks with their worker, and its own policy, on the newest Python and Django
ifeq ($(NEWEST),)
	@echo 'NOT RUN: Django 6 needs Python 3.12 or newer, and none was found on this machine.'
else
	$(MAKE) $(VENV6)/.dev
	$(VENV6)/bin/pytest -q -m 'not service and not fault' $(PURE:%=--ignore=%)
	$(VENV6)/bin/pytest -q -m service tests/runners/test_django_tasks.py tests/docs/test_content_security_policy.py
endif

databases: on-postgres on-mariadb ## store, workers, attacks and Procrastinate on PostgreSQL, store and workers on MariaDB

on-postgres: $(VENV)/.dev services
	$(BIN)/python -m tests.servers postgres -- $(BIN)/pytest -q --reuse-db $(ON_SERVERS) tests/security/test_requests.py tests/security/test_isolation.py tests/runners/test_procrastinate.py tests/runners/test_open_transactions.py

on-mariadb: $(VENV)/.dev services
	$(BIN)/python -m tests.servers mariadb -- $(BIN)/pytest -q --reuse-db $(ON_SERVERS)

runners: $(VENV)/.dev services ## every runner, with its real workers
	$(BIN)/pytest $(RUNNERS)

network: $(VENV)/.dev services ## every broker and transport, over real servers
	$(BIN)/pytest $(NETWORK)

channels: $(VENV)/.dev services $(DRIVERS)/node_modules/.installed ## Django Channels and the examples, with real servers and a browser
	$(BIN)/pytest $(CHANNELS)

pusher: $(VENV)/.dev services $(DRIVERS)/node_modules/.installed ## the publisher and the stand-in for Pusher
	$(BIN)/pytest $(PUSHER) --ignore=$(PUSHER)/clients

pusher-clients: $(VENV)/.dev services $(DRIVERS)/node_modules/.installed ## the official client libraries against the stand-in, alone and in the live server
	$(BIN)/pytest $(PUSHER)/clients
	TELLTALE_TEST_PUSHER=live $(BIN)/pytest $(PUSHER)/clients --ignore=$(PUSHER)/clients/test_pointing.py --ignore=$(PUSHER)/clients/test_in_a_browser.py

fresh: $(VENV)/.dev services node_modules/.installed ## the documented pip install lines and pages, from the wheel, in fresh environments with a browser
	$(BIN)/pytest $(FRESH)

pages: $(VENV)/.dev services node_modules/.installed $(HTMX)/node_modules/.installed $(SOFT)/node_modules/.installed $(FRAMEWORKS)/node_modules/.installed ## the docs' examples and the pages, in a real browser, in sites of several kinds
	$(BIN)/pytest $(PAGES)

others: $(VENV)/.dev services ## all other tests, on SQLite, with more simulated histories
	SIMULATION_HISTORIES=12000 $(BIN)/pytest $(RUNNERS:%=--ignore=%) $(NETWORK:%=--ignore=%) $(CHANNELS:%=--ignore=%) $(PUSHER:%=--ignore=%) $(FRESH:%=--ignore=%) $(PAGES:%=--ignore=%) $(BROWSER:%=--ignore=%)

# Six at a time: they share no port, directory or database. First those that mostly wait, for processes and downloads.
# The same code gets the same answer: order and examples are drawn from SEED. Other runs draw new ones each time.
test: export TELLTALE_SEED := $(SEED)
test: export PYTEST_ADDOPTS += --randomly-seed=$(SEED)
test: services $(VENV)/.dev node_modules/.installed $(DRIVERS)/node_modules/.installed $(HTMX)/node_modules/.installed $(SOFT)/node_modules/.installed $(FRAMEWORKS)/node_modules/.installed ## everything, with real services, which it starts and stops; fails if a file is left behind (SEED=7 make test)
	TELLTALE_TEST_RETRY=1 .ci/leaves-nothing $(MAKE) --keep-going -j6 --output-sync=target fresh pages browser pusher-clients pusher others runners network channels newest on-postgres on-mariadb lint types js

security: $(VENV)/.dev services ## every attack of docs/threats.md, over real servers
	$(BIN)/pytest -q -m security
	node --test --test-name-pattern='^[sS][0-9]+:? ' tests/js/*.test.js

# Asks the registries which versions of what is installed have known weaknesses.
audit: $(VENV)/.dev node_modules/.installed ## known weaknesses of the installed packages (needs the network)
	$(BIN)/pip freeze --exclude-editable | $(BIN)/pip-audit --strict --disable-pip --no-deps --requirement /dev/stdin
	.ci/audit-npm . $(DRIVERS) $(HTMX) $(SOFT) $(FRAMEWORKS)

# Every fault of docs/faults.md, on SQLite and on PostgreSQL; brokers, servers and browsers are started by the tests.
FAULTS := -q -p tests.faults.report --faults-report var/faults.json -m ''
faults: $(VENV)/.dev services ## inject every fault of docs/faults.md, also those that take minutes; writes var/faults.json
	rm -f var/faults.json
	$(BIN)/python -m pytest $(FAULTS) tests
	$(BIN)/python -m tests.servers postgres -- $(BIN)/python -m pytest $(FAULTS) --reuse-db $(ON_SERVERS)

probe: $(VENV)/.dev ## what each ASGI server does with clients that misbehave, as a table (some ten minutes)
	$(BIN)/python -W ignore -m tests.faults.probe

load: $(VENV)/.dev services ## ten thousand clients for ten minutes, with a Redis restart (LOAD_MINUTES=1 make load)
	$(BIN)/pytest -q -m load tests/load

soak: $(VENV)/.dev services ## 10,000 followers and 500 updates a second for 30 minutes, with every process ended once (SOAK_MINUTES=3 make soak)
	$(BIN)/python -W ignore -m tests.load.soak --minutes $(or $(SOAK_MINUTES),30)

simulate: $(VENV)/.dev ## N simulated histories, and M of the real store against its model (make simulate N=1000000 M=5000)
	$(BIN)/python -m tests.simulation $(N)
	MACHINE_EXAMPLES=$(M) $(BIN)/pytest -q tests/store/test_machine.py

$(VENV_BENCH)/.peers: benchmarks/contenders/peer_apps/requirements.txt
	test -x $(VENV_BENCH)/bin/python || $(PYTHON) -m venv $(VENV_BENCH)
	$(VENV_BENCH)/bin/pip install --quiet --requirement $<
	touch $@

bench: $(VENV)/.dev $(VENV_BENCH)/.peers services ## ratios against other libraries, in one run (QUICK=1 make bench: 6 minutes instead of 20)
	$(BIN)/python -m benchmarks.reporting.progress
	$(BIN)/python -W ignore -m benchmarks.reporting.runs
	$(BIN)/python -W ignore -m benchmarks.reporting.short_tasks
	$(BIN)/python -W ignore -m benchmarks.reporting
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick)

figures: $(VENV)/.dev $(VENV_BENCH)/.peers ## write the newest benchmark record into docs/performance.md, as table and plots
	$(BIN)/python -m benchmarks.results.table
	$(VENV_BENCH)/bin/python -m benchmarks.results.plots

demo: $(VENV)/.demo ## the main use case on SQLite, without services (PORT=8123 make demo)
	@PORT=$(PORT) exec $(BIN)/python -m demo.run

example-channels: ## the recipe for Django Channels, by hand and with Telltale (needs redis-server)
	@$(MAKE) --no-print-directory -C examples/channels run PORT=$(PORT)

example-pusher: ## the example with Pusher's own libraries against the stand-in (needs npm)
	@$(MAKE) --no-print-directory -C examples/pusher run PORT=$(PORT)

clean: ## remove what the other targets create
	rm -rf $(VENV) $(VENV6) $(VENV_BENCH) node_modules $(DRIVERS)/node_modules $(HTMX)/node_modules $(SOFT)/node_modules $(FRAMEWORKS)/node_modules var dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
