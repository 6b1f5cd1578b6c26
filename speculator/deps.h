/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The dependency algebra.  Pure: it knows neither tasks nor locks, and the
 * selftests compile it in user space (selftests/deps_algebra.c).
 *
 * Commits of one source happen in order, so depending on a sequence implies all
 * earlier ones: a dependency on one source is one number, merging two is a
 * maximum ("Rethink the Sync", section 3.3; the undo logs of the paper are not
 * needed).  Over several sources it is a vector.
 *
 * A needless dependency is only latency; a missing one breaks the promise.
 * Every function here errs to that side.
 */
#ifndef _SPEC_DEPS_H
#define _SPEC_DEPS_H

#define SPEC_SOURCES	16

/**
 * struct spec_dep - what something depends on
 * @mask: bit i set: depends on source i up to @seq[i]
 * @seq: valid only where the bit is set
 *
 * Readers may look without a lock while one writer (under the lock of the
 * table's bucket) raises it: @seq[i] is stored before its bit.
 */
struct spec_dep {
	u32 mask;
	u32 seq[SPEC_SOURCES];
};

/**
 * struct spec_marks - how far each source has come
 * @live: bit i set: source i is registered
 * @failed: bit i set: source i will never commit anything again
 * @released: all up to here is durable, barriers included
 */
struct spec_marks {
	u32 live;
	u32 failed;
	u32 released[SPEC_SOURCES];
};

/* Is sequence @a later than @b?  They wrap. */
static inline bool spec_seq_after(u32 a, u32 b)
{
	return (s32)(a - b) > 0;
}

/* The sources on which @d still waits, as a bit mask.  0: committed. */
static inline u32 spec_dep_pending(const struct spec_dep *d,
				   const struct spec_marks *m)
{
	/* The bit after its sequence, as spec_dep_merge() stores them. */
	u32 left = smp_load_acquire(&d->mask) & READ_ONCE(m->live);
	u32 pending = 0;

	while (left) {
		int i = __builtin_ctz(left);

		left &= left - 1;
		if (spec_seq_after(READ_ONCE(d->seq[i]),
				   READ_ONCE(m->released[i])))
			pending |= 1U << i;
	}
	return pending;
}

/* Does @d already hold all of @from that is in @mask? */
static inline bool spec_dep_covers(const struct spec_dep *d,
				   const struct spec_dep *from, u32 mask)
{
	u32 have = smp_load_acquire(&d->mask);	/* as above */

	if (mask & ~have)
		return false;
	while (mask) {
		int i = __builtin_ctz(mask);

		mask &= mask - 1;
		if (spec_seq_after(READ_ONCE(from->seq[i]),
				   READ_ONCE(d->seq[i])))
			return false;
	}
	return true;
}

/* Does @d hold @seq of the source in @slot? */
static inline bool spec_dep_has(const struct spec_dep *d, int slot, u32 seq)
{
	/* as above */
	return (smp_load_acquire(&d->mask) & (1U << slot)) &&
	       !spec_seq_after(seq, READ_ONCE(d->seq[slot]));
}

/*
 * Raise @d by the components of @from in @mask.  @base are the components of
 * @d that still count: others are overwritten, since a committed sequence of
 * long ago may look later than a new one once the numbers have wrapped.
 */
static inline void spec_dep_merge(struct spec_dep *d, u32 base,
				  const struct spec_dep *from, u32 mask)
{
	u32 left = mask;

	while (left) {
		int i = __builtin_ctz(left);
		u32 seq = READ_ONCE(from->seq[i]);

		left &= left - 1;
		if (!(base & (1U << i)) || spec_seq_after(seq, d->seq[i]))
			WRITE_ONCE(d->seq[i], seq);
	}
	/* Pairs with the load in spec_dep_pending() and spec_dep_covers(). */
	smp_store_release(&d->mask, d->mask | mask);
}

/* A dependency on one source. */
static inline void spec_dep_one(struct spec_dep *d, int slot, u32 seq)
{
	d->mask = 1U << slot;
	d->seq[slot] = seq;
}

#endif /* _SPEC_DEPS_H */
