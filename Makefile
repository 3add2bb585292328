# Every target works on a fresh clone: the environment is made from locked, hashed requirements first.
# Needs python3 >= 3.10 with venv, make, git and OpenSSH; scripts/check-host says what is missing.

PYTHON   ?= python3
MANIFEST ?= manifests/quickstart.yaml
OUT      ?= dist
WORKERS  ?= 2
BIN      := .venv/bin
ENV      := .stamps/environment

.DEFAULT_GOAL := help
.PHONY: help bundle verify demo test test-fast check format bench docs fault-matrix lock-environment clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(ENV): requirements/dev.txt pyproject.toml scripts/check-host scripts/make-environment
	@sh scripts/check-host "$(PYTHON)"
	@sh scripts/make-environment "$(PYTHON)"
	@mkdir -p $(@D) && touch $@

bundle: $(ENV) ## build, sign and verify MANIFEST (the quickstart release) for this host, into OUT
	@$(BIN)/bundle-build build $(MANIFEST) --out $(OUT) --development-key

verify: $(ENV) ## check every bundle in OUT with stock tools and with ours
	@sh scripts/verify-bundles $(OUT)

demo: $(ENV) ## the tutorial by itself: build, three repo hosts, apply, check, repair, roll back
	@$(BIN)/python scripts/demo

test: $(ENV) ## the full test suite, as CI runs it
	@$(BIN)/pytest -n $(WORKERS) --dist worksteal --durations 15 tests

test-fast: $(ENV) ## tests of under a minute: no network, nothing slow
	@$(BIN)/pytest -n $(WORKERS) -q -m "not slow and not network" tests

check: $(ENV) ## style, types, layers, generated pages, release notes
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python scripts/reference --check
	@$(BIN)/reno -q lint

format: $(ENV) ## put the code into the house style
	@$(BIN)/ruff check --fix-only . && $(BIN)/ruff format .

bench: $(ENV) ## measure against stock tools and the naive script, in one run
	@$(BIN)/python scripts/bench/bench.py; first=$$?; for part in compile targets verify apply unpack; do $(BIN)/python scripts/bench/$$part.py || first=1; done; exit $$first

docs: $(ENV) ## write the generated reference pages
	@$(BIN)/python scripts/reference

fault-matrix: $(ENV) ## strike at every boundary of a delivery with every fault, and renew the page that says so
	@$(BIN)/python scripts/fault-matrix --write

lock-environment: $(ENV) ## renew requirements/dev.txt from pyproject.toml
	@sh scripts/lock-environment

clean: ## remove what make made here (not the store in the user's cache)
	rm -rf .venv .stamps dist build .tox .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
