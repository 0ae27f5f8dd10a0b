#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Where secrets are in the memory of programs that talk with Azure: the client's secret,
# tokens, the signatures of the addresses of disks, keys that were unwrapped or come as
# they are. What is in use is in locked memory, in one form; what was used is nowhere.
# Commands are searched after their work, at their exit. The search is proved by programs
# that do not wipe.
# timeout: 240
# long: the whole memory of processes is searched, a second a search
. "$SRC/tests/lib.sh"
. "$SRC/tests/azure.sh"
. "$SRC/tests/volumes.sh"
require_fuse
require python3 jq curl openssl cryptsetup mke2fs sfdisk
python3 -c 'import cryptography' 2>/dev/null || skip "needs python3-cryptography"
[[ ! $SAN ]] || skip "the memory of a sanitizer is too large to be searched"

umask 077
encrypted_disk os.raw -L rootfs
# Azure has a key as it is where no KEK wraps it.
openssl rand -base64 24 | tr -d '\n=+/' >client
openssl rand -hex 40 | tr -d '\n' >salt
# As the double takes it back.
printf '{"salt": "%s", "name": "gone", "versions": {"%s": {"pem": "%s"}}}' \
	"$(cat salt)" "$v1" "$PWD/kek.pem" | base64 -w0 >backup
unset AZURITE
cat >world.json <<END
{"subscription": "$SUB", "tenant": "$TENANT", "vaults": [],
 "clients": {"app1": {"secret": "$(cat client)"}, "app2": {"cert": "$PWD/app2.crt"}}}
END
openssl req -x509 -newkey rsa:2048 -nodes -keyout app2.key -out app2.crt -subj /CN=app2 -days 2 2>/dev/null
cat app2.key app2.crt >app2.pem
start_azure world.json
AZURE_CLIENT_SECRET=$(cat client)
kv1=https://kv1.vault.localhost:$AZ_HTTPS
kv2=https://kv2.vault.localhost:$AZ_HTTPS
need_localhost_names "$kv1"
point() {
	echo "{\"time\": \"2026-01-0${1}T00:00:00Z\", \"snapshot\": true,
	 \"disks\": [{\"name\": \"os\", \"image\": \"$PWD/os.raw\"}], \"key\": {$2}}"
}
both="\"secretUrl\": \"$kv1/secrets/wrapped/$v1\", \"keyUrl\": \"$kv1/keys/kek/$v1\""
azure_post world "$(
	cat <<END
{"keyvaults": {"kv1": {"keys": {"kek": {"versions": {"$v1": {"pem": "$PWD/kek.pem"}}}},
   "secrets": {
    "wrapped": {"versions": {"$v1": {"value": "$wrapped", "contentType": "Wrapped BEK", "tags": {
      "DiskEncryptionKeyFileName": "LinuxPassPhraseFileName",
      "DiskEncryptionKeyEncryptionKeyURL": "$kv1/keys/kek/$v1"}}}},
    "plain": {"versions": {"$v1": {"value": "$plain", "contentType": "BEK", "tags": {
      "DiskEncryptionKeyFileName": "LinuxPassPhraseFileName"}}}}}},
  "kv2": {"keys": {}, "secrets": {}}},
 "vaults": [{"name": "contoso-rsv", "rg": "Backup-RG", "items": [{"vm": "web-01", "rg": "Web-RG", "points": [
  $(point 1 "$both, \"secretData\": \"$wrapped\", \"keyBackupData\": \"$(cat backup)\""),
  $(point 2 "\"secretUrl\": \"$kv1/secrets/plain/$v1\""),
  $(point 3 "\"secretUrl\": \"https://no-more.vault.localhost/secrets/s/$v1\", \"secretData\": \"$plain\""),
  {"time": "2026-01-05T00:00:00Z", "tiers": ["HardenedRP"], "disks": [{"name": "os", "image": "$PWD/os.raw"}]},
  $(point 4 "\"secretUrl\": \"$kv2/secrets/gone/$v1\", \"keyUrl\": \"$kv2/keys/gone/$v1\", \"keyBackupData\": \"$(cat backup)\"")]}]}]}
