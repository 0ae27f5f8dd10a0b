// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The subcommands of vaultctl, a file each. argv[0] is the subcommand's name.
 * They return 0 (or 1: the help was shown), else a negative errno or -EUSAGE
 * with a sentence.
 */
#pragma once
#include "tools/common/options.h"
#include "tools/common/output.h"
#include "tools/common/program.h"

int cmd_backup(int argc, char **argv) MUST_USE;
int cmd_init(int argc, char **argv) MUST_USE;
int cmd_key(int argc, char **argv) MUST_USE;
int cmd_list(int argc, char **argv) MUST_USE;
int cmd_prune(int argc, char **argv) MUST_USE;
int cmd_restore(int argc, char **argv) MUST_USE;
int cmd_restore_disks(int argc, char **argv) MUST_USE;
int cmd_show(int argc, char **argv) MUST_USE;
int cmd_verify(int argc, char **argv) MUST_USE;
