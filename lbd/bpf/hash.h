/* The one keyed hash of a packet, as lbcore::net::HashKey makes it. */
#pragma once
#include "kernel.h"

/* SipHash's four words with the key in them, and that half of the first round done in which no word of
 * the message takes part. Set before the program is loaded. */
const volatile u64 begin0 = 0;
const volatile u64 begin1 = 0;
const volatile u64 begin2 = 0;
const volatile u64 begin3 = 0;

struct address {
	u64 high;
	u64 low;
};

/* What names a flow, as lbcore::net::FlowKey lays it out for its hash. */
struct flow {
	struct address client;
	struct address vip;
	/* Client's port, VIP's port, both in network order, and the protocol number. */
	u64 rest;
};

inline u64 rotl(u64 x, int by)
{
	return x << by | x >> (64 - by);
}

#define SIP_HALF_ROUND()                                                                           \
	do {                                                                                       \
		v0 += v1;                                                                          \
		v1 = rotl(v1, 13) ^ v0;                                                            \
		v0 = rotl(v0, 32);                                                                 \
	} while (0)

#define SIP_REST_OF_ROUND()                                                                        \
	do {                                                                                       \
		v2 += v3;                                                                          \
		v3 = rotl(v3, 16) ^ v2;                                                            \
		v0 += v3;                                                                          \
		v3 = rotl(v3, 21) ^ v0;                                                            \
		v2 += v1;                                                                          \
		v1 = rotl(v1, 17) ^ v2;                                                            \
		v2 = rotl(v2, 32);                                                                 \
	} while (0)

#define SIP_ROUND()                                                                                \
	do {                                                                                       \
		SIP_HALF_ROUND();                                                                  \
		SIP_REST_OF_ROUND();                                                               \
	} while (0)

/* With the first word of the message. */
#define SIP_BEGIN(word)                                                                            \
	u64 v0 = begin0, v1 = begin1, v2 = begin2, v3 = begin3 ^ (word);                           \
	SIP_REST_OF_ROUND();                                                                       \
	v0 ^= (word)

#define SIP_ABSORB(word)                                                                           \
	do {                                                                                       \
		v3 ^= (word);                                                                      \
		SIP_ROUND();                                                                       \
		v0 ^= (word);                                                                      \
	} while (0)

#define SIP_END()                                                                                  \
	do {                                                                                       \
		v2 ^= 0xff;                                                                        \
		SIP_ROUND();                                                                       \
		SIP_ROUND();                                                                       \
		SIP_ROUND();                                                                       \
	} while (0)

/* An IPv4 address as its eight last bytes of ::ffff:a.b.c.d. */
inline u64 mapped(u32 ipv4)
{
	return (u64)ipv4 << 32 | 0xffff0000ULL;
}

/* SipHash-1-3 (Aumasson, Bernstein) of a flow's key, 13 bytes for IPv4 and 37 for IPv6:
 * lbcore::net::HashKey::flow. */
inline u64 hash_of_flow(const struct flow *flow)
{
	if (!flow->client.high) {
		SIP_BEGIN(flow->client.low >> 32 | (flow->vip.low & ~0xffffffffULL));
		SIP_ABSORB(flow->rest | 13ULL << 56);
		SIP_END();
		return v0 ^ v1 ^ v2 ^ v3;
	}
	SIP_BEGIN(flow->client.high);
	SIP_ABSORB(flow->client.low);
	SIP_ABSORB(flow->vip.high);
	SIP_ABSORB(flow->vip.low);
	SIP_ABSORB(flow->rest | 37ULL << 56);
	SIP_END();
	return v0 ^ v1 ^ v2 ^ v3;
}

/* SipHash-1-3 of the client's 16 bytes: lbcore::net::HashKey::source. */
inline u64 hash_of_source(const struct flow *flow)
{
	SIP_BEGIN(flow->client.high);
	SIP_ABSORB(flow->client.low);
	SIP_ABSORB(16ULL << 56);
	SIP_END();
	return v0 ^ v1 ^ v2 ^ v3;
}
