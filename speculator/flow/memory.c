// SPDX-License-Identifier: GPL-2.0
/*
 * Shared memory: mappings of files, of anonymous shared memory, of System V
 * segments, memfd, hugetlbfs (paper section 3.5).
 *
 * A store is an instruction and a load is one; nothing sees them.  So a process
 * that may store into something is taken to have stored all it depends on, and
 * one that may load from it to have loaded it: a dependency goes at once, and
 * transitively, from whoever can write a mapped object to whoever maps it.
 *
 * That needs to know who maps what, in any context and without sleeping, which
 * the kernel's own i_mmap trees (under a semaphore) cannot tell.  So there is a
 * table of our own: a link for each pair of process and object.  An object is
 * what backs the pages: the inode of the mapping.  A link is made while mmap_lock
 * is held for writing, so before anybody can use the mapping; it is removed some
 * time after the last mapping of the pair has gone, or with the process.
 *
 * A link that only reads takes part as well: a private mapping shows the pages
 * of the file until it has copied them.  It never passes anything to the object,
 * so the libraries that all map do not glue processes together.
 *
 * The invariant: where an entry of the dependency table covers something, so do
 * the entries of all that can be reached from it.  That is what lets the usual
 * way of a repeated dependency be a compare (spec_merge()).  It does not hold
 * while a dependency is being spread; then spec_unsettled is not 0, and whoever
 * would rely on it waits for the lock.
 */

#include <linux/hashtable.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/workqueue.h>
#include "../../compat/ipc.h"
#include "../object.h"
#include "../source.h"
#include "../stats.h"
#include "../trace.h"
#include "memory.h"

/**
 * struct mapper - a process that maps something
 * @node:	in mappers, by @mm
 * @mm:		the key of the process; alive as long as this is, since exit_mmap()
 *		removes it
 * @links:	what it maps; those it can write first
 * @work:	on the list of those whose dependency is still to be spread
 * @stale:	on the list of those of which something was unmapped
 */
struct mapper {
	struct hlist_node node;
	struct mm_struct *mm;
	struct list_head links;
	struct list_head work;
	struct list_head stale;
};

/**
 * struct map_object - what somebody maps
 * @node:	in objects, by @key
 * @key:	of the object, compared only
 * @links:	of it; never empty
 *
 * So that who comes upon another object's bucket does not go through its links:
 * those of the C library are as many as there are processes.
 */
struct map_object {
	struct hlist_node node;
	const void *key;
	struct hlist_head links;
};

/**
 * struct map_link - a process maps an object
 * @of_mapper:	in mapper->links
 * @of_object:	in object->links
 * @of_pair:	in pairs, by both
 * @mapper:	the process
 * @object:	what it maps; when the link is dead, what died with it or NULL
 * @write:	it can be written through the mapping
 * @seen:	found mapped by the present collect()
 */
struct map_link {
	struct list_head of_mapper;
	struct hlist_node of_object;
	struct hlist_node of_pair;
	struct mapper *mapper;
	struct map_object *object;
	bool write;
	bool seen;
};

static DEFINE_HASHTABLE(mappers, 10);
static DEFINE_HASHTABLE(objects, 12);
static DEFINE_HASHTABLE(pairs, 13);
static struct kmem_cache *mapper_cache, *object_cache, *link_cache;
static LIST_HEAD(stale_mappers);

/* Set while the hooks are placed: only then links are removed in time. */
static bool tracking;

/* Where a dependency of this key has to go on to; see spec_mapped(). */
atomic_t spec_links[1 << SPEC_LINK_BITS];

/*
 * Protects all of the above.  Taken wherever a dependency is passed on: under the
 * siglock with interrupts off, under socket locks, in softirq; and under the
 * mmap_lock.  Only the locks of the dependency table are taken inside.
 */
static DEFINE_RAW_SPINLOCK(map_lock);

static atomic_t *out_links(const void *key)
{
	return &spec_links[hash_ptr(key, SPEC_LINK_BITS)];
}

static unsigned long pair_hash(const struct mm_struct *mm, const void *object)
{
	return (unsigned long)mm ^ ((unsigned long)object << 1);
}

/* The caller holds map_lock for this and all below that take no context. */
static struct mapper *find_mapper(const void *mm)
{
	struct mapper *m;

