# The two commands of the README are `make demo` and `make test`; both set up what they need.
# There is one build profile: what `demo` builds, `test` uses.

SDK := .venv/sdk
INFRA := .venv/infra
PYTHON ?= python3
# What `test-s3` starts, one after the other. These need no system package; others of ALL_SERVERS may.
S3_SERVERS ?= ministack
ALL_SERVERS := ministack ceph localstack minio azurite
# What `test-s3-refused` starts: any of rclone, s3rver, s3s-fs.
REFUSED_SERVERS ?= rclone
ALL_REFUSED := rclone s3rver s3s-fs
# What of the SDK suite runs over the wire: each kind of step, wait and rule, and a storm of kills.
SDK_OVER_S3 := test_steps.py test_waits.py test_graph.py test_death.py::test_kill_9_at_any_moment_loses_and_repeats_nothing
SDK_SUITE = cd tests/sdk && ../../$(SDK)/bin/python -m pytest
# What the soak runs on: ministack needs nothing; ceph answers several at once.
SOAK_SERVER ?= ministack
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= blueprint commit condition frontdoor journal key run
PIP := -m pip install --quiet --disable-pip-version-check --requirement

.PHONY: help demo test test-rust test-sim test-function test-stores test-sdk test-instructions test-s3 test-s3-all test-s3-sdk test-s3-refused $(ALL_SERVERS:%=test-s3-%) $(ALL_REFUSED:%=test-s3-refused-%) test-infra test-lambda cold-start test-soak soak sim sim-long sim-exhaustive fuzz lint build clean bench release
.NOTPARALLEL:
.DELETE_ON_ERROR:

help: ## what there is to make
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /|/' | awk -F'|' '{ printf "  make %-15s %s\n", $$1, $$2 }'

demo: build $(SDK)/.ready ## a workflow sleeps, its engine is killed, and it comes back (20 s)
	@$(SDK)/bin/python scripts/demo.py

test: test-rust test-sim test-function test-stores test-sdk test-s3 test-infra ## everything that must hold before a commit

test-rust: ## unit tests, the black-box suite, the store contract
	cargo test --no-fail-fast

test-function: ## the black-box suite without a cache or timers in memory: the life of a function
	LAZARUS_TEST_SHAPE=function cargo test --test blackbox

test-sdk: build $(SDK)/.ready ## the published Cerebelum SDK, unmodified, against the real binary
	$(SDK_SUITE)

test-instructions: ## what a step costs in instructions, against the record (valgrind; 10 s)
	cargo test --test instructions -- --ignored --nocapture a_step

test-stores: ## the black-box suite on files and on the embedded store, in place of memory
	LAZARUS_TEST_STORE=file cargo test --test blackbox
	LAZARUS_TEST_STORE=embedded cargo test --test blackbox

test-s3: $(S3_SERVERS:%=test-s3-%) test-s3-sdk test-s3-refused ## over the wire, on S3_SERVERS (ministack): store contract, black box, SDK; refusals

test-s3-all: ## the same on every server there is a script for
	@$(MAKE) --no-print-directory test-s3 S3_SERVERS="$(ALL_SERVERS)" REFUSED_SERVERS="$(ALL_REFUSED)"

$(ALL_SERVERS:%=test-s3-%): test-s3-%:
	cargo test --no-run --test store_contract --test blackbox
	$(PYTHON) localstack/$*.py run cargo test --test store_contract --test blackbox

test-s3-sdk: build $(SDK)/.ready ## a part of the SDK suite, with engines on a bucket over the wire
	$(PYTHON) localstack/$(firstword $(S3_SERVERS)).py run sh -c '$(SDK_SUITE) $(SDK_OVER_S3)'

test-s3-refused: $(REFUSED_SERVERS:%=test-s3-refused-%) ## servers that would lose data (REFUSED_SERVERS) are refused at every start

$(ALL_REFUSED:%=test-s3-refused-%): test-s3-refused-%:
	cargo test --no-run --test store_refused
	$(PYTHON) localstack/$*.py run cargo test --test store_refused -- --ignored

test-lambda: build ## the zip on a local AWS: a sleep of 90 s that no process sits through (5 min)
	$(PYTHON) localstack/ministack.py install
	MINISTACK_SERVICES=s3,lambda,events $(PYTHON) localstack/ministack.py run .venv/ministack/bin/python localstack/function.py

