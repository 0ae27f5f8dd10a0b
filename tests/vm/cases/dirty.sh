#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Disks that were copied while they were written to, as a crash would leave them: with --overlay
# each file that was fsynced is there, without it there is a warning that says what is lost;
# the vault is not touched.
. "$SRC/tests/vm/lib.sh"

pass=$DATA/volumes/pass

# fill DIR: 40 files that are on disk for certain, then 10 fsynced ones, five of the first gone.
fill() {
	local i
	mkdir "$1/old" "$1/new"
	for i in {1..40}; do
		echo "old $i" >"$1/old/$i"
	done
	sync
	for i in {1..5}; do
		rm "$1/old/$i"
	done
	for i in {1..10}; do
		echo "new $i" >"$1/new/$i"
		sync "$1/new/$i" "$1/new" "$1/old"
	done
}

# crashed NAME SIZE SECTOR MKFS...: NAME.img, encrypted, is a copy of a file system in use.
crashed() {
	local name=$1 size=$2 sector=$3
	shift 3
	truncate -s "$size" "$name"
	cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 \
		--sector-size "$sector" --luks2-metadata-size 16k --luks2-keyslots-size 256k \
		--offset 2048 "$name" "$pass"
	cryptsetup open "$name" --key-file "$pass" w
	"$@" /dev/mapper/w
	mkdir m
	mount /dev/mapper/w m
	fill m
	# What dm-crypt was given is in the file: the file system's own writes of
	# what was fsynced have ended.
	cp --sparse=always "$name" "$name.img"
	umount m
	rmdir m
	cryptsetup close w
	rm "$name"
}
crashed ext4 24M 4096 mkfs.ext4 -q -b 4096 -E lazy_itable_init=0
# So small only for tests of XFS.
export TEST_DIR=1 TEST_DEV=1 QA_CHECK_FS=1
crashed xfs 40M 512 mkfs.xfs -q

vaultctl backup -q "$DATA/vault" dirty -d ext=ext4.img -d xfs=xfs.img
mount_vault "$DATA/vault" mnt
point=mnt/contoso/dirty/latest
before=$(sha256sum "$point"/disks/*.img)

run_ok vaultkey open "$point" d --json --password-file "$pass"
assert_eq "$(field ext type) $(field ext journal)" "ext4 dirty"
assert_eq "$(field xfs type) $(field xfs journal)" "xfs dirty"
assert_contains "$ERR" "ext: its ext4 journal is not replayed"
assert_contains "$ERR" "xfs: its xfs journal is not replayed"
assert_contains "$ERR" "--overlay"
# They can be mounted as said, and are stale.
do_mount "$(mount_line ext)" ext
do_mount "$(mount_line xfs)" xfs
for fs in ext xfs; do
	[[ ! -e $fs/new/10 ]] || fail "$fs: nothing was lost, so this tests nothing"
done
umount ext xfs
run_ok vaultkey close d
nothing_is_left

run_ok vaultkey open "$point" d --json --overlay --password-file "$pass"
assert_eq "$ERR" ""
do_mount "$(mount_line ext)" ext
do_mount "$(mount_line xfs)" xfs
for fs in ext xfs; do
	assert_eq "$(find "$fs/new" -type f | wc -l)" 10 "$fs: files that were fsynced"
	assert_eq "$(find "$fs/old" -type f | wc -l)" 35 "$fs: the others"
	assert_eq "$(cat "$fs/new/7") $(cat "$fs/old/30")" "new 7 old 30"
done
umount ext xfs
# Only ciphertext was written: the snapshot is below dm-crypt.
assert_contains "$(dmsetup deps -o devname d-ext)" "d-ext.cow"
assert_contains "$(dmsetup table d-ext.cow)" "snapshot"
run_ok vaultkey close d
nothing_is_left
assert_eq "$(sha256sum "$point"/disks/*.img)" "$before" "the vault"

# A file for what is written that is too small: an error, and no wrong bytes.
run_ok vaultkey open "$point" d --json --overlay=1M --volume xfs --password-file "$pass"
dd if=/dev/urandom of=/dev/mapper/d-xfs bs=64k count=64 seek=200 conv=fsync 2>/dev/null &&
	fail "more was written than there is room for"
dd if=/dev/mapper/d-xfs of=/dev/null bs=64k count=4 2>/dev/null && fail "it is still readable"
run_ok vaultkey close d
nothing_is_left
umount_vault mnt