END
)"

# given: what the double gave so far, as files: tokens by what makes each its own, its last
# part. Sets the lists tokens and sigs, as memsearch.py has them.
given() {
	local n=0 t
	tokens=() sigs=()
	curl -sSf "http://127.0.0.1:$AZ_HTTP/_double/given" >given.json
	for t in $(jq -r '.tokens[].token' given.json); do
		printf %s "${t##*.}" >token$n
		tokens+=("token$n=token$n")
		n=$((n + 1))
	done
	n=0
	for t in $(jq -r '.sas[]' given.json); do
		printf %s "$t" >sig$n
		sigs+=("sig$n=sig$n")
		n=$((n + 1))
	done
}
# search PID SECRET...
search() {
	_run python3 "$SRC/tests/memsearch.py" mem "$@"
	((CODE != 77)) || skip "the memory of another process cannot be read"
}
clean() {
	((CODE == 0)) || fail "$1: exit code $CODE: $OUT $ERR"
}
# nowhere NAME=FILE...
nowhere() {
	printf '%s:nowhere\n' "$@"
}
keys=(bek=bek volume1=volume.first volume2=volume.second)
head -c 32 volume >volume.first
tail -c 32 volume >volume.second

# What a restore job left is read with a token for the storage.
at=(--endpoint "https://127.0.0.1:$AZ_HTTPS/blob/staging")
run_ok vaultctl restore-disks "azure-rsv:$VAULT" web-01 2026-01-05 --yes --cacert "$VAULTFS_CACERT" \
	--to "/subscriptions/$SUB/resourceGroups/R/providers/Microsoft.Storage/storageAccounts/staging"
given
mapfile -t old < <(nowhere "${tokens[@]}")

# --- the mount: opened by a key of each kind; its disks are open

vm=mnt/contoso-rsv/web-01
mount_all() {
	mount_vault -vv "${at[@]}" --cacert "$VAULTFS_CACERT" --kek "$kv1" "azure-rsv:$VAULT" mnt
	for n in 1 2 3; do
		cat "$vm/2026-01-0${n}T00-00-00Z/point.json" >point$n.json
		assert_same "$vm/2026-01-0${n}T00-00-00Z/volumes/os-p2.img" clear
	done
	exec 5<"$vm/2026-01-05T00-00-00Z/disks/os.img"
	head -c 1M <&5 | cmp - <(head -c 1M os.raw)
}
mount_all
given
# Of Key Vault, of the resource manager and of the storage, besides the one before.
assert_eq "${#tokens[@]} ${#sigs[@]}" "4 3"
search "$(daemon_pid mnt)" client=client "${old[@]}" "${tokens[@]:1}" "${sigs[@]}" "${keys[@]}" backup=backup
clean "the mount"
find mnt -name '*.json' -exec cat {} + >shown
run_ok python3 "$SRC/tests/memsearch.py" files client=client "${tokens[@]}" "${sigs[@]}" bek=bek \
	backup=backup -- shown "$(daemon_log mnt)"
exec 5<&-
umount_vault mnt

# --- commands, as they exit

