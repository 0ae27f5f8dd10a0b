#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What was read once is in the kernel: a second read makes no request, counted by
# the program itself; and so it is in another open, and with other sizes.
. "$SRC/tests/lib.sh"
require_fuse
require getfattr

# count REQUEST...
count() {
	local request said counts=()
	said=$(getfattr --only-values -n user.vaultfs.stats mnt)
	for request; do
		[[ $said =~ \"$request\":\ *([0-9]+) ]] || fail "no count of $request: $said"
		counts+=("${BASH_REMATCH[1]}")
	done
	echo "${counts[*]}"
}
make_image --holes a.img 20M
vaultctl init -q vault --name v
vaultctl backup -q vault vm -d os=a.img
mount_vault vault mnt
disks=mnt/v/vm/latest/disks
cat $disks/os.img >/dev/null
# A kernel that has no page free to read ahead into asks for that page alone, later.
once=$(count read_bytes)
((once >= 20 << 20 && once <= 21 << 20)) || fail "read once: $once bytes"
# Somebody else on this machine may make the kernel drop what it keeps.
for try in {1..5}; do
	before=$(count read)
	for bs in 4096 1M 777; do
		dd if=$disks/os.img of=/dev/null bs=$bs status=none
		assert_same $disks/os.img a.img
	done
	after=$(count read)
	((after == before)) && break
	echo "try $try: $((after - before)) requests"
done
assert_eq "$after" "$before" "read again"
# Nor is the directory asked again, once it is known.
ls -l $disks >/dev/null
before=$(count readdir readdirplus getattr)
ls $disks >/dev/null
assert_eq "$(count readdir readdirplus getattr)" "$before" "listed again"
# Asking changes nothing but the count of such questions.
assert_eq "$(count failed refused)" "0 0"
run_fails 1 getfattr -n user.vaultfs.stats mnt/v
assert_eq "$(getfattr -m - mnt)" ""
umount_vault mnt
