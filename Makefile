# The daily commands; CI runs the same targets. Each installs what it needs into this folder.

CARGO ?= cargo
PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check install --quiet
BINARY := target/release/twinlearn
SOURCES := python benchmarks scripts

# Sentence embeddings for the benchmarks, .npy; beside it for bench-quality test_x.npy,
# queries_x.npy and qrels.npy
WORDNET ?= data/train_x.npy

.PHONY: quickstart check test test-slow cases test-rust test-python wheel installed lint lint-rust lint-python lint-deps audit fuzz sanitize format bench-defaults bench-bytes bench-code-speed bench-knn bench-descent bench-wide bench-train bench-kernels bench-quality bench-reference bench-queries bench-times bench-python bench-peers bench-out-of-core results clean

quickstart: ## Build, then train on the data in data/ and compare with PCA
	$(CARGO) build --release --locked
	$(BINARY) demo --data data

check: ## What a change should pass before it is tested whole
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) test --locked --quiet --lib -p twinlearn-core -p twinlearn-vectors -p twinlearn-knn -p twinlearn-codes -p twinlearn

test: test-rust test-python ## Every test

# With nextest, where it is installed, a test that hangs is ended and named (.config/nextest.toml).
test-rust:
	@if $(CARGO) nextest --version > /dev/null 2>&1; then \
	  set -x; $(CARGO) nextest run --locked && $(CARGO) test --locked --doc; \
	else \
	  set -x; $(CARGO) test --locked; \
	fi

test-slow: ## Ten times as many damaged files of each kind as `make test` tries
	TWINLEARN_DAMAGES=500 $(CARGO) test --locked --test faults -- damaged

test-python: installed
	$(CARGO) build --release --locked
	$(VENV)/bin/stubtest twinlearn._twinlearn
	TWINLEARN=$(BINARY) $(VENV)/bin/python -m pytest --doctest-modules --pyargs twinlearn python/tests

wheel: $(VENV)/.dev ## The Python package, in dist/
	rm -rf dist
	$(VENV)/bin/maturin build --release --locked --quiet --out dist

