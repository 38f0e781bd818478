# `make demo` and `make test` set up .venv from the lock file first; nothing else is needed.

SHELL := bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORES ?= 2
BENCHMARKS := anomalies choose compare dag detectability domains explorer fetch map merge observed \
	posterior predict probe rate render rounds similar train volunteers
TSC := npx --yes --package typescript@5 tsc --allowJs --checkJs --noEmit --strict --target es2022 \
	--lib es2023,dom,dom.iterable
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo demo-rounds test test-slurm lint format dag report clean setup bench bench-find schema \
	stages docs package

demo: setup
	snakemake --cores $(CORES)
	@echo
	@echo "release: results/releases/demo/README.md"
	@echo "report:  results/evaluations/demo/report.html"

# Rounds of asking volunteers as a closed loop, by each rule: a quarter of an hour.
demo-rounds: bench-rounds

# A module's tests run in one process and share its fixtures; the longest module comes first, and
# those of unit tests, which are short, last.
# OpenMP threads that spin while they wait would starve those of the other processes.
test: setup
	OMP_WAIT_POLICY=PASSIVE pytest -n $(CORES) --dist loadscope --no-loadscope-reorder \
		tests/workflow/test_real_galaxies.py tests/workflow tests/stages tests/unit

# A real cluster on this one machine, where one may be root and has apt; else the tests are skipped.
test-slurm: setup
	tests/slurm/cluster.sh with pytest tests/slurm

lint: setup
	ruff check .
	ruff format --check .
	mypy
	lint-imports --no-cache
	codespell src tests benchmarks docs workflow config *.md
	snakefmt --check Snakefile workflow
	@# Pages are plain JavaScript; its types are checked where npm is at hand.
	@if $(TSC) --version > /dev/null 2>&1; \
		then $(TSC) src/galaxymill/explorer/page/*.js && $(TSC) src/galaxymill/interest/page/*.js; \
		else echo "the types of the pages are not checked: npm is not at hand"; fi
	@# One finding is waived: the environment is one for the whole workflow, see envs/.
	snakemake --lint 2>&1 | grep '^    \*' | sort | uniq -c | (! grep -v 'Specify a conda environment')

format: setup
	ruff check --fix .
	ruff format .
	snakefmt Snakefile workflow

# The documentation as a site; its tutorials are run, which takes some minutes the first time.
docs: setup
	sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "site: docs/_build/html/index.html"

# Wheel and sdist; the wheel is installed into an empty environment, and the demo runs from there.
package: setup
	rm -rf dist build
	$(BIN)/pip install --quiet --disable-pip-version-check build
	$(BIN)/python -m build --outdir dist .
	$(PYTHON) -m venv --clear dist/empty
	dist/empty/bin/pip install --quiet --disable-pip-version-check --no-compile -c envs/requirements.lock \
		"$$(ls $(CURDIR)/dist/*.whl)[demo]"
	PATH=$(CURDIR)/dist/empty/bin:$$PATH galaxymill run -- --cores $(CORES)

dag: setup
	@mkdir -p results
	snakemake --rulegraph mermaid-js > results/dag.mmd
	snakemake -n --quiet rules
	@echo "rule graph: results/dag.mmd"

report: setup
	snakemake --cores 1 --report results/report.zip
	@echo "report: results/report.zip"

bench:
	@for name in $(BENCHMARKS); do $(MAKE) --no-print-directory bench-$$name || exit 1; done

bench-%: setup
	@python benchmarks/$*.py $(ARGS)

# On real galaxies: it trains for a quarter of an hour, and is no part of bench.
bench-find: bench-find_real

schema: setup
	python -m galaxymill.config.docs config

# Every stage's source, put on record as it is: see CONTRIBUTING.md.
stages: setup
	python -m galaxymill.stage_sources

clean:
	rm -rf results .snakemake logs

setup: $(VENV)/installed

$(VENV)/installed: envs/requirements.lock pyproject.toml
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r envs/requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@
