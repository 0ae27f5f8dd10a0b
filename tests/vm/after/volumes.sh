#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What the machine's kernel had encrypted is read here, without one, to the same bytes: by the
# code alone, and through a mount.
. "$SRC/tests/lib.sh"

chmod 600 "$OUT/pass"
disks=() headers=()
for want in "$OUT"/*.sha256; do
	file=${want%.sha256}
	header=()
	[[ ! -e $file.header ]] || header=("$file.header")
	got=$("$BUILD/tests/tools/decrypt" -p "$file" "$OUT/pass" "${header[@]}" | sha256sum)
	assert_eq "$got" "$(<"$want")" "${file##*/}"
	disks+=(-d "${file##*/}=$file")
	[[ ! -e $file.header ]] || headers+=(--header "${file##*/}=$file.header")
done
assert_eq "${#disks[@]}" 6

require_fuse
vaultctl init -q vault --name v
vaultctl backup -q vault vm "${disks[@]}"
mount_vault --password-file "$OUT/pass" "${headers[@]}" vault mnt
for want in "$OUT"/*.sha256; do
	name=${want##*/}
	name=${name%.sha256}
	got=$(sha256sum <"mnt/v/vm/latest/volumes/$name.img")
	assert_eq "$got" "$(<"$want")" "$name, in the mount"
done
umount_vault mnt
