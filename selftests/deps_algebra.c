// SPDX-License-Identifier: GPL-2.0
/* vm: host */
/*
 * The dependency algebra of the core, speculator/deps.h, in user space.
 *
 * The law: a missing dependency breaks the promise, a needless one is only
 * latency.  So after a merge nothing that either side was waiting for may be
 * gone, in whatever order and however often things are merged, while commits
 * go on, sequences wrap and slots are used again.
 *
 * deps.h has no negative control of its own: the tests of the exhaustive model
 * are run a second time with a merge that is wrong on purpose, and must notice.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "kselftest_harness.h"

/* What deps.h finds in the kernel. */
typedef unsigned int u32;
typedef int s32;

#define READ_ONCE(x)		__atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, v)	__atomic_store_n(&(x), v, __ATOMIC_RELAXED)
/* The reader's half of the pair, */
#define smp_load_acquire(p)	__atomic_load_n(p, __ATOMIC_ACQUIRE)
/* and the writer's. */
#define smp_store_release(p, v)	__atomic_store_n(p, v, __ATOMIC_RELEASE)

#include "../speculator/deps.h"

/* --- one component -------------------------------------------------------- */

static const struct {
	u32 a, b;
	bool after;
} seq_table[] = {
	{ 1, 0, true },
	{ 0, 1, false },
	{ 7, 7, false },
	{ 0, 0xffffffff, true },		/* over the wrap */
	{ 0xffffffff, 0, false },
	{ 5, 0xfffffffb, true },
	{ 0x80000000, 0x7fffffff, true },	/* no wrap of the sign */
	{ 0x7fffffff, 0x80000000, false },
	{ 0x7fffffff, 0, true },		/* the farthest that is later */
	{ 0x80000001, 0, false },		/* and the farthest that isn't */
};

TEST(seq_after)
{
	for (size_t i = 0; i < ARRAY_SIZE(seq_table); i++) {
		const u32 a = seq_table[i].a, b = seq_table[i].b;

		EXPECT_EQ(seq_table[i].after, spec_seq_after(a, b)) {
			TH_LOG("%#x after %#x", a, b);
		}
	}
}

static const struct {
	const char *what;
	u32 seq, released, live, failed, pending;
} pending_table[] = {
	{ "not durable yet",		11, 10, 1, 0, 1 },
	{ "durable",			10, 10, 1, 0, 0 },
	{ "durable long ago",		 3, 10, 1, 0, 0 },
	{ "not durable, wrapped",	 2, 0xfffffff0, 1, 0, 1 },
	{ "durable, wrapped",		0xfffffff0, 2, 1, 0, 0 },
	{ "source is gone",		11, 10, 0, 0, 0 },
	{ "another source is live",	11, 10, 2, 0, 0 },
	/* What failed stays pending, or its output would be let out. */
	{ "source has failed",		11, 10, 1, 1, 1 },
	{ "was durable before it failed", 10, 10, 1, 1, 0 },
};

TEST(pending)
{
	for (size_t i = 0; i < ARRAY_SIZE(pending_table); i++) {
		struct spec_marks m = {
			.live = pending_table[i].live,
			.failed = pending_table[i].failed,
			.released = { pending_table[i].released },
		};
		struct spec_dep d;

		spec_dep_one(&d, 0, pending_table[i].seq);
		EXPECT_EQ(pending_table[i].pending, spec_dep_pending(&d, &m)) {
			TH_LOG("%s", pending_table[i].what);
		}
	}
}

TEST(nothing_depends_on_nothing)
{
	struct spec_marks m = { .live = 0xffff };
	struct spec_dep d;

	/* Only the mask says what is valid. */
	memset(&d, 0x7e, sizeof(d));
	d.mask = 0;
	EXPECT_EQ(0U, spec_dep_pending(&d, &m));
	EXPECT_TRUE(spec_dep_covers(&d, &d, 0));
	spec_dep_merge(&d, 0, &d, 0);
	EXPECT_EQ(0U, d.mask);
}

