#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A restored VHD is that of the mount, byte for byte.
. "$SRC/tests/lib.sh"
command -v vaultfs >/dev/null || skip "needs vaultfs"
require_fuse

make_image --holes a.img 3M 1
make_image b.img 64K 2
vaultctl init -q vault --name v
vaultctl backup -q vault vm -d a=a.img -d b=b.img
mount_vault vault mnt
vaultctl restore -q vault vm latest --to out/ --format vhd
assert_same out/a.vhd mnt/v/vm/latest/vhd/a.vhd
assert_same out/b.vhd mnt/v/vm/latest/vhd/b.vhd
umount_vault mnt