cold-start: ## the released binary as a function: its size, and under 50 ms from process start to first answer
	cargo build --release
	@size=$$(wc -c < target/release/lazarus); echo "the stripped binary has $$((size / 1000000)) MB"; test $$size -lt 25000000
	LAZARUS_BOOTSTRAP=$(CURDIR)/target/release/lazarus LAZARUS_COLD_START_MS=50 \
		$(PYTHON) localstack/ministack.py run \
		cargo test --test lambda -- --exact cold::a_cold_start_is_short --nocapture

test-infra: build $(INFRA)/.ready ## the templates on a local AWS that checks rights, the chart, the Dockerfile, the workflows
	cd tests/infra && ../../$(INFRA)/bin/python -m pytest

test-soak: ## a minute of the soak
	@$(MAKE) --no-print-directory soak SOAK_SECONDS=60

soak: ## real engines on S3 are killed, stopped and cut off for SOAK_SECONDS (300), then judged; SEED=7 replays their misfortunes
	cargo test --no-run --test soak
	SOAK_SECONDS=$(SOAK_SECONDS) SEED=$(SEED) $(PYTHON) localstack/$(SOAK_SERVER).py run \
		cargo test --test soak -- --exact nothing_acknowledged_is_lost_duplicated_or_stuck --ignored --nocapture

test-sim: ## 20,000 simulated histories, about 5 minutes on 2 cores
	SEEDS=20000 cargo test --test sim -- --exact every_history_keeps_every_promise --nocapture

sim: ## whole clusters in one thread: the first 400 seeds; SEED=7 replays one, in words
	SEED=$(SEED) cargo test --test sim -- --exact every_history_keeps_every_promise --nocapture

sim-long: ## SEEDS histories (a million, five hours) from seed FROM (1) on
	SEEDS=$(or $(SEEDS),1000000) FROM=$(FROM) cargo test --test sim -- --exact every_history_keeps_every_promise --nocapture

sim-exhaustive: ## every schedule of small worlds with MISFORTUNES (2), up to SCHEDULES (1000000) of each
	MISFORTUNES=$(or $(MISFORTUNES),2) SCHEDULES=$(or $(SCHEDULES),1000000) cargo test --test sim -- --exact exhaustive::every_schedule_of_a_small_world_keeps_every_promise --nocapture

fuzz: ## libFuzzer on each target for FUZZ_SECONDS (60); FUZZ_TARGETS="key run" for some
	rustup toolchain list | grep -q '^nightly' || rustup toolchain install nightly --profile minimal
	command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked
	cp Cargo.lock fuzz/Cargo.lock
	@set -e; for target in $(FUZZ_TARGETS); do \
	  mkdir -p fuzz/target/found/$$target; \
	  echo "=== $$target, $(FUZZ_SECONDS) s"; \
	  cargo +nightly fuzz run --sanitizer none $$target \
	    fuzz/target/found/$$target fuzz/corpus/$$target $$(test $$target != commit || echo tests/golden) -- \
	    -max_total_time=$(FUZZ_SECONDS) -timeout=20 -max_len=65536 -print_final_stats=1; \
	done

release: ## the binary as it is released: built, watched at its work, and built again by what was seen (15 min)
	@$(PYTHON) scripts/release.py

bench: ## the same workloads on us, Restate and DBOS, in turns: hours; BENCH="--rounds 1 --seconds 2 ..." for less (bench/README.md)
	@$(PYTHON) bench/run.py $(BENCH)

lint: ## format, clippy and documentation, warnings are errors
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --quiet

build: ## the binary, target/debug/lazarus
	cargo build

clean: ## forget the Python environments and the servers (`cargo clean` forgets the rest)
	rm -rf .venv .servers

# A half-made environment has no .ready and is made again.
$(SDK)/.ready: tests/sdk/requirements.txt
	$(PYTHON) -m venv --clear $(SDK)
	$(SDK)/bin/python $(PIP) tests/sdk/requirements.txt
	touch $@

$(INFRA)/.ready: tests/infra/requirements.txt tests/infra/go-tools.sh
	$(PYTHON) -m venv --clear $(INFRA)
	$(INFRA)/bin/python $(PIP) tests/infra/requirements.txt
	sh tests/infra/go-tools.sh $(INFRA)/go
	touch $@
