#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# --offline: while a store is away reads fail, or wait until it is back, or for a time; who
# waits can be interrupted, and the mount can be ended.
. "$SRC/tests/lib.sh"
require_fuse

make_image a.img 8M 1
vaultctl init -q vault --name v
vaultctl backup -q vault vm -d os=a.img -t 2026-01-01T00:00:00Z
disk=v/vm/2026-01-01T00-00-00Z/disks/os.img

waited() {
	[[ $(python3 -c 'import os, json, sys
print(json.loads(os.getxattr(sys.argv[1], "user.vaultfs.stats"))["waited"])' mnt) != 0 ]]
}
# The directory is the store of a mount that has it open: it must be gone, not renamed.
away() {
	cp -a vault elsewhere && rm -rf vault
}
back() {
	mv elsewhere vault
}

run_fails 2 vaultfs --offline never vault mnt
assert_contains "$ERR" "--offline"

# For ever: comes back.
mount_vault --offline wait --cache-size 1M vault mnt
head -c 1M mnt/$disk | cmp -n 1M - a.img
away
cmp mnt/$disk a.img &
reader=$!
wait_until 20 waited
kill -0 $reader || fail "it did not wait"
# Interrupted meanwhile.
timeout -s INT 1 cat mnt/$disk >/dev/null && fail "it was read from nowhere"
back
wait $reader || fail "what was read after the wait is wrong"
assert_contains "$(cat "$(daemon_log mnt)")" vault

# Ended while somebody waits.
away
cat mnt/$disk >/dev/null 2>&1 &
reader=$!
sleep 0.2
kill -TERM "$(daemon_pid mnt)"
wait_daemon mnt
wait $reader || :
back

# For a time.
mount_vault -o offline=wait=1 --cache-size 1M vault mnt
head -c 64K mnt/$disk >/dev/null
away
run_fails 1 cat mnt/$disk
assert_contains "$ERR" "Input/output error"
back
assert_same mnt/$disk a.img
umount_vault mnt
