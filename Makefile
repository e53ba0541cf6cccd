# The same verbs for people and for CI. `make` alone lists them.
#
# Needs: a Rust toolchain (see rust-version in Cargo.toml), a C compiler; for everything but
# `quickstart`, also python3 (3.11 or newer) with venv and Node.js (20 or newer) with npm; for `fuzz`
# and `check`, a C++ compiler; for `test` and `check`, Chromium (CHROMIUM says where). Everything else
# is installed below this folder: .venv, tests/interop/.venv, bindings/python/.venv,
# bindings/node/node_modules, tests/browser/node_modules, benches/python/.venv,
# benches/node/node_modules, target.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
.DEFAULT_GOAL := help

PYTHON ?= python3
CARGO ?= cargo
RUFF_VERSION := 0.17.5
FUZZ_SECONDS ?= 5

RUFF := .venv/bin/ruff
RUFF_READY := .venv/ruff-$(RUFF_VERSION).stamp
INTEROP := tests/interop/.venv
INTEROP_READY := $(INTEROP)/ready.stamp
PYTHON_FILES := tests bindings/python examples benches crates/agentcore-local/tests

# The Python package: its venv holds what builds, checks and tests it.
BINDING := bindings/python
BINDING_PYTHON := $(abspath $(BINDING)/.venv/bin/python)
BINDING_READY := $(BINDING)/.venv/ready.stamp
BINDING_CRATES := crates/agentcore-local/Cargo.toml $(BINDING)/Cargo.toml
TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
# maturin finds zig through the python3 of PATH.
MATURIN := env -u CONDA_PREFIX VIRTUAL_ENV=$(abspath $(BINDING)/.venv) PATH="$(dir $(BINDING_PYTHON)):$$PATH" maturin
# Of glibc's targets only, zig links what is released: against the glibc of manylinux2014, however new
# this machine's is. All packages share one linker, one set of flags and one build of agentcore-local.
RUSTC_SAYS := $(shell rustc -vV 2>/dev/null)
RELEASE_TARGET := $(filter %-linux-gnu,$(RUSTC_SAYS))
ifneq ($(RELEASE_TARGET),)
RELEASE_LINKER := CC_$(subst -,_,$(RELEASE_TARGET))=$(abspath bindings/zigcc.sh) \
  CARGO_TARGET_$(shell echo $(subst -,_,$(RELEASE_TARGET)) | tr a-z A-Z)_LINKER=$(abspath bindings/zigcc.sh)
WHEEL_FLAGS := --target $(RELEASE_TARGET) --compatibility manylinux2014
endif
# Code is laid out by the profile that this very compiler's code left when it ran, if there is one. Its
# sum is what makes cargo build afresh when that has changed.
PROFILE := bindings/profile/$(RELEASE_TARGET)-rust$(word 2,$(RUSTC_SAYS))-llvm$(lastword $(RUSTC_SAYS)).profdata
PROFILE_FLAGS = $(if $(wildcard $(PROFILE)),-Cprofile-use=$(abspath $(PROFILE)) \
  --cfg=profile_$(firstword $(shell cksum $(PROFILE))))
RELEASE_FLAGS = $(strip $(RUSTFLAGS) $(PROFILE_FLAGS))
RELEASE_ENV = env $(RELEASE_LINKER) $(if $(RELEASE_FLAGS),RUSTFLAGS="$(RELEASE_FLAGS)")
RELEASE_BUILD = $(RELEASE_ENV) $(CARGO) build --locked --release $(if $(RELEASE_TARGET),--target $(RELEASE_TARGET))
RELEASE_DIR := $(TARGET_DIR)/$(if $(RELEASE_TARGET),$(RELEASE_TARGET)/)release

# The Node package: what builds, checks and tests it is in its node_modules.
NODE_BINDING := bindings/node
NODE_READY := $(NODE_BINDING)/node_modules/ready.stamp
NPM ?= npm

