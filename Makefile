# What a person types. Each target says in one line what it does; the rest is in scripts/.

SERVER := target/release/heliograph

.PHONY: help build demo run test check bench clean

help: ## list these targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

build: ## build the server
	cargo build --release --locked -p heliograph

demo: build ## two official clients talk through a fresh server
	conformance/install.sh
	node conformance/demo.mjs --server $(SERVER)

run: build ## start the development server and stay up
	scripts/run.sh $(SERVER)

test: ## every test of the project, installing what it needs
	scripts/test.sh

check: ## what must be clean before a commit: format, lints, unit tests
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo test --workspace --locked --lib

bench: build ## measure the server beside the floor: all figures, twenty minutes
	cargo build --release --locked -p heliograph-bench
	target/release/heliograph-bench

clean: ## remove what was built
	cargo clean
	rm -rf conformance/node_modules heliograph-data
