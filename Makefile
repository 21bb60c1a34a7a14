# Two commands on a fresh machine: `make demo` and `make test`. Each sets up what it needs in .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check bench clean

.venv/ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ticketkit needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[demo,dev]'
	touch $@

demo: .venv/ready
	$(BIN)/python examples/prune_checkpoint.py
	$(BIN)/python examples/robust_tickets.py --sparsities 0,0.9,0.98

test: .venv/ready
	$(BIN)/python -m pytest

check: .venv/ready
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

bench: .venv/ready
	$(BIN)/python -m tests.benchmarks

clean:
	rm -rf .venv build dist ticketkit-demo
