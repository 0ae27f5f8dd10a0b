# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
#
# Sourced by the cases of tests/vm, after the library of all cases. DATA is what
# prepare.sh made.

. "$SRC/tests/lib.sh"
export PATH=$PATH:/usr/sbin:/sbin
DATA=/vm/data
