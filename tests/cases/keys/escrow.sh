#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# timeout: 120
#
# Escrow records in a vault: stored by a backup, shown, read by the independent
# reader, verified; added later by attach and rewrap; never a plain key among them.
# long: derives many keys
. "$SRC/tests/lib.sh"
require jq

says() {
	local code=$1 words=$2
	shift 2
	run_fails "$code" "$@"
	assert_contains "$ERR" "$words" "$*"
}
python=''
for p in /usr/bin/python3 python3; do
	if "$p" -c 'import zstandard, cryptography' 2>/dev/null; then
		python=$p
		break
	fi
done
[[ $python ]] || skip "needs python3 with zstandard and cryptography"
reader() { "$python" "$SRC/tests/reader.py" vault "$@"; }

umask 077
for k in kek new; do
	openssl genrsa -out $k.pem 3072 2>/dev/null
	openssl pkey -in $k.pem -pubout -out $k.pub
done
head -c 127 /dev/urandom | base64 -w0 >bek
b64url() { base64 -w0 | tr '+/' '-_' | tr -d =; }
wrapped=$(openssl pkeyutl -encrypt -pubin -inkey kek.pub -in bek \
	-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha1 | b64url)
secret=https://v.vault.azure.net/secrets/a
url=https://v.vault.azure.net/keys/kek/0123
secret() { # TYPE VALUE
	jq -n --arg t "$1" --arg v "$2" --arg id "$secret/1" --arg k "$url" \
		'{id: $id, contentType: $t, value: $v, tags:
		({DiskEncryptionKeyFileName: "LinuxPassPhraseFileName"} + if $t == "Wrapped BEK"
		then {DiskEncryptionKeyEncryptionKeyURL: $k} else {} end)}'
}
secret "Wrapped BEK" "$wrapped" >wrapped.json
secret BEK "$(base64 -w0 bek)" >plain.json
secret "" "$(base64 -w0 bek)" >silent.json

vaultctl init -q vault
make_image os.img 300K
make_image lun0.img 100K
backup() { vaultctl backup -q vault web-01 -d os=os.img -d lun0=lun0.img "$@"; }

# What is wrong stops it before a byte is read.
says 1 "os-p2: the secret does not say whether it is wrapped; add --wrapped KEKURL or --plain" \
	backup --escrow os-p2=silent.json
says 2 "'lun1' is neither a disk" backup --escrow lun1=wrapped.json
says 2 "'os-p0' is neither a disk" backup --escrow os-p0=wrapped.json
says 2 "standard input can be read once" backup -e os=- -e lun0=-
says 2 "go with --escrow" backup --escrow-to new.pub
says 1 "is wrapped by KEK $url: give it with --kek" \
	backup --escrow os=wrapped.json --escrow-to new.pub
says 1 "nothing" backup --escrow os=nothing
[[ ! -e vault/V/web-01 ]] || fail "there is a VM"

# One for a partition, one for the whole VM (from standard input).
backup -t 2026-01-01T00:00:00Z --escrow os-p2=wrapped.json -e =- <wrapped.json
point=$(vaultctl list -1 vault web-01)
docs=$(reader show web-01 latest | jq -c '.escrow | sort')
assert_eq "$(jq -c 'map([.[0], .[1].part, (.[1].wraps | length)])' <<<"$docs")" \
	'[[null,null,1],["os",2,1]]'
assert_eq "$(jq -r '.[1][1].wraps[0].value' <<<"$docs")" "$wrapped"
assert_eq "$(vaultctl show --json vault web-01 latest | jq -c \
	'.escrow | map([.disk, .part, .keks[0]])')" \
	"[[\"os\",2,\"$url\"],[null,null,\"$url\"]]"
assert_contains "$(vaultctl show vault web-01 latest)" "os-p2: KEK $url"

# A plain one: kept without its value, or wrapped for the company's own key.
run_ok vaultctl backup vault web-01 -d os=os.img -t 2026-01-02T00:00:00Z \
	--escrow os=plain.json
assert_contains "$ERR" "os: the BEK is not wrapped, so its record is kept without it"
assert_eq "$(reader show web-01 latest | jq -c '.escrow[0][1] | [.secretUrl, .wraps]')" \
	"[\"$secret/1\",[]]"