	hash_for_each_possible(mappers, m, node, (unsigned long)mm)
		if (m->mm == mm)
			return m;
	return NULL;
}

static struct map_link *find_link(const struct mm_struct *mm,
				  const void *object)
{
	struct map_link *l;

	hash_for_each_possible(pairs, l, of_pair, pair_hash(mm, object))
		if (l->mapper->mm == mm && l->object->key == object)
			return l;
	return NULL;
}

static struct map_object *find_object(const void *key)
{
	struct map_object *o;

	hash_for_each_possible(objects, o, node, (unsigned long)key)
		if (o->key == key)
			return o;
	return NULL;
}

static void begin_spreading(unsigned long *flags) __acquires(&map_lock)
{
	raw_spin_lock_irqsave(&map_lock, *flags);
	atomic_inc(&spec_unsettled);
	/* Pairs with smp_rmb() in spec_merge(): the mark before any entry. */
	smp_mb__after_atomic();
}

static void end_spreading(unsigned long flags) __releases(&map_lock)
{
	/* After all entries, for who does not find them covered. */
	smp_mb__before_atomic();
	atomic_dec(&spec_unsettled);
	raw_spin_unlock_irqrestore(&map_lock, flags);
}

/**
 * spec_mapped_wait - wait until the dependency that is being spread has arrived
 *
 * Context: any.
 */
void spec_mapped_wait(void)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&map_lock, flags);
	raw_spin_unlock_irqrestore(&map_lock, flags);
}

/*
 * Interrupts are off while a dependency is being spread, and who shares how much
 * with how many is up to the users.  So after looking at this many links, and
 * objects in a bucket, it becomes everybody's instead: that costs others a wait
 * for the commit, not the machine its interrupts.
 */
#define SPREAD_MAX	8192

/* The same for who removes links: after so many others get the lock. */
#define REMOVE_MAX	1024

/**
 * struct spread - a dependency on its way
 * @dep:	what to depend on
 * @mask:	the components of @dep that count
 * @links:	links and objects looked at so far
 * @work:	mappers that have just learned of it
 */
struct spread {
	const struct spec_dep *dep;
	u32 mask;
	unsigned int links;
	struct list_head work;
};

/* One link more; returns whether that was enough. */
static bool too_far(struct spread *s)
{
	if (++s->links < SPREAD_MAX)
		return false;
	if (s->links == SPREAD_MAX)
		spec_merge_everyone(s->dep, s->mask);
	return true;
}

/* Returns whether the key depended on less before. */
static bool spread_to(struct spread *s, const void *from, const void *to)
{
	bool raised = spec_merge_one(to, SPEC_CH_MEMORY, s->dep, s->mask);

	if (raised) {
		spec_count(puts, SPEC_CH_MEMORY);
		trace_put(from, to, SPEC_CH_MEMORY, s->mask);
	}
	return raised;
}

static void spread_to_mapper(struct spread *s, const void *object,
			     struct mapper *m)
{
	if (spread_to(s, object, m->mm) && list_empty(&m->work))
		list_add_tail(&m->work, &s->work);
}

static void spread_from_object(struct spread *s, const struct map_object *o)
{
	struct map_link *l;

	hlist_for_each_entry(l, &o->links, of_object) {
		if (too_far(s))
			break;
		spread_to_mapper(s, o->key, l->mapper);
	}
}

static void spread_from_mapper(struct spread *s, struct mapper *m)
{
	struct map_link *l;

	list_for_each_entry(l, &m->links, of_mapper) {
		if (!l->write || too_far(s))
			break;
		if (spread_to(s, m->mm, l->object->key))
			spread_from_object(s, l->object);
	}
}

/* Until nobody is left who has learned something new. */
static void spread(struct spread *s, const void *from)
{
	struct mapper *m = find_mapper(from);
	struct map_object *o;

	INIT_LIST_HEAD(&s->work);
	hash_for_each_possible(objects, o, node, (unsigned long)from) {
		if (too_far(s))
			break;
		if (o->key == from)
			spread_from_object(s, o);
	}
	if (m)
		spread_from_mapper(s, m);
	while (!list_empty(&s->work)) {
		m = list_first_entry(&s->work, struct mapper, work);
		list_del_init(&m->work);
		spread_from_mapper(s, m);
	}
}

