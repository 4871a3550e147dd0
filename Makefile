# What people type. Needs Python >= 3.11 with its venv module, and make; everything else is installed
# into .venv and .work here, nothing anywhere else.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
ARGS ?= possess @ai-engineer "build a parser"

.PHONY: help run setup test quick check cover format torture bench units golden man docs clean
help:           ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'

run: .venv/ready ## set everything up and run `port42 $(ARGS)`
	@$(BIN)/port42 $(ARGS)

setup: .venv/ready ## the development environment, .venv, with the sources installed editable

test:           ## everything CI runs: lint, types, layers, and the tests against the built wheel
	@$(PYTHON) tests/run.py

quick: .venv/ready ## the tests against the sources, on this Python only
	$(BIN)/python -m pytest -q -n 2

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

.venv/ready: pyproject.toml
	@test -n "$(PYTHON)" || { echo "Port42 needs Python 3.11 or newer"; exit 1; }
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@
