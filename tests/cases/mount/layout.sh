#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What a mount shows: names, links, sizes, times, modes; and that every disk reads as
# the image that was backed up, raw and as a VHD.
. "$SRC/tests/lib.sh"
require_fuse
require jq

make_image --holes os.img 5M 1
make_image lun0.img 1234944 2
cp os.img os.1
vaultctl init -q vault --name contoso
vaultctl backup -q vault web-01 -d os=os.img -d lun0=lun0.img \
	-t 2026-11-20T02:00:07Z -c application -l job=daily
printf x | dd of=os.img bs=1 seek=200000 conv=notrunc status=none
vaultctl backup -q vault web-01 -d os=os.img -d lun0=lun0.img \
	-t 2026-11-21T02:00:07Z
vaultctl backup -q vault 'Ünï "x" & co' -d os=lun0.img -t 2020-01-01T00:00:00Z

mount_vault vault mnt
assert_eq "$(ls mnt)" contoso
assert_eq "$(LC_ALL=C ls mnt/contoso)" 'vault.json
web-01
Ünï "x" & co'
assert_eq "$(ls mnt/contoso/web-01)" "2026-11-20T02-00-07Z
2026-11-21T02-00-07Z
latest"
assert_eq "$(readlink mnt/contoso/web-01/latest)" 2026-11-21T02-00-07Z
assert_eq "$(ls mnt/contoso/web-01/latest/)" "disks
escrow
point.json
vhd
volumes"
assert_eq "$(cd mnt/contoso/web-01/latest && echo disks/* vhd/*)" \
	"disks/lun0.img disks/os.img vhd/lun0.vhd vhd/os.vhd"

old=mnt/contoso/web-01/2026-11-20T02-00-07Z new=mnt/contoso/web-01/latest
assert_same $old/disks/os.img os.1
assert_same $new/disks/os.img os.img
assert_same $new/disks/lun0.img lun0.img
cmp <(head -c 1234944 $new/vhd/lun0.vhd) lun0.img
assert_eq "$(tail -c 512 $new/vhd/lun0.vhd | head -c 8)" conectix
# The footer is the same in every mount.
sum=$(sha256sum <$new/vhd/os.vhd)
[[ $sum != "$(sha256sum <$old/vhd/os.vhd)" ]] || fail "two points, one footer"

assert_eq "$(stat -c '%s %a %h %y' $new/disks/os.img | cut -c 1-36)" \
	"5242880 444 1 2026-11-21 02:00:07.00"
assert_eq "$(stat -c %s $new/vhd/os.vhd)" 5243392
assert_eq "$(stat -c '%a %y' $new/ | cut -c 1-23)" "555 2026-11-21 02:00:07"
# Each thing has a number of its own, the one that its directory tells.
assert_eq "$(find mnt | wc -l)" "$(find mnt -printf '%i\n' | sort -u | wc -l)"
assert_eq "$(python3 -c 'import os, sys
for e in sorted(os.scandir(sys.argv[1]), key=lambda e: e.name): print(e.inode())' \
	$new/disks)" "$(stat -c %i $new/disks/*)"

assert_eq "$(jq -r .recoveryPointType $old/point.json)" ApplicationConsistent
assert_eq "$(jq -r '.disks[1].name' $old/point.json)" os
assert_eq "$(jq -r .name mnt/contoso/vault.json)" contoso
for f in $old/point.json mnt/contoso/vault.json; do
	assert_eq "$(stat -c %s "$f")" "$(wc -c <"$f")"
done

run_fails 1 stat mnt/nothing
run_fails 1 stat mnt/contoso/web-02
run_fails 1 stat mnt/contoso/web-01/2026-11-20T02:00:07Z
run_fails 1 stat mnt/contoso/web-01/2026-11-22T02-00-07Z
run_fails 1 stat "mnt/contoso/$(printf '%0300d' 0)"
assert_contains "$ERR" "too long"
df mnt >/dev/null
umount_vault mnt

mount_vault vault mnt
assert_eq "$sum" "$(sha256sum <$new/vhd/os.vhd)"
umount_vault mnt
