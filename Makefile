# Each target sets up .venv by itself; only Python >= 3.11, git and make are needed.
PYTHON ?= python3
BIN := .venv/bin
quoted = '$(subst ','\'',$(1))'
# Workers: tests wait half of the time, those of processes most of it. For one, or a debugger: make test EVERY_CORE=
workers = --numprocesses $(shell $(PYTHON) -c 'import os; print(round($(1) * (os.cpu_count() or 1)))') --dist worksteal
EVERY_CORE = $(call workers,2)
.DELETE_ON_ERROR:
.PHONY: setup demo docs test slow-test matrix lint bench cluster-test fuzz lock clean

setup: .venv/.ready

.venv/.ready: pyproject.toml requirements.lock requirements-dev.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with make PYTHON=python3.12")'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

demo: setup
	$(BIN)/logcaster-guard demo $(ARGS)

test: setup
	$(BIN)/python -m pytest $(EVERY_CORE) -m "not slow" $(ARGS)

# Guards as processes that are stopped, killed, starved, renewed and led astray, in real time: ten minutes and more.
slow-test: setup
	$(BIN)/python -m pytest $(EVERY_CORE) -m slow $(ARGS)

slow-test: EVERY_CORE = $(call workers,2.5)

# Every rollback with one thing gone wrong, hours of CPU: all, or MATRIX=offset:count, or MATRIX='the name of a cell'.
# ARGS="--seconds 600" bounds the time, ARGS="--plane real" plays on the control plane in KUBEBUILDER_ASSETS.
matrix: setup
	MATRIX=$(call quoted,$(MATRIX)) $(BIN)/python -m tests.matrix $(ARGS)

# What is made of the code: the tables of keys and of messages, and the schemas for editors.
docs: setup
	$(BIN)/python -m tests.config.key_tables
	$(BIN)/python -m tests.messages.kind_table
	$(BIN)/logcaster-guard schema rules > config/schema/rules.schema.json
	$(BIN)/logcaster-guard schema settings > config/schema/settings.schema.json

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python -m bench

# The tests that speak to a cluster: on the embedded one, and on a real one where KUBEBUILDER_ASSETS or KUBECONFIG is set.
cluster-test: setup
	$(BIN)/python -m pytest $(EVERY_CORE) -m cluster $(ARGS)

# Coverage-guided, for FUZZ_SECONDS; what it finds is left in .fuzz/. Its own tool is installed only here.
FUZZ_SECONDS ?= 60
fuzz: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: -r fuzz/requirements.txt
	$(BIN)/python -m fuzz.fuzz_config $(FUZZ_SECONDS)

# Maintainers only: needs uv on the PATH.
lock:
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 --group dev --constraint requirements.lock pyproject.toml -o requirements-dev.lock
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 --group build --constraint requirements-dev.lock -o requirements-build.lock

clean:
	rm -rf .venv build *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .fuzz
