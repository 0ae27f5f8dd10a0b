#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A volume in the kernel, as we make it, is what cryptsetup makes of it: for LUKS by its bytes, for
# BitLocker by the table, too.
. "$SRC/tests/vm/lib.sh"

pass=$DATA/volumes/pass
pbkdf=(--pbkdf pbkdf2 --pbkdf-force-iterations 1000)
out=/vm/out
mkdir -p "$out"
cp "$pass" "$out/pass"

# ours_is FILE HEADER...: /dev/mapper/ours is what cryptsetup makes of FILE, byte for byte.
# Leaves the digest in WANT.
ours_is() {
	cryptsetup open -r "$@" --key-file "$pass" theirs
	WANT=$(sha256sum </dev/mapper/theirs)
	assert_eq "$(blockdev --getsize64 /dev/mapper/ours)" \
		"$(blockdev --getsize64 /dev/mapper/theirs)" "size: $*"
	cryptsetup close theirs
	assert_eq "$(sha256sum </dev/mapper/ours)" "$WANT" "$*"
}

# bring NAME [HEADER]: out of the machine, with what it is when it is clear.
bring() {
	cp "$1" "$out/$1"
	[[ ! ${2-} ]] || cp "$2" "$out/$1.header"
	echo "$WANT" >"$out/$1.sha256"
}

close_ours() {
	dmsetup remove ours
}

# LUKS2, made by cryptsetup and the kernel. There are holes behind what is written.
for sector in 512 4096; do
	name=luks2-$sector
	truncate -s 6M "$name"
	cryptsetup luksFormat -q --type luks2 "${pbkdf[@]}" --sector-size "$sector" \
		--luks2-metadata-size 16k --luks2-keyslots-size 256k --offset 2048 "$name" "$pass"
	cryptsetup open "$name" --key-file "$pass" w
	dd if="$DATA/volumes/clear" of=/dev/mapper/w bs=1M status=none
	cryptsetup close w
	activate -p "$name" ours "$pass"
	cmp -n 3145728 /dev/mapper/ours "$DATA/volumes/clear"
	assert_eq "$(blockdev --getro /dev/mapper/ours)" 1
	assert_contains "$(dmsetup info -c --noheadings -o uuid ours)" CRYPT-LUKS2-
	# Its key is in no table.
	assert_contains "$(dmsetup table --showkeys ours)" ":logon:"
	ours_is "$name"
	bring "$name"
	close_ours
done

# With the first of its headers damaged, too: cryptsetup would want to write.
printf damaged | dd of=luks2-512 bs=1 seek=448 conv=notrunc status=none
activate -p luks2-512 ours "$pass"
cmp -n 3145728 /dev/mapper/ours "$DATA/volumes/clear"
close_ours

# A detached header.
truncate -s 4M detached
truncate -s 1M header
cryptsetup luksFormat -q --type luks2 "${pbkdf[@]}" --luks2-metadata-size 16k \
	--luks2-keyslots-size 256k --header header detached "$pass"
cryptsetup open detached --header header --key-file "$pass" w
dd if="$DATA/volumes/clear" of=/dev/mapper/w bs=1M status=none
cryptsetup close w
activate -p detached ours "$pass" header
ours_is detached --header header
bring detached header
close_ours

# LUKS1, made by qemu.
activate -p "$DATA/volumes/luks1" ours "$pass"
cmp -n 3145728 /dev/mapper/ours "$DATA/volumes/clear"
ours_is "$DATA/volumes/luks1"
close_ours

# BitLocker. The table without its keys and devices, which are loops.
table() {
	dmsetup table "$1" | awk '{ if ($3 == "crypt") { $5 = "KEY"; $7 = "DEV" } print }'
}
size=$(stat -c %s "$DATA/volumes/bitlocker-clear")
for name in "$DATA"/volumes/bitlocker-*[0-9]; do
	activate "$name" ours "$name.BEK"
	assert_contains "$(dmsetup table --showkeys ours)" ":logon:"
	assert_contains "$(dmsetup info -c --noheadings -o uuid ours)" CRYPT-BITLK-
	cryptsetup open -r --type bitlk "$name" --key-file "$name.BEK" theirs
	diff <(table theirs) <(table ours) || fail "another table: $name"
	cryptsetup close theirs
	assert_eq "$(blockdev --getsize64 /dev/mapper/ours)" "$size"
	# Behind that lie the metadata, where there are zeros now.
	cmp -n 2097152 /dev/mapper/ours "$DATA/volumes/bitlocker-clear"
	close_ours
done
# Suspended: opens without a key, which cryptsetup 2.6 refuses.
activate "$DATA/volumes/suspended" ours -
cmp -n 2097152 /dev/mapper/ours "$DATA/volumes/bitlocker-clear"
close_ours
# Nothing of the keys stays in a keyring.
assert_lacks "$(cat /proc/keys)" vaultfs
