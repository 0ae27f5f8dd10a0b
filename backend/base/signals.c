// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/base/signals.h"

void signals_handle(const int *signals, size_t n, const struct sigaction *act,
		    struct sigaction *before)
{
	for (size_t i = 0; i < n; i++) {
		struct sigaction old = { .sa_handler = SIG_DFL };

		sigaction(signals[i], NULL, &old);
		if (old.sa_handler != SIG_IGN)
			sigaction(signals[i], act, NULL);
		if (before)
			before[i] = old;
	}
}
