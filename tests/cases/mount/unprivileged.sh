#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Somebody who is not root, through fusermount3. Run as root, in a namespace that has a
# /dev/fuse for everybody, as most systems have.
. "$SRC/tests/lib.sh"
require_fuse
((EUID == 0)) || skip "all the other cases do it when they are not run as root"
require unshare setpriv
if [[ ! ${INSIDE-} ]]; then
	unshare -m true 2>/dev/null || skip "needs a mount namespace"
	INSIDE=1 exec unshare -m --propagation private bash "$0"
fi
somebody() {
	setpriv --reuid=65534 --regid=65534 --clear-groups -- env HOME="$PWD/their" \
		XDG_CONFIG_HOME="$PWD/their/c" XDG_STATE_HOME="$PWD/their/s" "$@"
}
# What they can reach: the program, and a place of theirs.
place=$(mktemp -d /tmp/vaultfs-unprivileged.XXXXXX)
at_exit rm -rf "$place"
mount -t tmpfs none "$place"
at_exit umount -l "$place"
cd "$place" || exit
cp "$BUILD/vaultfs" "$BUILD/vaultctl" .
mknod fuse c 10 229 || skip "needs mknod"
mkdir their mnt not-theirs
chmod 666 fuse
chown 65534 their mnt
chmod 755 .
mount --bind fuse /dev/fuse
somebody dd if=/dev/fuse count=0 status=none 2>/dev/null || skip "no device for others"

make_image their/a.img 300K
chown -R 65534 their
somebody ./vaultctl init -q their/vault --name v
somebody ./vaultctl backup -q their/vault vm -d os=their/a.img
run_ok somebody ./vaultfs --log "$PWD/their/log" -v their/vault mnt
assert_eq "$OUT$ERR" ""
disk=mnt/v/vm/latest/disks/os.img
somebody cmp $disk their/a.img
assert_eq "$(somebody stat -c '%u %g %a' $disk)" "65534 65534 444"
# Nobody else, not even root.
run_fails 1 cat $disk
assert_contains "$ERR" "Permission denied"
somebody ls -l mnt/v/vm/latest/disks >/dev/null
somebody fusermount3 -u mnt
is_mounted mnt && fail "still mounted"

run_fails 1 somebody ./vaultfs their/vault not-theirs
assert_contains "$ERR" "mount point not-theirs: you may not write to it, and so not mount there"
if ! grep -qs '^user_allow_other' /etc/fuse.conf; then
	run_fails 1 somebody ./vaultfs -o allow_other their/vault mnt
	assert_contains "$ERR" "cannot mount"
	assert_contains "$ERR" "user_allow_other"
fi
chmod 600 fuse
run_fails 1 somebody ./vaultfs their/vault mnt
assert_contains "$ERR" "/dev/fuse: Permission denied"
# A vault that they may not read.
chmod 666 fuse
chown -R root their/vault
chmod 700 their/vault
run_fails 1 somebody ./vaultfs their/vault mnt
assert_contains "$ERR" "their/vault"
assert_contains "$ERR" "ermission"