/**
 * spec_mapped_merge - make a key depend on @dep, and all that it shares memory
 * with
 * @key: of a process or of an object
 * @ch: the channel, for statistics
 * @dep: what to depend on
 * @mask: the components of @dep that count
 *
 * The cost is in proportion to the number of links of those that did not depend
 * on @dep yet, which happens once per commit, and bounded by SPREAD_MAX.
 *
 * Context: any, interrupts off included.
 * Return: whether the key depended on less before.
 */
bool spec_mapped_merge(const void *key, enum spec_channel_id ch,
		       const struct spec_dep *dep, u32 mask)
{
	struct spread s = { .dep = dep, .mask = mask };
	unsigned long flags;
	bool raised;

	begin_spreading(&flags);
	raised = spec_merge_one(key, ch, dep, mask);
	spread(&s, key);
	end_spreading(flags);
	return raised;
}

/* A new link: what either end depends on goes to the other. */
static void spread_over_link(const struct map_link *l)
{
	struct mapper *m = l->mapper;
	struct spread s = {};
	struct spec_dep dep;

	s.dep = &dep;
	s.mask = spec_read(l->object->key, &dep);
	INIT_LIST_HEAD(&s.work);
	if (s.mask && spread_to(&s, l->object->key, m->mm))
		spread(&s, m->mm);
	if (!l->write)
		return;
	s.mask = spec_read(m->mm, &dep);
	if (s.mask && spread_to(&s, m->mm, l->object->key))
		spread(&s, l->object->key);
}

/*
 * Note that @mm maps @key.  @m, @o and @l are used if need be, and set to NULL;
 * returns false if @o is NULL and is needed.  The caller is between
 * begin_spreading() and end_spreading().
 */
static bool add_link(struct mm_struct *mm, const void *key, bool write,
		     struct mapper **m, struct map_object **o, struct map_link **l)
{
	struct map_link *link = find_link(mm, key);
	struct map_object *object;
	struct mapper *mapper;

	if (!tracking)
		return true;
	if (link) {
		link->seen = true;
		if (link->write || !write)
			return true;
		list_move(&link->of_mapper, &link->mapper->links);
	} else {
		object = find_object(key);
		if (!object) {
			object = *o;
			if (!object)
				return false;
			*o = NULL;
			object->key = key;
			INIT_HLIST_HEAD(&object->links);
			hash_add(objects, &object->node, (unsigned long)key);
		}
		mapper = find_mapper(mm);
		if (!mapper) {
			mapper = *m;
			*m = NULL;
			mapper->mm = mm;
			INIT_LIST_HEAD(&mapper->stale);
			INIT_LIST_HEAD(&mapper->links);
			INIT_LIST_HEAD(&mapper->work);
			hash_add(mappers, &mapper->node, (unsigned long)mm);
		}
		link = *l;
		*l = NULL;
		link->mapper = mapper;
		link->object = object;
		link->seen = true;
		if (write)
			list_add(&link->of_mapper, &mapper->links);
		else
			list_add_tail(&link->of_mapper, &mapper->links);
		hlist_add_head(&link->of_object, &object->links);
		hash_add(pairs, &link->of_pair, pair_hash(mm, key));
		atomic_inc(out_links(key));
	}
	link->write = write;
	if (write)
		atomic_inc(out_links(mm));
	/* The link before the entries; pairs with smp_mb() in spec_merge(). */
	smp_mb();
	spread_over_link(link);
	return true;
}

/* The caller holds map_lock. */
static void remove_link(struct map_link *l, struct hlist_head *dead)
{
	struct map_object *o = l->object;

	list_del(&l->of_mapper);
	hlist_del(&l->of_object);
	hash_del(&l->of_pair);
	atomic_dec(out_links(o->key));
	if (l->write)
		atomic_dec(out_links(l->mapper->mm));
	if (hlist_empty(&o->links))
		hash_del(&o->node);
	else
		l->object = NULL;
	hlist_add_head(&l->of_object, dead);
}

