#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The list of VMs when one of them is bad: it is told, and the others are listed.
. "$SRC/tests/lib.sh"

make_image a.img 200K 1
vaultctl init -q vault
for vm in other vm zz; do
	vaultctl backup -q vault $vm -d os=a.img -t 2026-01-01T00:00:00Z
done
vaultctl backup -q vault vm -d os=a.img -t 2026-01-02T00:00:00Z
vault_out vault
chmod -R u+w vault
cp -a vault whole
# The newest one sorts first.
newest=$(cd whole && find V/vm/c -type f | LC_ALL=C sort | head -n 1)

printf XXXX | dd of="vault/$newest" bs=1 conv=notrunc status=none
vault_in vault
run_fails -l 2 1 vaultctl list vault
assert_contains "$ERR" "VM vm: "
assert_contains "$ERR" "$newest"
assert_eq "$(tail -n 1 <<<"$ERR")" "vaultctl: 1 VM cannot be listed"
assert_contains "$OUT" "other"
assert_contains "$OUT" "zz"
run_fails -l 2 1 vaultctl list vault --json
python3 - "$OUT" <<'END'
import json, sys
vms = {v["name"]: v for v in json.loads(sys.argv[1])["vms"]}
assert sorted(vms) == ["other", "vm", "zz"], vms
assert sorted(vms["vm"]) == ["error", "name"], vms
assert vms["vm"]["error"].startswith("VM vm: "), vms
assert vms["zz"]["points"] == 1, vms
END
run_ok vaultctl list -1 vault
assert_eq "$OUT" $'other\nvm\nzz'

# One that is rolled back is named once.
rm "vault/$newest"
vault_in vault
run_fails -l 2 1 vaultctl list vault
assert_contains "$ERR" "vaultctl: VM vm is rolled back"
assert_lacks "$ERR" "VM vm: VM vm"

# One that has vanished is missed, by whoever has seen it; and comes back by what is said.
rm -r vault/V/vm
vault_in vault
run_fails -l 2 1 vaultctl list vault
assert_contains "$ERR" "VM vm is rolled back: commit 2 was seen before, now there is none; if that is meant, remove "
seen=$(sed -n 's/.*if that is meant, remove //p' <<<"$ERR")
run_fails 1 vaultctl verify vault
assert_contains "$OUT" "VM vm is rolled back"
rm "$seen"
run_ok vaultctl list -1 vault
assert_eq "$OUT" $'other\nzz'
run_ok vaultctl verify vault
