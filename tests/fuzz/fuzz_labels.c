// SPDX-License-Identifier: GPL-3.0-or-later
/* The input is the labels of a point. */
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	DROP(buf) struct buf b = BUF_INIT(VF_RECORD_MAX);
	struct label *labels = NULL;
	size_t n = 0;

	if (size > VF_LABELS_MAX ||
	    fuzz_checked(vf_labels_parse(data, size, &labels, &n)))
		return 0;
	for (size_t i = 0; i < n; i++)
		assert(*labels[i].key &&
		       (!i || strcmp(labels[i - 1].key, labels[i].key) < 0));
	vf_labels_put(&b, labels, n);
	assert(b.len == size && (!size || !memcmp(b.data, data, size)));
	labels_free(labels, n);
	return 0;
}
