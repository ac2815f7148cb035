# Every door of the house. `make help` lists them; a line `target: ## words` is all it takes to be listed.

PYTHON ?= python3
VENV := .venv
STOCK := .peers/celery-5.7.0
SITE := .peers/docs
STOCK_CELERY := celery[redis,msgpack,yaml,auth]==5.7.0
PIP := -m pip install --quiet --disable-pip-version-check
PY := $(VENV)/bin/python
# setuptools tells each editable install that a folder named celeriac/ would shadow the package; there is none.
QUIET := ignore:Editable installation
PYTHONS ?= $(shell for v in 3.10 3.11 3.12 3.13 3.14; do command -v python$$v >/dev/null 2>&1 && echo python$$v; done)

export PATH := $(PATH):/usr/sbin

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help ready stock check format test coverage fuzz test-pythons demo web-test web-pictures terminal-pictures interop interop-core celery-suite shim-wheel shim-test ecosystem faults chaos bench scale docs clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

ready: $(VENV)/.ready ## install what is missing: system packages (root, apt), .venv

$(VENV)/.ready: pyproject.toml scripts/prepare
	@scripts/prepare $(PYTHON)
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) $(PIP) --upgrade pip
	@PYTHONWARNINGS='$(QUIET)' $(PY) $(PIP) --editable '.[dev]'
	@touch $@

stock: $(STOCK)/.ready ## stock Celery 5.7.0 in its own environment, the peer we are measured by

$(STOCK)/.ready: | $(VENV)/.ready
	@test -x $(STOCK)/bin/python || $(PYTHON) -m venv $(STOCK)
	@$(STOCK)/bin/python $(PIP) '$(STOCK_CELERY)' tzdata # a bare machine has no zones, and stock's UTC is one of them
	@touch $@

check: ready ## the fast proofs: format, lint, types, the laws of the house
	@$(VENV)/bin/ruff format --check --quiet . || { echo 'ruff format: run `make format`'; exit 1; }
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/mypy
	@$(PY) -m pytest -q --no-header tests/test_house.py

format: ready ## let ruff format the tree and fix what it can
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix .

# Tests wait more than they work: three processes keep two cores busy. PROCESSES=0 runs them one by one, in one.
PROCESSES ?= 3

test: check docs stock ## everything: check, the site of docs/, then all tests with protocol/ covered whole
	@$(PY) -m pytest --numprocesses=$(PROCESSES) --dist=loadfile --cov=celeriac.protocol --cov-branch --cov-report=term --cov-fail-under=100

coverage: ready ## protocol/ covered by its own tests, line and branch, 100 % or it fails
	@$(PY) -m pytest -q tests/protocol --cov=celeriac.protocol --cov-branch --cov-report=term-missing --cov-fail-under=100

fuzz: ready ## 100,000 mutations of the golden messages through every parser
	@$(PY) -m pytest -m fuzz --hypothesis-profile=fresh --mutations=100000 tests/protocol

test-pythons: ready ## the protocol tests on every python3.X on PATH, or PYTHONS="..."
	@scripts/test-pythons $(PYTHONS)

demo: $(VENV)/.demo ## a worker on a broker that starts by itself: a chain, a chord, a retry, an ETA, a thousand tasks
	@$(PY) examples/demo/run.py

# Python alone and what celeriac needs to run: none of the servers and tools that the tests ask for.
$(VENV)/.demo: pyproject.toml
	@$(PYTHON) -c 'import ensurepip, venv, sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || scripts/prepare $(PYTHON)
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@test -e $(VENV)/.ready || PYTHONWARNINGS='$(QUIET)' $(PY) $(PIP) --editable '.[embedded]'
	@touch $@

web-test: ready stock ## the web page in a headless Chromium alone, pictures included
	@$(PY) -m pytest -m browser tests/compat/web

web-pictures: ready ## the pictures in docs/web.md, taken anew in a headless Chromium
	@$(PY) -m pytest -q -m browser tests/compat/web/test_pictures.py --pictures=docs/pictures

terminal-pictures: ready ## the pictures in the README: what a terminal shows of the demo and of `celeriac top`
	@$(PY) scripts/terminal-pictures

interop: ready stock ## the real peers, in every direction, on every broker; writes docs/interop.md
	@$(PY) -m interop full

interop-core: ready stock ## the same for Celery, gocelery, node-celery, celery-node: what `make test` tries of it
	@$(PY) -m interop core

celery-suite: ready ## Celery's own integration suite, from PyPI, on stock and on celeriac; the table, and what stock alone passes
	@$(PY) -m interop.celery_suite $(SUITE_ARGS)

shim-wheel: ready ## the wheel named `celery`, by which what requires celery gets celeriac: into dist/
	@$(PY) -m celeriac shim dist

shim-test: ready stock ## that wheel put in and taken out in every order, and on each Python there is beside Celery; the table
	@$(PY) -m pytest tests/packaging --orders=12
	@$(PY) -m interop.pythons

ecosystem: ready stock ## programs and packages from PyPI on celeriac: Flower (in chromium, too) and others, each in its own environment
	@$(PY) -m pytest -m ecosystem interop/ecosystem

faults: ready stock ## the full sizes of tests/faults: kills, cuts, poison, 1,000,000 tasks on end; hours
	@$(PY) -m pytest tests/faults --hypothesis-profile=fresh --kills=1000 --worker-kills=200 --messages=5000 --sends=200000 --down=10 --poison=100000 --terms=100 --leaders=200 --soak=1000000

chaos: ready stock ## ten minutes of random faults on a fleet of both Celerys, and stock alone beside it; writes docs/chaos.md; CHAOS_ARGS="--seconds 60 --seed 7"
	@$(PY) -m interop.chaos --write $(CHAOS_ARGS)

# As users have it, and as Celery stands beside it: from a wheel, in an environment of its own (pytest is for tests/servers.py).
bench: ready stock ## Celery and celeriac side by side, huey, dramatiq, taskiq; writes docs/benchmarks.md; BENCH=--quick
	@rm -rf build/lib && $(PYTHON) -m venv --clear .peers/celeriac && .peers/celeriac/bin/python $(PIP) . pytest
	@.peers/celeriac/bin/python benchmarks/bench.py $(BENCH)

docs: $(VENV)/.demo $(SITE)/.ready ## docs/ as a site in build/site, the reference made from the code; fails on a dead link
	@$(PY) scripts/reference
	@NO_MKDOCS_2_WARNING=1 $(SITE)/bin/python -m mkdocs build --quiet --strict
	@echo "build/site/index.html"

$(SITE)/.ready: pyproject.toml | $(VENV)/.demo
	@test -x $(SITE)/bin/python || $(PYTHON) -m venv $(SITE)
	@$(SITE)/bin/python $(PIP) $$(sed -n 's/^docs = \["\(.*\)"\].*/\1/p' pyproject.toml)
	@touch $@

scale: ready ## a backlog of 1,000,000, 100,000 ETAs, 200 queues, 1,000 idle workers, canvases of 100,000; SCALE=--quick
	@$(PY) benchmarks/scale.py $(SCALE)

clean: ## remove what was built, the environments included
	@rm -rf $(VENV) .peers build dist celeriac.egg-info .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find protocol worker compat tests examples scripts -name __pycache__ -type d -prune -exec rm -rf {} +