run_ok backup -t 2026-01-03T00:00:00Z --escrow os=plain.json --escrow-to new.pub
assert_eq "$ERR" ""
reader show web-01 latest | jq '.escrow[0][1]' >doc.json
vaultkey unwrap doc.json -k new.pem | cmp - bek
# A wrapped one too, while its KEK is at hand.
backup -t 2026-01-04T00:00:00Z --escrow os=wrapped.json --escrow-to new.pub -k kek.pem
reader show web-01 latest | jq '.escrow[0][1]' >doc.json
assert_eq "$(jq '.wraps | length' doc.json)" 2
for k in kek new; do
	vaultkey unwrap doc.json -k $k.pem | cmp - bek
done

# Records are not taken over from the point before: that they are missing is said.
run_ok vaultctl backup vault web-01 -d os=os.img -t 2026-01-05T00:00:00Z
assert_contains "$ERR" "web-01 2026-01-05T00-00-00Z has no escrow records, unlike the point before it"
run_ok vaultctl backup vault web-01 -d os=os.img -t 2026-01-06T00:00:00Z
assert_eq "$ERR" ""

# Later: attach, of which point.json of a mount tells as well.
says 1 "has no recovery point" vaultkey attach vault web-01 2020 --escrow os=wrapped.json
vaultkey attach vault web-01 "$point" --escrow lun0=wrapped.json |
	grep -qx "1 escrow record added"
assert_eq "$(reader show web-01 "$(vaultctl show --json vault web-01 "$point" | jq -r .id)" |
	jq -c '[.escrow[][0]] | sort')" '[null,"lun0","os"]'
assert_eq "$(vaultctl show --json vault web-01 "$point" | jq -c '[.escrow[].disk] | sort')" \
	'[null,"lun0","os"]'

# Rewrap: all that have no wrap for the new key, once.
run_fails -l any 1 vaultkey rewrap vault -k new.pem -t kek.pub
assert_contains "$ERR" "KEK new.pem does not unwrap the BEK of web-01 $point, os-p2"
assert_contains "$ERR" "3 records were not unwrapped by the KEKs"
# (The two that it does unwrap have a wrap for the old one now.)
assert_eq "$(vaultkey rewrap --json vault web-01 -k kek.pem -t new.pub | jq -c .)" \
	'{"points":6,"records":8,"added":3,"failed":0}'
assert_eq "$(vaultkey rewrap vault -k kek.pem -t new.pub)" "6 points, 11 records: 0 added"
id=$(vaultctl show --json vault web-01 "$point" | jq -r .id)
reader show web-01 "$id" | jq -c '.escrow[][1] | select(.wraps[0].spki)' >new.json
assert_eq "$(wc -l <new.json)" 3
while read -r doc; do
	echo "$doc" >one.json
	assert_eq "$(jq '.wraps | length' one.json)" 1
	vaultkey unwrap one.json -k new.pem | cmp - bek
done <new.json
# Equal records became equal ones: that of the partition is another.
assert_eq "$(jq -c 'del(.part)' new.json | sort -u | wc -l)" 2

vaultctl verify -q vault
reader check >check.json
assert_eq "$(jq '[.escrow, .addenda] | tostring' check.json)" '"[5,6]"'
# No form of the plain key is in it.
for form in "$(cat bek)" "$(base64 -w0 bek)" "$(b64url <bek)" "$(xxd -p -c999 bek)"; do
	! grep -rqF -- "$form" vault || fail "the key is in the vault"
done

# Pinned, or told: nobody else's records are tried.
export VAULTFS_CONFIG_DIR=$PWD/elsewhere
run_fails -l any 1 vaultkey rewrap vault -k kek.pem -t new.pub
unset VAULTFS_CONFIG_DIR

# A document that somebody changed, or signed with a key that is no writer's.
one=$(find vault/V/web-01/e -type f | head -n 1)
cp "$one" good
printf '\xff' | dd of="$one" bs=1 seek=700 conv=notrunc status=none
run_fails -l any 1 vaultctl verify vault
assert_contains "$OUT" "escrow addendum V/web-01/e/"
run_ok vaultctl show --json vault web-01 "$point"
assert_contains "$ERR" "it is left out"
cat good >"$one"
vaultctl verify -q vault
vaultctl init -q other
backup_other() { vaultctl backup -q other web-01 -d os=os.img; }
backup_other
vaultkey attach -q other web-01 latest -e os=wrapped.json
cp other/V/web-01/e/* vault/V/web-01/e/
run_fails -l any 1 vaultctl verify vault
assert_contains "$OUT" "of another vault, VM or generation"
