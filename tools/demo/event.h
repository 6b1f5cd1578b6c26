/* SPDX-License-Identifier: GPL-2.0 */
/* An event: its number, from 1 on, and text; one line, always of this size. */
#define EVENT_SIZE 128
#define EVENT_FORMAT "%012lu %-114s\n"
