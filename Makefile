# The commands of this repository; `make` without arguments lists them. A generated project has commands of its own: see its
# README.

PYTHON ?= python3
UV_VERSION := 0.13.9
GITLAB_CI_LOCAL_VERSION := 4.75.1
VENV := .venv
UV := $(VENV)/bin/uv
BIN := $(CURDIR)/$(VENV)/bin
PROJECT := {{ cookiecutter.repo_name }}
# A checksum of both lists of dependencies: when one of them changes, the environment is updated.
PINS := $(shell cat pyproject.toml '$(PROJECT)/pyproject.toml' | cksum | cut -d' ' -f1)
READY := $(VENV)/.dev-$(PINS)-$(GITLAB_CI_LOCAL_VERSION)

.DEFAULT_GOAL := help
.PHONY: help demo demo-start install test test-host test-engine test-docker test-ci test-fast examples lint format bench docs reference pictures lock audit dist newest clean

help: ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# Notes when a part of the demo has ended.
ended = @echo "$$(date +%s) $(1)" >> build/demo-times

demo: demo-start $(VENV)/.generate ## generate a project in build/demo, compile its pipeline and run it on this machine
	$(call ended,tools)
	rm -rf build/demo
	cd build && DO_NOT_TRACK=1 KEDRO_LOGGING_CONFIG=demo-logging.yml \
		$(BIN)/kedro new --starter=.. --name=demo --telemetry=no </dev/null
	$(call ended,generate)
	@echo "Installing the project and some 150 packages, 220 MB to download the first time. This takes minutes."
	$(UV) venv -q --python $(BIN)/python build/demo/.venv
	$(UV) pip install --python build/demo/.venv/bin/python --compile-bytecode -e 'build/demo[launch]'
	$(call ended,install)
	cd build/demo && .venv/bin/kedro vertexai plan
	$(call ended,plan)
	cd build/demo && .venv/bin/kedro vertexai compile
	$(call ended,compile)
	cd build/demo && .venv/bin/kedro vertexai run-local --spec pipeline.json --profile
	$(call ended,run)
	@echo
	@echo "The project:      build/demo"
	@echo "Its MLflow pages: cd build/demo && .venv/bin/kedro mlflow ui"
	@awk 'NR > 1 { all += $$1 - last; parts = parts ", " $$2 " " $$1 - last } { last = $$1 } \
		END { print "Seconds it took:  " all " (" substr(parts, 3) ")" }' build/demo-times

demo-start: # the seconds count from here, so those are in it that the tools take
	@mkdir -p build && rm -f build/demo-times && echo "version: 1" > build/demo-logging.yml
	$(call ended,start)

# The tests are compiled once, and not by each pytest anew, also on a machine that keeps no bytecode otherwise.
unexport PYTHONDONTWRITEBYTECODE

install: $(READY) # what the other commands need

test: $(READY) lint ## check everything: linters, types, unit tests, generated projects, whole pipeline runs
	$(MAKE) --jobs=2 --output-sync=target --no-print-directory test-host test-engine

test-host: $(READY) # everything that needs no Docker engine; a group of tests, which share what took long to make, has one worker
	$(BIN)/pytest -n auto --dist loadgroup --ignore tests/docker --ignore tests/ci

test-engine: # what needs a Docker engine; CI's jobs build their image on layers that are there by then
	$(MAKE) --no-print-directory test-docker
	$(MAKE) --no-print-directory test-ci

test-docker: $(READY) # one engine, whose containers are counted, so one test after the other
	$(BIN)/pytest tests/docker

test-ci: $(READY) # the jobs of one CI system have one name, so a worker for each system
	$(BIN)/pytest -n auto --dist loadfile tests/ci

test-fast: $(READY) ## run the unit tests, in less than a minute
	$(BIN)/pytest -n auto --dist worksteal -m 'not slow'

examples: $(READY) ## try what holds for any pipeline and catalog with 100 fresh examples, or with EXAMPLES=…
	EXAMPLES=$(or $(EXAMPLES),100) $(BIN)/pytest -n auto --timeout 0 tests/properties

lint: $(READY) ## run ruff and mypy on the template itself, without generating a project
	$(BIN)/ruff check --force-exclude --config pyproject.toml .
	$(BIN)/ruff format --check --config pyproject.toml .
	$(BIN)/mypy --package vertexai_mlflow
	$(BIN)/mypy --package kedro_vertexai_mlflow

