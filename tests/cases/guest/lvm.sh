#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Logical volumes: those of a volume group that LVM made, against the layout that LVM itself
# tells of it; and of groups made by the test: newer metadata, damage, what is refused.
# long: every layout of volumes; guest/part and guest/ext are short
. "$SRC/tests/lib.sh"
require python3 xz
guest=$BUILD/tests/tools/guest

# --- made by LVM: linear, of two segments on two volumes, striped

tar -xJf "$SRC/tests/data/lvm-1.tar.xz"
# Each KiB of the extents says where it lies; from that and LVM's own report of the segments,
# the logical volumes.
python3 - <<'EOF'
import re
MIB = 1 << 20
def kib(pv, i):
    return f"{pv} {i} ".encode().ljust(1024, b".")
for pv in "pv0", "pv1":
    with open(pv, "r+b") as f:
        f.seek(MIB)
        f.write(b"".join(kib(pv, i) for i in range(1024, 16 << 10)))
data = {pv: open(pv, "rb").read() for pv in ("pv0", "pv1")}
volumes = {}
for line in open("segments"):
    name, start, size, stripes, stripe, *areas = line.split()[:-1]
    areas = [re.match(r"(\w+):(\d+)-(\d+)", a).groups() for a in areas]
    parts = [data[pv][MIB * (1 + int(a)):MIB * (2 + int(b))] for pv, a, b in areas]
    step = int(stripe) or MIB * int(size)
    whole = b"".join(p[i:i + step] for i in range(0, len(parts[0]), step) for p in parts)
    volumes[name] = volumes.get(name, b"") + whole
for name, content in volumes.items():
    open(name + ".want", "wb").write(content)
EOF
assert_eq "$("$guest" lvm pv1 pv0)" "rootvg/home 4194304
rootvg/home2 3145728
rootvg/rootlv 14680064
rootvg/strip 8388608"
for lv in home home2 rootlv strip; do
	"$guest" lv rootvg/$lv pv0 pv1 >got
	assert_same got $lv.want
done

# One of the two volumes is not there.
assert_contains "$("$guest" lvm pv1)" "rootvg/rootlv refused: it lies on physical volume \
9vBKdG-sF1P-BzcR-GiqR-wIAT-vbuz-WIgOeU, which is on no disk of this point that can be read"
assert_contains "$("$guest" lvm pv1)" "rootvg/home 4194304"
# One is there twice.
assert_contains "$("$guest" lvm pv0 pv1 pv1)" "of which there are 2 on these disks"

# --- made by the test

mk=$SRC/tests/mklvm.py
truncate -s 12M a b
make_image data 11M 3
dd if=data of=a bs=1M seek=1 conv=notrunc status=none
make_image data2 11M 4
dd if=data2 of=b bs=1M seek=1 conv=notrunc status=none
"$mk" vg a b -- one=2@pv0:0 two=2@pv0:3+1@pv1:0 three=4/4096@pv0:5,pv1:2 \
	thin='!thin' pool='!thin-pool' r='!raid1' snapshot0='!snapshot:one:cow' \
	cow=1@pv1:9 odd='!oddity' far=2@pv1:10 moved=1@pvmove0:0 gap=1@pv0:0
whole='which is not mapped here: restore the disks, and activate it with LVM there'
assert_eq "$("$guest" lvm a b | sed 's/volume [A-Za-z0-9-]*-.*/volume ID/')" "\
vg/cow refused: it is a snapshot, $whole
vg/far refused: its metadata place it beyond the end of physical volume ID
vg/gap 1048576
vg/moved refused: it lies on 'pvmove0', which is no physical volume (it may have been being \
moved): restore the disks, and activate it with LVM there
vg/odd refused: it has a segment of type 'oddity', $whole
vg/one 2097152
vg/pool refused: it is a pool of thin volumes, $whole
vg/r refused: it is a RAID volume, $whole
vg/thin refused: it is a thin volume, $whole
vg/three 4194304
vg/two 3145728"
"$guest" lv vg/two a b >got
{
	dd if=data bs=1M skip=3 count=2 status=none
	head -c 1M data2
} >want
assert_same got want
python3 - <<'EOF'
MIB = 1 << 20
a, b = (open(f, "rb").read() for f in ("data", "data2"))
a, b = a[5 * MIB:7 * MIB], b[2 * MIB:4 * MIB]
open("want", "wb").write(b"".join(
    x[i:i + 4096] for i in range(0, 2 * MIB, 4096) for x in (a, b)))
EOF
"$guest" lv vg/three a b >got
assert_same got want

# The newest metadata count, wherever they are; damaged ones are told.
"$mk" --seqno 7 vg a b -- one=3@pv0:0
cp b newer
"$mk" --seqno 6 vg a b -- one=1@pv0:0
assert_eq "$("$guest" lvm a newer)" "vg/one 3145728"
"$mk" --seqno 9 --bad-crc vg a newer -- one=1@pv0:0
"$mk" --seqno 6 vg a b -- one=1@pv0:0
assert_eq "$("$guest" lvm a newer)" "vg/one 1048576
damaged: LVM metadata: the checksum of the text does not match"
# No header at all.
dd if=/dev/zero of=b bs=512 seek=1 count=1 conv=notrunc status=none
assert_eq "$("$guest" lvm b)" ""
# A name that would be no file name.
"$mk" vg a -- 'a/b=1@pv0:0'
assert_contains "$("$guest" lvm a)" "of a name that cannot be"
