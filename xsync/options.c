// SPDX-License-Identifier: GPL-2.0
/*
 * The mount options: xsync, noxsync, commit_mode=.
 *
 * ext4 does not let others add options, but its file_system_type is writable
 * data. We wrap init_fs_context, and give each context a copy of ext4's
 * operations in which parse_param takes out what is ours. It works for
 * mount(2), fsconfig(2), fstab and remount; without the module ext4 refuses the
 * option by itself.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/file.h>
#include <linux/fs_context.h>
#include <linux/fs_parser.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include "../compat/unaligned.h"
#include "xsync.h"

#define NOT_GIVEN (-1)

/**
 * struct xsync_options - one fs_context: ext4's operations and what was asked
 * @ops: fc->ops points here
 * @orig: ext4's
 * @xsync: 1 xsync, 0 noxsync, NOT_GIVEN
 * @eager: 1 commit_mode=eager, 0 output, NOT_GIVEN
 * @data_given: data= was given
 * @clash: the last option given of each group that cannot go with xsync, or
 *	NULL; a later harmless one of the group takes it back
 */
struct xsync_options {
	struct fs_context_operations ops;
	const struct fs_context_operations *orig;
	int xsync;
	int eager;
	bool data_given;
	const struct clash *clash[5];
};

/**
 * struct clash - an option that cannot go with xsync
 * @key: the option
 * @value: its value; NULL: given as a flag; "*": whatever the value is
 * @group: options of a group override each other; the last one counts
 * @advice: why it is refused and what to do; NULL: it is harmless
 */
struct clash {
	const char *key;
	const char *value;
	int group;
	const char *advice;
};

enum { CLASH_DATA, CLASH_BARRIER, CLASH_DAX, CLASH_DELALLOC, CLASH_OTHER };

static const char only_journal[] =
	"only data=journal commits data and metadata in order; leave data= out";
static const char no_barrier[] =
	"without barriers a commit is not durable; leave it out";
static const char no_dax[] =
	"stores to a DAX file bypass the journal; leave it out";

static const struct clash clashes[] = {
	{ "data", "journal", CLASH_DATA, NULL },
	{ "data", "*", CLASH_DATA, only_journal },
	{ "barrier", "0", CLASH_BARRIER, no_barrier },
	{ "nobarrier", NULL, CLASH_BARRIER, no_barrier },
	{ "barrier", "*", CLASH_BARRIER, NULL },
	{ "barrier", NULL, CLASH_BARRIER, NULL },
	{ "dax", "never", CLASH_DAX, NULL },
	{ "dax", "*", CLASH_DAX, no_dax },
	{ "dax", NULL, CLASH_DAX, no_dax },
	{ "delalloc", NULL, CLASH_DELALLOC,
	  "data=journal has no delayed allocation; leave it out" },
	{ "nodelalloc", NULL, CLASH_DELALLOC, NULL },
	{ "noload", NULL, CLASH_OTHER,
	  "without its journal nothing can be committed; leave it out" },
	{ "norecovery", NULL, CLASH_OTHER,
	  "without its journal nothing can be committed; leave it out" },
	{ "journal_async_commit", NULL, CLASH_OTHER,
	  "jbd2 ignores the result of its flush, so a failed one would go unseen; leave it out" },
};

static struct file_system_type *ext4_type;
static int (*ext4_init_fs_context)(struct fs_context *fc);

static struct xsync_options *options_of(const struct fs_context *fc)
{
	return container_of((struct fs_context_operations *)fc->ops,
			    struct xsync_options, ops);
}

/**
 * xsync_refused - tell why a mount or remount is refused
 * @fc: the context
 * @fmt: why, and what to do instead
 *
 * The reason goes where mount(8) and fsconfig(2) look for it, and to the kernel
 * log in any case.
 *
 * Context: process.
 */
void xsync_refused(struct fs_context *fc, const char *fmt, ...)
{
	const char *device = fc->source;
	struct va_format vaf;
	va_list args;

	if (!device)
		device = fc->root ? fc->root->d_sb->s_id : "none";
	va_start(args, fmt);
	vaf.fmt = fmt;
	vaf.va = &args;
	errorfc(fc, "xsync: %s: %pV", device, &vaf);
	va_end(args);
	if (!fc->log.log)	/* then errorfc() has used the kernel log */
		return;
	va_start(args, fmt);
	vaf.va = &args;
	pr_err("%s: %pV\n", device, &vaf);
	va_end(args);
}

static int parse_commit_mode(struct fs_context *fc, struct xsync_options *opt,
			     const struct fs_parameter *param)
{
	const char *value = param->type == fs_value_is_string ?
			    param->string : "";

	if (!strcmp(value, "output")) {
		opt->eager = 0;
	} else if (!strcmp(value, "eager")) {
		opt->eager = 1;
	} else {
		xsync_refused(fc, "commit_mode=%s is unknown: use commit_mode=output or commit_mode=eager",
			      value);
		return -EINVAL;
	}
	return 0;
}

