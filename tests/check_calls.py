#!/usr/bin/env python3
"""Fails when files of the libraries call one another in a circle: the symbols that an object file needs, and the object file that
has them, are edges. A callback that is handed down is none.

Usage: check_calls.py BUILD"""
import pathlib
import subprocess
import sys


def symbols(build):
    """(object file, symbol, whether the object has it) of every library, as "wg/device", "device_post", True."""
    for library in sorted(build.rglob("lib*.a")):
        folder = library.parent.relative_to(build)
        listed = subprocess.run(["nm", "-A", "-P", library], capture_output=True, text=True, check=True).stdout
        for line in listed.splitlines():
            place, name, kind = line.split()[:3]
            member = place[place.rindex("[") + 1:place.rindex("]")].removesuffix(".o").removesuffix(".c")
            if kind in "TDBRVWU":
                yield f"{folder}/{member}", name, kind != "U"


def calls(found):
    """file -> file that it calls -> the symbols"""
    homes, edges = {}, {}
    for file, name, has in found:
        if has:
            homes.setdefault(name, set()).add(file)
    for file, name, has in found:
        for home in () if has else homes.get(name, ()):
            if home != file:
                edges.setdefault(file, {}).setdefault(home, set()).add(name)
    return edges


def reached(edges, start):
    seen, queue = set(), [start]
    while queue:
        for target in edges.get(queue.pop(), ()):
            if target not in seen:
                seen.add(target)
                queue.append(target)
    return seen


def circles(edges):
    """Sets of files each of which reaches every other."""
    reach = {file: reached(edges, file) for file in edges}
    return {frozenset(other for other in reach[file] if file in reach.get(other, ())) for file in edges if file in reach[file]}


def faults(found):
    edges = calls(found)
    for circle in sorted(circles(edges), key=sorted):
        yield f"a circle of calls: {', '.join(sorted(circle))}"
        for file in sorted(circle):
            for target in sorted(circle & set(edges[file])):
                yield f"    {file} calls {', '.join(sorted(edges[file][target]))} of {target}"


def self_test():
    """The check itself must be able to fail."""
    line = [("a", "fa", True), ("a", "fb", False), ("b", "fb", True), ("b", "printf", False)]
    assert not list(faults(line))
    assert list(faults([*line, ("b", "fa", False)]))[0] == "a circle of calls: a, b"


self_test()
everything = list(symbols(pathlib.Path(sys.argv[1])))
assert len(everything) > 1000, "the libraries are not built"
wrong = list(faults(everything))
print("\n".join(wrong) or "calls: none goes in a circle")
sys.exit(1 if wrong else 0)
