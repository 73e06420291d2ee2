# The ways into this repository. `make` lists them.

CARGO_FLAGS ?=
PYTHON := $(firstword $(wildcard /usr/bin/python3 /usr/local/bin/python3) python3)

.DEFAULT_GOAL := help
.PHONY: help setup build run demo test lint bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what is missing to build, run and test
	@scripts/setup test

build: ## build the daemon, optimised
	cargo build --release -p executor $(CARGO_FLAGS)

run: ## build and start the daemon on 127.0.0.1:8080
	@scripts/setup run
	@$(MAKE) --no-print-directory build
	@scripts/run

demo: ## install what is missing, build, start, post real jobs, print the answers, stop
	@scripts/setup run
	@$(MAKE) --no-print-directory build
	@$(PYTHON) scripts/demo

test: ## install what is missing and run every test
	@scripts/setup test
	@$(MAKE) --no-print-directory build
	cargo test --workspace --no-fail-fast $(CARGO_FLAGS)
	$(PYTHON) -m unittest discover -s tests/runners
	$(PYTHON) scripts/schemathesis

lint: ## formatting, clippy with warnings denied, and cargo-deny where it is installed
	cargo fmt --all --check
	cargo clippy --workspace --all-targets $(CARGO_FLAGS) -- -D warnings
	@if command -v cargo-deny >/dev/null; then \
		cargo deny --log-level error check bans licenses sources; \
	else \
		echo "cargo-deny is not installed: deny.toml was not checked (cargo install --locked cargo-deny)"; \
	fi

bench: ## measure the daemon against bare bubblewrap; BENCH_FLAGS=--quick for a short look
	@scripts/setup run
	cargo build --release -p executor -p bench $(CARGO_FLAGS)
	cargo run --release -q -p bench $(CARGO_FLAGS) -- $(BENCH_FLAGS)

clean: ## remove what was built and installed here
	cargo clean
	rm -rf .venv bench/results
