#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Volumes that must not be opened, or are damaged: what is said of them.
# long: derives many keys
. "$SRC/tests/lib.sh"
. "$SRC/tests/volumes.sh"
require cryptsetup mke2fs sfdisk jq openssl

mkdir root
make_image root/file 300K 1
make_fs clear 4M root -L data
key_file k1 one
key_file k2 two
passphrase p1 one
passphrase p2 two

luks one 1 k1 p1 clear
luks two 2 k2 p2 clear

# --- not to be opened, and damaged

# luks2_edit FILE PYTHON: changes the JSON j of both copies.
luks2_edit() {
	python3 - "$@" <<'EOF'
import hashlib, json, struct, sys
path, change = sys.argv[1:]
with open(path, "r+b") as f:
    for at in 0, 16384:
        f.seek(at)
        h = bytearray(f.read(16384))
        j = json.loads(h[4096:].split(b"\0")[0])
        exec(change)
        text = json.dumps(j).encode()
        h[4096:] = text.ljust(16384 - 4096, b"\0")
        h[448:512] = bytes(64)
        h[448:480] = hashlib.sha256(h).digest()
        f.seek(at)
        f.write(h)
EOF
}
refused() {
	cp two v
	luks2_edit v "$1"
	volumes -b p2 lun0=v
	assert_eq "$(states)" lun0=unsupported "$1"
	assert_contains "$(row lun0 .reason)" "$2"
}
refused 'j["config"]["requirements"] = {"mandatory": ["online-reencrypt-v2"]}' \
	"cryptsetup reencrypt --resume-only"
refused 'j["config"]["requirements"] = {"mandatory": ["future"]}' '"future"'
refused 'j["segments"]["0"]["integrity"] = {"type": "hmac(sha256)", "journal_encryption": "none", "journal_integrity": "none"}' \
	integrity
refused 'j["segments"]["1"] = dict(j["segments"]["0"], offset="2097152"); j["segments"]["0"]["size"] = "1048576"' \
	segments
refused 'j["segments"]["0"]["encryption"] = "capi:xts(aes)-plain64"' cipher
# As cryptsetup itself leaves them: being encrypted, being encrypted anew.
reencrypt() {
	cryptsetup reencrypt -q --init-only --pbkdf pbkdf2 --pbkdf-force-iterations 1000 \
		--key-file p2 "$@" >luks.log 2>&1 || fail "cryptsetup: $(cat luks.log)"
}
cp clear v
truncate -s 12M v
reencrypt --encrypt --type luks2 --reduce-device-size 8M v
cp v w
cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 \
	--luks2-metadata-size 16k --luks2-keyslots-size 768k w p2 2>luks.log
reencrypt w
for v in v w; do
	volumes -b p2 lun0=$v
	assert_eq "$(states)" lun0=unsupported
	assert_contains "$(row lun0 .reason)" "encryption was under way when it was backed up: restore \
the disk ('vaultctl restore'), then run 'cryptsetup reencrypt --resume-only' on the copy"
done
rm -f w
cp two v
luks2_edit v 'j["tokens"]["5"] = {"type": "Azure_Disk_Encryption", "keyslots": [], "version": "1.0", "PassphraseName": "LUKSPasswordProtector", "Passphrase": "x"}'
volumes lun0=v
assert_eq "$(states)" lun0=unsupported
assert_contains "$(row lun0 .reason)" "confidential VM"

# A LUKS1 header whose payload offset is another one now opens, over noise.
cp one v
printf '\x00\x00\x10\x08' | dd of=v bs=1 seek=104 conv=notrunc status=none
volumes -b p1 lun0=v
assert_eq "$(states)" lun0=damaged
assert_contains "$(row lun0 .reason)" "nothing that is known"
cp two v
dd if=/dev/zero of=v bs=4096 seek=1 count=1 conv=notrunc status=none
dd if=/dev/zero of=v bs=4096 seek=5 count=1 conv=notrunc status=none
volumes -b p2 lun0=v
assert_eq "$(states)" lun0=damaged
# One of two copies is enough.
cp two v
dd if=/dev/zero of=v bs=4096 seek=1 count=1 conv=notrunc status=none
assert_volume lun0 clear -b p2 lun0=v
# A partition that the disk has not all of.
truncate -s 16M cut
sfdisk -q cut <<<$'label: dos\nstart=2048, size=2048\nstart=8192, size=8192' >sfdisk.log
truncate -s 7M cut
volumes -b p1 -b p2 os=cut
assert_contains "$(states)" "os-p2=damaged"
assert_contains "$(row os-p2 .reason)" "beyond the end of the disk"
# Two volumes of one name both get a tag.
truncate -s 3M pv
"$SRC/tests/mklvm.py" b-c pv -- d=1@pv0:0
truncate -s 3M pvx
"$SRC/tests/mklvm.py" b pvx -- c-d=1@pv0:0
volumes lun0=pv lun1=pvx
assert_eq "$(jq '[.volumes[].name | select(test("^lvm-b-c-d~[0-9a-f]{8}$"))] | unique | length' <<<"$OUT")" 2
