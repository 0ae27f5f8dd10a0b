// SPDX-License-Identifier: GPL-3.0-or-later
/* The subcommands of vaultkey, a file each; tools/common/program.h. */
#pragma once
#include "tools/common/keys.h"
#include "tools/common/options.h"
#include "tools/common/output.h"
#include "tools/common/program.h"

int cmd_attach(int argc, char **argv) MUST_USE;
int cmd_check(int argc, char **argv) MUST_USE;
int cmd_close(int argc, char **argv) MUST_USE;
int cmd_escrow(int argc, char **argv) MUST_USE;
int cmd_open(int argc, char **argv) MUST_USE;
int cmd_restore_to_keyvault(int argc, char **argv) MUST_USE;
int cmd_rewrap(int argc, char **argv) MUST_USE;
int cmd_unwrap(int argc, char **argv) MUST_USE;
