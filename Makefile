# The two commands of the README are 'make demo' and 'make test'; both set everything up first.
# Needed on the machine: make, and python3 (3.11 to 3.13) with venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := linprobe extract probe store reports
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo stamps quick test slow coverage check bench campaign lock clean

help: ## Say what there is to make.
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

install: $(STAMP) ## Set up .venv with everything that demo, test and bench need.

$(STAMP): requirements.lock requirements-nodeps.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else \
		"linprobe needs Python 3.11 to 3.13, %s is %d.%d; name another: make PYTHON=python3.12 ..." % (sys.executable, *v))'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-nodeps.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation \
		--config-setting editable_mode=compat --editable .
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m compileall -q $(PACKAGES)
	@touch $@

demo: install ## Extract, probe and report on photographs (without Debian's packages, on digits); a minute.
	@job=examples/stamps.toml; sh examples/fetch_stamps.sh || { job=examples/demo.toml; echo "demo: on scikit-learn's digits instead"; }; \
	echo "linprobe nightly $$job"; $(BIN)/linprobe nightly $$job && sed -n 's/^# Next: /Next: $(subst /,\/,$(BIN))\//p' $$job

stamps: ## Bring the demo's photographs from Debian's package, to the cache of who calls it.
	@sh examples/fetch_stamps.sh

quick: install ## Run the tests of a minute: those that import no framework and start no browser.
	$(BIN)/python -m pytest --quick

test: install ## Run the tests: every behaviour once (installs a browser and a dataset from Debian's packages if they are missing).
	@sh tests/system-packages.sh
	$(BIN)/python -m pytest

slow: install ## Run the rest of the tests: the whole demo, matrices, many seeds, repeated kills, other processors' kernels.
	@sh tests/system-packages.sh
	$(BIN)/python -m pytest -m "slow and not campaign"

coverage: install ## Say which lines 'make test' does not reach.
	@sh tests/system-packages.sh
	$(BIN)/python -m coverage run -m pytest
	$(BIN)/python -m coverage combine
	$(BIN)/python -m coverage report --skip-covered --show-missing

check: install ## Check format, lint and types.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: install ## Measure speed as ratios, side by side in one run; see benchmarks/README.md.
	@sh tests/system-packages.sh
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.stream
	$(BIN)/python -m benchmarks.extraction
	$(BIN)/python -m benchmarks.device
	$(BIN)/python -m benchmarks.growth --images 1024 4096
	$(BIN)/python -m benchmarks.many_sets --sets 100 1000
	$(BIN)/python -m benchmarks.store
	$(BIN)/python -m benchmarks.sweep
	$(BIN)/python -m benchmarks.heads
	$(BIN)/python -m benchmarks.dense
	$(BIN)/python -m benchmarks.near_duplicates

campaign: install ## Run the long forms of the fault tests and the full-size experiments (hours).
	@sh tests/system-packages.sh
	$(BIN)/python -m pytest -m 'campaign or hypothesis' --hypothesis-profile=free --timeout=36000
	$(BIN)/python -m benchmarks.sweep --growth
	$(BIN)/python -m benchmarks.sweep --wide --cold-points 5

lock: ## Resolve the dependencies anew into the lock files.
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra cpu --extra ray --extra heic --extra hf --extra s3 --extra dev \
		--generate-hashes --no-emit-index-url --no-header pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --no-deps --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header requirements-nodeps.in --output-file requirements-nodeps.lock

clean: ## Remove what was built; the store and the report stay.
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