/* Remember it; whether it matters is known only after the last option. */
static void note_clash(struct xsync_options *opt,
		       const struct fs_parameter *param)
{
	const char *value = param->type == fs_value_is_string ?
			    param->string : NULL;
	const struct clash *c;

	for (c = clashes; c < clashes + ARRAY_SIZE(clashes); c++) {
		if (strcmp(c->key, param->key) || !c->value != !value)
			continue;
		if (value && strcmp(c->value, "*") && strcmp(c->value, value))
			continue;
		opt->clash[c->group] = c->advice ? c : NULL;
		break;
	}
	if (!strcmp(param->key, "data"))
		opt->data_given = true;
}

static int options_parse_param(struct fs_context *fc,
			       struct fs_parameter *param)
{
	struct xsync_options *opt = options_of(fc);

	if (!strcmp(param->key, "xsync") || !strcmp(param->key, "noxsync")) {
		if (param->type != fs_value_is_flag) {
			xsync_refused(fc, "%s takes no value", param->key);
			return -EINVAL;
		}
		/*
		 * libmount's remount sends the options of /proc/mounts before
		 * the user's: "xsync,noxsync". The last wins.
		 */
		opt->xsync = param->key[0] == 'x';
		return 0;
	}
	if (!strcmp(param->key, "commit_mode"))
		return parse_commit_mode(fc, opt, param);
	note_clash(opt, param);
	return opt->orig->parse_param(fc, param);
}

static int check_clashes(struct fs_context *fc, const struct xsync_options *opt)
{
	int i;

	/* The VFS has turned these two into flags before anyone could parse. */
	if (fc->sb_flags & (SB_SYNCHRONOUS | SB_DIRSYNC)) {
		xsync_refused(fc, "%s makes every call wait for the disk, which xsync is there to avoid; leave it out",
			      fc->sb_flags & SB_SYNCHRONOUS ? "sync" :
			      "dirsync");
		return -EINVAL;
	}
	if (fc->sb_flags & SB_LAZYTIME) {
		xsync_refused(fc, "lazytime keeps times in memory after their file has been committed; leave it out");
		return -EINVAL;
	}
	for (i = 0; i < ARRAY_SIZE(opt->clash); i++) {
		const struct clash *c = opt->clash[i];

		if (!c)
			continue;
		xsync_refused(fc, "%s%s%s cannot go with xsync: %s", c->key,
			      c->value ? "=" : "",
			      !c->value ? "" : !strcmp(c->value, "*") ?
			      "..." : c->value, c->advice);
		return -EINVAL;
	}
	return 0;
}

static int check_commit_mode(struct fs_context *fc,
			     const struct xsync_options *opt)
{
	/* With noxsync it is libmount repeating what was. */
	if (opt->eager == NOT_GIVEN || opt->xsync == 0)
		return 0;
	xsync_refused(fc, "commit_mode= means nothing without xsync; add xsync");
	return -EINVAL;
}

static struct xsync_choice choice_of(const struct xsync_options *opt,
				     bool xsync)
{
	return (struct xsync_choice) {
		.xsync = xsync,
		.eager_set = opt->eager != NOT_GIVEN,
		.eager = opt->eager == 1,
	};
}

/* From Documentation/filesystems/ext4/super.rst, which is a disk format. */
#define DISK_SUPER		1024
#define DISK_MAGIC		0x38
#define DISK_COMPAT		0x5c
#define DISK_COMPAT_JOURNAL	0x4
#define EXT4_MAGIC		0xef53

/*
 * ext4 has refused the mount; "data=journal" on a file system without a journal
 * is one reason, and "data=" is nothing the user has written.
 */
static void explain_no_journal(struct fs_context *fc)
{
	struct file *file;
	loff_t pos = DISK_SUPER;
	u8 *super;

	if (!fc->source)
		return;
	file = filp_open(fc->source, O_RDONLY | O_LARGEFILE, 0);
	if (IS_ERR(file))
		return;
	super = kmalloc(DISK_COMPAT + 4, GFP_KERNEL);
	if (super && S_ISBLK(file_inode(file)->i_mode) &&
	    kernel_read(file, super, DISK_COMPAT + 4, &pos) ==
	    DISK_COMPAT + 4 &&
	    get_unaligned_le16(super + DISK_MAGIC) == EXT4_MAGIC &&
	    !(get_unaligned_le32(super + DISK_COMPAT) & DISK_COMPAT_JOURNAL))
		xsync_refused(fc, "the file system has no journal: make one with tune2fs -j %s",
			      fc->source);
	kfree(super);
	fput(file);
}

