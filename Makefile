# `make` says what there is. Needed: make and Python 3.11 or newer; everything else comes from requirements/*.txt.

SHELL := /bin/sh
BIN := .venv/bin
PYTHON_FILES := crds controller dataplane simulator tidegate charts tests bench e2e
GENERATORS := crds.generate crds.reference dataplane.metering.reference tidegate.reference charts.generate
PYTEST_OPTIONS ?= -n auto --maxschedchunk 1

# One check: its name, the command, and what to run when it fails. Its output is shown only then.
define step
@mkdir -p .cache; printf '%-16s' '$(1)'; \
if ( $(2) ) > .cache/step.log 2>&1; then echo ok; \
else echo FAILED; cat .cache/step.log; printf '\n%s failed. %s\n' '$(1)' '$(3)'; exit 1; fi
endef

.PHONY: help setup demo test e2e cluster nightly check format generate lock bench bench-quick bench-% clean

help:  ## show this
	@echo 'Tidegate, a gateway for realtime LLM traffic. Begin with `make demo`.'
	@echo
	@awk -F ':.*## ' '/^[a-z0-9%-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile

setup: .venv/.dev  ## install everything to work on Tidegate into .venv

demo: .venv/.run  ## see it work: a metered realtime session through the gateway, no key needed
	@$(BIN)/tidegate demo

test: check  ## everything that needs only Python: check, then all tests and the coverage of the pure cores
	@rm -f .cache/coverage/*
	@mkdir -p .cache/coverage
	@$(BIN)/coverage run -m pytest $(PYTEST_OPTIONS) || \
	{ printf '\nTests failed. One alone: .venv/bin/pytest PATH::NAME\n'; exit 1; }
	@$(BIN)/coverage combine -q
	@$(BIN)/python -m tests.house.coverage_floor

e2e: .venv/.dev  ## clients and servers that nobody here wrote, against the gateway; see e2e/
	@e2e/run

cluster: .venv/.dev  ## keep a real Kubernetes API server running, built from source; with NODE=1 a whole node, as root
	@e2e/cluster/build $(if $(NODE),node)
	@cd e2e && ../$(BIN)/python -m cluster

nightly: .venv/.nightly  ## fuzz, config changes, soak, chaos, kills, all of Autobahn: some 110 minutes; PARTS="soak chaos" are two
	@e2e/nightly/run $(PARTS)

check: .venv/.dev  ## format, lint, types, import law, dead code, generated files: under a minute
	$(call step,format,$(BIN)/ruff format --check $(PYTHON_FILES),Run: make format)
	$(call step,lint,$(BIN)/ruff check --output-format concise $(PYTHON_FILES),Run: make format; it repairs some of these.)
	$(call step,types,$(BIN)/mypy,Run: .venv/bin/mypy)
	$(call step,import law,$(BIN)/lint-imports,The law is in pyproject.toml under importlinter; run: .venv/bin/lint-imports)
	$(call step,dead code,$(BIN)/vulture,Delete it; names used only by a framework go to tests/vulture_allowed.py)
	$(call step,generated files,for module in $(GENERATORS); do $(BIN)/python -m $$module --check || exit 1; done,Run: make generate)

format: .venv/.dev  ## format the code and repair what the linter can
	@$(BIN)/ruff check -q --fix-only $(PYTHON_FILES)
	@$(BIN)/ruff format $(PYTHON_FILES)

generate: .venv/.dev  ## write all generated files: CRDs and references
	@for module in $(GENERATORS); do $(BIN)/python -m $$module || exit 1; done

lock:  ## resolve requirements/*.txt anew from pyproject.toml
	@requirements/lock.sh

bench: .venv/.dev  ## what relaying costs, against other relays, for docs/benchmarks.md: some 45 minutes
	@$(BIN)/python -m bench $(OPTIONS)

bench-quick: .venv/.dev  ## the main ratios of that, in under two minutes
	@$(BIN)/python -m bench.quick $(OPTIONS)

bench-%: .venv/.dev  ## one of accounting, apply, changes, choice, guesses, peers, pressure, storm, table, voice: see docs/benchmarks.md
	@$(BIN)/python -m bench.$* $(OPTIONS)

clean:  ## delete the virtual environment, the caches and what was built
	rm -rf .venv .cache dist .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find $(PYTHON_FILES) -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps say which locks are installed. All of run.txt is in dev.txt too.
.venv/.dev: requirements/dev.txt requirements/build.txt requirements/install.sh
	@requirements/install.sh .venv dev
	@touch .venv/.run $@

.venv/.nightly: requirements/nightly.txt .venv/.dev
	@requirements/install.sh .venv nightly
	@touch $@

.venv/.run: requirements/run.txt requirements/build.txt requirements/install.sh
	@requirements/install.sh .venv run
	@touch $@
