# What one does here; `make` alone lists it. Everything sets up what it needs first.

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000

VENV := .venv
PY := $(VENV)/bin/python
# An editable install warns about itself; nobody here needs to hear it, or about newer versions of pip.
PIP = PYTHONWARNINGS=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore $(PY) -m pip --quiet

.DEFAULT_GOAL := help
.PHONY: help .venv up test soak fuzz security lint types migrations openapi bench compare lock tools

help:  ## This list
	@awk -F ':.*## ' '/^[.a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: $(VENV)/.for-up  ## Run the store: PORT=8000 HOST=127.0.0.1, DEMO=no leaves it empty
	@exec $(PY) manage.py up --host $(HOST) --port $(PORT) $(if $(filter no,$(DEMO)),--no-demo)

# More than cores, as tests wait for servers now and then.
JOBS ?= 3

test: $(VENV)/.for-dev tools  ## Run the tests: ARGS="-k filter" narrows them, JOBS=1 takes one after the other
	@$(PY) -m pytest -m "not soak" -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

soak: $(VENV)/.for-dev tools  ## Run the tests that take long
	@$(PY) -m pytest -m soak $(ARGS)

fuzz: $(VENV)/.for-dev  ## Try the API's document against a real server: EXAMPLES=1000 of each operation, SEED=1
	@FUZZ_EXAMPLES=$(EXAMPLES) FUZZ_SEED=$(SEED) $(PY) -m pytest tests/fuzz -m "not soak" -s $(ARGS)

security: $(VENV)/.for-dev  ## Look for insecure code and for known faults of what is installed
	@$(PY) -m bandit --quiet --configfile pyproject.toml --recursive inference_store dashboard
	@$(PY) -m tools.advisories

lint: $(VENV)/.for-dev  ## Check style and layout
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

types: $(VENV)/.for-dev  ## Check types
	@$(PY) -m mypy

migrations: $(VENV)/.for-dev  ## Check that no migration is missing
	@$(PY) -m pytest -q tests/test_migrations.py

openapi: $(VENV)/.for-dev  ## Write docs/openapi.json anew
	@$(PY) manage.py openapi

BENCH ?= ingest exports retention compare

bench: $(VENV)/.for-dev  ## Measure the running store (bench/README.md): BENCH=exports does that one alone
	@for measure in $(filter-out compare,$(BENCH)); do $(PY) -m bench.$$measure $(ARGS) || exit 1; done
	@$(if $(filter compare,$(BENCH)),$(PY) -m bench.compare $(COMPARE))

compare: $(VENV)/.for-dev  ## Measure this store beside others: ARGS="--n 10000 --stores …"
	@$(PY) -m bench.compare $(ARGS)

.venv: $(VENV)/.for-up  ## Make the environment that `make up` needs

lock: $(VENV)/.made  ## Write requirements.lock anew, with the newest versions
	@$(VENV)/bin/python -m venv --clear build/lock
	@$(subst $(PY),build/lock/bin/python,$(PIP)) install --upgrade pip setuptools
	@$(subst $(PY),build/lock/bin/python,$(PIP)) install --no-build-isolation --editable '.[dev]'
	@echo '# Everything the extra "dev" installs; written by: make lock' > requirements.lock
	@build/lock/bin/python -m pip freeze --all --exclude-editable >> requirements.lock
	@echo '# For redis, before Python 3.11.3:' >> requirements.lock; echo 'async-timeout==5.0.1' >> requirements.lock
	@rm -rf build/lock

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make $(MAKECMDGOALS) PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@touch $@

# pip runs twice: the second builds with what the first has put there, so that nothing unpinned is fetched.
$(VENV)/.for-up: $(VENV)/.made pyproject.toml requirements.lock
	@echo "Installing the store (once; about half a minute)"
	@$(PIP) install -c requirements.lock --upgrade pip setuptools
	@$(PIP) install -c requirements.lock --no-build-isolation --editable '.[server,embedded,demo]'
	@touch $@

$(VENV)/.for-dev: $(VENV)/.made pyproject.toml requirements.lock
	@echo "Installing the store and what its tests need (once; about half a minute)"
	@$(PIP) install -c requirements.lock --upgrade pip setuptools
	@$(PIP) install -c requirements.lock --no-build-isolation --editable '.[dev]'
	@touch $@ $(VENV)/.for-up

# Programs that tests use and pip does not bring: command, Debian's package, what is tried with it. RUNLEVEL
# keeps Debian from starting a server.
tools:
	@$(call from_debian,chromium,chromium,the browser tests)
	@$(call from_debian,nginx,nginx,the tests of nginx in front)
	@$(call from_debian,openssl,openssl,the tests of nginx in front)
	@$(call from_debian,systemd-analyze,systemd,the tests of systemd units)

define from_debian
if PATH="$$PATH:/usr/sbin" command -v $(1) >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing $(2) for $(3) (once)"; \
		{ apt-get -qq update && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
			apt-get -qq install --yes --no-install-recommends $(2) >/dev/null; } || \
			echo "$(2) could not be installed: $(3) are skipped."; \
	else \
		echo "There is no $(1), and only root may install it: $(3) are skipped." \
			"On Debian: apt install $(2)"; \
	fi
endef
