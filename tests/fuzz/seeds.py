#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the seeds of the fuzz targets of vault records out of the small golden vault.

usage: seeds.py     (writes tests/fuzz/corpus/*/small-*; what a fuzzer found stays)
"""
import pathlib
import re
import struct
import tarfile

TESTS = pathlib.Path(__file__).resolve().parent.parent
CORPUS = TESTS / "fuzz/corpus"
# Of each kind so many, of different lengths.
MOST = 6


def objects():
    with tarfile.open(TESTS / "data/small-1.tar.xz") as tar:
        for member in tar:
            if member.isfile():
                yield member.name.split("/", 1)[1], tar.extractfile(member).read()


def records(data):
    """The records that lie one after the other in data."""
    pos = 0
    while pos + 16 <= len(data):
        length = struct.unpack_from("<I", data, pos + 8)[0]
        if data[pos:pos + 2] != b"VF" or not 16 <= length <= len(data) - pos:
            return
        yield data[pos:pos + length]
        pos += length


def inner_records(data):
    """... and those inside of a commit: its index page, the newest point record."""
    for m in re.finditer(b"VF(ix|pr)\x01\0\0\0", data):
        length = struct.unpack_from("<I", data, m.start() + 8)[0]
        yield data[m.start():m.start() + length]


def main():
    target = {b"hd": "header", b"cf": "config", b"cm": "commit", b"ix": "index",
              b"pr": "point", b"pg": "page", b"ft": "page", b"dp": "dead",
              b"ws": "session", b"we": "session", b"ls": "list"}
    seeds = {}

    def add(kind, data):
        of_kind = seeds.setdefault(kind, {})
        of_kind.setdefault(len(data), data)

    for key, data in objects():
        for r in records(data):
            if r[2:4] in target:
                add(target[r[2:4]], r)
        if "/c/" in key:
            for r in inner_records(data):
                add(target[r[2:4]], r)
        if "/s/" in key:
            length = struct.unpack_from("<I", data, len(data) - 8)[0]
            trailer = len(data) - 8 - length
            add("trailer", data[trailer:])
            for i in range(trailer + 40, len(data) - 8, 56):
                off, n, raw = struct.unpack_from("<IIH", data, i + 40)
                if not raw:
                    add("frame", data[off:off + n])
        if "/p/" in key:
            at, length = struct.unpack_from("<II", data, 304)
            if length:
                add("labels", data[at:at + length])
        for part in key.split("/"):
            add("name", part.encode())
    add("labels", struct.pack("<H1sH0sH2sH3s", 1, b"a", 0, b"", 2, "ä".encode(), 3, b"x y"))
    add("name", "größe 1 %/.".encode())
    add("name", b"gr%C3%B6%C3%9Fe%201")
    add("name", b"%2Ehidden")
    for kind, of_kind in seeds.items():
        folder = CORPUS / kind
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("small-*"):
            old.unlink()
        lengths = sorted(of_kind)
        step = max(1, -(-len(lengths) // MOST))
        for n in lengths[::step]:
            (folder / f"small-{n}").write_bytes(of_kind[n])


if __name__ == "__main__":
    main()
