#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A block device: its ends are written last, holes are zeros, what is in use is refused.
. "$SRC/tests/lib.sh"
require losetup
((EUID == 0)) || skip "needs root, for a loop device"

make_image --holes a.img 12M 1
make_image tiny.img 700K 2
vaultctl init -q vault
vaultctl backup -q vault vm -d os=a.img
vaultctl backup -q vault tiny -d os=tiny.img

# attach FILE SIZE: makes it, and DEV is it.
attach() {
	make_image "$1" "$2" 99
	DEV=$(losetup --find --show "$1" 2>/dev/null) || skip "needs a loop device"
	at_exit losetup -d "$DEV"
}

attach disk 14M
run_ok vaultctl restore vault vm latest --to "$DEV"
assert_contains "$ERR" "larger than the disk"
cmp -n $((12 << 20)) "$DEV" a.img || fail "another disk"
make_image was 14M 99
cmp -i $((12 << 20)) "$DEV" was || fail "what lies behind was touched"
run_ok vaultctl backup vault back -d "os=$DEV"
run_ok vaultctl restore vault tiny latest --to "$DEV"
cmp -n $((700 << 10)) "$DEV" tiny.img || fail "another small disk"

attach exact 12M
run_ok vaultctl restore vault vm latest --to "$DEV"
assert_eq "$ERR" ""
cmp "$DEV" a.img || fail "another disk on the exact device"
run_fails 2 vaultctl restore vault vm latest --to "$DEV" --format vhd

# Stopped in its middle: no disk to be seen, and it goes on.
show=$(vaultctl show --json vault vm latest)
id=$(sed -n 's/.*"id": "\(.*\)".*/\1/p' <<<"$show")
root=$(sed -n 's/.*"rootHash": "\(.*\)".*/\1/p' <<<"$show")
number=$(printf '%d:%d' "0x$(stat -c %t "$DEV")" "0x$(stat -c %T "$DEV")")
journal=$XDG_STATE_HOME/vaultfs/restore/$number
nonce=00112233445566778899aabbccddeeff
note() {
	printf 'vaultfs-restore 2\n%s os %s 12582912 1048576 raw\n%s\n%s\nend\n' \
		"$id" "$root" "$nonce" "$1" >"$journal"
}
# head: as it is while a restore is under way.
# shellcheck disable=SC2001 # a group and a reference, which the shell has not
head_of() {
	dd if=/dev/zero of="$DEV" bs=1M count=1 status=none
	printf 'vaultfs-restore\n%b' "$(sed 's/../\\x&/g' <<<"$1")" |
		dd of="$DEV" bs=4096 seek=5 conv=notrunc status=none
}
head_of $nonce
note 5242880
run_ok vaultctl restore vault vm latest --to "$DEV" --resume --json
assert_contains "$OUT" '"resumedFrom": 5242880'
cmp "$DEV" a.img || fail "another disk after --resume"
# Somebody has used it since.
note 5242880
run_ok vaultctl restore vault vm latest --to "$DEV" --resume
assert_contains "$ERR" "was used since"
cmp "$DEV" a.img || fail "another disk after a fresh start"
# Another device of that number: a new one, which is zeros, or one of another restore.
blkdiscard -fz "$DEV" 2>/dev/null || dd if=/dev/zero of="$DEV" bs=1M count=12 status=none
note 5242880
run_ok vaultctl restore vault vm latest --to "$DEV" --resume --json
assert_contains "$ERR" "another device"
assert_contains "$OUT" '"resumedFrom": 0'
cmp "$DEV" a.img || fail "zeros are left on a new device"
head_of ffeeddccbbaa99887766554433221100
note 5242880
run_ok vaultctl restore vault vm latest --to "$DEV" --resume --json
assert_contains "$OUT" '"resumedFrom": 0'
[[ ! -e $journal ]] || fail "the journal is left"

attach small 5M
run_fails 1 vaultctl restore vault vm latest --to "$DEV"
assert_contains "$ERR" "too small"
cmp -n 100000 "$DEV" small || fail "a device that is too small was written to"

# In use.
python3 -c '
import os, sys, time
fd = os.open(sys.argv[1], os.O_RDWR | os.O_EXCL)
open("held", "w").close()
time.sleep(60)' "$DEV" &
holder=$!
at_exit kill $holder
wait_until 10 test -e held
run_fails 1 vaultctl restore vault tiny latest --to "$DEV"
assert_contains "$ERR" "in use"
