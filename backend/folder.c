// SPDX-License-Identifier: GPL-3.0-or-later
#include "backend/folder.h"

#include <errno.h>

#include "backend/base/err.h"

int folder_lookup(struct folder *f, const char *name, struct entry_attr *out)
{
	return f->ops->lookup(f, name, out);
}

int folder_list(struct folder *f, uint64_t cookie, folder_emit *emit, void *ctx)
{
	return f->ops->list(f, cookie, emit, ctx);
}

int folder_open_dir(struct folder *f, const char *name, struct folder **ret)
{
	if (!f->ops->open_dir)
		return fail(-ENOTDIR, "%s: not a directory", name);
	return f->ops->open_dir(f, name, ret);
}

int folder_open(struct folder *f, const char *name, struct source **ret)
{
	if (!f->ops->open)
		return fail(-EISDIR, "%s: not a file", name);
	return f->ops->open(f, name, ret);
}

int folder_readlink(struct folder *f, const char *name, char *buf, size_t size)
{
	if (!f->ops->readlink)
		return fail(-EINVAL, "%s: not a symbolic link", name);
	return f->ops->readlink(f, name, buf, size);
}

int folder_xattr(struct folder *f, const char *name, const char *key,
		 struct buf *out)
{
	if (!f->ops->xattr)
		return key ? fail(-ENODATA, "%s: no attribute %s", name, key)
			   : 0;
	return f->ops->xattr(f, name, key, out);
}

void folder_close(struct folder *f)
{
	if (f)
		f->ops->close(f);
}
