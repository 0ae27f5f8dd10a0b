#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Volumes whose keys are escrowed, opened with the KEK: the mount and the kernel make
# the same of every byte, over ciphertext that was never written, too.
. "$SRC/tests/vm/lib.sh"

kek=$DATA/volumes/kek.pem
other=$DATA/volumes/other.pem
mount_vault --kek "$kek" "$DATA/vault" mnt
point=$PWD/mnt/contoso/web-02/latest

# A KEK that is not the one that a record names is not even tried on it; a record that names
# none, as that of lun0, is tried.
run_fails 1 vaultkey open "$point" web --volume os-p1 --kek "$other"
assert_contains "$ERR" "os-p1: the BEK of os-p1 is wrapped by KEK 'contoso-kek': it is not among"
assert_eq "$OUT" ""
nothing_is_left
run_fails 1 vaultkey open "$point" web --kek "$other"
assert_contains "$ERR" "lun0: KEK $other does not unwrap the BEK of lun0"
assert_eq "$OUT" ""
nothing_is_left

# is_zero FILE OFFSET BYTES
is_zero() {
	cmp -s -n "$3" "$1" /dev/zero "$2" 0
}

# A wrong one beside the right one does no harm.
run_ok vaultkey open "$point" web --json --kek "$other" --kek "$kek"
assert_eq "$ERR" ""
assert_eq "$(field os-p1 encryption) $(field os-p2 encryption)" "luks2 luks2"
assert_eq "$(field lun0 encryption) $(field lun1 encryption)" "bitlocker bitlocker"
for volume in lun0 lun1 os-p1 os-p2; do
	assert_same "/dev/mapper/web-$volume" "$point/volumes/$volume.img"
done
# What was never written decrypts to noise, unlike the zeros that were.
for volume in lun0 lun1 os-p1 os-p2; do
	is_zero "/dev/mapper/web-$volume" 1572864 524288 || fail "$volume: no zeros at 1.5 MiB"
	is_zero "/dev/mapper/web-$volume" 2097152 4096 && fail "$volume: zeros at 2 MiB"
done
# Of the disks: 2 MiB of lun0 and lun1; behind 1 MiB of table and 1 MiB of header, of os.
is_zero "$point/disks/lun0.img" 2097152 524288 || fail "lun0: no hole"
is_zero "$point/disks/lun1.img" 2097152 524288 || fail "lun1: no hole"
is_zero "$point/disks/os.img" 4194304 524288 || fail "os-p1: no hole"
do_mount "$(mount_line os-p2)" root
do_mount "$(mount_line lun1)" data
diff -r root "$DATA/boot" | grep -v lost+found && fail "root differs"
diff -r data "$DATA/boot" | grep -v lost+found && fail "data differ"
umount root data
run_ok vaultkey close web
nothing_is_left
assert_lacks "$(cat /proc/keys)" vaultfs
umount_vault mnt
