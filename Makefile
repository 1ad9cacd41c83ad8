.DEFAULT_GOAL := help
.SUFFIXES:

PYTHON ?= python3
BIN := .venv/bin
PORT ?= 8170
DATA ?= .local/sandbox
KILLS ?= 200
MUTATIONS ?= 100000
REQUESTS ?= 100
CASES ?= 100000
SIGNATURES ?= 100000
# Tests wait for servers about a third of their time.
WORKERS ?= $(shell echo $$(( $$(nproc) * 3 / 2 )))
ARGS ?=

.PHONY: help demo up console test check lint fmt bench bench-scale faults fuzz policy-cases nonces lock clean venv-demo venv-test setup-test

help: ## Say what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv-demo:
	@$(PYTHON) tools/venv.py demo

venv-test:
	@$(PYTHON) tools/venv.py test

setup-test: venv-test
	@tools/setup-test

demo: venv-demo ## Watch a key sign only what was countersigned: server, official SDK, offline audit check
	@$(BIN)/python demo/demo.py $(ARGS)

up: venv-demo ## Run a sandbox server in the foreground (PORT=8170 DATA=.local/sandbox)
	@exec $(BIN)/countersign up --port $(PORT) --data $(DATA) $(ARGS)

console: ## Build the pages of the web console from console/ (needs npm; what is built is committed)
	@cd console && npm ci --no-audit --no-fund --no-update-notifier --loglevel=error
	@cd console && npm run --silent build

test: setup-test ## Run every test, on SQLite and PostgreSQL (ARGS='tests/keys -k name' for some, WORKERS=0 in one process)
	@$(BIN)/python -m pytest --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder $(ARGS)

check: lint test ## Run the static checks and every test

lint: venv-test ## Run the static checks: format, lint, types, layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

fmt: venv-test ## Format the code and mend what the linter can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: setup-test ## Measure ceremonies and reads on both engines against a bare endpoint
	@$(BIN)/python -m bench $(ARGS)

bench-scale: setup-test ## Measure a ceremony's cost over a million keys and ten million audit entries (long)
	@$(BIN)/python -m bench --scale $(ARGS)

faults: setup-test ## Kill the server and the signer at random, KILLS times for each engine (long)
	@$(BIN)/python -m pytest tests/faults --kills=$(KILLS) $(ARGS)

fuzz: setup-test ## Mutate MUTATIONS authentication messages (ARGS=--fuzz-seed=N repeats a run), and make REQUESTS for each operation
	@$(BIN)/python -m pytest -q -s tests/fuzz --mutations=$(MUTATIONS) $(ARGS)
	@$(BIN)/python -m pytest -q tests/checks/test_fuzz_openapi.py --requests=$(REQUESTS)

policy-cases: setup-test ## Compare the policy evaluator with a slow one on CASES generated cases (ARGS=--policy-seed=N repeats)
	@$(BIN)/python -m pytest -q -s tests/policies/test_evaluate_reference.py --policy-cases=$(CASES) $(ARGS)

nonces: setup-test ## Sign SIGNATURES messages with each kind of key and find no nonce twice
	@$(BIN)/python -m pytest -q tests/keystores/test_nonces.py --signatures=$(SIGNATURES) $(ARGS)

lock: venv-test ## Write the lock files anew (ARGS=--upgrade for newer versions)
	@tools/lock $(ARGS)

clean: ## Remove everything that was installed or made here, the sandbox's data excepted
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .schemathesis build dist
	@rm -rf tests/clients/node/node_modules console/node_modules
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
