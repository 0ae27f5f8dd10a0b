#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What is no vault, or one that this software must not touch.
. "$SRC/tests/lib.sh"

make_image x.img 100K

# each TEXT VAULT: whatever is asked of it fails with that. By default it is a third of
# what can be asked, another one each time.
turn=0
each() {
	local text=$1 vault=$2 c n=$((turn++))
	[[ $vault != vault ]] || vault_in vault
	for c in "list @" "show @" "verify @" "key list @" "key pin @" "key show @" \
		"backup @ vm -d os=x.img" "prune @ vm latest" "restore @ vm latest --to out.img"; do
		[[ ${CHECK_ALL-} ]] || ((n++ % 3 == 0)) || continue
		# shellcheck disable=SC2086
		run_fails 1 vaultctl ${c/@/$vault}
		assert_contains "$ERR" "$text" "$c"
	done
}

mkdir empty
each "not a vault" empty
if is_remote; then
	each "not a vault" missing
else
	each "is not there" missing
	touch file
	each "file" file
	each "az" az://account/container
fi

# A header of a newer format, then one that is not right.
vaultctl init -q vault
vault_out vault
cp vault/vault.hdr hdr
crc() {
	python3 - "$1" <<-'E'
		import sys, struct
		p = bytearray(open(sys.argv[1], 'rb').read())
		p[12:16] = bytes(4)
		c = 0xffffffff
		for b in p:
		    c ^= b
		    for _ in range(8):
		        c = c >> 1 ^ 0x82f63b78 * (c & 1)
		p[12:16] = struct.pack('<I', c ^ 0xffffffff)
		open(sys.argv[1], 'wb').write(p)
	E
}
patch() {
	chmod u+w "$1"
	printf '%b' "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
	crc "$1"
}
patch vault/vault.hdr 4 '\x02\x00'
each "newer" vault
cp -f hdr vault/vault.hdr
patch vault/vault.hdr 6 '\x01'
each "suite 1" vault
cp -f hdr vault/vault.hdr
patch vault/vault.hdr 0 'XXXX'
each "vault.hdr" vault
: >vault/vault.hdr
each "vault.hdr" vault
cp -f hdr vault/vault.hdr
vault_in vault
run_ok vaultctl list vault
mv vault/h h
vault_in vault
run_fails 1 vaultctl list vault
assert_contains "$ERR" "no config: put h/ back from a copy"

# One that lost its header, and one whose making was cut short: another is not made on top.
mv h vault/h
rm vault/vault.hdr
vault_in vault
run_fails 1 vaultctl list vault
assert_contains "$ERR" "/vault: it has h/fffffffffffffffe, and no vault.hdr: put vault.hdr back"
run_fails 1 vaultctl init vault
assert_contains "$ERR" "/vault: it has h/fffffffffffffffe, and no vault.hdr: put vault.hdr back"
cp hdr vault/vault.hdr
vault_in vault
run_ok vaultctl backup vault vm -d os=x.img
vault_out vault
rm -rf vault/vault.hdr vault/h
vault_in vault
run_fails 1 vaultctl init vault
assert_contains "$ERR" "/vault: it has V/vm/c/fffffffffffffffe, and no vault.hdr"
run_fails 1 vaultfs vault empty
assert_contains "$ERR" "/vault: it has V/vm/c/fffffffffffffffe, and no vault.hdr"