# lingers COMMAND...: leaves it at its exit; its id is in LINGERS.
lingers() {
	rm -f linger
	LD_PRELOAD="$BUILD/tests/preload/linger.so${preload:+:$preload}" LINGER=$PWD/linger "$@" >out 2>err &
	_lingers=$!
	at_exit rm -f "$PWD/linger"
	wait_until 60 lingers_now "$1"
	LINGERS=$(cat linger)
}
lingers_now() {
	[[ -s linger ]] && return 0
	kill -0 "$_lingers" 2>/dev/null || fail "$1: $(cat err)"
	return 1
}
# leaves: it ends, and has done what it should.
leaves() {
	rm linger
	wait "$_lingers" || fail "$(cat err)"
}
# search_done WHAT SECRET...: of the command that lingers. Tokens are kept for the next
# request, the client's secret for the next token.
search_done() {
	local what=$1
	shift
	given
	mapfile -t gone < <(nowhere "${sigs[@]}" "$@" backup=backup salt=salt)
	# Those of before, and its own.
	mapfile -t old < <(nowhere "${before[@]}")
	search "$LINGERS" client=client "${tokens[@]:${#before[@]}}" "${old[@]}" "${gone[@]}"
}
before=("${tokens[@]}")
make_kek mine
vaultctl init -q vault --name v
lingers vaultctl backup vault web --from "azure-rsv:$VAULT" --from-vm web-01 --point 2026-01-01 \
	--escrow-to mine.pub --kek "$kv1"
search_done "vaultctl backup" "${keys[@]}"
clean "vaultctl backup"
leaves

before=("${tokens[@]}")
jq -n --arg v "$wrapped" --arg k "$kv1/keys/kek/$v1" '{contentType: "Wrapped BEK", id: "x", value: $v,
 tags: {DiskEncryptionKeyFileName: "LinuxPassPhraseFileName", DiskEncryptionKeyEncryptionKeyURL: $k,
 DiskEncryptionKeyEncryptionAlgorithm: "RSA-OAEP"}}' >secret.json
lingers vaultkey unwrap secret.json --kek "$kv1" --out unwrapped
assert_same unwrapped bek
search_done "vaultkey unwrap" "${keys[@]}"
clean "vaultkey unwrap"
leaves

before=("${tokens[@]}")
lingers vaultkey restore-to-keyvault --yes "azure-rsv:$VAULT" web-01 2026-01-04
assert_contains "$(cat out)" "key gone: put back"
search_done "vaultkey restore-to-keyvault" "${keys[@]}"
clean "vaultkey restore-to-keyvault"
leaves

before=("${tokens[@]}")
lingers vaultkey check "azure-rsv:$VAULT" web-01 2026-01-02 --kek "$kv1"
search_done "vaultkey check" "${keys[@]}"
clean "vaultkey check"
leaves

# The key of a certificate, in place of a secret.
number() {
	openssl pkey -in app2.key -noout -text | sed -n "/^$1:/,/^[a-z]/{/^ /p}" |
		tr -d ' :\n' | sed 's/^00//' | python3 -c \
		'import sys; sys.stdout.buffer.write(bytes.fromhex(sys.stdin.read()))'
}
number prime1 >p.key
number prime2 >q.key
number privateExponent >d.key
given
before=("${tokens[@]}")
AZURE_CLIENT_ID=app2 AZURE_CLIENT_SECRET='' AZURE_CLIENT_CERTIFICATE_PATH=$PWD/app2.pem \
	lingers vaultkey unwrap secret.json --kek "$kv1" --out unwrapped2
assert_same unwrapped2 bek
given
search "$LINGERS" prime1=p.key prime2=q.key exponent=d.key "${tokens[@]:${#before[@]}}" bek=bek:nowhere
clean "vaultkey unwrap, with a certificate"
leaves

# --- a program that does not wipe is caught, with each of them

before=("${tokens[@]}")
export LEAK_WIPE=1
preload=$BUILD/tests/preload/leak.so lingers vaultctl backup vault web2 --from "azure-rsv:$VAULT" \
	--from-vm web-01 --point 2026-01-03 --escrow-to mine.pub --kek "$kv1"
unset LEAK_WIPE
search_done "a leaking one" "${keys[@]}"
assert_eq "$CODE" 1
for s in client token sig bek; do
	grep -qE "^${s}[0-9]* [^ ]+ (\[heap\]|\[stack\]|anonymous)" <<<"$OUT" || fail "$s was not found: $OUT"
done
leaves
