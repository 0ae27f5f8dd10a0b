#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Owner and writer keys, as two hosts have them.
. "$SRC/tests/lib.sh"

owner() {
	VAULTFS_CONFIG_DIR=$TMPDIR/owner/c VAULTFS_STATE_DIR=$TMPDIR/owner/s "$@"
}
other() {
	VAULTFS_CONFIG_DIR=$TMPDIR/other/c VAULTFS_STATE_DIR=$TMPDIR/other/s "$@"
}

make_image x.img 300K
owner vaultctl init -q vault --name v
run_ok owner vaultctl key list vault
assert_contains "$OUT" "pinned"
key=$(sed -n 's/ *owner.*//p' <<<"$OUT")
assert_eq "${#key}" 64

# Not pinned: it works, and says so.
run_ok other vaultctl list vault
assert_contains "$ERR" "no owner key is pinned"
run_ok other vaultctl list -q vault
assert_eq "$ERR" ""
wrong=$(tr 0-9a-f 1-9a-f0 <<<"$key")
run_fails 1 other vaultctl key pin vault "$wrong"
assert_contains "$ERR" "nothing is pinned"
run_ok other vaultctl key pin vault "$key"
assert_contains "$OUT" "$key"
run_ok other vaultctl key pin vault --json
assert_contains "$OUT" '"wasPinned": true'
run_ok other vaultctl list vault
assert_eq "$ERR" ""

# A host whose key was not added cannot write.
run_fails 1 other vaultctl backup vault vm -d os=x.img
assert_contains "$ERR" "key"
run_ok other vaultctl key show vault
mine=$OUT
assert_eq "${#mine}" 64
run_fails 1 other vaultctl key add vault "$mine"
run_ok owner vaultctl key add vault "$mine" --label 'other host'
run_ok other vaultctl key show vault
assert_eq "$OUT" "$mine"
run_ok owner vaultctl key list vault
assert_contains "$OUT" "$mine  writer  active  other host"
run_ok other vaultctl backup vault vm -d os=x.img
run_ok owner vaultctl backup vault vm -d os=x.img
run_fails 1 owner vaultctl key add vault "$mine"

# Retired: what it wrote counts, what it would write does not.
run_ok owner vaultctl key retire vault "$mine"
for c in list show; do
	run_ok owner vaultctl key $c vault --json
	python3 -m json.tool <<<"$OUT" >/dev/null
done
run_ok owner vaultctl key list vault --json
assert_contains "$OUT" '"active": false'
run_fails 1 other vaultctl backup vault vm -d os=x.img
id=$(basename other/c/vaults/*)
said="this host's writer key ${mine:0:16}… was retired; move vaults/$id/writer.key of"
assert_contains "$ERR" "vaultctl: vm: $said"
run_fails 1 other vaultctl prune vault vm latest
assert_contains "$ERR" "vm: $said"
run_ok other vaultctl key show vault
assert_eq "$OUT" "$mine"
assert_contains "$ERR" "this key was retired and cannot come back"
run_fails 1 owner vaultctl key retire vault "$wrong"
# What it says to do helps.
mv "other/c/vaults/$id/writer.key" retired.key
run_ok other vaultctl key show vault
assert_eq "$ERR" ""
new=$OUT
[[ $new != "$mine" ]] || fail "the key is the same"
run_ok owner vaultctl key add vault "$new"
run_ok other vaultctl backup vault again -d os=x.img
# The last one is not retired by mistake.
run_ok owner vaultctl key retire vault "$new"
last=$(owner vaultctl key show vault)
run_fails 1 owner vaultctl key retire vault "$last"
assert_contains "$ERR" "the last active writer key"
run_ok other vaultctl verify vault
run_ok owner vaultctl verify vault
run_ok owner vaultctl list -1 vault vm
assert_eq "$(wc -l <<<"$OUT")" 2

# A vault of the same id with another owner is not the one we knew.
mkdir -p bad
cp -r other/c/. bad/
for f in bad/vaults/*/owner.pub; do
	chmod u+w "$f"
	echo "$wrong" >"$f"
done
run_fails 1 env VAULTFS_CONFIG_DIR="$TMPDIR/bad" vaultctl list vault
assert_contains "$ERR" "owner key"
# Nor is one that has forgotten what it had.
vault_out vault
cp -r vault before
vault_in before
run_ok owner vaultctl backup vault vm -d os=x.img
run_fails 1 owner vaultctl list before vm
assert_contains "$ERR" "rolled back"

rm -rf owner/s
run_ok owner vaultctl key retire --force vault "$last"
run_fails 1 owner vaultctl backup vault vm -d os=x.img
assert_contains "$ERR" "was retired"
