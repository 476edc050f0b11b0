#!/usr/bin/env bash
# keep.sh NAME [BUILD]: moves what `./dev fuzz NAME` found worth keeping into corpus/NAME.tar.xz: a minimal set of inputs that
# reaches all that was reached, the smallest 200 of it. Files named found-* (regressions) and seed-* (made by hand) always stay.
set -euo pipefail
name=$1
here=$(dirname "$(readlink -f "$0")")
build=${2:-$here/../build/fuzz}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
kept=$work/kept fresh=$work/fresh
mkdir -p "$fresh" "$build/corpus/$name"
"$here/corpus.py" unpack "$name" "$kept"
"$build/fuzz/fuzz_$name" -set_cover_merge=1 "$fresh" "$kept" "$build/corpus/$name" >/dev/null 2>&1
find "$kept" -type f ! -name 'found-*' ! -name 'seed-*' -delete
for file in $(cd "$fresh" && find . -type f -size -4k -printf '%s %f\n' | sort -n | head -n 200 | cut -d ' ' -f 2); do
    case $file in
    found-* | seed-*) ;;
    *) cp "$fresh/$file" "$kept/${file:0:16}" ;;
    esac
done
"$here/corpus.py" pack "$name" "$kept"
echo "$name: $(find "$kept" -type f | wc -l) files, $(stat -c %s "$here/corpus/$name.tar.xz") bytes"
