#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Holes of an image are holes of the file: SEEK_DATA and SEEK_HOLE are exact to a
# frame, st_blocks counts data only, and a sparse copy is as sparse.
. "$SRC/tests/lib.sh"
require_fuse

F=$((64 << 10))
truncate -s $((300 * F + 512)) a.img
# Data in frames 0, 1, 100 and 300; the last is short.
make_image data $((2 * F)) 5
dd if=data of=a.img conv=notrunc status=none
dd if=data of=a.img bs=100 count=1 seek=$((100 * F / 100 + 1)) conv=notrunc status=none
printf x | dd of=a.img bs=1 seek=$((300 * F + 100)) conv=notrunc status=none
truncate -s 1G empty.img
vaultctl init -q vault --name v
vaultctl backup -q vault vm -d os=a.img -d lun0=empty.img
mount_vault vault mnt
disks=mnt/v/vm/latest/disks
python3 - $disks/os.img $F <<'END'
import errno, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
F = int(sys.argv[2])
end = 300 * F + 512
data = [(0, 2 * F), (100 * F, 101 * F), (300 * F, end)]

def seek(off, whence):
    try:
        return os.lseek(fd, off, whence)
    except OSError as e:
        return -e.errno

def is_data(off):
    return any(a <= off < b for a, b in data)

marks = sorted({0, end} | {x for r in data for x in r})
for mark in marks:
    for off in (mark - 1, mark, mark + 1, mark + 12345):
        if off < 0:
            continue
        if off >= end:
            want_data = want_hole = -errno.ENXIO
        else:
            want_data = off if is_data(off) else min(
                (a for a, b in data if a > off), default=-errno.ENXIO)
            want_hole = off if not is_data(off) else next(
                b for a, b in data if a <= off < b)
        assert seek(off, os.SEEK_DATA) == want_data, (off, "data", seek(off, os.SEEK_DATA))
        assert seek(off, os.SEEK_HOLE) == want_hole, (off, "hole", seek(off, os.SEEK_HOLE))
assert os.fstat(fd).st_blocks == (3 * F + 512) // 512, os.fstat(fd).st_blocks
END
assert_eq "$(stat -c '%s %b' $disks/lun0.img)" "1073741824 0"
assert_eq "$(stat -c '%s %b' mnt/v/vm/latest/vhd/lun0.vhd)" "1073742336 1"
cp --sparse=auto $disks/os.img copy.img
assert_same copy.img a.img
# Files without any holes of their own would have 38 MiB.
(($(stat -c %b copy.img) < 2000)) || fail "the copy has $(stat -c %b copy.img) blocks"
# A GiB of hole is copied without being read.
cp --sparse=auto $disks/lun0.img copy2.img
assert_eq "$(stat -c %s copy2.img)" 1073741824
umount_vault mnt
