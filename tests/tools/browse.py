#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records the reads of a file system browse: tests/data/browse-ext4.txt.

usage: browse.py >FILE

An ext4 of 20,000 small files in 200 directories, of which debugfs (libext2fs) reads 200 at
random; each of its reads of the image is a line: offset and length in KiB, the latter at
least 1. Before them a line "= FRAME SIZE" for each 64 KiB frame that they touch, and for the
one after it: how small it packs (a file's bytes do not, inodes and directories do). Needs
mke2fs, debugfs and strace, and 700 MiB in TMPDIR.
"""
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import zlib

FRAME = 64 << 10
UUID = "11111111-2222-3333-4444-555555555555"


def make_tree(top):
    rnd = random.Random(4)
    for d in range(200):
        path = top / f"d{d:03d}"
        path.mkdir(parents=True)
        for f in range(100):
            size = min(int(rnd.lognormvariate(8.3, 1.3)), 400000)
            (path / f"file{f:02d}.dat").write_bytes(rnd.randbytes(size))


def main():
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        make_tree(work / "tree")
        image = work / "image"
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", work / "tree", "-E",
                        f"lazy_itable_init=0,hash_seed={UUID}", "-U", UUID, image, "4G"],
                       check=True, stdout=sys.stderr)
        rnd = random.Random(9)
        commands = work / "commands"
        commands.write_text("".join(
            f"dump /d{rnd.randrange(200):03d}/file{rnd.randrange(100):02d}.dat {os.devnull}\n"
            for _ in range(200)), encoding="ascii")
        subprocess.run(["strace", "-o", work / "calls", "-e", "trace=pread64", "-y", "debugfs",
                        "-f", commands, image], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        call = re.compile(r"pread64\(\d+<[^>]*/image>.*, (\d+), (\d+)\) = \d+")
        with open(work / "calls", encoding="ascii", errors="replace") as f:
            reads = [(int(found[2]), int(found[1])) for line in f if (found := call.match(line))]
        frames = {at for off, n in reads for at in range(off // FRAME, (off + n - 1) // FRAME + 2)}
        with open(image, "rb") as f:
            for at in sorted(frames):
                f.seek(at * FRAME)
                data = f.read(FRAME)
                if data.strip(b"\0"):
                    print("=", at, min(len(zlib.compress(data, 1)), FRAME))
        for off, n in reads:
            print(off // 1024, n // 1024 or 1)


if __name__ == "__main__":
    sys.exit(main())
