#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Partition tables, as sfdisk writes them: MBR with logical partitions, GPT with sectors of 512
# and of 4096 bytes; a chain that goes round; tables that are none.
. "$SRC/tests/lib.sh"
require sfdisk python3
guest=$BUILD/tests/tools/guest

truncate -s 64M gpt
sfdisk -q gpt <<-'END'
	label: gpt
	start=2048, size=2048, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name="EFI System"
	start=4096, size=8192, name="Second"
	start=65536, type=21686148-6449-6E6F-744E-656564454649
END
"$guest" part gpt >got
assert_contains "$(head -n 4 got)" "gpt 512
1 1048576 1048576 c12a7328-f81f-11d2-ba4b-00a0c93ec93b EFI System
2 2097152 4194304 0fc63daf-8483-4772-8e79-3d69d8477de4 Second
3 33554432"
# The first table is gone: the other one, at the end, does.
cp gpt second
dd if=/dev/zero of=second bs=512 seek=1 count=33 conv=notrunc status=none
cmp got <("$guest" part second)

# Sectors of 4096 bytes: sfdisk wants a device for that, so it is written here.
python3 - <<'EOF'
import struct, uuid, zlib
S, N = 4096, 16384
disk = bytearray(64 << 20)
entries = bytearray(128 * 128)
def part(i, first, last, name):
    kind = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4").bytes_le
    struct.pack_into("<16s16sQQQ72s", entries, 128 * i, kind, uuid.uuid4().bytes_le,
                     first, last, 0, name.encode("utf-16-le"))
part(0, 256, 511, "one")
part(4, 512, 16000, "fünf")
def header(at, other, table):
    h = bytearray(92)
    struct.pack_into("<8sIIIIQQQQ16sQIII", h, 0, b"EFI PART", 0x10000, 92, 0, 0, at,
                     other, 6, N - 6, uuid.uuid4().bytes_le, table, 128, 128,
                     zlib.crc32(entries))
    struct.pack_into("<I", h, 16, zlib.crc32(h))
    return h
disk[446:462] = bytes([0, 0, 2, 0, 0xee, 255, 255, 255]) + struct.pack("<II", 1, N - 1)
disk[510:512] = b"\x55\xaa"
disk[S:S + 92] = header(1, N - 1, 2)
disk[2 * S:2 * S + len(entries)] = entries
disk[(N - 1) * S:(N - 1) * S + 92] = header(N - 1, 1, N - 5)
disk[(N - 5) * S:(N - 5) * S + len(entries)] = entries
open("gpt4k", "wb").write(disk)
EOF
assert_eq "$("$guest" part gpt4k)" "gpt 4096
1 1048576 1048576 0fc63daf-8483-4772-8e79-3d69d8477de4 one
5 2097152 63442944 0fc63daf-8483-4772-8e79-3d69d8477de4 fünf"

truncate -s 64M mbr
sfdisk -q mbr <<-'END'
	label: dos
	start=2048, size=4096, type=83
	start=8192, size=65536, type=5
	start=80000, size=1000, type=8e
	start=100000, size=31072, type=7
	start=10240, size=2048
	start=20480, size=2048, type=82
	start=40960, size=2048
END
assert_eq "$("$guest" part mbr)" "dos 512
1 1048576 2097152 0x83 
3 40960000 512000 0x8e 
4 51200000 15908864 0x07 
5 5242880 1048576 0x83 
6 10485760 1048576 0x82 
7 20971520 1048576 0x83 "
# The disk was cut off: what is left of a partition is told to be so.
head -c 60M mbr >short.img
assert_contains "$("$guest" part short.img)" "4 51200000 11714560(cut) 0x07"

# The last record of the chain leads back to the first, or far beyond the end.
for back in 2 1073741824; do
	cp mbr round
	python3 - "$back" <<'EOF'
import struct, sys
base = 8192 * 512
with open("round", "r+b") as f:
    # From record to record, by the second entry.
    at = base
    while True:
        f.seek(at + 446 + 16)
        entry = f.read(16)
        if not entry[4]:
            break
        at = base + struct.unpack_from("<I", entry, 8)[0] * 512
    f.seek(at + 446 + 16)
    first = int(sys.argv[1])
    if first == 2:
        f.seek(base + 446 + 16 + 8)
        first = struct.unpack("<I", f.read(4))[0]
        f.seek(at + 446 + 16)
    f.write(bytes([0, 0, 0, 0, 5, 0, 0, 0]) + struct.pack("<II", first, 2048))
EOF
	timeout 20 "$guest" part round >got || fail "$back: $?"
	assert_contains "$(cat got)" "7 20971520" "$back"
done

# What begins in the first sector and looks like a table.
for magic in '\xeb\x58\x90-FVE-FS-' '\xeb\x76\x90EXFAT   ' 'LUKS\xba\xbe\x00\x01' \
	'\xeb\x52\x90NTFS    '; do
	cp mbr none
	printf '%b' "$magic" | dd of=none conv=notrunc status=none
	assert_eq "$("$guest" part none)" "none 0" "$magic"
done
truncate -s 0 none
truncate -s 8M none
assert_eq "$("$guest" part none)" "none 0"
printf 'x' >small
assert_eq "$("$guest" part small)" "none 0"