static void free_links(struct hlist_head *dead)
{
	struct hlist_node *tmp;
	struct map_link *l;

	hlist_for_each_entry_safe(l, tmp, dead, of_object) {
		if (l->object)
			kmem_cache_free(object_cache, l->object);
		kmem_cache_free(link_cache, l);
	}
}

/**
 * spec_map_key - the key of what backs the pages of a mapping
 * @file: of the mapping
 *
 * Files without an inode of their own (io_uring, perf) are their own key.
 */
const void *spec_map_key(const struct file *file)
{
	const struct inode *inode = file->f_mapping->host;

	if (inode->i_sb->s_magic == ANON_INODE_FS_MAGIC)
		return file;
	return inode;
}

/* Can it be written now, or after an mprotect() that nobody can refuse? */
static bool is_writable(const struct vm_area_struct *vma)
{
	return (vma->vm_flags & (VM_SHARED | VM_MAYWRITE)) ==
	       (VM_SHARED | VM_MAYWRITE);
}

/* The mmap_lock of @mm is held, or nobody else knows @mm. */
static void link_vma(struct mm_struct *mm, const struct vm_area_struct *vma)
{
	const void *key = spec_map_key(vma->vm_file);
	const gfp_t gfp = GFP_KERNEL_ACCOUNT | __GFP_NOFAIL;
	struct map_object *o = NULL;
	struct mapper *m;
	struct map_link *l;
	unsigned long flags;
	bool known, mapped;

again:
	raw_spin_lock_irqsave(&map_lock, flags);
	l = find_link(mm, key);
	known = l && (l->write || !is_writable(vma));
	if (known)
		l->seen = true;
	mapped = find_object(key);
	raw_spin_unlock_irqrestore(&map_lock, flags);
	if (known)
		goto out;

	/* Small, and allowed to sleep: these do not fail. */
	if (!mapped && !o)
		o = kmem_cache_alloc(object_cache, gfp);
	m = kmem_cache_alloc(mapper_cache, gfp);
	l = kmem_cache_alloc(link_cache, gfp);
	begin_spreading(&flags);
	known = add_link(mm, key, is_writable(vma), &m, &o, &l);
	end_spreading(flags);
	if (m)
		kmem_cache_free(mapper_cache, m);
	if (l)
		kmem_cache_free(link_cache, l);
	if (!known)		/* the last other link of it has gone meanwhile */
		goto again;
out:
	if (o)
		kmem_cache_free(object_cache, o);
}

static void link_all(struct mm_struct *mm)
{
	VMA_ITERATOR(vmi, mm, 0);
	const struct file *last = NULL;
	struct vm_area_struct *vma;

	for_each_vma(vmi, vma) {
		/* The segments of a program: the link is there already. */
		if (!vma->vm_file ||
		    (vma->vm_file == last && !is_writable(vma)))
			continue;
		link_vma(mm, vma);
		last = vma->vm_file;
	}
}

/*
 * All ways of making a mapping end here, with the mmap_lock held for writing; a
 * driver or shmem may have given it another file by now.
 */
DEFINE_HOOK(mmap_region, unsigned long,
	    (struct file *file, unsigned long addr, unsigned long len,
	     vm_flags_t vm_flags, unsigned long pgoff, struct list_head *uf),
	    (file, addr, len, vm_flags, pgoff, uf))
{
	unsigned long ret = hook_orig_mmap_region(file, addr, len, vm_flags,
						  pgoff, uf);
	struct vm_area_struct *vma;

	if ((file || (vm_flags & VM_SHARED)) && !IS_ERR_VALUE(ret)) {
		vma = find_vma(current->mm, ret);
		if (vma && vma->vm_file)
			link_vma(current->mm, vma);
	}
	return ret;
}

/* Before the child runs. */
DEFINE_HOOK(copy_process, struct task_struct *,
	    (struct pid *pid, int trace, int node,
	     struct kernel_clone_args *args),
	    (pid, trace, node, args))
{
	struct task_struct *child = hook_orig_copy_process(pid, trace, node,
							   args);
	struct mm_struct *mm;

	if (IS_ERR(child) || !child->mm || child->mm == current->mm)
		return child;
	mm = child->mm;
	mmap_read_lock(mm);
	link_all(mm);
	mmap_read_unlock(mm);
	return child;
}

