#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Every layout in which Azure Disk Encryption leaves a Linux VM: system disks with the header on
# the boot partition, found by name, by search, or given; LVM on it; in place; data disks whose
# headers are on the encrypted root. And one that was backed up while it was being encrypted.
. "$SRC/tests/lib.sh"
. "$SRC/tests/volumes.sh"
require cryptsetup mke2fs debugfs sfdisk jq openssl

key_file k1 one
key_file k2 two
passphrase p1 one
passphrase p2 two
mkdir -p root/etc root/var/lib/azure_disk_encryption_config
make_image root/etc/file 200K 1
make_fs root.clear 4M root -L rootfs

# boot FILE HEADER: a boot partition, as Azure's extension makes one where there was none.
boot() {
	rm -rf boot
	mkdir -p boot/luks boot/grub
	cp "$2" boot/luks/osluksheader
	make_image boot/vmlinuz 400K 7
	FS=ext2 make_fs "$1" 6M boot -b 1024
}

# --- a system disk that was offline; LUKS1 and LUKS2

for version in 1 2; do
	luks_detached header os.data $version k1 p1 root.clear
	boot boot.img header
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
assert_contains "$(row os-p1 .reason)" "decrypts to nothing that is known"

# The header's file is in /boot of a file system that is more than that.
mkdir -p more/boot/luks
cp header more/boot/luks/osluksheader
make_fs more.img 6M more
gpt_disk os2.img more.img os.data
volumes -b p1 os=os2.img
assert_eq "$(row os-p2 .encryption.header)" os-p1:/boot/luks/osluksheader

# --- the boot partition is damaged: searched; another header, of nothing, lies before

key_file k3 three
luks_detached stale x 2 k3 p1 noise
mkdir -p two/a
cp stale two/a/stale
cp header two/z
make_fs two.img 12M two -b 1024
gpt_disk os3.img os.data two.img
volumes -b p1 os=os3.img
assert_eq "$(states)" "os-p1=open os-p2=clear"
assert_contains "$(row os-p1 .encryption.header)" "os-p2:"
assert_volume os-p1 root.clear -b p1 os=os3.img
# Without any key it is not read as a whole.
volumes os=os3.img
assert_eq "$(states)" "os-p1=clear os-p2=clear"
cp boot.img bad.img
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

# --- LVM on the encrypted partition; data disks whose headers are on the root, /var apart

mkdir -p data
make_image data/file 300K 3
make_fs data.clear 4M data -L data
truncate -s 5M lvmdata.clear
dd if=data.clear of=lvmdata.clear bs=1M seek=1 conv=notrunc status=none
"$SRC/tests/mklvm.py" datavg lvmdata.clear -- lv=4@pv0:0
luks_detached hd1 lun0.img 2 k2 p1 data.clear
luks_detached hd2 lun1.img 2 k2 p1 lvmdata.clear
luks lun2.img 2 k2 p1 data.clear
for var in root apart; do
	rm -rf root/var/lib varfs
	config=root/var/lib/azure_disk_encryption_config
	[[ $var == apart ]] && config=varfs/lib/azure_disk_encryption_config
	mkdir -p varfs $config
	cp hd1 $config/azureluksheader_aaaa
	cp hd2 $config/azureluksheader_bbbb
	make_fs root.lv 14M root -L root
	make_fs var.lv 14M varfs -L var
	truncate -s 30M pv.clear
	dd if=root.lv of=pv.clear bs=1M seek=1 conv=notrunc,sparse status=none
	dd if=var.lv of=pv.clear bs=1M seek=15 conv=notrunc,sparse status=none
	"$SRC/tests/mklvm.py" rootvg pv.clear -- rootlv=14@pv0:0 varlv=14@pv0:14
	luks_detached header os.data 2 k1 p1 pv.clear
	boot boot.img header
	gpt_disk lvm.img boot.img os.data
	all=(-b p1 os=lvm.img lun0=lun0.img lun1=lun1.img lun2=lun2.img)
	volumes "${all[@]}"
	assert_eq "$(states)" "os-p1=clear os-p2=open lun0=open lun1=open lun2=open \
lvm-datavg-lv=clear lvm-rootvg-rootlv=clear lvm-rootvg-varlv=clear"
	assert_contains "$(row lun0 .encryption.header)" azureluksheader_aaaa
	assert_volume lvm-datavg-lv data.clear "${all[@]}"
	assert_volume lun0 data.clear "${all[@]}"
	assert_volume lvm-rootvg-rootlv root.lv "${all[@]}"
done
# Without the system's disk nothing says what they are.
volumes -b p1 lun0=lun0.img lun1=lun1.img
assert_eq "$(states)" "lun0=clear lun1=clear"

# --- in place: a system disk of RHEL 6; a data disk in place, whole and partitioned

luks in1 1 k1 p1 root.clear
gpt_disk rhel6.img in1 empty.img
assert_volume os-p1 root.clear -b p1 os=rhel6.img
luks in2 2 k2 p2 data.clear
gpt_disk part.img in2
volumes -b p1 -b p2 os=rhel6.img lun0=in2 lun1=part.img
assert_eq "$(states)" "os-p1=open os-p2=clear lun0=open lun1-p1=open"

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
boot boot.img header
for data in os.data root.clear; do
	gpt_disk online.img $data boot.img
	volumes -b p1 os=online.img
	assert_eq "$(states)" "os-p1=unsupported os-p2=clear" $data
	assert_contains "$(row os-p1 .reason)" "cryptsetup reencrypt --resume-only"
done
