#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A KEK and a secret that are gone from Key Vault are put back from what a point, or a
# restore job, has of them; nothing else is changed. A whole vault is audited.
# timeout: 240
# long: a double of Azure is started; make check-azure has these
. "$SRC/tests/lib.sh"
. "$SRC/tests/azure.sh"
. "$SRC/tests/volumes.sh"
require python3 jq curl openssl cryptsetup mke2fs sfdisk
python3 -c 'import cryptography' 2>/dev/null || skip "needs python3-cryptography"

encrypted_disk os.raw
# As the double takes them back; nobody else looks into a backup.
key_backup=$(printf '{"name": "kek", "versions": {"%s": {"pem": "%s"}}}' "$v1" "$PWD/kek.pem" | base64 -w0)
secret_backup=$(printf '{"name": "s2", "versions": {"%s": {"value": "%s", "contentType": "Wrapped BEK", "tags": {}}}}' \
	"$v1" "$wrapped" | base64 -w0)

start_keyvaults
# point DAY MEMBERS TIER
point() {
	echo "{\"time\": \"2026-01-0${1}T02:00:00Z\", \"disks\": [{\"name\": \"o\", \"image\": \"$PWD/os.raw\"}], $2,
	 \"snapshot\": $([[ $3 == InstantRP ]] && echo true || echo false), \"tiers\": [\"$3\"]}"
}
urls="\"secretUrl\": \"$kv1/secrets/s1/$v1\", \"keyUrl\": \"$kv1/keys/kek/$v1\""
azure_post world "$(
	cat <<END
{"keyvaults": {"kv1": {"keys": {}, "secrets": {}}, "kv2": {"keys": {}, "secrets": {}}},
 "vaults": [{"name": "contoso-rsv", "rg": "Backup-RG", "items": [
 {"vm": "web-01", "rg": "R", "points": [
  $(point 1 "\"key\": {$urls, \"secretData\": \"$wrapped\", \"keyBackupData\": \"$key_backup\"}" InstantRP),
  $(point 2 "\"key\": {$urls, \"secretData\": \"$wrapped\"}" HardenedRP),
  $(point 3 "\"key\": {\"secretUrl\": \"$kv1/secrets/s2/$v1\", \"keyUrl\": \"$kv1/keys/kek/$v1\", \"keyBackupData\": \"$key_backup\"}" HardenedRP)]},
 {"vm": "plain", "rg": "R", "points": [$(point 4 '"x": 1' HardenedRP)]},
 {"vm": "lost", "rg": "R", "points": [$(point 5 '"encrypted": true' HardenedRP)]},
 {"vm": "left", "rg": "R", "points": [
  $(point 6 "\"key\": {\"secretUrl\": \"$kv1/secrets/s2/$v1\", \"keyUrl\": \"$kv1/keys/kek/$v1\", \"keyBackupData\": \"$key_backup\", \"secretBackupData\": \"$secret_backup\"}" HardenedRP)]}]}]}
END
)"
from=azure-rsv:$VAULT
back() {
	vaultkey restore-to-keyvault "$@" </dev/null
}
kv() {
	curl -sSf "http://127.0.0.1:$AZ_HTTP/_double/keyvaults" | jq -c ".$1"
}
# row VM DAY: its state
row() {
	jq -r --arg vm "$1" --arg p "2026-01-0${2}T02-00-00Z" \
		'.volumes[] | select(.vm == $vm and .point == $p) | .state' <<<"$OUT" | paste -sd ' '
}

# The whole vault, with what is left of its keys: nothing.
run_fails -l any 1 vaultkey check --json --kek "$kv1" "$from"
assert_eq "$(row web-01 1)" "clear kek-missing"
assert_eq "$(row web-01 2)" kek-missing
assert_eq "$(row plain 4)" clear
assert_eq "$(row lost 5)" no-record
assert_contains "$(jq -r '.volumes[] | select(.vm == "web-01") | .reason' <<<"$OUT")" "'vaultkey restore-to-keyvault'"

