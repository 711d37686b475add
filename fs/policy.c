/* SPDX-License-Identifier: GPL-2.0-or-later */
/* policy.c: whether a place is `back` or `through`. The options name places by
 * path; they are turned into inodes when the mount begins, so that a place that
 * is moved takes its policy along. The innermost place that an inode lies in
 * decides. Without options everything is back, and nothing is asked.
 */
#include "view.h"

int policy_open(struct vfs *v)
{
	const struct config *c = v->config;

	for (unsigned k = 0; k < c->policies_n; k++) {
		const struct config_policy *p = &c->policies[k];
		struct caller nobody = { 0 };
		CLEANUP_FREE char *copy = strdup(p->path);
		struct meta_inode d, i = { .ino = META_ROOT };
		char *rest = copy, *name;
		int r = copy ? 0 : -ENOMEM;

		while (r == 0 && (name = strsep(&rest, "/")) != NULL)
			if (*name)
				r = vfs_walk(v, &nobody, i.ino, name, &d, &i);
		if (r == -ENOENT) {
			msg_warning("option %s=%s: there is no such directory; "
				    "the option has no effect",
				    p->through ? "through" : "back", p->path);
			continue;
		}
		if (r < 0)
			return r;
		v->places[v->places_n++] =
			(struct place){ i.ino, p->through };
	}
	return 0;
}

bool policy_is_through(struct vfs *v, uint64_t ino)
{
	enum { DEPTH_MAX = 4096 };
	bool through = false, found = false;

	if (!v->wback || v->places_n == 0)
		return !v->wback;
	meta_begin(v->meta);
	for (unsigned depth = 0; !found && depth < DEPTH_MAX; depth++) {
		struct meta_inode i;

		for (unsigned k = 0; k < v->places_n; k++)
			if (v->places[k].ino == ino) {
				through = v->places[k].through;
				found = true;
			}
		if (ino == META_ROOT || view_get(v, ino, &i) < 0)
			break;
		ino = i.parent;
	}
	meta_end(v->meta);
	return through;
}
