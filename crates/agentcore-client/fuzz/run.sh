#!/bin/sh
# Fuzzes one target on a stable toolchain: run.sh TARGET [SECONDS]. README.md says how.
set -eu
cd "$(dirname "$0")"
target=${1:?which target? see fuzz_targets/}
seconds=${2:-60}
host=$(rustc -vV | sed -n 's/^host: //p')
build=${CARGO_TARGET_DIR:-$PWD/target}

# Coverage counters, as cargo-fuzz asks for them; no sanitizer, which would need nightly.
export RUSTFLAGS="--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module \
-Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
# With --target, the flags stay away from build scripts.
cargo build --locked --quiet --release --target "$host" --bin "$target"

mkdir -p "corpus/$target" "artifacts/$target"
# The stream vectors are seeds for whatever reads streams.
seeds=
case $target in sse|text) seeds=../../../tests/vectors/streams ;; esac
dict=
[ -f "$target.dict" ] && dict="-dict=$target.dict"
# shellcheck disable=SC2086
exec "$build/$host/release/$target" -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 \
    -artifact_prefix="artifacts/$target/" $dict "corpus/$target" $seeds
