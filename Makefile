# Everything runs from .venv, which these targets make; nothing has to be activated or installed by hand.
#
#   make demo ARGS="--calls 20 --speed 10 --exit"     make test ARGS="tests/unit -x"

.DEFAULT_GOAL := help
.PHONY: help demo simulate serve test test-fast fuzz soak lint format types contracts bench docs description generator clients client-typescript lock clean

.NOTPARALLEL:

BIN := .venv/bin
ARGS ?=

# The newest interpreter that works and is new enough; a shim that leads nowhere is passed over.
PYTHON ?= $(shell for p in python3.14 python3.13 python3.12 python3.11 python3 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo "$$p" && break; done)

help: ## show this
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

# --- the environment -------------------------------------------------------------------------------------------
# One stamp per lock: it is newer than the lock once the lock is installed.

$(BIN)/.made:
	@test -n "$(PYTHON)" || { echo "Aftercall needs Python 3.11 or newer; none was found. Install one, or: make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	@$(BIN)/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || { echo "Making .venv with $(PYTHON)"; \
		"$(PYTHON)" -m venv --clear .venv || { echo "python -m venv failed; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }; }
	@touch $@

PIP := $(BIN)/python -m pip --disable-pip-version-check
PIP_INSTALL := $(PIP) install --quiet
# A lock is complete, so pip only fetches what it names: resolving would look at releases made after the lock.
INSTALL_LOCK := $(PIP_INSTALL) --no-deps --require-hashes

$(BIN)/.runtime: requirements.lock requirements-build.lock $(BIN)/.made
	@echo "Installing what the service needs"
	@$(INSTALL_LOCK) -r requirements.lock -r requirements-build.lock
	@touch $@

$(BIN)/.dev: requirements-dev.lock $(BIN)/.made
	@echo "Installing what the tests need"
	@$(INSTALL_LOCK) -r requirements-dev.lock
	@rm -f $(BIN)/.checked
	@touch $@

$(BIN)/.docs: requirements-docs.lock $(BIN)/.made
	@echo "Installing what the documentation site needs"
	@$(INSTALL_LOCK) -r requirements-docs.lock
	@rm -f $(BIN)/.checked
	@touch $@

# The project itself: no network, and nothing but the command `aftercall` and a pointer to this folder. The
# build tools come from whichever lock is there.
define install_project
	@$(PIP_INSTALL) --no-index --no-deps --no-build-isolation --editable .
	@touch $(BIN)/.project
endef

$(BIN)/.project: pyproject.toml | $(BIN)/.runtime
	$(install_project)

# After each change of the environment: whether everything that a package requires is there. Where the packages of
# the tests are installed, they are brought up to date first.
$(BIN)/.checked: $(BIN)/.runtime $(wildcard $(BIN)/.dev) $(BIN)/.project
	@$(PIP) check >$@.log || { cat $@.log >&2; echo "The packages in .venv do not fit together. Run \`make clean\` and try \
again; if that does not help, a lock is incomplete: run \`make lock\`." >&2; exit 1; }
	@mv $@.log $@

RUNTIME := $(BIN)/.runtime $(BIN)/.project $(BIN)/.checked
DEV := $(BIN)/.runtime $(BIN)/.dev $(BIN)/.project $(BIN)/.checked

# --- what people do --------------------------------------------------------------------------------------------

demo: $(RUNTIME) ## a simulated company, the real service, calls being enriched; Ctrl-C ends it
	@$(BIN)/aftercall demo $(ARGS)

simulate: $(RUNTIME) ## a simulated RingCentral, for authors of connectors
	@$(BIN)/aftercall simulate $(ARGS)

serve: $(RUNTIME) ## the service, with the settings of the environment
	@$(BIN)/aftercall serve $(ARGS)

# Three processes for each of two processors: the end-to-end tests mostly wait, and take turns with those that compute
# (tests/distribution.py). A process that starts finds its modules compiled, whatever the environment says.
WORKERS ?= 6
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/pytest --dist loadfile --no-loadscope-reorder --max-worker-restart=0

test: $(DEV) ## all tests; says at its end what was left out, and how to get it
	$(PYTEST) -n $(WORKERS) $(ARGS)

test-fast: $(DEV) ## unit and property tests without the fuzzing, for the inner loop: under a minute
	$(PYTEST) -n 2 --ignore-glob="*/test_fuzz_*" tests/unit tests/property $(ARGS)

SECONDS ?= 600

