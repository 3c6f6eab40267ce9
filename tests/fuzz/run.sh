#!/usr/bin/env bash
# Feeds one target, or all, with what a fuzzer thinks up.
#
#     bash tests/fuzz/run.sh SECONDS [TARGET...]
#
# Needs a nightly toolchain (rustup toolchain install nightly) and cargo-fuzz (cargo install --locked cargo-fuzz). What is found on the
# way is kept in target/fuzz/corpus; an input that makes a target fail, in target/fuzz/artifacts. docs/fuzzing.md says what to do then.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

[ $# -ge 1 ] || { sed -n '4p' "${BASH_SOURCE[0]}" >&2; exit 2; }
seconds=$1
shift
[ $# -gt 0 ] || set -- $(cd tests/fuzz/fuzz_targets && printf '%s\n' *.rs | sed 's/\.rs$//')
# The same versions of everything as in the product.
cp Cargo.lock tests/fuzz/Cargo.lock
built=$PWD/target/fuzz
# No sanitizer: this project has no unsafe code of its own, and without one a target runs several times as often.
cargo +nightly fuzz build --fuzz-dir tests/fuzz --sanitizer none --target-dir "$built"
for target in "$@"; do
    mkdir -p "$built/corpus/$target" "$built/artifacts/$target"
    longest=4096
    [ "$target" != workbook ] || longest=20000
    cargo +nightly fuzz run --fuzz-dir tests/fuzz --sanitizer none --target-dir "$built" "$target" \
        "$built/corpus/$target" "tests/fuzz/corpus/$target" -- -max_total_time="$seconds" -max_len="$longest" -timeout=20 \
        -rss_limit_mb=3000 -print_final_stats=1 -artifact_prefix="$built/artifacts/$target/"
done
