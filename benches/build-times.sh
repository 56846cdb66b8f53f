#!/usr/bin/env bash
# What a minimal client and server cost to build: prints a table in Markdown with the number of crates, and the
# seconds and processor seconds of a clean release build, for each program in minimal/. On a busy machine trust the
# latter. The crates are downloaded before the clock starts.
#
#     ./build-times.sh [name …]
set -euo pipefail
cd "$(dirname "$0")/minimal"

target=$(mktemp -d)
trap 'rm -rf "$target"' EXIT
export CARGO_TARGET_DIR=$target
TIMEFORMAT="%R %U %S"
exec 3>&2

names=("$@")
[ $# -gt 0 ] || names=(sockets tarpc tonic socketioxide)

echo "| minimal client and server | crates | clean release build, s | its processor time, s |"
echo "| --- | ---: | ---: | ---: |"
for name in "${names[@]}"; do
    manifest=$name/Cargo.toml
    cargo fetch --quiet --locked --manifest-path "$manifest"
    # Those that are compiled here, for the program and for its build; the program itself is not counted.
    crates=$(cargo tree --locked --manifest-path "$manifest" --edges normal,build --prefix none --no-dedupe |
        awk '{ print $1, $2 }' | sort -u | grep -vc "^minimal-")
    rm -rf "$target"
    took=$({ time cargo build --quiet --locked --release --manifest-path "$manifest" 2>&3; } 2>&1)
    echo "| $name | $crates | $(awk '{ printf "%.0f | %.0f", $1, $2 + $3 }' <<<"$took") |"
done
