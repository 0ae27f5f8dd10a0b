#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Makes in the current directory what the cases in the virtual machine read:
# here it takes seconds that there are minutes.
set -euo pipefail