# What drives the browser.
BROWSER := tests/browser
BROWSER_READY := $(BROWSER)/node_modules/ready.stamp

BENCH_PYTHON := benches/python/.venv
BENCH_PYTHON_READY := $(BENCH_PYTHON)/ready.stamp
BENCH_INSTALL := $(BENCH_PYTHON)/bin/pip install --quiet --disable-pip-version-check --no-index --no-deps --force-reinstall
BENCH_NODE := benches/node
BENCH_NODE_READY := $(BENCH_NODE)/node_modules/ready.stamp

FUZZ := crates/agentcore-client/fuzz
FUZZ_TARGETS = $(sort $(basename $(notdir $(wildcard $(FUZZ)/fuzz_targets/*.rs))))

export CHROMIUM ?= /usr/bin/chromium
export AGENTCORE_INTEROP_PYTHON := $(abspath $(INTEROP)/bin/python)
export AGENTCORE_LOCAL_BIN := $(TARGET_DIR)/debug/agentcore-local
# The Node.js that came with pyright, and no look for a newer version.
export PYRIGHT_PYTHON_GLOBAL_NODE := 0
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
ifdef CI
export CARGO_INCREMENTAL := 0
export CARGO_TERM_COLOR := never
endif

.PHONY: help
help: ## list the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

.PHONY: quickstart
quickstart: ## an agent answers in the terminal; ARGS="--arn … prompt" asks a real one
	@$(CARGO) run --locked -p agentcore-examples --no-default-features $(if $(FEATURES),--features $(FEATURES)) --example quickstart -- $(ARGS)

# The Python package as it is built here, its handler, and the page. ARGS are flags of agentcore-local.
.PHONY: relay-demo
relay-demo: python-build ## browser, API Gateway, Lambda and agent on this machine; ARGS="--agent http://127.0.0.1:8080"
	@$(BINDING_PYTHON) examples/lambda-websocket/local/demo.py $(ARGS)

.PHONY: test
test: interop-env python-build addon browser-env nextjs-build ## all tests, of all crates and languages
	@mkdir -p target
	@status=0; $(CARGO) test --locked --workspace --no-fail-fast 2>&1 | tee target/test.log || status=$$?; \
	(cd $(BINDING) && $(BINDING_PYTHON) -m pytest -q) 2>&1 | tee target/pytest.log || status=$$?; \
	(cd $(NODE_BINDING) && $(NPM) run --silent test) >target/node.log 2>&1 || { status=$$?; cat target/node.log; }; \
	(cd $(BROWSER) && $(NPM) run --silent test) >target/browser.log 2>&1 || { status=$$?; cat target/browser.log; }; \
	tail -n 1 target/pytest.log >target/pytest.sum; \
	awk '/^test result:/ { p += $$4; f += $$6; s += $$8 } \
	  FILENAME ~ /pytest/ { for (i = 2; i <= NF; i++) { \
	    if ($$i ~ /^passed/) p += $$(i - 1); \
	    if ($$i ~ /^(failed|errors?)/) f += $$(i - 1); \
	    if ($$i ~ /^skipped/) s += $$(i - 1) } } \
	  FILENAME ~ /node|browser/ { if (/^# pass /) p += $$3; if (/^# fail /) f += $$3; if (/^# skipped /) s += $$3 } \
	  END { printf "tests: %d passed, %d failed, %d skipped\n", p, f, s; exit !p }' \
	  target/test.log target/pytest.sum target/node.log target/browser.log; \
	exit $$status

.PHONY: browser-test
browser-test: addon python-build browser-env nextjs-build ## the tests with a real browser; pictures of what it saw are in target/browser
	$(CARGO) build --locked -p agentcore-example-axum-sse
	cd $(BROWSER) && $(NPM) run --silent test

# The Next.js example as its users build it: half a minute and more, so only when it has changed.
.PHONY: nextjs-build
nextjs-build: addon
	@mkdir -p target
	node $(BROWSER)/build-nextjs.mjs >target/nextjs-build.log 2>&1 || { cat target/nextjs-build.log; exit 1; }

.PHONY: nextjs-chat
nextjs-chat: nextjs-build ## the Next.js example, in production, with a demo agent
	node $(BROWSER)/nextjs-chat.mjs

.PHONY: browser-env
browser-env: $(BROWSER_READY)
	@command -v $(CHROMIUM) >/dev/null || { \
	  echo "there is no browser at $(CHROMIUM): apt-get install chromium, or set CHROMIUM to a Chromium or Chrome" >&2; \
	  exit 1; }

$(BROWSER_READY): $(BROWSER)/package-lock.json
	cd $(BROWSER) && $(NPM) ci --silent --no-audit --no-fund
	@touch $@

.PHONY: check
check: fmt-check lint policy docs-check fuzz test wheel-test npm-test ## everything that CI checks

.PHONY: fmt
fmt: $(RUFF_READY) $(NODE_READY) ## format Rust, Python and TypeScript
	$(CARGO) fmt --all
	$(RUFF) format $(PYTHON_FILES)
	$(RUFF) check --fix $(PYTHON_FILES)
	cd $(NODE_BINDING) && $(NPM) run --silent format

.PHONY: fmt-check
fmt-check: $(RUFF_READY)
	$(CARGO) fmt --all --check
	$(RUFF) format --check $(PYTHON_FILES)
	$(RUFF) check $(PYTHON_FILES)

# The workspace as a whole, then the core with each set of features that someone depends on.
.PHONY: lint
lint: python-build addon $(BROWSER_READY) ## clippy for each set of features; mypy, pyright and stubtest; biome and tsc; no warning is let through
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked -p agentcore-client --all-targets -- -D warnings
	$(CARGO) clippy --locked -p agentcore-client --all-targets --no-default-features -- -D warnings
	$(CARGO) clippy --locked -p agentcore-client --all-targets --no-default-features --features internals -- -D warnings
	cd $(BINDING) && $(BINDING_PYTHON) -m mypy
	cd $(BINDING) && $(BINDING_PYTHON) -m pyright --warnings
	cd $(BINDING) && $(BINDING_PYTHON) -m mypy.stubtest --mypy-config-file pyproject.toml agentcore_client._native
	cd $(NODE_BINDING) && $(NPM) run --silent lint

.PHONY: policy
policy: interop-env ## dependencies, licences and layers; and that the judges judge
	$(CARGO) fetch --locked
	$(PYTHON) tests/policy/check.py
	cd tests/policy && $(PYTHON) -m unittest -q test_check
	$(INTEROP)/bin/python tests/interop/botocore_sign.py --self-test tests/vectors/sigv4.json

.PHONY: docs
docs: docs-check ## build the documentation and say where it is
	@echo "target/doc/agentcore_client/index.html"

.PHONY: docs-check
docs-check:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps -p agentcore-client -p agentcore-local

.PHONY: bench
bench: ## criterion benches; ARGS is a filter
	$(CARGO) bench --locked -p agentcore-benches -- $(ARGS)

.PHONY: bench-python
bench-python: bench-wheel ## the Python package beside raw hyper, boto3 and aiobotocore; ARGS=--quick
	$(CARGO) build --locked --release -p agentcore-benches --bins
	$(BENCH_PYTHON)/bin/python benches/run.py python $(ARGS)

.PHONY: bench-relay
bench-relay: bench-wheel ## the relay beside the same one on boto3; Linux; ARGS=--quick
	$(CARGO) build --locked --release -p agentcore-local
	AGENTCORE_LOCAL_BIN=$(TARGET_DIR)/release/agentcore-local $(BENCH_PYTHON)/bin/python benches/relay/run.py $(ARGS)

# The client as users have it: a wheel, installed. A new one replaces the old.
.PHONY: bench-wheel
bench-wheel: $(BENCH_PYTHON_READY) wheel
	$(BENCH_INSTALL) dist/agentcore_client-*.whl

$(BENCH_PYTHON_READY): benches/python/requirements.txt
	$(PYTHON) -m venv --clear $(BENCH_PYTHON)
	$(BENCH_PYTHON)/bin/pip install --quiet --disable-pip-version-check --no-deps -r $<
	$(BENCH_PYTHON)/bin/pip check
	@touch $@

# Here, too: packed as it is released, and installed.
.PHONY: bench-node
bench-node: npm $(BENCH_NODE_READY) ## the npm package beside raw hyper and the AWS SDK for JavaScript; ARGS=--quick
	$(CARGO) build --locked --release -p agentcore-benches --bins
	cd $(BENCH_NODE) && $(NPM) install --silent --no-save --no-audit --no-fund --offline \
	  $$(ls $(abspath $(NODE_BINDING))/npm/agentcore-client-*.tgz | grep -v local)
	$(PYTHON) benches/run.py node $(ARGS)

$(BENCH_NODE_READY): $(BENCH_NODE)/package-lock.json
	cd $(BENCH_NODE) && $(NPM) ci --silent --no-audit --no-fund
	@touch $@

# How it works on a stable toolchain stands in the folder's README.md.
.PHONY: fuzz
fuzz: ## each fuzz target for FUZZ_SECONDS seconds (5); TARGET= picks one
	@mkdir -p target; for target in $(or $(TARGET),$(FUZZ_TARGETS)); do \
	  echo "fuzz: $$target, $(FUZZ_SECONDS) s"; \
	  $(FUZZ)/run.sh $$target $(FUZZ_SECONDS) >target/fuzz.log 2>&1 || { tail -n 40 target/fuzz.log; exit 1; }; \
	  tail -n 1 target/fuzz.log; \
	done

.PHONY: python-env
python-env: $(BINDING_READY) ## the venv that builds, checks and tests the Python package

$(BINDING_READY): $(BINDING)/requirements-test.txt
	$(PYTHON) -m venv --clear $(BINDING)/.venv
	$(BINDING_PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps -r $<
	$(BINDING_PYTHON) -m pip check
	@touch $@

.PHONY: python-build
python-build: $(BINDING_READY) ## the Python package, editable, and the local data plane that it is tested with
	$(CARGO) build --locked -p agentcore-local
	cd $(BINDING) && installed=.venv/installed.stamp && \
	  if [[ $$installed -nt pyproject.toml && $$installed -nt ../../Cargo.toml ]]; then skip=--skip-install; else skip=; fi && \
	  $(MATURIN) develop --locked --quiet $$skip && { [[ $$skip ]] || touch $$installed; }

.PHONY: wheel
wheel: $(BINDING_READY) ## dist/*.whl of both Python distributions, as they are released
	rm -rf dist
	for manifest in $(BINDING_CRATES); do \
	  $(RELEASE_ENV) $(MATURIN) build --release --locked $(WHEEL_FLAGS) -i $(BINDING_PYTHON) -m $$manifest -o dist; \
	done

.PHONY: wheel-test
wheel-test: wheel ## what is in these wheels, and that they work where nothing else is installed
	$(BINDING_PYTHON) $(BINDING)/tests/wheel/check.py dist examples/python/quickstart.py

# What this is for stands in bindings/profile/README.md. The linker has no part in it.
PROFILING := $(TARGET_DIR)/profile
LLVM_PROFDATA = $(shell rustc --print sysroot)/lib/rustlib/$(RELEASE_TARGET)/bin/llvm-profdata
.PHONY: profile
profile: $(BINDING_READY) $(BENCH_PYTHON_READY) ## record anew what code is laid out by; Linux; ten minutes
	@[[ "$(RELEASE_TARGET)" ]] || { echo "it is for Linux with glibc" >&2; exit 1; }
	@[[ -x $(LLVM_PROFDATA) ]] || { echo "rustup component add llvm-tools" >&2; exit 1; }
	rm -rf $(PROFILING)/wheel $(PROFILING)/raw
	RUSTFLAGS=-Cprofile-generate=$(PROFILING)/raw CARGO_TARGET_DIR=$(PROFILING) $(MATURIN) build --release --locked \
	  --target $(RELEASE_TARGET) --compatibility linux -i $(BINDING_PYTHON) -m $(BINDING)/Cargo.toml -o $(PROFILING)/wheel
	$(BENCH_INSTALL) $(PROFILING)/wheel/*.whl
	$(CARGO) build --locked --release -p agentcore-benches --bins
	$(BENCH_PYTHON)/bin/python benches/run.py python --ours --rounds 1 --only calls calls-64 paced
	$(BENCH_PYTHON)/bin/python benches/run.py python --ours --rounds 1 --only cold events streams --quick
	$(BENCH_PYTHON)/bin/pip uninstall --quiet --disable-pip-version-check --yes agentcore-client
	$(LLVM_PROFDATA) merge --sparse --output $(PROFILE) $(PROFILING)/raw
	ls -l $(PROFILE)

.PHONY: addon
addon: $(NODE_READY) ## the Node package: native module and TypeScript, and the local data plane that it is tested with
	$(CARGO) build --locked -p agentcore-local
	cd $(NODE_BINDING) && $(NPM) run --silent addon && $(NPM) run --silent build

.PHONY: npm
npm: $(BINDING_READY) $(NODE_READY) ## bindings/node/npm/*.tgz for this platform, as they are released
	$(RELEASE_BUILD) -p agentcore-client-node
	$(RELEASE_BUILD) -p agentcore-local --bin agentcore-local
	$(if $(RELEASE_TARGET),$(BINDING_PYTHON) $(BINDING)/tests/wheel/glibc.py \
	  $(RELEASE_DIR)/libagentcore_client_node.so $(RELEASE_DIR)/agentcore-local)
	cd $(NODE_BINDING) && $(NPM) run --silent build && node scripts/pack.mjs npm \
	  module=$$(ls $(RELEASE_DIR)/*agentcore_client_node.{so,dylib} 2>/dev/null || true) \
	  program=$(RELEASE_DIR)/agentcore-local

.PHONY: npm-test
npm-test: npm ## these packages: their form and their size, and that they work in a fresh project
	cd $(NODE_BINDING) && node scripts/lint-packages.mjs npm && node scripts/try.mjs npm

$(NODE_READY): $(NODE_BINDING)/package-lock.json
	cd $(NODE_BINDING) && $(NPM) ci --silent --no-audit --no-fund
	@touch $@

.PHONY: interop-env
interop-env: $(INTEROP_READY) ## the official SDK and boto3, for the interop tests

$(INTEROP_READY): tests/interop/requirements.txt
	$(PYTHON) -m venv --clear $(INTEROP)
	$(INTEROP)/bin/pip install --quiet --disable-pip-version-check --no-deps -r $<
	$(INTEROP)/bin/pip check
	@touch $@

$(RUFF_READY):
	$(PYTHON) -m venv --clear .venv
	.venv/bin/pip install --quiet --disable-pip-version-check ruff==$(RUFF_VERSION)
	@touch $@

.PHONY: clean
clean: ## remove everything that was built or installed here
	$(CARGO) clean
	rm -rf .venv $(INTEROP) $(BENCH_PYTHON) $(BENCH_NODE)/node_modules .ruff_cache $(FUZZ)/target
	rm -rf dist $(BINDING)/.venv $(BINDING)/.pytest_cache $(BINDING)/.mypy_cache
	rm -f $(BINDING)/agentcore_client/_native.*.so $(NODE_BINDING)/*.node
	rm -rf $(NODE_BINDING)/dist $(NODE_BINDING)/npm $(NODE_BINDING)/node_modules $(BROWSER)/node_modules target/nextjs-chat
	find $(PYTHON_FILES) -name __pycache__ -prune -exec rm -rf {} +
