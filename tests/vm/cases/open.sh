#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A point in a mount: its volumes opened, mounted, compared, closed, and nothing left.
. "$SRC/tests/vm/lib.sh"

keys=(--password-file "$DATA/volumes/pass" --bek "$DATA/volumes/data.BEK")
mount_vault "$DATA/vault" mnt
point=$PWD/mnt/contoso/web-01/latest

# Without the keys: what is missing is said, and nothing is there.
run_fails -l any 1 vaultkey open "$point" web
nothing_is_left
run_fails 2 vaultkey open "$point" we/b "${keys[@]}"
run_fails 2 vaultkey open "$point" web --overlay=12x "${keys[@]}"
run_fails 1 vaultkey close web
assert_contains "$ERR" "web is not open"

run_ok vaultkey open "$point" web --json "${keys[@]}"
assert_eq "$ERR" ""
assert_eq "$(field os-p1 device) $(field os-p2 device) $(field lun0 device)" \
	"/dev/mapper/web-os-p1 /dev/mapper/web-os-p2 /dev/mapper/web-lun0"
assert_eq "$(field os-p2 encryption) $(field lun0 encryption)" "luks1 bitlocker"
assert_eq "$(field os-p2 type) $(field os-p2 journal)" "ext4 clean"
do_mount "$(mount_line os-p1)" boot
do_mount "$(mount_line os-p2)" root
do_mount "$(mount_line lun0)" data
diff -r boot "$DATA/boot" | grep -v lost+found && fail "boot differs"
diff -r root "$DATA/tree" | grep -v lost+found && fail "root differs"
diff -r data "$DATA/tree" | grep -v lost+found && fail "data differ"
grep -q " $PWD/root ext4 ro,nosuid,nodev,noexec" /proc/mounts || fail "not mounted as said"
assert_eq "$(blockdev --getro /dev/mapper/web-os-p2)" 1
for loop in /sys/block/loop*/loop; do
	assert_eq "$(cat "$loop/autoclear")" 1
	assert_eq "$(cat "$loop/../ro")" 1
done

# The same name, twice.
run_fails 1 vaultkey open "$point" web "${keys[@]}"
assert_contains "$ERR" "'vaultkey close web' takes it down"
# In use: by whom, and nothing is touched.
run_fails 1 vaultkey close web
assert_contains "$ERR" "it is mounted on $PWD/"
umount boot
umount data
bash -c 'exec 9</dev/mapper/web-lun0; exec sleep 1000' &
pid=$!
umount root
is_open() {
	[[ $(dmsetup info -c --noheadings -o open web-lun0) == 1 ]] &&
		[[ $(cat "/proc/$pid/comm") == sleep ]]
}
wait_until 60 is_open
run_fails 1 vaultkey close web
assert_contains "$ERR" "process $pid (sleep) has it open"
assert_eq "$(dmsetup ls | wc -l)" 3
kill "$pid"
wait "$pid" || :
run_ok vaultkey close web
nothing_is_left

# For people; and one volume of one disk, by its image.
run_ok vaultkey open "$point/disks/os.img" web --volume os-p2 "${keys[@]}"
assert_contains "$OUT" "mount -t ext4 -o ro,nosuid,nodev,noexec /dev/mapper/web-os-p2 /mnt"
assert_contains "$OUT" "vaultkey close web"
assert_eq "$(dmsetup ls | wc -l)" 1
run_ok vaultkey close web
run_fails 1 vaultkey open "$point/disks/os.img" web --volume os-p9 "${keys[@]}"
nothing_is_left

# With somebody else's device in the way, what was made before it goes again.
dmsetup create web-lun0 --table "0 8 zero"
run_fails 1 vaultkey open "$point" web "${keys[@]}"
assert_contains "$ERR" "/dev/mapper/web-lun0"
assert_eq "$(dmsetup ls | wc -l)" 1
assert_eq "$(ls /run/vaultfs)" ""
dmsetup remove web-lun0
nothing_is_left

# A record that was tampered with takes nothing else down.
run_ok vaultkey open "$point" web --volume os-p1 "${keys[@]}"
dmsetup create victim --table "0 8 zero"
dmsetup create web-x --table "0 8 zero" --uuid somebody
cp /run/vaultfs/web.json saved
sed -i 's/web-os-p1/victim/' /run/vaultfs/web.json
run_fails 1 vaultkey close web
sed 's/web-os-p1/web-x/' saved >/run/vaultfs/web.json
run_ok vaultkey close web
dmsetup remove victim
dmsetup remove web-x
cat saved >/run/vaultfs/web.json
run_fails 1 vaultkey close web
assert_contains "$ERR" "is not believed"
chmod 600 /run/vaultfs/web.json
chmod 755 /run/vaultfs
run_fails 1 vaultkey close web
chmod 700 /run/vaultfs
run_ok vaultkey close web
nothing_is_left
umount_vault mnt
