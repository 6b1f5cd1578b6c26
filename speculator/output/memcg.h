/* SPDX-License-Identifier: GPL-2.0 */
/* What memory cgroups have of held output. */
#ifndef _SPEC_OUTPUT_MEMCG_H
#define _SPEC_OUTPUT_MEMCG_H

#include <linux/memcontrol.h>

void spec_memcg_add(struct mem_cgroup *memcg, s64 memory);
bool spec_memcg_room(struct mem_cgroup *memcg);
bool spec_memcg_room_self(void);

#endif /* _SPEC_OUTPUT_MEMCG_H */