installed: wheel ## The package that was built, for the tests
	$(PIP) --force-reinstall --no-deps dist/*.whl

lint: lint-rust lint-python lint-deps ## Formatting, lints, docs, types; warnings are errors

lint-rust:
	$(PYTHON) scripts/check_circles.py crates
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) clippy --package twinlearn --no-default-features --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --locked

lint-python: $(VENV)/.dev
	$(VENV)/bin/ruff format --check $(SOURCES)
	$(VENV)/bin/ruff check $(SOURCES)
	$(VENV)/bin/mypy $(SOURCES)

lint-deps: .tools/bin/cargo-deny ## Licences and sources of what we depend on
	.tools/bin/cargo-deny check --hide-inclusion-graph licenses bans sources

audit: .tools/bin/cargo-deny ## Known vulnerabilities; fetches their list
	.tools/bin/cargo-deny check advisories

.tools/bin/cargo-deny:
	$(CARGO) install --root .tools --locked --quiet cargo-deny@0.20.2

TARGETS := npy npz vecs_bin tensors table model spec
SECONDS := 600

fuzz: ## Every fuzz target for SECONDS; needs cargo-fuzz and a nightly compiler
	for target in $(TARGETS); do \
	  (cd fuzz && $(CARGO) +nightly fuzz run $$target corpus/$$target -- -max_total_time=$(SECONDS)) || exit 1; \
	done

# Kernels choose their instructions by the processor, so everything that they can do here is run.
sanitize: ## AddressSanitizer over the `unsafe` kernel and what is built on it; nightly compiler
	RUSTFLAGS=-Zsanitizer=address $(CARGO) +nightly test -p twinlearn-core -p twinlearn-knn -p twinlearn-codes -p twinlearn \
	  --no-default-features --lib --target x86_64-unknown-linux-gnu --target-dir target/sanitize -- \
	  linalg kernels frame exact descent pq scan nn::

format: $(VENV)/.dev ## Rewrite the sources as `lint` wants them
	$(CARGO) fmt --all
	$(VENV)/bin/ruff format $(SOURCES)
	$(VENV)/bin/ruff check --fix $(SOURCES)

RUST_CASES := $(shell sed -n 's/^[0-9]* rust //p' scripts/cases.txt)

cases: installed ## The tests of what was once wrong (scripts/cases.txt)
	for name in $(RUST_CASES); do grep -rqw "fn $$name" crates || { echo "no test $$name"; exit 1; }; done
	$(CARGO) test --locked -- $(RUST_CASES)
	cd python/tests && TWINLEARN=$(abspath $(BINARY)) ../../$(VENV)/bin/python -m pytest -q $$(sed -n 's/^[0-9]* python //p' ../../scripts/cases.txt)

bench-defaults: $(VENV)/.dev ## Held-out recall around the defaults
	$(CARGO) build --release --locked
	$(VENV)/bin/python benchmarks/defaults.py $(BINARY) $(WORDNET) benchmarks/results

# OPENBLAS_CORETYPE, where set, would hold FAISS back. WHICH="--set wordnet --bytes 32", say, for some,
# WHICH=--missing to go on where it was ended.
bench-bytes: .venv-bench/.knn ## Neighbours for a byte, beside FAISS and other quantisers
	$(CARGO) build --release --locked
	env -u OPENBLAS_CORETYPE .venv-bench/bin/python benchmarks/bytes.py $(BINARY) $(dir $(WORDNET)) benchmarks/results $(WHICH)

bench-code-speed: .venv-bench/.knn wheel ## Learning, writing and searching codes, beside FAISS
	.venv-bench/bin/python -m pip --disable-pip-version-check install --quiet --force-reinstall --no-deps dist/*.whl
	env -u OPENBLAS_CORETYPE .venv-bench/bin/python benchmarks/code_speed.py $(dir $(WORDNET)) benchmarks/results

bench-knn: .venv-bench/.knn ## Neighbour search beside FAISS, pynndescent and hnswlib
	$(CARGO) build --release --locked
	env -u OPENBLAS_CORETYPE .venv-bench/bin/python benchmarks/knn.py $(BINARY) $(WORDNET) benchmarks/results

# BEFORE: a binary of commit cff4fb0.
bench-descent: $(VENV)/.dev ## NN-descent on clusters, cities, squares and the like
	$(CARGO) build --release --locked
	$(VENV)/bin/python benchmarks/descent.py $(BINARY) $(WORDNET) benchmarks/results $(if $(BEFORE),--before $(BEFORE))

# BEFORE: a binary of commit cff4fb0.
bench-wide: $(VENV)/.dev ## Rows of many numbers, beside scikit-learn's PCA
	$(CARGO) build --release --locked
	$(VENV)/bin/python benchmarks/wide.py $(BINARY) benchmarks/results $(if $(BEFORE),--before $(BEFORE))

bench-train: .venv-bench/.train ## A training step beside PyTorch's
	$(CARGO) build --release --locked
	env -u OPENBLAS_CORETYPE .venv-bench/bin/python benchmarks/train.py $(BINARY) benchmarks/results

# Kept in target/criterion: SAVE=before saves one, BASELINE=before compares with it.
bench-kernels: ## Kernels, beside a saved baseline
	$(CARGO) bench --locked -p twinlearn-bench -- $(if $(SAVE),--save-baseline $(SAVE),$(if $(BASELINE),--baseline $(BASELINE)))

bench-quality: $(VENV)/.dev ## What reduced vectors keep, beside closed forms; QUICK=--quick for d = 64 alone
	$(CARGO) build --release --locked
	$(VENV)/bin/python benchmarks/quality.py $(BINARY) $(dir $(WORDNET)) benchmarks/results $(QUICK)

bench-reference: .venv-bench/.train ## The same with the paper's recipe in PyTorch
	$(CARGO) build --release --locked
	env -u OPENBLAS_CORETYPE .venv-bench/bin/python benchmarks/quality.py $(BINARY) $(dir $(WORDNET)) benchmarks/results --reference

bench-queries: $(VENV)/.dev ## Training for the queries one has, beside LeanVec
	$(CARGO) build --release --locked
	$(VENV)/bin/python benchmarks/queries.py $(BINARY) $(dir $(WORDNET)) benchmarks/results

# BEFORE: a binary of commit 17fe62b.
bench-times: $(VENV)/.dev ## Seconds and memory of fits, as rows grow and beside the older KL
	$(CARGO) build --release --locked
	$(VENV)/bin/python benchmarks/times.py $(BINARY) $(WORDNET) benchmarks/results $(if $(BEFORE),--before $(BEFORE))

bench-python: installed ## Python beside the command line; memory of a mapped 4 GB file
	$(CARGO) build --release --locked
	$(VENV)/bin/python benchmarks/python_overhead.py $(BINARY) benchmarks/results
	$(VENV)/bin/python benchmarks/python_memory.py $(WORDNET) benchmarks/results

bench-out-of-core: $(VENV)/.dev ## A file of 8 GB in 3 GB of address space
	$(CARGO) build --release --locked
	$(VENV)/bin/python benchmarks/out_of_core.py $(BINARY) $(WORDNET) benchmarks/results

bench-peers: .venv-bench/.peers wheel ## UMAP, scikit-learn's PCA, sparse random projection
	$(CARGO) build --release --locked
	.venv-bench/bin/python -m pip --disable-pip-version-check install --quiet --force-reinstall --no-deps dist/*.whl
	.venv-bench/bin/python -W ignore benchmarks/peers.py $(BINARY) $(dir $(WORDNET)) benchmarks/results

results: $(VENV)/.dev ## RESULTS.md and the README's picture, from benchmarks/results
	$(VENV)/bin/python scripts/draw_quality.py benchmarks/results/quality.svg
	$(VENV)/bin/python benchmarks/tables.py

.venv-bench/.%: benchmarks/requirements-%.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip --disable-pip-version-check install --quiet -r $<
	touch $@

$(VENV)/.dev: python/requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) -r python/requirements-dev.txt
	touch $@

clean:
	$(CARGO) clean
	rm -rf dist $(VENV) .venv-bench .mypy_cache .ruff_cache .pytest_cache
