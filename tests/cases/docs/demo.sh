#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The demo goes through, and leaves nothing behind.
# long: runs the demo, as make demo does
. "$SRC/tests/lib.sh"

run_ok "$SRC/tests/demo.sh"
assert_contains "$OUT" "demo: all the same, byte for byte"
assert_eq "$(find . -mindepth 1 -maxdepth 1 ! -name home ! -name ".said.*")" ""
