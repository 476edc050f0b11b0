#!/usr/bin/env python3
"""Reads and writes corpus/NAME.tar.xz, the inputs that the harness NAME.c keeps. The build unpacks them into BUILD/fuzz/kept/NAME.

corpus.py pack NAME FOLDER      makes the archive from the files of a folder
corpus.py unpack NAME FOLDER    writes the files of the archive into a folder, which is created
"""
import io
import pathlib
import sys
import tarfile

CORPUS = pathlib.Path(__file__).parent / "corpus"


def archive(name):
    return CORPUS / f"{name}.tar.xz"


def read(name):
    """The inputs as {file name: bytes}; empty when there is no archive yet."""
    if not archive(name).exists():
        return {}
    with tarfile.open(archive(name)) as tar:
        return {pathlib.PurePath(member.name).name: tar.extractfile(member).read() for member in tar if member.isfile()}


def write(name, inputs):
    """The same inputs always make the same archive: sorted, without times and owners."""
    with tarfile.open(archive(name), "w:xz", format=tarfile.USTAR_FORMAT, preset=9) as tar:
        for file in sorted(inputs):
            member = tarfile.TarInfo(f"{name}/{file}")
            member.size = len(inputs[file])
            tar.addfile(member, io.BytesIO(inputs[file]))


def main(verb, name, folder):
    folder = pathlib.Path(folder)
    if verb == "pack":
        write(name, {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()})
        return
    folder.mkdir(parents=True, exist_ok=True)
    for file, data in read(name).items():
        (folder / file).write_bytes(data)


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in ("pack", "unpack"):
        sys.exit(__doc__)
    main(*sys.argv[1:])
