# The ways into this repository. `make` lists them.

CARGO_FLAGS ?=
# What is tested is what is shipped.
RELEASE_BINARY := $(abspath $(or $(CARGO_TARGET_DIR),target))/release/sandbox-executor
TEST_LOG := $(or $(CARGO_TARGET_DIR),target)/test.log
PYTHON := $(firstword $(wildcard /usr/bin/python3 /usr/local/bin/python3) python3)

.DEFAULT_GOAL := help
.PHONY: help setup build run mock demo test lint fuzz bench soak clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what is missing to build, run and test
	@scripts/setup test

build: ## build the daemon, optimised
	cargo build --release -p executor $(CARGO_FLAGS)

run: ## build and start the daemon on 127.0.0.1:8080
	@scripts/setup run
	@$(MAKE) --no-print-directory build
	@scripts/run

mock: ## build and start a control plane to develop against, on 127.0.0.1:8090
	cargo run --release -q -p control-plane-mock $(CARGO_FLAGS)

demo: ## install what is missing, build, start, post real jobs, print the answers, stop
	@scripts/setup run
	@$(MAKE) --no-print-directory build
	@$(PYTHON) scripts/demo

test: ## install what is missing and run every test
	@scripts/setup test
	@$(MAKE) --no-print-directory build
	@mkdir -p $(dir $(TEST_LOG))
	@# Kept, so that the escape table can be made of it.
	EXECUTOR_BINARY=$(RELEASE_BINARY) bash -o pipefail -c 'cargo test --workspace --no-fail-fast $(CARGO_FLAGS) 2>&1 | tee $(TEST_LOG)'
	@# The other build: with spans for a collector.
	cargo test -p executor --lib --features otlp $(CARGO_FLAGS) -- telemetry config
	@# Again with a shared /proc and without cgroups: what becomes of a program, in sandboxes that waited for it, and what it can do.
	EXECUTOR_BINARY=$(RELEASE_BINARY) EXECUTOR_TESTS_START=least EXECUTOR_TESTS_POOL=1 cargo test --no-fail-fast $(CARGO_FLAGS) \
		-p conformance --test outcomes
	EXECUTOR_BINARY=$(RELEASE_BINARY) EXECUTOR_TESTS_START=least cargo test --no-fail-fast $(CARGO_FLAGS) \
		-p conformance --test isolation -- --skip cgroups --skip thousand
	$(PYTHON) -m unittest discover -s tests/runners
	$(PYTHON) -m unittest discover -s tests/scripts
	.venv/bin/python -m unittest discover -s tests/kubernetes
	.venv/bin/python -m unittest discover -s tests/monitoring
	$(PYTHON) scripts/schemathesis

.PHONY: image image-prebuilt rig test-container
# Flags for `docker build`; where containers reach no network by themselves: DOCKER_BUILD_FLAGS=--network=host
DOCKER_BUILD_FLAGS ?=
export DOCKER_BUILD_FLAGS

image: ## build the container images, compiling inside; LANGUAGES="python3" for fewer languages
	@scripts/image

image-prebuilt: build ## the same images from binaries that are built here
	cargo build --release -p control-plane-mock $(CARGO_FLAGS)
	@scripts/image --prebuilt

rig: ## executor and control plane in containers: one job of each kind, what the control plane saw, and away again
	@$(PYTHON) scripts/rig

test-container: ## what deploy/ and the image promise, tried with a Docker engine; needs `make image`
	@$(PYTHON) -m unittest discover -v -s tests/container

.PHONY: release
release: ## a static binary for x86_64 with its bill of materials and its licences, checked, in target/dist
	@scripts/setup release
	@$(PYTHON) scripts/release

.PHONY: escape
escape: ## run the tests that show what holds a program, and print the table; ESCAPE_FLAGS="--class PN" for a part
	@scripts/setup test
	@$(MAKE) --no-print-directory build
	@CARGO_FLAGS="$(CARGO_FLAGS)" $(PYTHON) scripts/escape $(ESCAPE_FLAGS)

lint: ## formatting, clippy with warnings denied, the table of cases, and cargo-deny where it is installed
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --workspace --all-targets $(CARGO_FLAGS) -- -D warnings
	cargo clippy -p executor --features otlp --all-targets $(CARGO_FLAGS) -- -D warnings
	cargo clippy --manifest-path fuzz/Cargo.toml --target-dir $(or $(CARGO_TARGET_DIR),target) --locked -- -D warnings
	@if command -v cargo-deny >/dev/null; then \
		cargo deny --log-level error check bans licenses sources; \
	else \
		echo "cargo-deny is not installed: deny.toml was not checked (cargo install --locked cargo-deny)"; \
	fi
	$(PYTHON) scripts/escape --check

fuzz: ## fuzz what arrives from outside, each target for FUZZ_SECONDS=60; see fuzz/README.md
	@scripts/setup test
	@$(PYTHON) scripts/fuzz

bench: ## measure the daemon against bare bubblewrap, ten minutes; BENCH_FLAGS=--quick for a short look
	@scripts/setup run
	cargo build --release -p executor -p bench $(CARGO_FLAGS)
	cargo run --release -q -p bench $(CARGO_FLAGS) -- $(BENCH_FLAGS)

soak: ## the long failure tests, at most 15 minutes; SOAK_FLAGS=--quick for a short look
	@scripts/setup run
	@$(MAKE) --no-print-directory build
	EXECUTOR_BINARY=$(RELEASE_BINARY) \
		cargo test -q -p conformance --test soak $(CARGO_FLAGS) -- $(SOAK_FLAGS)

clean: ## remove what was built and installed here
	cargo clean
	rm -rf fuzz/target fuzz/corpus fuzz/artifacts fuzz/logs
	rm -rf .venv bench/results
