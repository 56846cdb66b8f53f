#!/usr/bin/env bash
# Prints a Markdown table of the build costs of the programs in minimal/, which are a client and a
# server each: the number of crates, and the duration and processor time in seconds of a clean
# release build. On a busy machine, only the processor time is reliable. Downloads are not included.
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
    # The crates that are compiled for the program and its build scripts, without the program
    # itself.
    crates=$(cargo tree --locked --manifest-path "$manifest" --edges normal,build --prefix none --no-dedupe |
        awk '{ print $1, $2 }' | sort -u | grep -vc "^minimal-")
    rm -rf "$target"
    took=$({ time cargo build --quiet --locked --release --manifest-path "$manifest" 2>&3; } 2>&1)
    echo "| $name | $crates | $(awk '{ printf "%.0f | %.0f", $1, $2 + $3 }' <<<"$took") |"
done
