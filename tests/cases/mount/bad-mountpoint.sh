#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Where nothing can be mounted, and what cannot be mounted: one sentence, exit code 1, and
# the same in the foreground and in the background.
. "$SRC/tests/lib.sh"
require_fuse

make_image a.img 64K
vaultctl init -q vault --name v
vaultctl backup -q vault vm -d os=a.img
mkdir mnt full broken
touch full/x file

# bad TEXT ARG...
bad() {
	local text=$1 f
	shift
	for f in -f -v; do
		run_fails 1 vaultfs $f "$@"
		assert_contains "$ERR" "$text"
		assert_eq "$OUT" ""
	done
}
bad "mount point nowhere: there is no such directory" vault nowhere
bad "mount point file is not a directory" vault file
bad "mount point file/x: Not a directory" vault file/x
bad "mount point full is not empty ('-o nonempty' mounts over what is there)" vault full
bad "not-a-vault" "$PWD/not-a-vault" mnt
bad "$(vault_url full)" full mnt
bad "cannot mount" -o context=not:a:context vault mnt
is_mounted mnt && fail "mounted"

mount_vault vault mnt
bad "mount point mnt is busy: something is mounted there" vault mnt
umount_vault mnt
mount_vault -o nonempty vault full
umount_vault full

# What was mounted there died.
vaultfs -f vault broken 2>/dev/null &
wait_until 20 is_mounted broken
kill -KILL $!
wait $! 2>/dev/null || :
bad "mount point broken is busy: what was mounted there died; 'fusermount3 -uz' takes it away" \
	vault broken
fusermount3 -uz broken

if ((EUID == 0)); then
	# Without the device; and without the right to use it.
	require unshare
	# shellcheck disable=SC2016
	no_device='mount -t tmpfs none /dev && '
	if unshare -m true 2>/dev/null; then
		CODE=0
		ERR=$(unshare -m bash -c "$no_device"'exec vaultfs vault mnt 2>&1' </dev/null) || CODE=$?
		assert_eq "$CODE" 1
		assert_eq "$ERR" "vaultfs: there is no /dev/fuse: load the kernel's module (modprobe fuse), or give the container the device"
	fi
fi

# A directory that we may not write to.
if ((EUID == 0)) && command -v setpriv >/dev/null; then
	chmod 755 . mnt
	p=$PWD
	while [[ $p != / ]]; do
		[[ $(stat -c %A "$p") == *x ]] || p=/none
		p=$(dirname "$p")
	done
	if [[ -r /dev/fuse && $(stat -c %A /dev/fuse) == *rw- ]] &&
		setpriv --reuid=65534 --regid=65534 --clear-groups test -x "$BUILD/vaultfs"; then
		run_fails 1 setpriv --reuid=65534 --regid=65534 --clear-groups \
			vaultfs vault mnt
		assert_contains "$ERR" "mnt"
	fi
fi
