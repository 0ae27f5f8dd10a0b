#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Several vaults in one mount; of one name; one of them a copy of another. Several points
# of one second.
. "$SRC/tests/lib.sh"
require_fuse
require jq

make_image a.img 100K 1
for v in a b c; do
	name=same
	[[ $v == c ]] && name=other
	vaultctl init -q $v --name $name
	vaultctl backup -q $v "vm-$v" -d os=a.img -t 2026-01-01T00:00:00Z
done
vault_out a
cp -r a copy
vault_in copy

tag() {
	printf %s "$(vaultctl show --json "$1" | jq -r .id)" | sha256sum | cut -c 1-4
}
mount_vault a dir:b "$PWD/c" copy mnt
assert_eq "$(LC_ALL=C ls mnt)" \
	"$(printf '%s\n' other "same~$(tag a)" "same~$(tag a)-2" "same~$(tag b)" |
		LC_ALL=C sort)"
assert_eq "$(ls "mnt/same~$(tag b)")" "vault.json
vm-b"
assert_same "mnt/same~$(tag a)-2/vm-a/latest/disks/os.img" a.img
umount_vault mnt

# Alone, a vault has its plain name.
mount_vault b mnt
assert_eq "$(ls mnt)" same
umount_vault mnt

for ns in 1 2 999999999; do
	vaultctl backup -q c vm-c -d os=a.img -t "$(printf '2026-02-01T00:00:00.%09dZ' $ns)"
done
mount_vault c mnt
want=$(vaultctl list -1 c vm-c)
assert_eq "$(ls mnt/other/vm-c)" "$(sort <<<"$want")
latest"
assert_eq "$(grep -c '~' <<<"$want")" 3
assert_eq "$(readlink mnt/other/vm-c/latest)" "$(tail -n 1 <<<"$want")"
for name in $want; do
	assert_same "mnt/other/vm-c/$name/disks/os.img" a.img
done
umount_vault mnt
