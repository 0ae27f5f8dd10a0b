// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/vaultkey/headers.h"

#include <errno.h>
#include <string.h>

int header_list_read(const struct string_list *options, const char *volume,
		     struct header_list *out)
{
	int r = 0;

	out->v = calloc(options->n + 1, sizeof(*out->v));
	if (!out->v)
		return fail(-ENOMEM, "out of memory");
	for (size_t i = 0; i < options->n; i++) {
		const char *text = options->v[i];
		struct header_arg *h = &out->v[out->n];

		if (volume && !strchr(text, '=')) {
			h->volume = strdup(volume);
			h->path = text;
			r = h->volume ? 0 : fail(-ENOMEM, "out of memory");
		} else {
			r = volumes_header_parse(text, &h->vm, &h->volume,
						 &h->path);
		}
		if (r == -EINVAL)
			return bad_usage("%s", err_text(r));
		if (r < 0)
			return r;
		out->n++;
	}
	return 0;
}

int header_list_for(const struct header_list *l, const char *vm,
		    struct volumes_header_file **ret, size_t *n)
{
	struct volumes_header_file *v = calloc(l->n + 1, sizeof(*v));

	if (!v)
		return fail(-ENOMEM, "out of memory");
	*ret = v;
	*n = 0;
	for (size_t i = 0; i < l->n; i++) {
		const struct header_arg *h = &l->v[i];

		if (!vm || !h->vm || strcmp(h->vm, vm) == 0)
			v[(*n)++] = (struct volumes_header_file){ h->volume,
								  h->path };
	}
	return 0;
}

void header_list_release(struct header_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->v[i].vm);
		free(l->v[i].volume);
	}
	free(l->v);
	*l = (struct header_list){ 0 };
}