static void collect_fn(struct work_struct *work);
static DECLARE_DELAYED_WORK(collect_work, collect_fn);

/* Of @m something was unmapped; the caller holds map_lock. */
static void mark_stale(struct mapper *m)
{
	if (!list_empty(&m->stale))
		return;
	list_add_tail(&m->stale, &stale_mappers);
	schedule_delayed_work(&collect_work, HZ);
}

/*
 * Called for each mapping of a file that goes.  They are not counted, since they
 * are also split and merged.  What is left is looked at later, when no processor
 * has the mapping in its TLB any more.  Those that go with the process have been
 * forgotten by exit_mmap().
 */
DEFINE_HOOK_VOID(unlink_file_vma, (struct vm_area_struct *vma), (vma))
{
	struct mapper *m;
	unsigned long flags;

	if (vma->vm_file && atomic_read(&vma->vm_mm->mm_users)) {
		raw_spin_lock_irqsave(&map_lock, flags);
		m = find_mapper(vma->vm_mm);
		if (m)
			mark_stale(m);
		raw_spin_unlock_irqrestore(&map_lock, flags);
	}
	hook_orig_unlink_file_vma(vma);
}

/*
 * Remove @m, or some of its links if it has many; the caller holds map_lock.
 * Returns whether it has gone: then the caller frees it.
 */
static bool remove_mapper(struct mapper *m, struct hlist_head *dead)
{
	struct map_link *l, *tmp;
	int n = 0;

	list_for_each_entry_safe(l, tmp, &m->links, of_mapper) {
		if (n++ == REMOVE_MAX)
			return false;
		remove_link(l, dead);
	}
	list_del(&m->stale);
	hash_del(&m->node);
	return true;
}

/* The process has gone, and with it all that it maps. */
DEFINE_HOOK_VOID(exit_mmap, (struct mm_struct *mm), (mm))
{
	unsigned long flags;
	struct mapper *m;
	HLIST_HEAD(dead);
	bool gone;

	do {
		raw_spin_lock_irqsave(&map_lock, flags);
		m = find_mapper(mm);
		gone = !m || remove_mapper(m, &dead);
		raw_spin_unlock_irqrestore(&map_lock, flags);
	} while (!gone);
	free_links(&dead);
	if (m)
		kmem_cache_free(mapper_cache, m);
	/* The next process may get the same mm: do not let it inherit. */
	if (spec_maybe(mm))
		spec_forget(mm);
	hook_orig_exit_mmap(mm);
}

/*
 * For who goes through a list of links that nobody else changes: let others have
 * the lock now and then.  Returns false if all links have gone meanwhile.
 */
static bool breathe(unsigned int *n, unsigned long *flags)
{
	if (++*n % REMOVE_MAX)
		return true;
	raw_spin_unlock_irqrestore(&map_lock, *flags);
	raw_spin_lock_irqsave(&map_lock, *flags);
	return tracking;
}

/*
 * Forget the links of @mm for which nothing is mapped any more.  The mmap_lock
 * is held: nobody adds a link of it, and we are the only ones who remove some.
 */
static void collect(struct mm_struct *mm)
{
	struct map_link *l, *tmp;
	unsigned int n = 0;
	unsigned long flags;
	struct mapper *m;
	HLIST_HEAD(dead);

	raw_spin_lock_irqsave(&map_lock, flags);
	m = find_mapper(mm);
	if (m)
		list_for_each_entry(l, &m->links, of_mapper) {
			l->seen = false;
			if (!breathe(&n, &flags))
				break;
		}
	raw_spin_unlock_irqrestore(&map_lock, flags);
	link_all(mm);
	raw_spin_lock_irqsave(&map_lock, flags);
	m = find_mapper(mm);
	if (m)
		list_for_each_entry_safe(l, tmp, &m->links, of_mapper) {
			if (!l->seen)
				remove_link(l, &dead);
			if (!breathe(&n, &flags))
				break;
		}
	raw_spin_unlock_irqrestore(&map_lock, flags);
	free_links(&dead);
}

/* The next of @list, with a reference; one that exits removes itself. */
static struct mm_struct *next_mm(struct list_head *list)
{
	struct mm_struct *mm = NULL;
	unsigned long flags;
	struct mapper *m;

