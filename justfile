# What the recipes call works without `just` as well.

# Shows what conclib does, end to end.
demo:
    cargo run -p conclib-examples --example demo

# Every test; installs a Redis server if there is none.
test *arguments:
    ./scripts/test {{arguments}}

# The mailbox and the stop protocol in all orders; LOOM_MAX_PREEMPTIONS=3 looks further.
loom:
    CARGO_TARGET_DIR=target/loom RUSTFLAGS="--cfg conclib_loom" \
        cargo test -p conclib --lib --no-default-features --profile loom loom

# Everything that can happen to the bus, at random, for so many seconds, with one actor process and with
# a fleet of five; the seed is printed, and CONCLIB_CHAOS_SEED repeats it.
chaos seconds="120":
    CONCLIB_CHAOS_SECONDS={{seconds}} \
        cargo test -p conclib-tests --all-features --test chaos -- --nocapture

# Random input for everything that decodes or parses: each target for so many seconds.
fuzz seconds="60":
    CONCLIB_FUZZ_SECONDS={{seconds}} cargo test -p conclib --all-features --lib fuzz -- --nocapture

# What takes too long for each change: chaos, loom further out, packaging, benchmarks, dependencies,
# words. With arguments, only those parts; missing optional tools are named.
long *parts:
    ./scripts/long {{parts}}

# How light conclib is to depend on: crates and cold build time of a hello-world beside kameo's.
lean *arguments:
    ./scripts/lean {{arguments}}

# The packages as for a release, built outside the workspace.
package:
    ./scripts/package

# Format and lints, as strict as the CI.
lint:
    cargo fmt --all --check
    cargo clippy --all-targets --all-features -- -D warnings

# The documentation, in target/doc.
doc:
    cargo doc --no-deps --all-features

# Messages per second on this machine.
bench:
    cargo run --release -p conclib-examples --example throughput

# conclib beside other actor frameworks, as a table; with `--charts docs`, the charts of growth.
[positional-arguments]
bench-runtime *arguments:
    cargo run --release -p conclib-benches --bin runtime -- "$@"

# The bus beside NATS and simpler ways over Redis, as a table; with `--one-cpu`, that of the work alone.
[positional-arguments]
bench-bus *arguments:
    CONCLIB_NATS_SERVER="$(./scripts/nats-server || true)" cargo run --release -p conclib-benches --bin bus -- "$@"

# Fleets of actor processes: growth, restarts, names and the cost of the map, as tables; with words such as
# `scale restart`, those parts.
[positional-arguments]
bench-fleet *arguments:
    cargo run --release -p conclib-benches --bin fleet -- "$@"

# The chart of the README, from the last runs of both benchmarks.
bench-chart:
    cargo run --release -p conclib-benches --bin bars docs/benchmarks.svg

# conclib in this tree and in another commit, by turns: the ratio of each figure.
[positional-arguments]
bench-against commit *arguments:
    ./scripts/bench-against "$@"
