// SPDX-License-Identifier: GPL-3.0-or-later
/* journal_state TYPE IMAGE: "clean", "dirty", … */
#include <stdio.h>

#include "backend/base/err.h"
#include "backend/guest/journal.h"

int main(int argc, char **argv)
{
	DROP(source) struct source *s = NULL;
	enum journal_state state;
	int r;

	if (argc != 3)
		return 2;
	r = source_open_file(argv[2], &s);
	if (r == 0)
		r = journal_read(s, argv[1], &state);
	if (r < 0) {
		fprintf(stderr, "journal_state: %s\n", err_text(r));
		return 1;
	}
	puts(journal_state_name(state));
	return 0;
}
