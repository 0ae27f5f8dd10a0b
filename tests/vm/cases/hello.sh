#!/usr/bin/env bash
. "$SRC/tests/vm/lib.sh"
truncate -s 64M img
printf secret >key
cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 img key
cryptsetup open img x --key-file key
mkfs.ext4 -q /dev/mapper/x
mkdir m; mount /dev/mapper/x m; echo hi > m/a; umount m; cryptsetup close x
dmsetup targets; df; free; which mount losetup
