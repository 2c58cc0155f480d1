# assetforge: `make demo` shows the product, `make test` passes the tests; both set everything up on a machine with Python 3.11 and nothing else.
PYTHON ?= python3.11
VENV   ?= .venv
BIN    := $(VENV)/bin
PLUGINS := $(wildcard plugins/*/pyproject.toml)
EDITABLE := $(foreach plugin,$(PLUGINS),-e ./$(patsubst %/pyproject.toml,%,$(plugin)))

# Tests start hundreds of programs, each of which would compile assetforge anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install demo test test-slow test-soak check bench format clean

install: $(VENV)/.installed

# The stamp is newer than everything that says what to install, so a second run needs no network.
$(VENV)/.installed: pyproject.toml constraints.txt $(PLUGINS)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt "torch==2.13.0" "setuptools>=77" wheel
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation -e ".[dev]" $(EDITABLE)
	touch $@

demo: install
	$(BIN)/assetforge demo

test: install
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow and not soak and not bench"

test-slow: install
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "slow"

test-soak: install
	$(BIN)/python -m pytest -q -m "soak"

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install
	$(BIN)/python tests/benchmarks/run_all.py

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist *.egg-info
