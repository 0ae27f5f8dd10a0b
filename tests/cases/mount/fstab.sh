#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Mounted by mount(8) from an fstab, as root.
. "$SRC/tests/lib.sh"
require_fuse
((EUID == 0)) || skip "needs root"
require mount.fuse3 unshare
# mount(8) looks in its own path only: there it is, for us alone.
if [[ ! ${FSTAB_INSIDE-} ]]; then
	unshare -m true 2>/dev/null || skip "needs a mount namespace"
	[[ -d /usr/local/bin ]] || skip "needs /usr/local/bin"
	FSTAB_INSIDE=1 exec unshare -m --propagation private bash "$0"
fi
mount -t tmpfs none /usr/local/bin
cp "$BUILD/vaultfs" /usr/local/bin

make_image a.img 64K
for v in a b; do
	vaultctl init -q $v --name $v
	vaultctl backup -q $v vm -d os=a.img
done
mkdir m1 m2 m3
cat >fstab <<END
$(vault_url a) $PWD/m1 fuse.vaultfs defaults 0 0
vaultfs $PWD/m2 fuse.vaultfs vault=$(vault_url a),vault=$(vault_url b),allow_other,_netdev,noauto 0 0
END
for m in m1 m2; do
	run_ok mount -T fstab "$PWD/$m"
	at_exit umount -l "$PWD/$m"
done
assert_eq "$(ls m1)" a
assert_eq "$(ls m2)" "a
b"
assert_same m1/a/vm/latest/disks/os.img a.img
# The sentence comes through.
_run mount -t fuse.vaultfs "$PWD/nothing" "$PWD/m3"
((CODE)) || fail "mounted nothing"
assert_contains "$ERR" "vaultfs: "
assert_contains "$ERR" "$PWD/nothing"
umount m1
umount m2
