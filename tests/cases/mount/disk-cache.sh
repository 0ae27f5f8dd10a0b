#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The cache on disk: what it has is read without the vault; damaged, emptied, cut off, full
# or not writable, it is no matter; two mounts share it; kill -9 leaves it sound.
# timeout: 150
# long: caches, servers that go away and come back: waits for both
. "$SRC/tests/lib.sh"
require_fuse

make_image --holes a.img 9M 1
vaultctl init -q vault --name v
vaultctl backup -q vault vm -d os=a.img -t 2026-01-01T00:00:00Z
disk=v/vm/latest/disks/os.img

# A directory needs no cache, unless it is asked for; what is far away has one.
mount_vault vault m1
assert_same m1/$disk a.img
umount_vault m1
if is_remote; then
	[[ -s $(echo "$XDG_CACHE_HOME"/vaultfs/*/stash) ]] || fail "no cache for a service"
else
	[[ ! -e $XDG_CACHE_HOME/vaultfs ]] || fail "a cache for a directory"
fi

mount_vault --cache-dir kept vault m1
assert_same m1/$disk a.img
umount_vault m1
stash=$(echo kept/*/stash)
assert_eq "$(stat -c %a "$stash" kept | tr '\n' ' ')" "600 700 "
# As it is stored: these bytes do not pack.
(($(stat -c %s "$stash") > 5 << 20)) || fail "little was kept"

# The objects are away: all of it comes from the cache.
vault_out vault
mv vault/V/vm/d away
vault_in vault
mount_vault --cache-dir kept vault m1
assert_same m1/$disk a.img
umount_vault m1
# Not in this one.
mount_vault --disk-cache-size 0 vault m1
run_fails 2 cmp m1/$disk a.img
umount_vault m1
mv away vault/V/vm/d
vault_in vault

# Damage of all kinds, and right bytes.
damage() {
	case $1 in
	spots) python3 - "$stash" <<-'END' ;;
		import sys
		with open(sys.argv[1], "r+b") as f:
		    n = f.seek(0, 2)
		    for at in range(4096, n, 30011):
		        f.seek(at)
		        f.write(b"damage")
	END
	cut) truncate -s 3M "$stash" ;;
	empty) : >"$stash" ;;
	garbage) head -c 9M /dev/urandom >"$stash" ;;
	readonly) chmod 0400 "$stash" ;;
	folder) rm -f "$stash" && mkdir "$stash" ;;
	esac
}
for kind in spots cut empty garbage readonly folder; do
	damage $kind
	mount_vault --cache-dir kept vault m1
	assert_same m1/$disk a.img
	umount_vault m1
done
assert_contains "$(cat "$(daemon_log m1)")" "going on without it"
rmdir "$stash"

# Too small for it, and two at once.
mount_vault -o cache_dir=kept,disk_cache_size=3M vault m1
mount_vault --cache-dir kept --disk-cache-size 3M vault m2
cmp m1/$disk a.img &
one=$!
assert_same m2/$disk a.img
wait $one || fail "the other mount read something else"
(($(stat -c %s "$stash") <= 3 << 20)) || fail "larger than it may be"
# One of them is killed in the middle.
dd if=m1/$disk of=/dev/null bs=1M iflag=direct status=none 2>/dev/null &
one=$!
kill -9 "$(daemon_pid m1)"
wait $one || :
fusermount3 -uz m1
assert_same m2/$disk a.img
umount_vault m2
