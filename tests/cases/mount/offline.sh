#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# --offline: while a store is away reads fail, or wait until it is back, or for a time; who
# waits can be interrupted, and the mount can be ended.
# long: caches, servers that go away and come back: waits for both
. "$SRC/tests/lib.sh"
require_fuse

make_image a.img 16M 1
vaultctl init -q vault --name v
vaultctl backup -q vault vm -d os=a.img -t 2026-01-01T00:00:00Z
relay_service
disk=v/vm/2026-01-01T00-00-00Z/disks/os.img

away() {
	vault_away vault
}
back() {
	vault_back vault
}

run_fails 2 vaultfs --offline never vault mnt
assert_contains "$ERR" "--offline"

# For ever: comes back.
mount_vault --refresh 0 --offline wait --cache-size 1M --disk-cache-size 0 vault mnt
head -c 1M mnt/$disk | cmp -n 1M - a.img
away
cmp mnt/$disk a.img &
reader=$!
wait_until 30 counted waited 1
kill -0 $reader || fail "it did not wait"
# Interrupted meanwhile.
timeout -s INT 1 cat mnt/$disk >/dev/null && fail "it was read from nowhere"
# A list waits too.
n=$(fs_stat waited)
ls mnt/v >listed 2>&1 &
lister=$!
wait_until 30 counted waited $((n + 1))
kill -0 $lister || fail "it did not wait: $(<listed)"
back
wait $reader || fail "what was read after the wait is wrong"
wait $lister || fail "the list after the wait: $(cat listed)"
assert_eq "$(<listed)" $'vault.json\nvm'
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
mount_vault -o offline=wait=1 --cache-size 1M --disk-cache-size 0 vault mnt
head -c 64K mnt/$disk >/dev/null
away
run_fails 1 cat mnt/$disk
assert_contains "$ERR" "Input/output error"
back
assert_same mnt/$disk a.img
umount_vault mnt
