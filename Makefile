# Two commands: `make report` and `make test`. Both set up .venv first, once.
PYTHON ?= python3
VENV   ?= .venv
RUN     = $(VENV)/bin/python

.PHONY: report test setup lint benchmarks clean

report: $(VENV)/ready
	$(RUN) -m vgg_viz report --no-maps

test: $(VENV)/ready lint
	$(RUN) -m pytest -n 2 --dist loadfile

lint: $(VENV)/ready
	$(RUN) -m ruff check .
	$(RUN) -m mypy

setup: $(VENV)/ready

# The doctor swaps opencv-python for its headless twin where libGL is missing, and says so.
$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --editable ".[test]"
	$(RUN) -m vgg_viz doctor --fix
	touch $@

benchmarks: $(VENV)/ready
	$(RUN) benchmarks/attribution.py
	$(RUN) benchmarks/report.py

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
