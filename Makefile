# What people type. Needs Python >= 3.11 with its venv module, and make; everything else is installed
# into .venv and .work here, nothing anywhere else.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
ARGS ?= possess @ai-engineer "build a parser"
# Twice quiet: errors only. Some machines' settings bring a warning for each package.
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check

.PHONY: help run setup test quick check cover format torture bench units golden man docs clean
help:           ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'

run: .venv/installed ## install Port42 into .venv, run `port42 $(ARGS)`, say what there is and what to type next
	@echo '$$ port42 $(subst ','\'',$(ARGS))'
	@$(BIN)/port42 $(ARGS)
ifeq ($(origin ARGS),file)
	@echo; echo "There is now:"
	@$(BIN)/port42 status | sed -n 's/^home: /  your sessions, in /p; s/^pid: /  the daemon port42d, pid /p'
	@echo "  the commands port42 and port42d, in $(CURDIR)/$(BIN)"
	@echo; echo "For this shell to find them:"; echo "  export PATH=\"$(CURDIR)/$(BIN):\$$PATH\""; echo
	@$(BIN)/port42
endif

setup: .venv/ready ## the development environment, .venv, with the sources installed editable
	@echo ".venv is ready: make quick runs the tests, make check lint and types, $(BIN)/port42 the program."

test:           ## everything CI runs: lint, types, layers, and the tests against the built wheel
	@$(PYTHON) tests/run.py

quick: .venv/ready ## the tests against the sources, on this Python only
	$(BIN)/python -m pytest -q -n 2 --dist worksteal

check: .venv/ready ## lint, types and layers
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

format: .venv/ready ## put the sources into the one form
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

cover: .venv/ready ## the tests with their coverage
	$(BIN)/python -m pytest -q -n 2 --cov --cov-report=term:skip-covered

torture: .venv/ready ## the long forms of the tests (kill -9, power cuts, failing calls, storms); an hour or two
	$(BIN)/python -m pytest -q --torture -m torture -o timeout=7200 -o faulthandler_timeout=7500 $(TESTS)

bench:          ## the figures of the documentation, as ratios, against the built wheel
	@$(PYTHON) tests/run.py bench

units:          ## what systemd says of the units: mistakes, and how exposed they are
	@d=$$(mktemp -d) && cp -r systemd/. $$d && sed -i 's,%h/.local/bin/port42d,/bin/true,' $$d/port42.service && \
	export XDG_RUNTIME_DIR=$$d && systemd-analyze --user verify --man=no $$d/port42.service $$d/port42.socket && \
	systemd-analyze --user --no-pager security --offline=yes $$d/port42.service; rm -rf $$d/port42.service.d; \
	echo "and without the drop-in:"; \
	systemd-analyze --user --no-pager security --offline=yes $$d/port42.service | tail -n 2; rm -rf $$d

golden: .venv/ready ## write the OpenRPC document and the versions of its parts anew, after a change of the protocol
	$(BIN)/python tests/golden/regenerate.py

man: .venv/ready ## write the manual page anew, after a change of a help text
	@mkdir -p .work
	$(BIN)/python docs/generators/manual_page.py > .work/port42.1 && mv .work/port42.1 docs/man/port42.1

docs: .venv/ready ## the site of the documentation, in .work/site; links that lead nowhere are errors
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[docs]'
	$(BIN)/python -m mkdocs build --strict

clean:          ## remove what the targets above made
	rm -rf .venv .work dist .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "Port42 needs Python 3.11 or newer"; exit 1; }
	@echo "Making .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv
	@echo "Installing Port42 and the libraries that it needs into .venv: about a minute, 80 MB"
	@$(PIP) -e .
	@touch $@

.venv/ready: .venv/installed
	@echo "Installing the tools for development and tests: some minutes, 300 MB"
	@$(PIP) -e '.[dev]'
	@touch $@