# A terminal, or --yes; and nothing before that.
azure_reset
run_fails -l any 2 back "$from" web-01 2026-01-01
assert_contains "$ERR" "key kek is missing in kv1.vault.localhost:$AZ_HTTPS: to be put back"
assert_contains "$ERR" "add --yes"
assert_eq "$(azure_count '^vault (POST|PUT|DELETE)')" 0
# The backup as a file, for nobody else.
mkdir out
umask 0
run_ok back "$from" web-01 2026-01-01 --save out
assert_eq "$(stat -c %a out/key-kek.backup)" 600
assert_eq "$(jq -r .name out/key-kek.backup)" kek
run_fails 1 back "$from" web-01 2026-01-01 --save out
assert_eq "$(azure_count '^vault (POST|PUT|DELETE)')" 0

run_ok back "$from" web-01 2026-01-01 --yes
assert_contains "$OUT" "key kek: put back into kv1.vault.localhost"
assert_contains "$OUT" "secret s1: put back into kv1.vault.localhost"
assert_lacks "$OUT$ERR" "$wrapped"
assert_lacks "$OUT$ERR" "$key_backup"
assert_eq "$(azure_count '^vault POST /keys/restore')" 1
assert_eq "$(azure_count '^vault PUT ')" 1
assert_eq "$(azure_count DELETE)" 0
assert_eq "$(kv 'kv1.secrets.s1.versions[].tags.DiskEncryptionKeyEncryptionKeyURL')" "\"$kv1/keys/kek/$v1\""
assert_eq "$(kv 'kv1.secrets.s1.versions[].contentType')" '"Wrapped BEK"'
before=$(kv .)

# Once more: nothing is missing, so nobody is asked and nothing is changed.
azure_reset
run_ok back "$from" web-01 2026-01-01 --json
assert_eq "$(jq -c 'map(.putBack)' <<<"$OUT")" "[false,false]"
assert_eq "$(azure_count '^vault (POST|PUT|DELETE)')" 0
assert_eq "$(kv .)" "$before"
run_fails 1 back "$from" plain --yes
assert_contains "$ERR" "no backup of a key or secret"

# Now it opens; of what cannot be read the key is there.
run_fails -l any 1 vaultkey check --json --kek "$kv1" "$from"
assert_eq "$(row web-01 1)" "clear opens"
assert_eq "$(row web-01 2)" unknown
assert_contains "$(jq -r '.volumes[] | select(.point == "2026-01-02T02-00-00Z") | .reason' <<<"$OUT")" "its key is there"
run_fails -l any 3 vaultkey check --json --kek "$kv1" "$from" web-01 2026-01-02

# Into another vault; what was deleted and can be recovered is not replaced.
run_ok back "$from" web-01 2026-01-03 --yes --kek-host "${kv1#https://}=${kv2#https://}"
assert_contains "$OUT" "key kek: put back into kv2.vault.localhost"
azure_post world '{"keyvaults": {"kv1": {"keys": {"kek": {"deleted": 9, "versions": {}}}, "secrets": {}}}}'
run_fails -l any 1 back "$from" web-01 2026-01-03 --yes
assert_contains "$ERR" "can be recovered: do that rather than to make another"
# A name that is there in another version is left alone.
azure_post world "{\"keyvaults\": {\"kv1\": {\"keys\": {\"kek\": {\"versions\": {\"other\": {\"pem\": \"$PWD/kek.pem\"}}}}, \"secrets\": {}}}}"
azure_reset
run_ok back "$from" web-01 2026-01-03 --yes
assert_contains "$ERR" "though in another version: left alone"
assert_eq "$(azure_count '^vault (POST|PUT|DELETE)')" 0

# What a restore job left has the backup of the secret too.
account=/subscriptions/$SUB/resourceGroups/R/providers/Microsoft.Storage/storageAccounts/staging
run_ok vaultctl restore-disks --cacert "$VAULTFS_CACERT" "$from" left latest --to "$account" --yes
url=$OUT
azure_post world '{"keyvaults": {"kv1": {"keys": {}, "secrets": {}}}}'
export AZURE_STORAGE_KEY=c2VjcmV0
run_ok back --endpoint "https://127.0.0.1:$AZ_HTTPS/blob/staging" --cacert "$VAULTFS_CACERT" "$url" left --yes
assert_contains "$OUT" "secret s2: put back into kv1"
assert_eq "$(azure_count '^vault POST /secrets/restore')" 1
assert_eq "$(kv "kv1.secrets.s2.versions[\"$v1\"].value")" "\"$wrapped\""
