# Two commands: `make report` and `make test`. Each sets up .venv first, once, with what it needs.
PYTHON ?= python3
VENV   ?= .venv
RUN     = $(VENV)/bin/python

.PHONY: report sample test test-all setup lint benchmarks clean

# gallery/sample is committed: `make report` leaves it alone.
report: $(VENV)/report-ready
	$(RUN) -m vgg_viz report --out gallery/made

# The committed sample again, without raw maps, and dated by the last commit of the package: the same source gives the same bytes.
sample: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct -- vgg_viz)
sample: $(VENV)/report-ready
	$(RUN) -m vgg_viz report --no-maps

test: lint
	$(RUN) -m pytest -n 2 --dist loadfile

test-all: lint
	$(RUN) -m pytest -n 2 --dist loadfile -m "slow or not slow" --hypothesis-profile thorough

lint: $(VENV)/test-ready
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(VENV)/bin/deno lint --quiet --config tests/deno.json
	$(VENV)/bin/deno check --quiet --config tests/deno.json vgg_viz/gallery/static/*.js

setup: $(VENV)/test-ready

$(RUN):
	$(PYTHON) -m venv $(VENV)

# The doctor swaps opencv-python for its headless twin where libGL is missing, and says so.
$(VENV)/report-ready: pyproject.toml | $(RUN)
	$(RUN) -m pip install --quiet --editable .
	$(RUN) -m vgg_viz doctor --fix
	touch $@

$(VENV)/test-ready: pyproject.toml | $(RUN)
	$(RUN) -m pip install --quiet --editable ".[test]"
	$(RUN) -m vgg_viz doctor --fix
	touch $@ $(VENV)/report-ready

benchmarks: $(VENV)/test-ready
	$(RUN) benchmarks/attribution.py
	$(RUN) benchmarks/report.py

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
