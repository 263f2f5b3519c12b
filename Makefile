# Two commands on a fresh clone: `make study` and `make test`. Both set up .venv from constraints.txt first.
PYTHON ?= python3
BIN := .venv/bin
STUDY ?= study
# 2016, 2026 or all
SUITE ?= 2016
# usual (PyTorch and TensorFlow), all (JAX too), or one
FRAMEWORK ?= usual
SECONDS ?= 600
# onnxruntime's binaries send data to their maker unless this is set
export ORT_DISABLE_TELEMETRY ?= 1
# Two processes, each with a half of the tests in their order (what one test exports, the next ones use), then what is left.
PARALLEL ?= -n 2 --dist worksteal

.PHONY: help setup setup-hashed hashes study test quick coverage fuzz differential audit sbom lint types layers unit quick-simulators simulators graphs check-graphs clean

help:
	@echo "make study  set up, run the whole study on the small preset, write $(STUDY)/report.html"
	@echo "make test   set up, run every check and test"
	@echo "make quick  the checks, and the tests that take less than a second: the loop to work in"
	@echo "make coverage  every test, with the lines that none reaches in htmlcov/"
	@echo "make fuzz   damaged and twisted files to every reader, for SECONDS=600"
	@echo "make differential  random graphs as they are and as we rewrite them, for SECONDS=600"
	@echo "make setup-hashed  set up with nothing but files whose hashes are in constraints-hashed.txt; make hashes writes these"
	@echo "make audit  known faults of the dependencies (pip-audit); make sbom lists them (CycloneDX)"
	@echo "make simulators install the tools that read graphs, each by itself; make test then asks all of them"
	@echo "make graphs write the committed graphs anew; make check-graphs compares them"

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# The same versions, and nothing whose hash is another. What the other targets need is then there already.
setup-hashed: constraints-hashed.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r constraints-hashed.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch .venv/ready

study: setup
	$(BIN)/fathom-onnx study --suite $(SUITE) --framework $(FRAMEWORK) --preset small -o $(STUDY)

test: setup lint types layers quick-simulators unit

quick: setup lint types layers
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow" --ignore=tests/exporters --ignore=tests/end_to_end

coverage: setup quick-simulators
	$(BIN)/python -m pytest $(PARALLEL) --cov --cov-report=term:skip-covered --cov-report=html

fuzz: setup
	$(BIN)/python benchmarks/fuzz --seconds $(SECONDS)

differential: setup
	$(BIN)/python benchmarks/differential --seconds $(SECONDS)

# Tools that look at our environment live in one of their own, so that they are no part of what they look at.
build/tools:
	$(PYTHON) -m venv build/tools
	build/tools/bin/python -m pip install --quiet --disable-pip-version-check pip-audit cyclonedx-bom uv

audit: setup build/tools
	build/tools/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip

# Of every file of every version, and of what only some systems need, which constraints.txt does not name.
hashes: build/tools
	echo "setuptools>=77" > build/setuptools.in
	build/tools/bin/uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes --no-annotate \
		--no-header --constraints constraints.txt --extra dev --output-file constraints-hashed.txt pyproject.toml build/setuptools.in

sbom: setup build/tools
	build/tools/bin/cyclonedx-py environment $(BIN)/python --output-file build/sbom.json

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

layers: setup
	$(BIN)/lint-imports

unit: setup
	$(BIN)/python -m pytest $(PARALLEL)

# Tools are installed apart from us and from each other; one that cannot be had is said, and its tests are skipped.
quick-simulators: setup
	$(BIN)/python tests/simulators/install.py --quick --limit 120

simulators: setup
	$(BIN)/python tests/simulators/install.py

graphs: setup
	$(BIN)/fathom-onnx export --framework all --preset paper -o graphs
	$(BIN)/python benchmarks/graph_index.py --write

check-graphs: setup
	$(BIN)/python benchmarks/graph_index.py --check

clean:
	rm -rf .venv .simulators $(STUDY) build *.egg-info htmlcov .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis \
		.import_linter_cache
