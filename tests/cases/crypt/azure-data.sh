#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Linux VMs as Azure Disk Encryption leaves them: LVM on the system's encrypted partition; data
# disks whose headers are on the encrypted root; headers in place.
# long: derives many keys
. "$SRC/tests/lib.sh"
. "$SRC/tests/volumes.sh"
require cryptsetup mke2fs debugfs sfdisk jq openssl

azure_root
mkdir empty
make_fs empty.img 2M empty

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
	azure_boot boot.img header
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
