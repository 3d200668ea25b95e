# make demo    try it: 36 articles, three questions; with OPENAI_API_KEY set, an LLM answers
# make test    the tests             make soak     the long ones, and the laws thirty times as often
# make check   lint, types, rules    make format   write the code as the linter wants it
# make clean   remove what make made
# make bench   stateless-rag and the baseline side by side, at most ten minutes; make bench-full takes an hour and more,
#                   make bench-full BENCH_ARGS=--resume goes on where it was cut off
# make audit   known vulnerabilities and licences of what is installed (asks PyPI and OSV)
# make fuzz-http    hundreds of made-up requests for each operation of the HTTP API, some minutes
# make bench-env    install what they need   make bench-micro    time the inner loops
# make bench-script    one script with the baseline and with the façade, into docs/coming-from-lightrag.md
# make bench-quality    recall of every mode on the sets beside the project, into docs/quality.md

VENV := .venv
BIN := $(VENV)/bin
BASELINE := .venv-baseline
INSTALLED := $(VENV)/.installed
PYTEST_ARGS ?=
BENCH_ARGS ?=
FUZZ_EXAMPLES ?= 200
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && \
	echo "$$python" && break; done)

.PHONY: audit fuzz-http demo test soak check format clean install bench bench-full bench-micro bench-env bench-quality bench-script

demo: $(INSTALLED)
	$(BIN)/python examples/demo.py demo-data

# Compiled beforehand, because a hundred processes that tests start would do it each where PYTHONDONTWRITEBYTECODE is set.
test: $(INSTALLED)
	$(BIN)/python -m compileall -q src
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not slow" $(PYTEST_ARGS)

soak: $(INSTALLED)
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)
	$(BIN)/python -m pytest tests/laws --hypothesis-profile=thorough --timeout=3600 $(PYTEST_ARGS)

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python scripts/house_rules.py src/stateless_rag

audit: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --group audit
	$(BIN)/python scripts/audit.py

fuzz-http: $(INSTALLED)
	FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(BIN)/python -m pytest tests/server/test_schema.py --timeout=1800 $(PYTEST_ARGS)

format: $(INSTALLED)
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench-env: $(INSTALLED) $(BASELINE)/.installed
	$(BIN)/python -m pip install --quiet --group bench

bench: bench-env
	$(BIN)/python -m bench run quick

bench-full: bench-env
	$(BIN)/python -m bench run full --page docs/benchmarks.md --scratch bench-data $(BENCH_ARGS)

bench-quality: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --group bench
	$(BIN)/python -m bench.quality run

bench-script: bench-env
	$(BIN)/python -m bench.script
	$(BIN)/python -m bench.script.five

bench-micro: bench-env
	$(BIN)/python -m pytest bench/micro -p no:xdist $(PYTEST_ARGS)

clean:
	rm -rf $(VENV) $(BASELINE) demo-data bench-data build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks
	find src tests examples scripts bench -name __pycache__ -type d -prune -exec rm -rf {} +

install: $(INSTALLED)

# Dependency groups need pip 25.1, which Python 3.11 does not bring along.
$(INSTALLED): pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found; install it, or say make PYTHON=/path/to/it"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable ".[communities,local,server]" --group dev
	touch $@

# In an environment of its own, because its requirements are not ours.
$(BASELINE)/.installed: bench/baseline-requirements.txt
	test -x $(BASELINE)/bin/python || $(PYTHON) -m venv $(BASELINE)
	$(BASELINE)/bin/python -m pip install --quiet --requirement bench/baseline-requirements.txt
	touch $@
