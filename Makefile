# `make run` starts the service, `make test` runs every test.
.PHONY: help run test quick soak check openapi settings bench release playground
.DEFAULT_GOAL := help

# Tests that need neither a browser nor Node nor Python, but redis-server and HAProxy. The tests in modules named `clients` need them.
without_clients := cargo test --locked --lib --bins --test it -- --skip clients::

help: ## Shows this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

# The tests of resuming, stopping, the grace, channels and limits, which are the same on every event log.
promise := answers:: channels:: cut_anywhere:: disconnect:: fan_out:: grace:: limits:: queue:: reattaching:: responses:: sessions:: snapshots:: stopping:: ui_chats:: whole_answers::

# The tests of what replicas share.
shared := event_log::redis replicas:: sentinel:: cluster::
valkey := $(CURDIR)/.venv-valkey/bin/valkey-server

run: playground ## Builds and serves on http://127.0.0.1:8080: no key, no settings, no other server
	cargo run --locked --bin tokenrill

quick: ## Runs the tests that need no browser, Node or Python (needs redis-server, HAProxy): under two minutes after a build
	$(without_clients) --test-threads 4 # most tests are idle most of the time

test: ## Installs the tests' dependencies and runs all tests
	./tests/install
	$(MAKE) playground
	cargo test --locked -- --skip clients::
	# The promise again, with the answers in Redis.
	TOKENRILL_TEST_REDIS=1 cargo test --locked --test it -- $(promise)
	# Again, in Valkey, with all that replicas share.
	TOKENRILL_TEST_REDIS=1 TOKENRILL_TEST_REDIS_SERVER=$(valkey) cargo test --locked --test it -- $(promise) $(shared)
	# One test at a time, because two browsers in parallel miss their deadlines on two cores.
	cargo test --locked --test it clients:: -- --test-threads 1
	cargo test --locked --features shuttle --test schedules

soak: ## Runs the tests of `quick` with their long forms: attacks of five minutes, 10,000 generation lives
	TOKENRILL_SOAK=1 $(without_clients)
	TOKENRILL_SOAK=1 cargo test --locked --features shuttle --test schedules

check: ## Runs the linters: format, clippy, documentation
	cargo fmt --check
	cargo clippy --locked --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

openapi: ## Writes openapi/openapi.json from the code, and the TypeScript types from that file
	cargo run --locked --quiet --bin tokenrill -- openapi > openapi/openapi.json.new
	mv openapi/openapi.json.new openapi/openapi.json
	./tests/install
	cd tests/clients && node_modules/.bin/node types.mjs

settings: ## Writes tokenrill.example.toml and docs/settings-reference.md from the code
	cargo run --locked --quiet --bin tokenrill -- settings > tokenrill.example.toml.new
	mv tokenrill.example.toml.new tokenrill.example.toml
	cargo run --locked --quiet --bin tokenrill -- settings --markdown > docs/settings-reference.md.new
	mv docs/settings-reference.md.new docs/settings-reference.md

bench: ## Runs the benchmarks, some with valgrind; benches/RESULTS.md has results
	cargo bench --locked
	./benches/instructions

release: playground ## Builds the fastest binary, with profile-guided optimization
	./benches/release

playground: ## Bundles the pages at / and /playground/; without Node the program serves everything else
	@if command -v npm >/dev/null; then \
	  cd playground && { cmp -s package-lock.json node_modules/installed.json || \
	    { npm ci --no-audit --no-fund --loglevel=error && cp package-lock.json node_modules/installed.json; }; } && \
	  npm run --silent build >/dev/null; \
	else echo "npm is missing: the page at / will show how to build it; everything else works"; fi