	raw_spin_lock_irqsave(&map_lock, flags);
	while (!mm && !list_empty(list)) {
		m = list_first_entry(list, struct mapper, stale);
		list_del_init(&m->stale);
		if (mmget_not_zero(m->mm))
			mm = m->mm;
	}
	raw_spin_unlock_irqrestore(&map_lock, flags);
	return mm;
}

static void collect_fn(struct work_struct *work)
{
	struct mm_struct *mm;
	unsigned long flags;
	struct mapper *m;
	LIST_HEAD(list);

	raw_spin_lock_irqsave(&map_lock, flags);
	list_splice_init(&stale_mappers, &list);
	raw_spin_unlock_irqrestore(&map_lock, flags);
	while ((mm = next_mm(&list))) {
		/* Somebody may sleep with the lock: never wait for it here. */
		if (mmap_read_trylock(mm)) {
			collect(mm);
			mmap_read_unlock(mm);
		} else {
			raw_spin_lock_irqsave(&map_lock, flags);
			m = find_mapper(mm);
			if (m)
				mark_stale(m);
			raw_spin_unlock_irqrestore(&map_lock, flags);
		}
		mmput(mm);
		cond_resched();
	}
}

/**
 * spec_map_fork - a child that was being made when the hooks were placed
 * @parent: its parent's mm
 * @child: its own, which is not known yet; all others are seen by copy_process()
 *
 * Context: preemption may be off; the child has not run.
 * Return: false without memory; the child must not run then.
 */
bool spec_map_fork(struct mm_struct *parent, struct mm_struct *child)
{
	struct map_object *none = NULL;
	struct mapper *m, *new;
	struct map_link *l, *copy;
	unsigned long flags;
	bool all = true;

	begin_spreading(&flags);
	m = find_mapper(parent);
	if (!m || find_mapper(child))
		goto out;
	list_for_each_entry(l, &m->links, of_mapper) {
		new = kmem_cache_alloc(mapper_cache, GFP_ATOMIC);
		copy = kmem_cache_alloc(link_cache, GFP_ATOMIC);
		/* Its object is there: the parent has a link. */
		if (new && copy)
			add_link(child, l->object->key, l->write, &new, &none, &copy);
		else
			all = false;
		if (new)
			kmem_cache_free(mapper_cache, new);
		if (copy)
			kmem_cache_free(link_cache, copy);
	}
out:
	end_spreading(flags);
	return all;
}

/* All address spaces there are, each with a reference. */
static struct mm_struct **all_mms(unsigned int *nr)
{
	struct task_struct *process, *task;
	struct mm_struct **mms, *mm;
	unsigned int max = 256, n;

	for (;; max *= 2) {
		mms = kvmalloc_array(max, sizeof(*mms), GFP_KERNEL);
		if (!mms)
			return NULL;
		n = 0;
		rcu_read_lock();
		for_each_process_thread(process, task) {
			mm = READ_ONCE(task->mm);
			if (!mm || (n && mms[n - 1] == mm) || n == max)
				continue;
			mm = get_task_mm(task);
			if (mm)
				mms[n++] = mm;
		}
		rcu_read_unlock();
		*nr = n;
		if (n < max)
			return mms;
		while (n--)
			mmput(mms[n]);
		kvfree(mms);
	}
}

/*
 * All that is mapped already.  A mapping that is being made meanwhile is under
 * the mmap_lock, and either here or there; the same goes for a child, but for
 * one that has not been made completely (spec_map_fork()).
 */
static int ready(char *why, size_t why_len)
{
	struct mm_struct **mms;
	unsigned long flags;
	unsigned int n, i;
	int err = 0;

	raw_spin_lock_irqsave(&map_lock, flags);
	tracking = true;
	raw_spin_unlock_irqrestore(&map_lock, flags);
	mms = all_mms(&n);
	if (!mms) {
		snprintf(why, why_len, "no memory for a list of processes");
		return -ENOMEM;
	}
	for (i = 0; i < n; i++) {
		if (!err)
			err = mmap_read_lock_killable(mms[i]);
		if (!err) {
			link_all(mms[i]);
			mmap_read_unlock(mms[i]);
		}
		mmput(mms[i]);
	}
	kvfree(mms);
	if (err)
		snprintf(why, why_len, "interrupted");
	return err;
}

