#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A small text read with every offset and length, in one open and in many, and by mmap.
. "$SRC/tests/lib.sh"
require_fuse

make_image a.img 64K
vaultctl init -q vault --name v
vaultctl backup -q vault vm -d os=a.img
mount_vault vault mnt
python3 - mnt/v/vault.json mnt/v/vm/latest/point.json <<'END'
import mmap, os, sys
room = memoryview(bytearray(3 << 20))
for path in sys.argv[1:]:
    text = open(path, "rb").read()
    size = os.stat(path).st_size
    assert size == len(text), (size, len(text))
    assert text.endswith(b"}\n")
    fd = os.open(path, os.O_RDONLY)
    step = max(1, size // 60)
    for off in list(range(0, size + 200, step)) + [size - 1, size, size + 1, 4096, 1 << 40]:
        for n in [0, 1, 2, 7, 511, 512, size - 1, size, size + 1, 4096, 5000, 1 << 20, 3 << 20]:
            got = bytes(room[:os.preadv(fd, [room[:n]], off)])
            assert got == text[off:off + n], (off, n, got)
    assert os.lseek(fd, 0, os.SEEK_HOLE) == size
    assert os.lseek(fd, 3, os.SEEK_DATA) == 3
    os.close(fd)
    for n in [1, 126, 127, 128, size]:
        with open(path, "rb", buffering=0) as f:
            got = b""
            while part := f.read(n):
                got += part
            assert got == text
    with open(path, "rb") as f, mmap.mmap(f.fileno(), size, mmap.MAP_PRIVATE) as m:
        assert m[:] == text
END
umount_vault mnt
