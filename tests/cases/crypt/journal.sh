#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Whether a file system needs its journal is read as those who make them mean it. (That a mounted
# XFS is dirty, and clean again once it is unmounted, is seen by tests/vm.)
. "$SRC/tests/lib.sh"

PATH=$PATH:/usr/sbin:/sbin
state=$BUILD/tests/tools/journal_state

is() {
	assert_eq "$("$state" "$1" "$2")" "$3" "$1 of $2"
}

if command -v mke2fs >/dev/null && command -v debugfs >/dev/null; then
	truncate -s 16M ext
	mke2fs -q -t ext4 ext
	is ext4 ext clean
	debugfs -w -R 'feature needs_recovery' ext >/dev/null 2>&1
	is ext4 ext dirty
	e2fsck -fy ext >/dev/null 2>&1 || (($? < 4))
	is ext4 ext clean
	mke2fs -q -t ext2 ext
	is ext2 ext none
fi
if command -v mkfs.xfs >/dev/null; then
	for options in "" "-l version=2,su=64k" "-b size=1024 -s size=512"; do
		rm -f xfs
		truncate -s 320M xfs
		# shellcheck disable=SC2086
		mkfs.xfs -q $options xfs
		is xfs xfs clean
	done
	# Its first record is none of an unmount any more.
	block=$(xfs_db -r -c 'sb 0' -c 'p logstart' xfs | sed 's/.* //')
	at=$(xfs_db -r -c "convert fsblock $block byte" xfs | sed -E 's/.*\((.*)\)/\1/')
	printf '\0\0\0\2' | dd of=xfs bs=1 seek=$((at + 40)) conv=notrunc status=none
	is xfs xfs dirty
fi
if command -v mkfs.ntfs >/dev/null; then
	truncate -s 16M ntfs
	mkfs.ntfs -qFf ntfs >/dev/null
	is ntfs ntfs clean
	ntfsfix -d ntfs >/dev/null || :
	is ntfs ntfs clean
fi
if command -v mkfs.btrfs >/dev/null; then
	truncate -s 128M btrfs
	mkfs.btrfs -q btrfs
	is btrfs btrfs clean
	printf '\1' | dd of=btrfs bs=1 seek=$((65536 + 96)) conv=notrunc status=none
	is btrfs btrfs dirty
fi
# Made by hand, and what fuzzing begins with: NAME-STATE, or what NAME says.
for seed in "$SRC"/tests/fuzz/corpus/journal/*-{clean,dirty,none}; do
	name=${seed##*/}
	kind=${name%-*}
	is "${kind/ext/ext4}" "$seed" "${name##*-}"
done
for name in xfs-v1 xfs-wrap; do
	is xfs "$SRC/tests/fuzz/corpus/journal/$name" clean
done
is xfs "$SRC/tests/fuzz/corpus/journal/xfs-external" unknown
is ntfs "$SRC/tests/fuzz/corpus/journal/ntfs-wrong" unknown

truncate -s 1M nothing
for kind in ext4 xfs ntfs btrfs; do
	is "$kind" nothing unknown
done
is vfat nothing none
is zfs_member nothing unknown