fuzz: $(DEV) ## mutated input and sequences of requests on both databases, each for SECONDS=600; prints how many were tried
	AFTERCALL_FUZZ_SECONDS=$(SECONDS) $(BIN)/pytest -q -s -o faulthandler_timeout=0 $(wildcard tests/*/test_fuzz_*.py) $(ARGS)

DAYS ?= 1
SEED ?= 1

soak: $(DEV) ## simulated days of two replicas with faults, in virtual time: DAYS=1 SEED=1
	$(BIN)/python -m tests.soak --days $(DAYS) --seed $(SEED) $(ARGS)

lint: $(BIN)/.dev ## ruff: rules and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: $(BIN)/.dev ## put everything into ruff's form
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: $(BIN)/.dev ## mypy --strict
	$(BIN)/mypy

contracts: $(DEV) ## who may import whom
	$(BIN)/lint-imports

bench: $(DEV) ## measure, and print the table of docs/performance.md
	$(BIN)/python -m bench $(ARGS)

docs: $(BIN)/.docs ## the documentation as a site in ./site; fails on a broken link
	@$(PIP) check
	$(BIN)/zensical build --strict --clean

# Generators of clients want other versions of what the tests use, so they have an environment of their own.
GENERATORS := .cache/description
INSTALL_GENERATOR = $(subst $(BIN)/,$(GENERATORS)/bin/,$(INSTALL_LOCK))
INSTALL_NODE = npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
LINTERS := tests/description/node_modules/.installed
TYPESCRIPT := clients/typescript/node_modules/.installed

$(GENERATORS)/.made: requirements-description.lock $(BIN)/.made
	@echo "Installing what generates a client in Python"
	@$(BIN)/python -m venv --clear $(GENERATORS)
	@$(INSTALL_GENERATOR) -r requirements-description.lock
	@touch $@

$(GENERATORS)/.generator: requirements-generator.lock $(GENERATORS)/.made
	@echo "Installing openapi-generator"
	@$(INSTALL_GENERATOR) -r requirements-generator.lock
	@touch $@

$(LINTERS): tests/description/package-lock.json
	@echo "Installing linters of the API description"
	@cd $(<D) && $(INSTALL_NODE)
	@touch $@

$(TYPESCRIPT): clients/typescript/package-lock.json
	@echo "Installing TypeScript"
	@cd $(<D) && $(INSTALL_NODE)
	@touch $@

description: $(DEV) $(LINTERS) $(TYPESCRIPT) $(GENERATORS)/.made ## linters and generators over the API description; needs Node 18
	$(BIN)/python -m tests.description

generator: $(DEV) $(TYPESCRIPT) $(GENERATORS)/.generator ## the same with openapi-generator; needs Node 18 and Java 11
	$(BIN)/python -m tests.description generator

clients: $(DEV) $(TYPESCRIPT) ## build clients/typescript, and test it against the service; needs Node 20.3
	$(BIN)/python -m tests.description clients

client-typescript: $(RUNTIME) $(TYPESCRIPT) ## build clients/typescript, and no more; needs Node 20.3
	@mkdir -p .cache
	$(BIN)/python clients/typescript/describe.py >.cache/openapi.json
	@cd clients/typescript && node_modules/.bin/openapi-typescript ../../.cache/openapi.json -o src/schema.ts
	@cd clients/typescript && node_modules/.bin/tsc -p tsconfig.json

# --- upkeep ----------------------------------------------------------------------------------------------------
# The locks name versions and hashes, never where packages come from.

COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links

WITHOUT_ADDRESSES := const [path] = process.argv.slice(1), lock = JSON.parse(fs.readFileSync(path)); \
	for (const one of Object.values(lock.packages)) delete one.funding; \
	fs.writeFileSync(path, JSON.stringify(lock, null, 2) + "\n")

lock: ## resolve the dependencies anew (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv" >&2; exit 1; }
	$(COMPILE) --upgrade --all-extras --group dev pyproject.toml -o requirements-dev.lock
	$(COMPILE) -c requirements-dev.lock pyproject.toml -o requirements.lock
	printf 'editables\nhatchling\n' | $(COMPILE) -c requirements-dev.lock - -o requirements-build.lock
	$(COMPILE) -c requirements-dev.lock --group docs -o requirements-docs.lock
	$(COMPILE) --group description -o requirements-description.lock
	$(COMPILE) --group generator -o requirements-generator.lock
	for folder in tests/description clients/typescript; do \
		(cd $$folder && npm install --package-lock-only --ignore-scripts --omit-lockfile-registry-resolved --no-audit --no-fund) && \
		node -e '$(WITHOUT_ADDRESSES)' $$folder/package-lock.json || exit 1; done
	printf 'obstore\n' | $(COMPILE) -c requirements-dev.lock - -o requirements-s3.lock

clean: ## remove the environment, caches and what tests leave behind
	rm -rf .venv .mypy_cache clients/typescript/dist clients/typescript/src/schema.ts tests/description/node_modules clients/typescript/node_modules .pytest_cache .ruff_cache .import_linter_cache .hypothesis htmlcov dist site .cache .coverage .coverage.*
	find app bench migrations tests -name __pycache__ -type d -prune -exec rm -rf {} +
