#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Makes in the current directory what the cases in the virtual machine read: what
# takes seconds here takes minutes there.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

fail() {
	echo "prepare: $*" >&2
	exit 1
}
. "$SRC/tests/volumes.sh"

# qemu_luks PASSFILE CLEAR OUT: a LUKS1 volume, by another hand than cryptsetup's.
# To know how long its key derivation takes qemu-img asks for the processor time it
# used, and gives up where a kernel that counts by ticks says that it was none.
qemu_luks() {
	local said
	for _ in {1..20}; do
		rm -f "$3"
		said=$(qemu-img convert -q -O luks --object "secret,id=s,file=$1" \
			-o key-secret=s,iter-time=10 "$2" "$3" 2>&1) && return
		[[ $said == *"accurate CPU usage"* ]] || break
	done
	fail "$said"
}

# --- volumes, encrypted without the kernel ---

mkdir volumes
cd volumes
printf 'correct horse' >pass
chmod 600 pass

head -c 3M /dev/urandom >clear
# With a detached header it is opened only over something that is known.
mke2fs -q -F -t ext4 -O ^has_journal clear 1M
qemu_luks pass clear luks1

# BitLocker: each mode, both sizes of keys and sectors; and one that is suspended.
head -c 4M /dev/urandom >bitlocker-clear
for kind in 8000-512 8001-4096 8003-4096 8004-512 8005-4096; do
	cp bitlocker-clear "bitlocker-$kind"
	mkbitlocker -m "${kind%-*}" -s "${kind#*-}" -k "bitlocker-$kind.BEK" "bitlocker-$kind"
done
cp bitlocker-clear suspended
mkbitlocker -c suspended

# --- a vault: a VM with a clear boot partition, a LUKS1 root and a BitLocker disk ---

cd ..
mkdir -p tree/etc tree/data/deep/er
echo web-01 >tree/etc/hostname
head -c 300K /dev/urandom >tree/data/random
head -c 1M /dev/zero >tree/data/zeros
for i in {1..40}; do
	echo "file $i" >"tree/data/deep/er/$i"
done
mkdir boot
echo kernel >boot/vmlinuz

mke2fs -q -t ext4 -d boot boot.fs 2M
mke2fs -q -t ext4 -d tree root.fs 8M
qemu_luks volumes/pass root.fs root.luks
# BitLocker has its metadata in the last MiB.
mke2fs -q -t ext4 -d tree data.fs 8M
truncate -s 9M data.fs
mkbitlocker -k volumes/data.BEK data.fs
# partitions FILE...: a disk with a partition for each file, from the first MiB on.
partitions() {
	python3 - "$@" <<'PY'
import struct, sys
table, at, out = b"", 2048, open("disk", "wb")
for path in sys.argv[1:]:
    data = open(path, "rb").read()
    sectors = -(-len(data) // 512)
    table += struct.pack("<B3sB3sII", 0, bytes(3), 0x83, bytes(3), at, sectors)
    out.seek(at * 512)
    out.write(data)
    at += -(-sectors // 2048) * 2048
out.truncate(at * 512)
out.seek(446)
out.write(table.ljust(64, b"\0") + b"\x55\xaa")
PY
}
partitions boot.fs root.luks
vaultctl init -q vault --name contoso
vaultctl backup -q vault web-01 -d os=disk -d lun0=data.fs -t 2026-11-20T02:00:07Z
rm -f ./*.fs root.luks disk

# --- a VM whose keys are escrowed with its points, wrapped for a KEK ---

# never_written FILE MIB: zeros in the ciphertext, as where a disk was encrypted before it was
# written to: from there on, and a sector that lies before it.
never_written() {
	dd if=/dev/zero of="$1" bs=1K seek=$(($2 * 1024)) count=900 conv=notrunc status=none
	dd if=/dev/zero of="$1" bs=4K seek=$(($2 * 256 - 160)) count=1 conv=notrunc status=none
}

# Of each volume the first MiB is a file system, the second zeros that were written, and
# most of the third was never written. BitLocker has its metadata in the last MiB.
mke2fs -q -t ext4 -b 4096 -O ^has_journal -d boot clear 1M
truncate -s 3M clear
passphrase os.pass os
for sector in 512 4096; do
	key_file volume.key "$sector"
	luks "luks-$sector" 2 volume.key os.pass clear "$sector"
	never_written "luks-$sector" 3
done
partitions luks-512 luks-4096
truncate -s 4M clear
cp clear lun0
mkbitlocker -m 8005 -s 4096 -k lun0.BEK lun0
cp clear lun1
mkbitlocker -m 8000 -s 512 -k lun1.BEK lun1
never_written lun0 2
never_written lun1 2

make_kek volumes/kek
make_kek volumes/other
# escrow FILE-NAME KEY-FILE
escrow() {
	vaultkey escrow --to volumes/kek.pub --label contoso-kek --file-name "$1" <"$2"
}
escrow LinuxPassPhraseFileName os.pass >os.json
# One that does not say whose it is.
escrow lun0.BEK lun0.BEK | sed '/"spki":/d' >lun0.json
escrow lun1.BEK lun1.BEK >lun1.json
vaultctl backup -q vault web-02 -d os=disk -d lun0=lun0 -d lun1=lun1 -t 2026-11-20T02:10:07Z \
	--escrow os=os.json --escrow lun0=lun0.json --escrow lun1=lun1.json
rm -f clear volume.key os.pass luks* disk lun[01]* os.json
