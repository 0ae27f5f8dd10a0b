#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Fixed VHDs in and out, as qemu-img sees them.
. "$SRC/tests/lib.sh"
require qemu-img

make_image --holes raw.img 6M 1
qemu-img convert -f raw -O vpc -o subformat=fixed,force_size=on raw.img in.vhd
vaultctl init -q vault
run_ok vaultctl backup vault vm -d os=in.vhd -t 2026-01-01T00:00:00Z
run_ok vaultctl backup vault vm -d os=raw.img -t 2026-01-02T00:00:00Z --json
assert_contains "$OUT" '"newFrames": 0,'
vaultctl restore -q vault vm 2026-01-01 --to out.img
assert_same out.img raw.img

run_ok vaultctl restore vault vm 2026-01-01 --to out.vhd --format vhd
assert_eq "$(stat -c %s out.vhd)" $((6 * 1048576 + 512))
qemu-img compare -q -f raw -F vpc raw.img out.vhd || fail "qemu-img reads another disk"
# The same point gives the same bytes, on another day too.
run_ok vaultctl restore vault vm 2026-01-01 --to dir/ -f vhd
assert_same dir/os.vhd out.vhd
vaultctl restore vault vm 2026-01-01 --to - -f vhd | cmp - out.vhd
# And goes in again as the disk it is.
run_ok vaultctl backup vault vm -d os=out.vhd -t 2026-01-03T00:00:00Z --json
assert_contains "$OUT" '"newFrames": 0,'
run_ok vaultctl show --json vault vm latest
assert_contains "$OUT" '"sourceFormat": "vhd"'

# As a raw file it is 512 bytes longer.
run_ok vaultctl backup vault raw -d os=out.vhd --image-format raw
vaultctl restore -q vault raw latest --to same.vhd
assert_same same.vhd out.vhd
run_fails 1 vaultctl backup vault x -d os=raw.img --image-format vhd
assert_contains "$ERR" "raw.img"
assert_contains "$ERR" "no VHD footer"

# Kinds that are not read, and a footer that is damaged.
qemu-img convert -f raw -O vpc -o subformat=dynamic raw.img dynamic.vhd
run_fails 1 vaultctl backup vault x -d os=dynamic.vhd
assert_contains "$ERR" "dynamic VHD"
cp out.vhd bad.vhd
printf X | dd of=bad.vhd bs=1 seek=$((6 * 1048576 + 100)) conv=notrunc status=none
run_fails 1 vaultctl backup vault x -d os=bad.vhd
assert_contains "$ERR" "checksum"

# A disk of no whole sectors has no VHD.
make_image odd.img 1000
vaultctl backup -q vault odd -d os=odd.img
run_fails 1 vaultctl restore vault odd latest --to odd.vhd -f vhd
assert_contains "$ERR" "512"
run_ok vaultctl list -1 vault
assert_eq "$OUT" "odd
raw
vm"
