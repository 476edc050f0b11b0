#!/usr/bin/env bash
# keep.sh NAME [BUILD]: moves what `./dev fuzz NAME` found worth keeping into corpus/NAME: a minimal set of inputs that reaches
# all that was reached, the smallest 200 of it. Files named found-* (regressions) and seed-* (made by hand) always stay.
set -euo pipefail
name=$1
here=$(dirname "$(readlink -f "$0")")
build=${2:-$here/../build/fuzz}
kept=$here/corpus/$name
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
mkdir -p "$kept" "$build/corpus/$name"
"$build/fuzz/fuzz_$name" -set_cover_merge=1 "$fresh" "$kept" "$build/corpus/$name" >/dev/null 2>&1
find "$kept" -type f ! -name 'found-*' ! -name 'seed-*' -delete
for file in $(cd "$fresh" && find . -type f -size -4k -printf '%s %f\n' | sort -n | head -n 200 | cut -d ' ' -f 2); do
    case $file in
    found-* | seed-*) ;;
    *) cp "$fresh/$file" "$kept/${file:0:16}" ;;
    esac
done
echo "$name: $(find "$kept" -type f | wc -l) files, $(du -sb "$kept" | cut -f 1) bytes"
