#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Makes in the current directory what the cases in the virtual machine read: what
# takes seconds here takes minutes there.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

# --- volumes, encrypted without the kernel ---

mkdir volumes
cd volumes
printf 'correct horse' >pass
chmod 600 pass

# A LUKS1 volume by another hand than cryptsetup's.
head -c 3M /dev/urandom >clear
qemu-img convert -q -O luks --object secret,id=s,file=pass \
	-o key-secret=s,iter-time=10 clear luks1

# BitLocker: every method, and one that is suspended.
head -c 4M /dev/urandom >bitlocker-clear
for kind in 8000-512 8001-512 8002-4096 8003-512 8004-512 8004-4096 8005-4096 8000-4096; do
	cp bitlocker-clear "bitlocker-$kind"
	mkbitlocker -m "${kind%-*}" -s "${kind#*-}" -k "bitlocker-$kind.BEK" "bitlocker-$kind"
done
cp bitlocker-clear suspended
mkbitlocker -c suspended
