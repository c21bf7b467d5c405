# Two commands do everything on a fresh machine: `make run` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
TRAIN  := .venv-train
OUT    ?= demo
DATA   ?=
BENCH  ?= benchmarks

.DEFAULT_GOAL := help
.PHONY: help setup setup-train run test test-training chaos soak check format bench validate clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

$(READY): requirements.lock pyproject.toml
$(TRAIN)/.ready: requirements-train.lock pyproject.toml
$(READY) $(TRAIN)/.ready:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "atmwatch needs Python 3.11 or later; name one with: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --require-hashes -r $<
	$(@D)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

setup: $(READY) ## Make .venv with everything that is needed, from the lock file

setup-train: $(TRAIN)/.ready ## Make .venv-train, which has PyTorch as well (about 3 GB): for `atmwatch train`

run: $(READY) ## Simulate a day at the ATMs, replay it, show who came how often and what alerts
	$(BIN)/atmwatch demo --out $(OUT)

test: $(READY) ## Run every test, with coverage; gets a real Kafka and Redis first
	PYTHONPATH=tests $(BIN)/python -m servers
	$(BIN)/pytest --cov --cov-report=term

test-training: $(TRAIN)/.ready ## Run the tests of training, which need PyTorch
	$(TRAIN)/bin/pytest tests/training

chaos: $(READY) ## The long storm over a real Kafka: about 5 minutes
	ATMWATCH_CHAOS_FULL=1 $(BIN)/pytest tests/chaos

soak: $(READY) ## The long storm again and again, ROUNDS=10 times
	@for round in $$(seq $(or $(ROUNDS),10)); do ATMWATCH_CHAOS_FULL=1 $(BIN)/pytest tests/chaos -k storm || exit 1; done

check: $(READY) ## Lint, types, import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY) ## Measure speed; and accuracy, when DATA names a folder of people; write benchmarks/report.md
	@mkdir -p $(BENCH)
	$(BIN)/atmwatch bench pipeline --json > $(BENCH)/pipeline.json
	$(BIN)/atmwatch bench clustering --json > $(BENCH)/clustering.json
	@if [ -n "$(DATA)" ]; then \
	  $(BIN)/atmwatch bench accuracy "$(DATA)" --out "$(BENCH)" $(if $(REAL_MASKS),--real-masks "$(REAL_MASKS)") \
	    $(if $(ATTRIBUTES),--attributes "$(ATTRIBUTES)") $(if $(LABELS),--labels "$(LABELS)"); \
	else echo "Accuracy not measured: name a folder of people with DATA=…, see BENCHMARKS.md"; fi
	$(BIN)/atmwatch bench report $(BENCH)

validate: $(READY) ## Check compose file, chart and alert rules (INSTALL=--install gets the programs)
	deploy/validate $(INSTALL)

clean: ## Remove what was made here, but for .venv
	rm -rf demo build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage htmlcov