format: $(READY) ## let ruff format the code and fix what it can
	$(BIN)/ruff check --fix --config pyproject.toml .
	$(BIN)/ruff format --config pyproject.toml .

bench: $(READY) ## run the benchmarks, some of them against kedro-vertexai, and write benchmarks/RESULTS.md (takes 15 minutes)
	$(BIN)/python benchmarks/run.py

docs: $(VENV)/.docs ## build the documentation as a site, in build/docs
	$(BIN)/zensical build --clean --strict

reference: $(READY) ## write the pages of the documentation that the code tells
	$(BIN)/python docs/generated.py

pictures: $(READY) ## write the output of real runs in build/demo into README and docs
	$(BIN)/python docs/pictures.py

COMPILE := $(UV) pip compile --quiet --universal --generate-hashes --no-annotate --upgrade --python-version 3.11 \
	--custom-compile-command "make lock"
lock: $(READY) ## renew the locks of the template's commands and of its build, and both locks that generated projects get
	$(COMPILE) --output-file requirements.lock pyproject.toml
	printf '%s\n' hatchling uv | $(COMPILE) --output-file requirements-build.lock -
	rm -rf build/lock && mkdir -p build/lock
	$(BIN)/cookiecutter . --no-input --output-dir build/lock >/dev/null
	$(MAKE) -C build/lock/new-kedro-project lock PATH="$(BIN):$$PATH"
	cp build/lock/new-kedro-project/*.lock '$(PROJECT)'

audit: $(READY) ## look for known vulnerabilities in all locks, and for weaknesses in the workflows here and in the template
	$(BIN)/pip-audit --require-hashes --disable-pip --progress-spinner off --vulnerability-service osv \
		$(foreach lock,$(wildcard *.lock),-r $(lock)) -r '$(PROJECT)/requirements.lock' -r '$(PROJECT)/requirements-launch.lock'
	$(BIN)/zizmor --persona auditor .github '$(PROJECT)/.github'

# With what is installed, in release.yml from requirements-build.lock: nothing is fetched meanwhile.
dist: export VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' '$(PROJECT)/src/vertexai_mlflow/__init__.py')
dist: ## build the package of the release TAG, and write its notes, in build/dist
	@test "$$TAG" = "v$$VERSION" || { echo >&2 \
		"The tag is $$TAG, and __version__ of the platform is $$VERSION. Tag the commit that has the number: see CONTRIBUTING.md"; exit 1; }
	rm -rf build/dist && mkdir -p build/dist
	awk -v head="## [$$VERSION]" 'index($$0, "## [") == 1 { on = index($$0, head) == 1; next } on' CHANGELOG.md > build/dist/notes.md
	@grep -q '[^[:space:]]' build/dist/notes.md || { echo >&2 "CHANGELOG.md says nothing about $$VERSION."; exit 1; }
	uv build --quiet --no-build-isolation --out-dir build/dist .

newest: ## remove upper bounds and pins, here and in the template, and renew the lock
	sed -i -E 's/^(    "[^"]+>=[0-9.]+),<[0-9.]+"/\1"/' '$(PROJECT)/pyproject.toml'
	sed -i -E 's/^(    "[a-z-]+)==/\1>=/' pyproject.toml
	$(MAKE) lock

clean: ## remove everything that these commands have made
	rm -rf build $(VENV)

$(UV):
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q uv==$(UV_VERSION)

$(VENV)/.generate: pyproject.toml | $(UV)
	$(UV) pip install --python $(BIN)/python --compile-bytecode --group generate
	touch $@

$(VENV)/.docs: pyproject.toml | $(UV)
	$(UV) pip install --python $(BIN)/python --group docs
	touch $@

# The tests run generated projects in this environment, so it also has the dependencies of a project.
$(READY): | $(VENV)/.generate
	rm -rf build/dependencies && mkdir -p build/dependencies
	$(BIN)/cookiecutter . --no-input --output-dir build/dependencies >/dev/null
	$(UV) pip install -q --python $(BIN)/python --compile-bytecode --group dev \
		-r build/dependencies/*/pyproject.toml --extra launch --extra dev
	$(BIN)/npm install --silent --no-fund --no-audit --prefix $(VENV)/npm gitlab-ci-local@$(GITLAB_CI_LOCAL_VERSION)
	touch $@