TEST(one_is_in_its_slot)
{
	for (int slot = 0; slot < SPEC_SOURCES; slot++) {
		struct spec_marks m = { .live = 0xffff };
		struct spec_dep d;

		spec_dep_one(&d, slot, 5);
		EXPECT_EQ(1U << slot, d.mask);
		EXPECT_EQ(1U << slot, spec_dep_pending(&d, &m));
		m.released[slot] = 4;
		EXPECT_EQ(1U << slot, spec_dep_pending(&d, &m));
		m.released[slot] = 5;
		EXPECT_EQ(0U, spec_dep_pending(&d, &m));
	}
}

static const struct {
	const char *what;
	u32 have_mask, have_seq, from_mask, from_seq, mask;
	bool covers;
} covers_table[] = {
	{ "the same",		1, 5, 1, 5, 1, true },
	{ "more",		1, 6, 1, 5, 1, true },
	{ "less",		1, 4, 1, 5, 1, false },
	{ "more, wrapped",	1, 1, 1, 0xffffffff, 1, true },
	{ "less, wrapped",	1, 0xffffffff, 1, 1, 1, false },
	{ "not at all",		0, 9, 1, 5, 1, false },
	{ "another source",	2, 9, 1, 5, 1, false },
	{ "nothing asked",	0, 0, 1, 5, 0, true },
};

TEST(covers)
{
	for (size_t i = 0; i < ARRAY_SIZE(covers_table); i++) {
		struct spec_dep have = {
			.mask = covers_table[i].have_mask,
			.seq = { covers_table[i].have_seq,
				 covers_table[i].have_seq },
		};
		struct spec_dep from = {
			.mask = covers_table[i].from_mask,
			.seq = { covers_table[i].from_seq },
		};

		EXPECT_EQ(covers_table[i].covers,
			  spec_dep_covers(&have, &from, covers_table[i].mask)) {
			TH_LOG("%s", covers_table[i].what);
		}
	}
}

/*
 * A component that no longer counts must not win because its number looks
 * later: the slot was another source's, or the sequences have wrapped since.
 */
TEST(has_one_sequence)
{
	struct spec_dep d = { .mask = 1U << 3 };

	d.seq[3] = 0xffffffff;
	EXPECT_TRUE(spec_dep_has(&d, 3, 0xffffffff));
	EXPECT_TRUE(spec_dep_has(&d, 3, 0xfffffffe));
	EXPECT_FALSE(spec_dep_has(&d, 3, 0));	/* later, over the wrap */
	d.seq[2] = 0xffffffff;			/* without its bit it is none */
	EXPECT_FALSE(spec_dep_has(&d, 2, 1));
}

