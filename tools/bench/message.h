/* SPDX-License-Identifier: GPL-2.0 */
/* What feed sends and republish stores and sends back; all of this size. */
#define MESSAGE_SIZE 128
