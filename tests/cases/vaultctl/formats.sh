#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Containers of disks that are not read: refused, not taken for raw images.
. "$SRC/tests/lib.sh"

make_image raw.img 1M 1
vaultctl init -q vault

# container KIND OFFSET MAGIC: an image that only begins like one.
container() {
	cp raw.img "$1.img"
	printf '%b' "$3" |
		dd of="$1.img" bs=1 seek="$2" conv=notrunc status=none
	run_fails 1 vaultctl backup vault vm -d os="$1.img"
	assert_eq "$ERR" "vaultctl: $1.img: it is a $1 image; only raw and fixed VHD are read: convert it (qemu-img convert -O raw), or say --image-format raw to keep the container itself"
	run_ok vaultctl backup vault "kept $1" -d os="$1.img" --image-format raw
	vaultctl restore -q vault "kept $1" latest --to - | cmp - "$1.img"
}
container qcow2 0 'QFI\xfb'
container VHDX 0 vhdxfile
container VMDK 0 KDMV
container VMDK 0 '# Disk DescriptorFile'
container VDI 64 '\x7f\x10\xda\xbe'

# Too short for a magic number, or with one elsewhere.
printf QFI >short.img
run_ok vaultctl backup vault short -d os=short.img
cp raw.img late.img
printf 'QFI\xfb' | dd of=late.img bs=1 seek=512 conv=notrunc status=none
run_ok vaultctl backup vault late -d os=late.img

# As qemu-img writes them; as a raw disk they go in.
command -v qemu-img >/dev/null || exit 0
formats="qcow2 vhdx"
[[ ! ${CHECK_ALL-} ]] || formats="qcow2 vhdx vmdk vdi"
for f in $formats; do
	qemu-img convert -f raw -O "$f" raw.img "real.$f"
	run_fails 1 vaultctl backup vault vm -d os="real.$f"
	assert_contains "$ERR" "real.$f: it is a"
	[[ $f == qcow2 || ${CHECK_ALL-} ]] || continue
	qemu-img convert -O raw "real.$f" back.img
	assert_same back.img raw.img
done
# The extents of a VMDK apart from its descriptor are not read either.
qemu-img convert -f raw -O vmdk -o subformat=monolithicFlat raw.img flat.vmdk
run_fails 1 vaultctl backup vault vm -d os=flat.vmdk
assert_contains "$ERR" "flat.vmdk: it is a VMDK image"
qemu-img convert -f raw -O vpc -o subformat=dynamic raw.img dynamic.vhd
run_fails 1 vaultctl backup vault vm -d os=dynamic.vhd
assert_contains "$ERR" "dynamic VHD"
run_ok vaultctl list -1 vault
! grep -qx vm <<<"$OUT" || fail "a VM was made"