static int options_get_tree(struct fs_context *fc)
{
	struct xsync_options *opt = options_of(fc);
	struct xsync_choice choice = choice_of(opt, opt->xsync == 1);
	struct super_block *sb;
	int err;

	if (!choice.xsync) {
		err = check_commit_mode(fc, opt);
		return err ? err : opt->orig->get_tree(fc);
	}
	err = check_clashes(fc, opt);
	if (err)
		return err;
	if (!opt->data_given) {
		err = vfs_parse_fs_string(fc, "data", "journal", 7);
		if (err)
			return err;
	}
	err = xsync_hooks_get(fc);
	if (err)
		return err;
	err = opt->orig->get_tree(fc);
	if (err) {
		if (err == -EINVAL)
			explain_no_journal(fc);
		goto out;
	}
	sb = fc->root->d_sb;
	err = xsync_mount_attach(fc, sb, &choice);
	if (err) {
		/* Not the end of @sb when it was mounted before. */
		dput(fc->root);
		fc->root = NULL;
		deactivate_locked_super(sb);
	}
out:
	xsync_hooks_put();
	return err;
}

static int options_reconfigure(struct fs_context *fc)
{
	struct xsync_options *opt = options_of(fc);
	struct super_block *sb = fc->root->d_sb;
	struct xsync_mount *x = xsync_mount_of(sb);
	/* Say nothing and it stays as it is. */
	struct xsync_choice choice =
		choice_of(opt, opt->xsync == NOT_GIVEN ? !!x : opt->xsync);
	int err;

	if (!choice.xsync) {
		err = check_commit_mode(fc, opt);
		if (!err)
			err = opt->orig->reconfigure(fc);
		if (!err && x)
			xsync_mount_detach(x);
		return err;
	}
	err = check_clashes(fc, opt);
	if (err)
		return err;
	if (!x) {
		err = xsync_mount_check(fc, sb);
		if (err)
			return err;
	}
	err = xsync_hooks_get(fc);
	if (err)
		return err;
	err = opt->orig->reconfigure(fc);
	if (!err)
		err = x ? xsync_mount_change(fc, x, &choice) :
			  xsync_mount_attach(fc, sb, &choice);
	xsync_hooks_put();
	return err;
}

static void options_free(struct fs_context *fc)
{
	struct xsync_options *opt = options_of(fc);

	fc->ops = opt->orig;
	kfree(opt);
	fc->ops->free(fc);
	module_put(THIS_MODULE);
}

static int options_init_fs_context(struct fs_context *fc)
{
	struct xsync_options *opt;
	int err = ext4_init_fs_context(fc);

	if (err)
		return err;
	/* Failing here, ext4 will say that it does not know the option. */
	if (!try_module_get(THIS_MODULE))
		return 0;
	opt = kzalloc(sizeof(*opt), GFP_KERNEL);
	if (!opt) {
		module_put(THIS_MODULE);
		return 0;
	}
	opt->orig = fc->ops;
	opt->ops = *fc->ops;
	opt->ops.parse_param = options_parse_param;
	opt->ops.get_tree = options_get_tree;
	opt->ops.reconfigure = options_reconfigure;
	opt->ops.free = options_free;
	opt->xsync = NOT_GIVEN;
	opt->eager = NOT_GIVEN;
	fc->ops = &opt->ops;
	return 0;
}

/**
 * xsync_options_init - from here on ext4 knows -o xsync
 *
 * Context: process.
 * Return: 0 or -ENODEV without ext4.
 */
int xsync_options_init(void)
{
	/* Loads ext4 and jbd2, and keeps them as long as we are here. */
	ext4_type = get_fs_type("ext4");
	if (!ext4_type) {
		pr_err("this kernel has no ext4\n");
		return -ENODEV;
	}
	ext4_init_fs_context = ext4_type->init_fs_context;
	WRITE_ONCE(ext4_type->init_fs_context, options_init_fs_context);
	return 0;
}

/**
 * xsync_options_exit - ext4 is as it was
 *
 * Contexts hold the module, so there are none. A task may still be on its way
 * into or out of options_init_fs_context(); the caller waits for it.
 *
 * Should another module have wrapped init_fs_context after us, it calls ours,
 * and must go first: nobody can tell it. What it would call is gone.
 *
 * Context: process.
 */
void xsync_options_exit(void)
{
	if (cmpxchg(&ext4_type->init_fs_context, options_init_fs_context,
		    ext4_init_fs_context) != options_init_fs_context)
		pr_emerg("another module has wrapped ext4's init_fs_context after us: unload it, or the next mount will crash\n");
	synchronize_rcu();
	synchronize_rcu_tasks();
	module_put(ext4_type->owner);
}
