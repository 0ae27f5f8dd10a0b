#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One damaged frame of a disk: its bytes cannot be read, all others can, also those
# that the kernel reads ahead together with it; and the log says where.
. "$SRC/tests/lib.sh"
require_fuse

make_image a.img 4M 1
vaultctl init -q vault --name v
vaultctl backup -q vault vm -d os=a.img -t 2026-01-01T00:00:00Z
vault_out vault
segment=$(find vault/V/vm/d/os -path '*/s/*' -type f)
assert_eq "$(wc -l <<<"$segment")" 1
chmod u+w "$segment"
printf x | dd of="$segment" bs=1 seek=$((2000000 + RANDOM)) conv=notrunc status=none
vault_in vault
mount_vault vault mnt
python3 - mnt/v/vm/latest/disks/os.img a.img <<'END'
import errno, os, sys
F = 64 << 10
kept = open(sys.argv[2], "rb").read()

def read_all(fd, step):
    bad = set()
    for off in range(0, len(kept), step):
        try:
            got = os.pread(fd, step, off)
        except OSError as e:
            assert e.errno == errno.EIO, e
            bad.add(off // F)
            continue
        # It may be cut short before what is bad, and must be right.
        assert got == kept[off:off + len(got)], off
        if len(got) < step:
            bad.add((off + len(got)) // F)
    return bad

fd = os.open(sys.argv[1], os.O_RDONLY)
bad = read_all(fd, 4096)
assert len(bad) == 1, bad
assert read_all(fd, 4096) == bad
assert read_all(fd, F) == bad
fd = os.open(sys.argv[1], os.O_RDONLY)
big = read_all(fd, 1 << 20)
assert len(big) == 1, big
END
log=$(cat "$(daemon_log mnt)")
assert_contains "$log" "/v/vm/2026-01-01T00-00-00Z/disks/os.img: "
assert_contains "$log" "does not match its digest; run 'vaultctl verify'"
(($(wc -l <<<"$log") <= 3)) || fail "said again and again: $log"
umount_vault mnt

# Without its record a point is damaged too, and not one that was dropped.
rm -f vault/V/vm/p/*
vault_in vault
mount_vault vault mnt
run_fails 1 cat mnt/v/vm/latest/disks/os.img
assert_contains "$ERR" "Input/output error"
assert_contains "$(cat "$(daemon_log mnt)")" "is missing from vault v; run 'vaultctl verify'"
umount_vault mnt