/* Wrappers may still be on their way: they find that nothing is tracked. */
static void remove(void)
{
	struct hlist_node *tmp;
	unsigned long flags;
	struct mapper *m;
	HLIST_HEAD(gone);
	HLIST_HEAD(dead);
	int i;

	raw_spin_lock_irqsave(&map_lock, flags);
	tracking = false;
	raw_spin_unlock_irqrestore(&map_lock, flags);
	for (i = 0; i < HASH_SIZE(mappers); i++) {
		raw_spin_lock_irqsave(&map_lock, flags);
		while (!hlist_empty(&mappers[i])) {
			m = hlist_entry(mappers[i].first, struct mapper, node);
			if (remove_mapper(m, &dead))
				hlist_add_head(&m->node, &gone);
			raw_spin_unlock_irqrestore(&map_lock, flags);
			raw_spin_lock_irqsave(&map_lock, flags);
		}
		raw_spin_unlock_irqrestore(&map_lock, flags);
	}
	cancel_delayed_work_sync(&collect_work);
	free_links(&dead);
	hlist_for_each_entry_safe(m, tmp, &gone, node)
		kmem_cache_free(mapper_cache, m);
}

/**
 * spec_memory_init - make the caches
 *
 * Return: 0 or -ENOMEM.
 */
int spec_memory_init(void)
{
	mapper_cache = KMEM_CACHE(mapper, 0);
	object_cache = KMEM_CACHE(map_object, 0);
	link_cache = KMEM_CACHE(map_link, 0);
	if (mapper_cache && object_cache && link_cache)
		return 0;
	spec_memory_exit();
	return -ENOMEM;
}

/**
 * spec_memory_exit - free the caches; all hooks have gone
 */
void spec_memory_exit(void)
{
	kmem_cache_destroy(link_cache);
	kmem_cache_destroy(object_cache);
	kmem_cache_destroy(mapper_cache);
}

/*
 * A wake is also news, and does not need the right to store.  Whoever waits maps
 * the same object.
 */
static void put_futex(u32 __user *uaddr, unsigned int flags)
{
	const void *self = spec_self();
	struct vm_area_struct *vma;
	const void *object = NULL;

	if (!(flags & COMPAT_FUTEX_SHARED) || !self || !spec_maybe(self))
		return;
	mmap_read_lock(current->mm);
	vma = vma_lookup(current->mm, (unsigned long)uaddr);
	if (vma && vma->vm_file)
		object = spec_map_key(vma->vm_file);
	mmap_read_unlock(current->mm);
	if (object)
		__spec_put(object, SPEC_CH_MEMORY);
}

DEFINE_HOOK_BEFORE(futex_wake, int,
		   (u32 __user *uaddr, unsigned int flags, int nr_wake,
		    u32 bitset),
		   (uaddr, flags, nr_wake, bitset))
{
	put_futex(uaddr, flags);
}

DEFINE_HOOK_BEFORE(futex_wake_op, int,
		   (u32 __user *uaddr1, unsigned int flags, u32 __user *uaddr2,
		    int nr_wake, int nr_wake2, int op),
		   (uaddr1, flags, uaddr2, nr_wake, nr_wake2, op))
{
	put_futex(uaddr1, flags);
	put_futex(uaddr2, flags);
}

DEFINE_HOOK_BEFORE(futex_requeue, int, COMPAT_FUTEX_REQUEUE_PROTO,
		   COMPAT_FUTEX_REQUEUE_ARGS)
{
	put_futex(uaddr1, flags1);
	put_futex(uaddr2, COMPAT_FUTEX_REQUEUE_FLAGS2);
}

static struct spec_hook *const hooks[] = {
	&hook_mmap_region,
	&hook_copy_process,
	&hook_unlink_file_vma,
	&hook_exit_mmap,
	&hook_futex_wake,
	&hook_futex_wake_op,
	&hook_futex_requeue,
};

const struct spec_channel spec_flow_memory = {
	.name = "memory",
	.rule = "passes on",
	.hooks = hooks,
	.nr_hooks = ARRAY_SIZE(hooks),
	.ready = ready,
	.remove = remove,
};
