#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Encrypted volumes with a header in place: what opens them, what they read as, how many
# keys are derived, and what is said when they do not open.
# long: every cipher and layout; keys/mount and crypt/journal are shorter
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
truncate -s 3M striped0 striped1
"$SRC/tests/mklvm.py" svg striped0 striped1 -- strip=4/4096@pv0:0,pv1:0
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
# Striped over the two, one of which is encrypted.
python3 - <<'EOF'
clear = open("clear", "rb").read()
for i in 0, 1:
    with open(f"striped{i}", "r+b") as f:
        f.seek(1 << 20)
        f.write(b"".join(clear[at:at + 4096] for at in range(4096 * i, len(clear), 8192)))
EOF
luks crypt2 2 k1 p1 striped1
volumes -b p1 lun0=striped0 lun1=crypt2
assert_eq "$(states)" "lun0=clear lun1=open lvm-svg-strip=clear"
assert_volume lvm-svg-strip clear -b p1 lun0=striped0 lun1=crypt2
volumes lun0=striped0 lun1=crypt2
assert_eq "$(states)" "lun0=clear lun1=no-record lvm-svg-strip=unknown"
# ... and under LVM.
truncate -s 7M pv
dd if=two of=pv bs=1M seek=1 conv=notrunc status=none
"$SRC/tests/mklvm.py" vg pv -- crypt=5@pv0:0
volumes -b p2 lun0=pv
assert_eq "$(states)" "lun0=clear lvm-vg-crypt=open"
assert_volume lvm-vg-crypt clear -b p2 lun0=pv
