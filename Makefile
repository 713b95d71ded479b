# Everything a developer or a build machine does with this repository. `make` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:

# Settings and paths of the caller's shell must not reach what is built and run here.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV PYTHONDONTWRITEBYTECODE
export UV_PYTHON_DOWNLOADS := never
export UV_NO_PROGRESS := true
# Trust whom the machine trusts, as pip does: company proxies have certificates of their own.
export UV_SYSTEM_CERTS := true

UV := .uv/bin/uv
BIN := .venv/bin
INSTALL := VIRTUAL_ENV=.venv $(UV) pip
# The project itself goes in editable, without touching what the locks decided.
INSTALL_PROJECT := $(INSTALL) install --quiet --no-deps --build-constraints requirements/dev.txt --editable .
PYTEST_ARGS ?=
# Thousands of databases come and go: where memory can hold them, the disk need not. Containers often
# have 64 MB of it.
SCRATCH := $(shell test "$$(df --output=avail -k /dev/shm 2>/dev/null | tail -1)" -gt 4000000 2>/dev/null && echo /dev/shm)
# Processes that the tests are shared out to: one more than there are cores, since many of them wait. Each is
# given few at a time, so that none is left with a hundred when the others are done.
WORKERS ?= $(shell expr $$(nproc 2>/dev/null || echo 2) + 1)
AT_ONCE := 2

.PHONY: help
help: ## List what make can do.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

.PHONY: setup
setup: .venv/.dev ## Make .venv with everything to work on the project.

.PHONY: test
test: setup chromium strace ## Check style and types, and run every test. PYTEST_ARGS="-k word" narrows it.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(if $(SCRATCH),TMPDIR=$(SCRATCH)) $(BIN)/pytest --numprocesses=$(WORKERS) --maxschedchunk=$(AT_ONCE) --durations=10 $(PYTEST_ARGS)

.PHONY: soak
soak: setup strace ## Run the long tests: hundreds of kills at random moments. PYTEST_ARGS="-k word" narrows it.
	$(BIN)/pytest tests/soak --timeout=0 --durations=10 $(PYTEST_ARGS)

.PHONY: wheel
wheel: dist/.wheel ## Build the agent's wheel in dist/, which the server gives away under /agent.

.PHONY: demo
demo: .venv/.run dist/.wheel ## Show it all: a server, an agent, and this repository's history (or REPOSITORY=...) on a page.
	@exec $(BIN)/python docs/demo.py $(if $(REPOSITORY),--repository "$(REPOSITORY)") $(if $(DEMO_ONCE),--once)

.PHONY: run
run: .venv/.run dist/.wheel ## Run the server on http://127.0.0.1:8080 with its data in .run/.
	@DEVFLOW_DATA_DIR=.run exec $(BIN)/gunicorn --config gunicorn.conf.py --bind 127.0.0.1:8080

.PHONY: bench
bench: setup ## Measure what the documentation gives numbers for.
	@for each in "ingestion --postgres" numbers "numbers --postgres" pages "pages --postgres" live import_speed local_event counting archiving sealing compare_with_git digests retention; do echo "== $$each"; $(BIN)/python -m bench.$$each; done

.PHONY: docs
docs: setup ## Write the generated parts of docs/ anew.
	$(BIN)/python docs/settings.py

.PHONY: translations
translations: setup ## Bring the catalogs of other languages in step with the texts in the code.
	$(BIN)/python docs/translations.py

.PHONY: lock
lock: $(UV) ## Choose the newest allowed versions of all dependencies and write requirements/.
	@lock() { $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	    --upgrade "$$@" >/dev/null; }; \
	lock pyproject.toml --group dev -o requirements/dev.txt; \
	lock pyproject.toml -c requirements/dev.txt -o requirements/agent.txt; \
	lock --group pyproject.toml:server -c requirements/dev.txt -o requirements/server.txt; \
	lock --group pyproject.toml:build -c requirements/dev.txt -o requirements/build.txt

.PHONY: clean
clean: ## Delete all that make and the tests have made.
	rm -rf .venv .uv .run .demo dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Everything: what develops, tests and runs both programs.
.venv/.dev: requirements/dev.txt pyproject.toml | .venv/pyvenv.cfg
	@echo "installing requirements/dev.txt"
	@$(INSTALL) sync --quiet --require-hashes requirements/dev.txt
	@$(INSTALL_PROJECT)
	@touch .venv/.dev .venv/.run

# Only what runs the server and the agent. Nothing is removed, so it may follow on `make setup`.
.venv/.run: requirements/agent.txt requirements/server.txt pyproject.toml | .venv/pyvenv.cfg
	@echo "installing requirements/agent.txt and requirements/server.txt"
	@$(INSTALL) install --quiet --require-hashes -r requirements/agent.txt -r requirements/server.txt
	@$(INSTALL_PROJECT)
	@touch .venv/.run

dist/.wheel: pyproject.toml README.md LICENSE requirements/build.txt $(shell find agent devflow -name '*.py' -o -name '*.sql') | .venv/pyvenv.cfg
	@echo "building the agent's wheel"
	@$(UV) build --quiet --wheel --python .venv/bin/python --build-constraints requirements/build.txt --require-hashes --out-dir dist .
	@touch dist/.wheel

.venv/pyvenv.cfg: | $(UV)
	@$(UV) venv --quiet --python "$$($(FIND_PYTHON))" .venv

$(UV):
	@python=$$($(FIND_PYTHON)); echo "setting up with $$($$python --version), $$python"; \
	$$python -m venv .uv
	@.uv/bin/pip install --quiet --disable-pip-version-check uv

# The first Python on PATH that is new enough; PYTHON=... overrules.
define FIND_PYTHON
for name in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
  if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then command -v $$name; exit 0; fi; \
done; \
echo "expected Python 3.11 or newer on PATH, got $$(python3 --version 2>&1 || true); name one: make PYTHON=/path/to/python" >&2; \
exit 1
endef

# Records what a process writes, for the tests of power cuts.
.PHONY: strace
strace:
	@if command -v strace >/dev/null; then exit 0; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing strace for the tests of power cuts"; \
	  export DEBIAN_FRONTEND=noninteractive; \
	  apt-get -qq update && apt-get -qq install --yes --no-install-recommends strace >/dev/null; \
	else \
	  echo "expected strace on PATH for the tests of power cuts; install it, on Debian: sudo apt-get install strace" >&2; \
	  exit 1; \
	fi

.PHONY: chromium
chromium:
	@for name in chromium chromium-browser google-chrome google-chrome-stable chrome; do \
	  if command -v $$name >/dev/null; then exit 0; fi; \
	done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing Chromium for the browser tests"; \
	  export DEBIAN_FRONTEND=noninteractive; \
	  apt-get -qq update && apt-get -qq install --yes --no-install-recommends chromium >/dev/null; \
	else \
	  echo "expected Chromium on PATH for the browser tests; install it, on Debian: sudo apt-get install chromium" >&2; \
	  exit 1; \
	fi