TEST(stale_component_is_overwritten)
{
	static const struct {
		u32 stale, new;
	} table[] = {
		{ 900000, 12 },			/* another journal's number */
		{ 10, 0x80000011 },		/* 2^31 commits later */
		{ 0xfffffff0, 3 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct spec_marks m = {
			.live = 1, .released = { table[i].new - 1 },
		};
		struct spec_dep d, from;

		spec_dep_one(&d, 0, table[i].stale);
		spec_dep_one(&from, 0, table[i].new);
		/* The component doesn't count: base 0. */
		spec_dep_merge(&d, 0, &from, 1);
		EXPECT_EQ(table[i].new, d.seq[0]);
		EXPECT_EQ(1U, spec_dep_pending(&d, &m));
		m.released[0] = table[i].new;
		EXPECT_EQ(0U, spec_dep_pending(&d, &m));
	}
}

/* A component outside the mask is neither read nor written. */
TEST(merge_touches_only_the_mask)
{
	struct spec_dep d = { .mask = 5, .seq = { 1, 22, 3 } };
	struct spec_dep from = { .mask = 7, .seq = { 9, 9, 9, 9 } };

	spec_dep_merge(&d, 5, &from, 4);
	EXPECT_EQ(5U, d.mask);
	EXPECT_EQ(1U, d.seq[0]);
	EXPECT_EQ(22U, d.seq[1]);
	EXPECT_EQ(9U, d.seq[2]);
}

TEST(all_slots_at_once)
{
	struct spec_marks m = { .live = 0xffff };
	struct spec_dep d = {}, odd = {}, even = {};

	for (int i = 0; i < SPEC_SOURCES; i++) {
		struct spec_dep *side = i & 1 ? &odd : &even;

		side->mask |= 1U << i;
		side->seq[i] = 100 + i;
	}
	spec_dep_merge(&d, 0, &odd, odd.mask);
	spec_dep_merge(&d, spec_dep_pending(&d, &m), &even, even.mask);
	EXPECT_EQ(0xffffU, spec_dep_pending(&d, &m));
	for (int i = 0; i < SPEC_SOURCES; i++)
		EXPECT_EQ(100U + i, d.seq[i]);
}

/* --- the exhaustive small model ------------------------------------------- */

/*
 * Two sources.  A component is absent or one of a few numbers around what is
 * released: durable long ago, durable just now, not yet by one, by two, ...
 * (jbd2 has two that are uncommitted at most, the model has three).  Every
 * pair, every triple, every set of live sources, and marks that go on, around
 * several places of the number circle.
 */
#define SOURCES		2
#define COMPONENTS	6	/* absent, and the offsets */
#define STATES		36	/* COMPONENTS ^ SOURCES */
#define LIVE		4	/* 2 ^ SOURCES */
#define PLACES		8
static const int offsets[COMPONENTS - 1] = { -2, 0, 1, 2, 3 };
static const u32 circle[PLACES] = {
	100, 0, 1, 0xffffffff, 0xfffffffe, 0x7ffffffe, 0x7fffffff, 0x80000000,
};

typedef void merge_fn(struct spec_dep *d, u32 base, const struct spec_dep *from,
		      u32 mask);

/* State @n, counted modulo STATES, around @at. */
static struct spec_dep state(long n, u32 at)
{
	/* What isn't valid must not matter. */
	struct spec_dep d = { .seq = { 0x5a5a5a5a, 0xa5a5a5a5 } };

	for (int i = 0; i < SOURCES; i++, n /= COMPONENTS)
		if (n % COMPONENTS) {
			d.mask |= 1U << i;
			d.seq[i] = at + offsets[n % COMPONENTS - 1];
		}
	return d;
}

static struct spec_marks marks(u32 live, u32 at, int more0, int more1)
{
	return (struct spec_marks){
		.live = live, .released = { at + more0, at + more1 },
	};
}

/* What an ideal observer says is pending: the sequence, or 0 steps. */
static int steps(const struct spec_dep *d, int i, const struct spec_marks *m)
{
	s32 left;

	if (!(d->mask & m->live & (1U << i)))
		return 0;
	left = d->seq[i] - m->released[i];
	return left > 0 ? left : 0;
}

static bool same_pending(const struct spec_dep *a, const struct spec_dep *b,
			 const struct spec_marks *m)
{
	for (int i = 0; i < SOURCES; i++)
		if (steps(a, i, m) != steps(b, i, m))
			return false;
	return spec_dep_pending(a, m) == spec_dep_pending(b, m);
}

/* Is what @c waits for exactly what @a and @b wait for together? */
static bool is_union(const struct spec_dep *c, const struct spec_dep *a,
		     const struct spec_dep *b, const struct spec_marks *m)
{
	for (int i = 0; i < SOURCES; i++) {
		int x = steps(a, i, m), y = steps(b, i, m);

		if (steps(c, i, m) != (x > y ? x : y))
			return false;
	}
	return spec_dep_pending(c, m) ==
	       (spec_dep_pending(a, m) | spec_dep_pending(b, m));
}

/* As the core merges: what counts in d, what is pending in from. */
static struct spec_dep merged(merge_fn *merge, struct spec_dep d,
			      const struct spec_dep *from,
			      const struct spec_marks *m)
{
	merge(&d, spec_dep_pending(&d, m), from, spec_dep_pending(from, m));
	return d;
}

/* Every pair: the number of cases that break a law, by law. */
struct broken {
	long cases, is_union, commutes, idempotent, covers, covers_unchanged,
	     later, raced;
};

static struct broken check_pairs(merge_fn *merge)
{
	struct broken broken = {};

	for (long n = 0; n < PLACES * LIVE * STATES * STATES; n++) {
		const u32 at = circle[n % PLACES];
		const u32 live = n / PLACES % LIVE;
		const struct spec_marks m = marks(live, at, 0, 0);
		const struct spec_dep a = state(n / (PLACES * LIVE), at);
		const struct spec_dep b =
			state(n / (PLACES * LIVE * STATES), at);
		const struct spec_dep ab = merged(merge, a, &b, &m);
		const struct spec_dep ba = merged(merge, b, &a, &m);
		const struct spec_dep aa = merged(merge, a, &a, &m);
		const struct spec_dep abb = merged(merge, ab, &b, &m);

		broken.cases++;
		broken.is_union += !is_union(&ab, &a, &b, &m);
		broken.commutes += !same_pending(&ab, &ba, &m);
		broken.idempotent += !same_pending(&aa, &a, &m) ||
				     !same_pending(&abb, &ab, &m);
		broken.covers +=
			!spec_dep_covers(&ab, &a, spec_dep_pending(&a, &m)) ||
			!spec_dep_covers(&ab, &b, spec_dep_pending(&b, &m));
		/* The short cut of the core: covered means nothing to do. */
		broken.covers_unchanged +=
			spec_dep_covers(&a, &b, spec_dep_pending(&b, &m)) !=
			same_pending(&ab, &a, &m);

		for (int more = 0; more < 16; more++) {
			const struct spec_marks on =
				marks(live, at, more % 4, more / 4);
			struct spec_dep raced = a;

			/* Commits after the merge release what they release. */
			broken.later += !is_union(&ab, &a, &b, &on);
			/* A commit between the look at b and the merge. */
			merge(&raced, spec_dep_pending(&a, &on), &b,
			      spec_dep_pending(&b, &m));
			broken.raced += !is_union(&raced, &a, &b, &on);
		}
	}
	return broken;
}

static long check_triples(merge_fn *merge)
{
	long broken = 0;

	for (long n = 0; n < PLACES * LIVE * STATES * STATES * STATES; n++) {
		const u32 at = circle[n % PLACES];
		const u32 live = n / PLACES % LIVE;
		const struct spec_marks m = marks(live, at, 0, 0);
		const struct spec_dep a = state(n / (PLACES * LIVE), at);
		const struct spec_dep b =
			state(n / (PLACES * LIVE * STATES), at);
		const struct spec_dep c =
			state(n / (PLACES * LIVE * STATES * STATES), at);
		const struct spec_dep ab = merged(merge, a, &b, &m);
		const struct spec_dep bc = merged(merge, b, &c, &m);
		const struct spec_dep ab_c = merged(merge, ab, &c, &m);
		const struct spec_dep a_bc = merged(merge, a, &bc, &m);

		broken += !same_pending(&ab_c, &a_bc, &m);
	}
	return broken;
}

TEST(model_pairs)
{
	const struct broken broken = check_pairs(spec_dep_merge);

	TH_LOG("%ld cases", broken.cases);
	ASSERT_EQ(41472, broken.cases);
	EXPECT_EQ(0, broken.is_union);
	EXPECT_EQ(0, broken.commutes);
	EXPECT_EQ(0, broken.idempotent);
	EXPECT_EQ(0, broken.covers);
	EXPECT_EQ(0, broken.covers_unchanged);
	EXPECT_EQ(0, broken.later);
	EXPECT_EQ(0, broken.raced);
}

TEST(model_triples)
{
	EXPECT_EQ(0, check_triples(spec_dep_merge));
}

/* --- negative controls: merges with the mistakes one would make ----------- */

static void merge_unsigned(struct spec_dep *d, u32 base,
			   const struct spec_dep *from, u32 mask)
{
	for (int i = 0; i < SOURCES; i++)
		if (mask & (1U << i) &&
		    (!(base & (1U << i)) || from->seq[i] > d->seq[i]))
			d->seq[i] = from->seq[i];
	d->mask |= mask;
}

static void merge_last(struct spec_dep *d, u32 base,
		       const struct spec_dep *from, u32 mask)
{
	for (int i = 0; i < SOURCES; i++)
		if (mask & (1U << i))
			d->seq[i] = from->seq[i];
	d->mask |= mask;
}

static void merge_forgets(struct spec_dep *d, u32 base,
			  const struct spec_dep *from, u32 mask)
{
	spec_dep_merge(d, base, from, mask);
	d->mask = mask;
}

static void merge_garbage(struct spec_dep *d, u32 base,
			  const struct spec_dep *from, u32 mask)
{
	/* Trusts the numbers of components that were never set. */
	for (int i = 0; i < SOURCES; i++)
		if (mask & (1U << i) && spec_seq_after(from->seq[i], d->seq[i]))
			d->seq[i] = from->seq[i];
	d->mask |= mask;
}

TEST(model_notices_mistakes)
{
	EXPECT_NE(0, check_pairs(merge_unsigned).is_union);
	EXPECT_NE(0, check_pairs(merge_last).is_union);
	EXPECT_NE(0, check_pairs(merge_last).commutes);
	EXPECT_NE(0, check_pairs(merge_forgets).is_union);
	EXPECT_NE(0, check_pairs(merge_garbage).is_union);
	EXPECT_NE(0, check_triples(merge_garbage));
}

/* --- readers without a lock ----------------------------------------------- */

#define RACE_ROUNDS	300000

static struct spec_dep shared;
static struct spec_marks shared_marks;
static u32 published = 0xffff0000;	/* wraps on the way */

static void *raise_shared(void *unused)
{
	u32 seq = published;

	for (int i = 0; i < RACE_ROUNDS; i++) {
		struct spec_dep from;

		spec_dep_one(&from, i % SPEC_SOURCES, ++seq);
		spec_dep_merge(&shared, spec_dep_pending(&shared, &shared_marks),
			       &from, from.mask);
		/* Pairs with the acquire of the reader: merged before told. */
		smp_store_release(&published, seq);
	}
	return NULL;
}

/*
 * A dependency that was there before the look is seen by the look: no bit
 * without its number, no number that goes back.
 */
TEST(lockless_reader)
{
	const u32 first = published;
	pthread_t writer;
	u32 seen;

	shared_marks.live = 0xffff;
	for (int i = 0; i < SPEC_SOURCES; i++)
		shared_marks.released[i] = first;
	ASSERT_EQ(0, pthread_create(&writer, NULL, raise_shared, NULL));
	do {
		int slot;

		/* Pairs with the release of the writer. */
		seen = smp_load_acquire(&published);
		if (seen == first)
			continue;
		slot = (seen - first - 1) % SPEC_SOURCES;
		ASSERT_NE(0U, spec_dep_pending(&shared, &shared_marks) &
			      (1U << slot));
		ASSERT_FALSE(spec_seq_after(seen, READ_ONCE(shared.seq[slot])));
	} while (seen != first + RACE_ROUNDS);
	ASSERT_EQ(0, pthread_join(writer, NULL));
}

TEST_HARNESS_MAIN
