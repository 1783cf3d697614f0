# `make report` and `make test` need Python >= 3.11 and nothing else.
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
READY := .venv/.installed

.PHONY: report test bench docs clean

report: $(READY)
	@$(BIN)/markov-icl report --out report

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -m "not slow and not timed" -n 2 --dist loadfile
	$(BIN)/pytest -m "timed and not slow"

# Warnings are errors. The pages are in docs/build/html.
docs: $(READY)
	$(BIN)/python -m sphinx -W --keep-going -E -a -q -b html docs docs/build/html

bench: $(READY)
	$(BIN)/python benchmarks/run.py

# The stamp comes last, so that an interrupted installation is taken up again.
$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "expected Python 3.11 or newer; found none" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv, a minute or two"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[all]'
	@touch $@

clean:
	rm -rf .venv report docs/build
