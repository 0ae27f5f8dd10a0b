#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# System disks as Azure Disk Encryption leaves them: the header on the boot partition, found by
# name, by search, or given. And one that was backed up while it was being encrypted.
# long: derives many keys
. "$SRC/tests/lib.sh"
. "$SRC/tests/volumes.sh"
require cryptsetup mke2fs debugfs sfdisk jq openssl

azure_root

# --- a system disk that was offline; LUKS1 and LUKS2

for version in 1 2; do
	luks_detached header os.data $version k1 p1 root.clear
	azure_boot boot.img header
	gpt_disk os.img os.data boot.img
	volumes -b p2 -b p1 os=os.img
	assert_eq "$(states)" "os-p1=open os-p2=clear" "LUKS$version"
	assert_eq "$(row os-p1 .encryption.header)" os-p2:/luks/osluksheader
	assert_eq "$(row os-p1 .label)" rootfs
	# Two keys on one header.
	assert_eq "$DERIVED" 2
	assert_volume os-p1 root.clear -b p1 os=os.img
done
volumes os=os.img
assert_eq "$(states)" "os-p1=no-record os-p2=clear"
assert_contains "$(row os-p1 .reason)" \
	"may be encrypted with the header os-p2:/luks/osluksheader: os-p1 is encrypted (luks2), and there is no escrow record"
volumes -b p2 os=os.img
assert_eq "$(states)" "os-p1=wrong-key os-p2=clear"

# The partition between is nothing that is known, and stays what it is.
make_image noise 1M 5
gpt_disk three.img noise os.data boot.img
volumes -b p1 os=three.img
assert_eq "$(states)" "os-p1=clear os-p2=open os-p3=clear"
assert_volume os-p2 root.clear -b p1 os=three.img
assert_volume os-p1 noise -b p1 os=three.img
# Only noise: the key is right, what it gives is not.
gpt_disk none.img noise boot.img
volumes -b p1 os=none.img
assert_eq "$(states)" "os-p1=damaged os-p2=clear"
assert_contains "$(row os-p1 .reason)" "decrypts to is nothing that is known"

# The header's file is in /boot of a file system that is more than that.
mkdir -p more/boot/luks
cp header more/boot/luks/osluksheader
make_fs more.img 6M more
gpt_disk os2.img more.img os.data
volumes -b p1 os=os2.img
assert_eq "$(row os-p2 .encryption.header)" os-p1:/boot/luks/osluksheader

# --- the boot partition is damaged: searched; another header, of nothing, lies before. (mke2fs
# leaves out blocks of zeros, which dd, as Azure used it, does not: the headers are put there.)

key_file k3 three
luks_detached stale x 2 k3 p1 noise
mkdir two
make_fs two.img 14M two -b 1024
dd if=stale of=two.img bs=1M seek=3 conv=notrunc status=none
dd if=header of=two.img bs=1K seek=9001 conv=notrunc status=none
gpt_disk os3.img os.data two.img
volumes -b p1 os=os3.img
assert_eq "$(states)" "os-p1=open os-p2=clear"
assert_contains "$(row os-p1 .encryption.header)" "os-p2:"
assert_volume os-p1 root.clear -b p1 os=os3.img
# Without any key it is not read as a whole.
volumes os=os3.img
assert_eq "$(states)" "os-p1=clear os-p2=clear"
truncate -s 14M bad.img
dd if=boot.img of=bad.img conv=notrunc status=none
dd if=header of=bad.img bs=1K seek=9001 conv=notrunc status=none
debugfs -w -R "clri /luks" bad.img >log 2>&1
gpt_disk os4.img os.data bad.img
assert_volume os-p1 root.clear -b p1 os=os4.img
if command -v mkfs.xfs >/dev/null; then
	truncate -s 300M xfs.img
	mkfs.xfs -q xfs.img
	dd if=header of=xfs.img bs=1M seek=40 conv=notrunc status=none
	gpt_disk os5.img os.data xfs.img
	volumes -b p1 os=os5.img
	assert_eq "$(states)" "os-p1=open os-p2=clear"
	rm -f xfs.img os5.img
fi

# --- the header is given

mkdir empty
make_fs empty.img 2M empty
gpt_disk os6.img os.data empty.img
volumes -b p1 os=os6.img
assert_eq "$(states)" "os-p1=clear os-p2=clear"
assert_volume os-p1 root.clear -b p1 -H os-p1=header os=os6.img
volumes -b p1 -H os-p1=stale os=os6.img
assert_eq "$(states)" "os-p1=wrong-key os-p2=clear"
assert_contains "$(row os-p1 .reason)" "it is not its header"
volumes -b p1 -H os-p1=noise os=os6.img
assert_contains "$(row os-p1 .reason)" "there is no LUKS header in it"
volumes -b p1 -H os-p1=nothing os=os6.img
assert_eq "$(states)" "os-p1=unknown os-p2=clear"

# --- being encrypted, online: what it holds is neither

luks_detached header os.data 2 k1 p1 root.clear
python3 - <<'EOF'
import hashlib, json
with open("header", "r+b") as f:
    for at in 0, 16384:
        f.seek(at)
        h = bytearray(f.read(16384))
        j = json.loads(h[4096:].split(b"\0")[0])
        j["config"]["requirements"] = {"mandatory": ["online-reencrypt-v2"]}
        h[4096:] = json.dumps(j).encode().ljust(16384 - 4096, b"\0")
        h[448:512] = bytes(64)
        h[448:480] = hashlib.sha256(h).digest()
        f.seek(at)
        f.write(h)
EOF
# And as cryptsetup begins it, on what is still clear.
truncate -s 4M real
cp root.clear being
cryptsetup reencrypt -q --encrypt --init-only --type luks2 --header real --key-file p1 \
	--pbkdf pbkdf2 --pbkdf-force-iterations 1000 "${_small[@]/256k/768k}" being >luks.log 2>&1 ||
	fail "cryptsetup: $(cat luks.log)"
assert_same being root.clear
azure_boot boot.img header
azure_boot real.img real
for data in os.data root.clear being; do
	[[ $data != being ]] || cp real.img boot.img
	gpt_disk online.img $data boot.img
	volumes -b p1 os=online.img
	assert_eq "$(states)" "os-p1=unsupported os-p2=clear" $data
	assert_contains "$(row os-p1 .reason)" "cryptsetup reencrypt --resume-only"
done
