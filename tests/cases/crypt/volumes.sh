#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Encrypted volumes with a header in place: what opens them, what they read as, how many
# keys are derived, and what is said when they do not open.
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
make_kek kek1
make_kek kek2
record p1 kek1 LinuxPassPhraseFileName >r1.json
record p2 kek2 LinuxPassPhraseFileName >r2.json

luks one 1 k1 p1 clear
luks two 2 k2 p2 clear
luks big 2 k1 p1 clear 4096
gpt_disk os.img clear one two

# --- keys of the user

volumes os=os.img
assert_eq "$(states)" "os-p1=clear os-p2=no-record os-p3=no-record"
assert_eq "$DERIVED" 0
assert_eq "$(row os-p1 .label)" data
assert_eq "$(row os-p2 .encryption.type)" luks1
assert_contains "$(row os-p2 .reason)" "os-p2 is encrypted (luks1), and there is no escrow record"
volumes -b p1 -b p2 os=os.img lun0=big
assert_eq "$(states)" "os-p1=clear os-p2=open os-p3=open lun0=open"
assert_eq "$(row os-p3 '.type + " " + .openedBy')" "ext4 p2"
assert_eq "$(row lun0 .encryption.sectorSize)" 4096
# p1 on each of three; p2 on the second only.
assert_eq "$DERIVED" 4
for v in os-p2 os-p3 lun0; do
	assert_volume $v clear -p p1 -p p2 os=os.img lun0=big
done
volumes -b p2 os=os.img
assert_eq "$(states)" "os-p1=clear os-p2=wrong-key os-p3=open"
assert_contains "$(row os-p2 .reason)" "none of the keys that are here opens os-p2 (luks1, "

# --- records

volumes -r os-p2=r1.json -r =r2.json -k kek1.pem -k kek2.pem os=os.img lun0=big
assert_eq "$(states)" "os-p1=clear os-p2=open os-p3=open lun0=open"
assert_eq "$(row os-p2 .openedBy)" "escrow record 1, LinuxPassPhraseFileName"
# The record of a volume comes first on it, then the VM's; on lun0 the VM's is not it.
assert_eq "$DERIVED" 4
volumes -r os-p2=r1.json -r =r2.json -k kek1.pem os=os.img
assert_eq "$(states)" "os-p1=clear os-p2=open os-p3=kek-missing"
assert_contains "$(row os-p3 .reason)" "the BEK of os-p3 is wrapped by KEK \
https://kv.vault.azure.net/keys/kek2/0123456789abcdef0123456789abcdef"
volumes -r =r1.json -u "its seal was not verified" -k kek1.pem os=os.img
assert_eq "$(states)" "os-p1=clear os-p2=unknown os-p3=unknown"
assert_eq "$(row os-p2 .reason)" "its seal was not verified"
# Two disks of one header and one record: one derivation.
volumes -r =r1.json -k kek1.pem lun0=big lun1=big lun2=big
assert_eq "$(states)" "lun0=open lun1=open lun2=open"
assert_eq "$DERIVED" 1
# A key that opens nothing is tried once on each header, too.
volumes -b p2 lun0=big lun1=big
assert_eq "$(states) $DERIVED" "lun0=wrong-key lun1=wrong-key 1"

# --- LVM on them, over two disks; a member that stays locked

truncate -s 5M pv0 pv1
"$SRC/tests/mklvm.py" vg pv0 pv1 -- root=2@pv0:0+2@pv1:0 home='!thin' in=2@pv1:2
dd if=clear of=pv0 bs=1M count=2 seek=1 conv=notrunc status=none
dd if=clear of=pv1 bs=1M count=2 skip=2 seek=1 conv=notrunc status=none
luks crypt0 2 k1 p1 pv0
luks crypt1 2 k2 p2 pv1
volumes -b p1 -b p2 lun0=crypt0 lun1=crypt1
assert_eq "$(states)" "lun0=open lun1=open lvm-vg-home=unsupported lvm-vg-in=clear lvm-vg-root=clear"
assert_eq "$(row lvm-vg-root .type)" ext4
assert_volume lvm-vg-root clear -b p1 -b p2 lun0=crypt0 lun1=crypt1
volumes -b p1 lun0=crypt0 lun1=crypt1
assert_eq "$(states)" "lun0=open lun1=wrong-key lvm-vg-home=unsupported lvm-vg-in=unknown lvm-vg-root=unknown"
# ... and under LVM.
truncate -s 7M pv
dd if=two of=pv bs=1M seek=1 conv=notrunc status=none
"$SRC/tests/mklvm.py" vg pv -- crypt=5@pv0:0
volumes -b p2 lun0=pv
assert_eq "$(states)" "lun0=clear lvm-vg-crypt=open"
assert_volume lvm-vg-crypt clear -b p2 lun0=pv

# --- BitLocker

head -c 4M clear >volume
cp volume bl
recovery=363770-230505-096371-652674-567006-579150-291038-408111
"$_tool/mkbitlocker" -m 8005 -k key.BEK -r $recovery bl
chmod 600 key.BEK
cp volume want
"$_tool/mkbitlocker" -m 8005 -k x.BEK -r $recovery -z want
volumes lun0=bl
id=$(row lun0 '.encryption.keyIds[0]')
record key.BEK kek1 "${id^^}.BEK" >rb.json
record key.BEK kek2 "11111111-2222-3333-4444-555555555555.BEK" >rc.json
printf '%s\n' ${recovery//-/ } | paste -sd ' ' >recovery
chmod 600 recovery
for with in "-b key.BEK" "-p recovery" "-r =rb.json -k kek1.pem"; do
	# shellcheck disable=SC2086
	volumes $with lun0=bl
	assert_eq "$(states)" lun0=open "$with"
	# shellcheck disable=SC2086
	assert_volume lun0 want $with lun0=bl
done
# The one whose name is that of a protector is tried first.
volumes -r =r1.json -r =rc.json -r lun3=rb.json -k kek1.pem -k kek2.pem lun0=bl
assert_eq "$(states) $DERIVED" "lun0=open 1"
cp volume suspended
"$_tool/mkbitlocker" -c suspended
volumes lun0=suspended
assert_eq "$(states)" lun0=open
assert_contains "$(row lun0 .openedBy)" "it is suspended"

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

# --- made by Windows

data=$SRC/../shared/data/bitlocker
[[ -d $data ]] || exit 0
xz -dc "$data/bitlk-aes-xts-128-startup-key.img.xz" >w1
cp "$data"/*.BEK w1.BEK
chmod 600 w1.BEK
"$_tool/volumes" -o lun0 -b w1.BEK lun0=w1 2>/dev/null | sha256sum >sum
assert_contains "$(cat sum)" bbb68369d8f7badb2c2330349d9d0cf12e68f54eece25e718d2bb13feba23f7a
xz -dc "$data/bitlk-aes-xts-256.img.xz" >w2
printf anaconda >w2.pass
chmod 600 w2.pass
"$_tool/volumes" -o lun0 -p w2.pass lun0=w2 2>/dev/null | sha256sum >sum
assert_contains "$(cat sum)" 5bb6ff5acbded10be990c6fa208ab479934a08bc2e88740a1aa2642af2f42025
