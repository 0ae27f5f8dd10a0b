#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# volumes/ in a mount: decrypted where a key opens it, else locked with the reason; resolved
# when it is entered, and no sooner; one derivation for all points of a lineage; for nobody but
# who mounted.
# timeout: 120
# long: derives many keys
. "$SRC/tests/lib.sh"
. "$SRC/tests/volumes.sh"
require_fuse
require cryptsetup mke2fs debugfs sfdisk jq openssl

mkdir root
make_image root/file 300K 1
make_fs clear 4M root -L rootfs
key_file k1 one
passphrase p1 one
passphrase p2 two
luks two 2 k1 p1 clear
luks_detached header data 1 k1 p2 clear
gpt_disk os.img clear two
vaultctl init -q vault --name v
vaultctl backup -q vault vm -d os=os.img -d lun0=data -t 2026-01-01T00:00:00Z
for i in {02..30}; do
	vaultctl backup -q vault vm -d os=os.img -d lun0=data -t "2026-01-${i}T00:00:00Z"
done
stats() {
	getfattr --only-values -n user.vaultfs.stats mnt | jq ".$1"
}
point=mnt/v/vm/latest

# --- without keys

mount_vault vault mnt
assert_eq "$(stat -c '%A %u' $point/volumes $point/escrow)" "drwx------ $UID
drwx------ $UID"
assert_eq "$(ls $point/escrow)" ""
assert_eq "$(ls $point/volumes | tr '\n' ' ')" \
	"lun0.img os-p1.img os-p2.locked volumes.json "
assert_eq "$(stat -c '%A %u %s' $point/volumes/os-p1.img)" "-r-------- $UID 4194304"
assert_same $point/volumes/os-p1.img clear
assert_same $point/volumes/lun0.img data
assert_contains "$(cat $point/volumes/os-p2.locked)" \
	"os-p2 is locked (no-record): os-p2 is encrypted (luks2), and there is no escrow record"
assert_eq "$(stat -c %s $point/volumes/os-p2.locked)" "$(wc -c <$point/volumes/os-p2.locked)"
run_fails 1 cat $point/volumes/os-p2.img
umount_vault mnt

# --- with keys

mount_vault -B p1 -P p2 --header vm/lun0=header --header other/os-p1=header vault mnt
assert_eq "$(ls $point/volumes | tr '\n' ' ')" "lun0.img os-p1.img os-p2.img volumes.json "
for v in os-p1 os-p2 lun0; do
	assert_same $point/volumes/$v.img clear
	debugfs -R "dump /file got" $point/volumes/$v.img 2>debugfs.log
	assert_same got root/file
	rm got
done
assert_eq "$(jq -r '.volumes[] | select(.name == "os-p2") | .state + " " + .type + " " + .label' \
	$point/volumes/volumes.json)" "open ext4 rootfs"
# What was decrypted is forgotten at its last close; while it is open it is kept.
dropped=$(stats dropped)
exec 5<$point/volumes/os-p2.img
cat <&5 >all
assert_same all clear
exec 5<&-
is_dropped() { (($(stats dropped) > dropped)); }
wait_until 20 is_dropped
# All numbers of nodes are different, those of all points too.
assert_eq "$(find mnt/v/vm/2026* | wc -l)" "$(find mnt/v/vm/2026* -printf '%i\n' | sort -u | wc -l)"
umount_vault mnt

# --- one derivation for a lineage of 30 points; none before volumes/ is entered

# Each derivation is in the log.
mount_vault -vv -B p1 vault mnt
log=$(daemon_log mnt)
ls -lR mnt/v/vm/2026-01-01T00-00-00Z/disks mnt/v/vm/2026-01-02T00-00-00Z/vhd >/dev/null
ls -l mnt/v/vm/2026-01-01T00-00-00Z mnt/v/vm/ >/dev/null
stat $point/volumes >/dev/null
assert_eq "$(grep -c 'a key is derived' "$log" || :)" 0
find mnt/v/vm -name '*.img' >found
# Of 30 points, three volumes each.
assert_eq "$(grep -c volumes/ found)" 90
assert_eq "$(grep -c 'a key is derived' "$log")" 1
umount_vault mnt

# --- keys that cannot be used

mkdir -p mnt
mkdir mnt/keys
cp p1 mnt/keys/p1
run_fails 1 vaultfs -o nonempty -B mnt/keys/p1 vault mnt
assert_contains "$ERR" "lies under the mountpoint"
run_fails 1 vaultfs -o nonempty --header os-p1=mnt/keys/p1 vault mnt
assert_contains "$ERR" "lies under the mountpoint"
rm -r mnt/keys
chmod 644 p1
run_fails 1 vaultfs -B p1 vault mnt
assert_contains "$ERR" "chmod 600"
chmod 600 p1
run_fails 2 vaultfs -o allow_other,bek=p1 vault mnt
assert_contains "$ERR" "keys_gid"
run_fails 2 vaultfs --header nonsense vault mnt
assert_contains "$ERR" "VOLUME=FILE"

# --- SIGHUP: a header that was not there is there

mv header later
mount_vault -o password_file=p2,header=lun0=header vault mnt
assert_contains "$(cat $point/volumes/lun0.locked)" "header"
mv later header
kill -HUP "$(daemon_pid mnt)"
opened() { [[ -e $point/volumes/lun0.img ]]; }
wait_until 30 opened
assert_same $point/volumes/lun0.img clear
umount_vault mnt

# --- for others

((EUID == 0)) || exit 0
require setpriv
# Where nobody can go.
mnt=$(mktemp -d /tmp/vaultfs-test.XXXXXX)
at_exit rmdir "$mnt"
chmod 755 "$mnt"
point=$mnt/v/vm/latest
nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
mount_vault -o allow_other,keys_gid=4242 -B p1 vault "$mnt"
assert_eq "$(stat -c '%a %g' "$point/volumes" "$point/volumes/os-p2.img")" "750 4242
440 4242"
cat "$point/volumes/os-p2.img" >/dev/null
for f in volumes volumes/os-p2.img volumes/volumes.json escrow; do
	run_fails -l any 1 nobody cat "$point/$f"
	assert_contains "$ERR" "Permission denied" $f
	run_fails -l any 2 nobody ls "$point/${f%/*}/"
done
nobody cat "$point/disks/lun0.img" | cmp - data
setpriv --reuid 65534 --regid 65534 --groups 4242 \
	cat "$point/volumes/os-p2.img" | cmp - clear
umount_vault "$mnt"
mount_vault -o allow_other vault "$mnt"
cat "$point/volumes/os-p1.img" >/dev/null
run_fails -l any 1 nobody cat "$point/volumes/os-p1.img"
assert_contains "$ERR" "Permission denied"
umount_vault "$mnt"
