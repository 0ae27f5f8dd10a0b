#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Layouts of Azure Disk Encryption that only a kernel makes: the header of the root in a file on the
# boot partition, LVM inside of it, and a disk whose encryption was under way.
. "$SRC/tests/vm/lib.sh"

pass=$DATA/volumes/pass
format=(luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000
	--luks2-metadata-size 16k --luks2-keyslots-size 256k)

# The root: LVM over all of it, with two file systems.
truncate -s 1M header
truncate -s 20M root
cryptsetup "${format[@]}" --header header root "$pass"
cryptsetup open root --header header --key-file "$pass" w
export LVM_SUPPRESS_FD_WARNINGS=1
config='devices { scan = "/dev/mapper" dir = "/dev" } activation { udev_sync = 0 udev_rules = 0 } global { locking_dir = "/run/lock/lvm" } backup { backup = 0 archive = 0 }'
lvm pvcreate -q --config "$config" /dev/mapper/w >/dev/null
lvm vgcreate -q --config "$config" -s 1M rootvg /dev/mapper/w >/dev/null
lvm lvcreate -q -y -Wn -Zn --config "$config" -n rootlv -L 8M rootvg >/dev/null
lvm lvcreate -q -y -Wn -Zn --config "$config" -n homelv -L 6M rootvg >/dev/null
mkfs.ext4 -q -d "$DATA/tree" /dev/mapper/rootvg-rootlv
mkfs.ext4 -q -d "$DATA/boot" /dev/mapper/rootvg-homelv
lvm vgchange -q -an --config "$config" rootvg >/dev/null
cryptsetup close w
mkdir -p b/luks
cp header b/luks/osluksheader
mke2fs -q -t ext4 -d b boot 4M
# 1 MiB, boot 4 MiB, root 20 MiB.
truncate -s 25M os.img
printf '\0\0\0\0\x83\0\0\0\0\x08\0\0\0\x20\0\0\0\0\0\0\x83\0\0\0\0\x28\0\0\0\xa0\0\0' |
	dd of=os.img bs=1 seek=446 conv=notrunc status=none
printf '\x55\xaa' | dd of=os.img bs=1 seek=510 conv=notrunc status=none
dd if=boot of=os.img bs=1M seek=1 conv=notrunc status=none
dd if=root of=os.img bs=1M seek=5 conv=notrunc status=none

run_ok vaultkey open os.img az --json --password-file "$pass"
assert_eq "$(field lvm-rootvg-rootlv device)" /dev/mapper/az-rootlv
do_mount "$(mount_line lvm-rootvg-rootlv)" r
do_mount "$(mount_line lvm-rootvg-homelv)" h
diff -r r "$DATA/tree" | grep -v lost+found && fail "rootlv differs"
diff -r h "$DATA/boot" | grep -v lost+found && fail "homelv differs"
run_fails 1 vaultkey close az
assert_contains "$ERR" "/dev/mapper/az-"
umount r h
run_ok vaultkey close az
nothing_is_left

# The same with a snapshot below all of it; named by what LVM lies on.
run_ok vaultkey open os.img az --json --volume os-p2 --overlay --password-file "$pass"
do_mount "$(mount_line lvm-rootvg-rootlv)" r
diff -r r "$DATA/tree" | grep -v lost+found && fail "rootlv differs"
umount r
assert_eq "$(blockdev --getro /dev/mapper/az-rootlv)" 0
run_ok vaultkey close az
nothing_is_left

# The header gone from there, and given.
mke2fs -q -F -t ext4 boot 4M
dd if=boot of=os.img bs=1M seek=1 conv=notrunc status=none
run_fails 1 vaultkey open os.img az --volume os-p2 --password-file "$pass"
assert_contains "$ERR" "--header"
nothing_is_left
run_ok vaultkey open os.img az --volume os-p2 --header header --password-file "$pass"
run_ok vaultkey close az
run_ok vaultkey open os.img az --header os-p2=header --password-file "$pass"
run_ok vaultkey close az
nothing_is_left

# Mid-reencryption.
truncate -s 24M half.img
mkfs.ext4 -q half.img
cryptsetup reencrypt -q --encrypt --init-only --reduce-device-size 8M --type luks2 \
	--pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file "$pass" half.img
run_fails -l any 1 vaultkey open half.img az --password-file "$pass"
assert_contains "$ERR" "vaultctl restore"
assert_contains "$ERR" "cryptsetup reencrypt --resume-only"
nothing_is_left
