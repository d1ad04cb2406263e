/* What the benchmark's programs need beyond lbd's own header. The names differ from the kernel's, so
 * that lbd's header may grow. */
#pragma once
#include "../../../../lbd/bpf/kernel.h"

#define PROG_ARRAY 3
#define XSKMAP 17

static u64 (*clock_ns)(void) = (void *)5;
static long (*tail_call)(void *ctx, void *programs, u32 at) = (void *)12;
static long (*redirect_map)(void *map, u64 at, u64 flags) = (void *)51;

#define be32(x) ((u32)__builtin_bswap32(x))

/* A sum of 16-bit words, brought down to one: one's complement, RFC 1071. */
inline u16 folded(u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (u16)sum;
}
