/* The flow table: lbcore::flow in C, on the same memory. Its protocol is told there
 * (lbcore/src/flow/table/mod.rs). x86 keeps the order of loads and of stores; atomic instructions are
 * full barriers. */
#pragma once
#include "maps.h"
#include "packet.h"

/* Set before the program is loaded: buckets of half the flow table, less one. */
const volatile u32 half_mask = 0;

/* lbcore::flow::table::layout. */
#define HEADER_LINES 64
#define STRIPES 32
#define FIRST_STRIPE (HEADER_LINES - STRIPES)
#define AT_PAUSED 4
#define SLOTS 4

/* Signatures of slots without a flow. */
#define FREE 0
#define BUSY 1
/* The entry of a slot without one. */
#define GONE 0
/* State bits of an entry that is published and not confirmed. */
#define PENDING (0xfULL << 32)

/* lbcore::flow::State */
#define SYN_RECV 1
#define ESTABLISHED 2
#define FIN_WAIT 3
#define TIME_WAIT 4
#define CLOSE 5
#define ADOPTED 6
#define UDP 7
#define UDP_NEW 8
#define SYN_RESET 9

/* lbcore::flow::Coarse: notes of time this far ahead of now are fresh (60 s in units of 64 ms). */
#define AHEAD 937

inline u32 state_of(u64 entry)
{
	return (u32)(entry >> 32) & 0xf;
}

inline u32 real_of(u64 entry)
{
	return (u32)(entry >> 48);
}

inline u32 epoch_of(u64 entry)
{
	return (u32)(entry >> 36) & 0xfff;
}

inline u64 entry_of(u32 real, u32 epoch, u32 state, u32 seen)
{
	return (u64)real << 48 | (u64)epoch << 36 | (u64)state << 32 | seen;
}

/* An entry of the same real, in another state or seen again. */
inline u64 renewed(u64 entry, u32 state, u32 seen)
{
	return entry >> 36 << 36 | (u64)state << 32 | seen;
}

/* Sets of states, a bit each, and functions of a state, four bits each: without branches, which the
 * verifier would follow one by one. */
#define BIT(state) (1U << (state))
#define TO(state, next) ((u64)(next) << 4 * (state))
#define ALL_TO(next)                                                                               \
	(TO(SYN_RECV, next) | TO(ESTABLISHED, next) | TO(FIN_WAIT, next) | TO(TIME_WAIT, next)     \
	 | TO(CLOSE, next) | TO(ADOPTED, next) | TO(SYN_RESET, next))
#define BUT(table, state, next) (((table) & ~TO(state, 0xf)) | TO(state, next))
#define UNCHANGED                                                                                  \
	(TO(SYN_RECV, SYN_RECV) | TO(ESTABLISHED, ESTABLISHED) | TO(FIN_WAIT, FIN_WAIT)            \
	 | TO(TIME_WAIT, TIME_WAIT) | TO(CLOSE, CLOSE) | TO(ADOPTED, ADOPTED) | TO(UDP, UDP)       \
	 | TO(UDP_NEW, UDP_NEW) | TO(SYN_RESET, SYN_RESET))

inline int is_in(u32 set, u32 state)
{
	return set >> state & 1;
}

#define STATES 0x3feU

/* Whether a word is an entry, neither pending nor gone. */
inline int is_entry(u64 word)
{
	return is_in(STATES, state_of(word));
}

/* State::weightiness */
#define ACTIVE (BIT(ESTABLISHED) | BIT(UDP) | BIT(UDP_NEW))
/* State::closing */
#define CLOSING (BIT(FIN_WAIT) | BIT(TIME_WAIT) | BIT(CLOSE))
#define HANDSHAKE (BIT(SYN_RECV) | BIT(SYN_RESET))

/* State::first; a RST has none and is not asked for. */
inline u32 first_state(const struct packet *packet)
{
	if (packet->protocol == IPPROTO_UDP)
		return UDP_NEW;
	if (packet->flags & SYN)
		return SYN_RECV;
	return packet->flags & FIN ? FIN_WAIT : ADOPTED;
}

/* State::next of TCP, by the flags RST, SYN, FIN and ACK, in that order: the first that is set decides. */
#define ON_ACK                                                                                     \
	BUT(BUT(BUT(UNCHANGED, SYN_RECV, ESTABLISHED), SYN_RESET, ESTABLISHED), ADOPTED, ESTABLISHED)
#define ON_FIN                                                                                     \
	BUT(BUT(BUT(BUT(ALL_TO(FIN_WAIT), SYN_RECV, TIME_WAIT), SYN_RESET, TIME_WAIT), TIME_WAIT,  \
		TIME_WAIT),                                                                        \
	    CLOSE, CLOSE)
#define ON_SYN BUT(ALL_TO(SYN_RECV), ESTABLISHED, ESTABLISHED)
#define ON_RST BUT(BUT(ALL_TO(CLOSE), SYN_RECV, SYN_RESET), SYN_RESET, SYN_RESET)
#define ON_UDP (TO(UDP, UDP) | TO(UDP_NEW, UDP))

/* By FIN, SYN and RST as they stand in the header, eight functions without ACK and eight with it. */
static const u64 next_states[16] = {
	UNCHANGED, ON_FIN, ON_SYN, ON_SYN, ON_RST, ON_RST, ON_RST, ON_RST,
	ON_ACK,	   ON_FIN, ON_SYN, ON_SYN, ON_RST, ON_RST, ON_RST, ON_RST,
};

/* State::next */
inline u32 next_state(u32 state, const struct packet *packet)
{
	u64 next = ON_UDP;

	if (packet->protocol != IPPROTO_UDP)
		next = next_states[(packet->flags & (FIN | SYN | RST)) | (packet->flags & ACK) >> 1];
	return (u32)(next >> 4 * state) & 0xf;
}

/* Timeouts::of, in units of 64 ms. */
inline u32 timeout_of(u32 state, u32 idle)
{
	if (is_in(ACTIVE, state))
		return idle;
	if (is_in(BIT(FIN_WAIT) | BIT(TIME_WAIT), state))
		return 120000 / 64;
	return state == CLOSE ? 10000 / 64 : 60000 / 64;
}

inline int is_expired(u64 entry, u32 now, u32 idle)
{
	u32 silent = now - (u32)entry;
	return silent > timeout_of(state_of(entry), idle) && -silent > AHEAD;
}

inline struct line *line_at(u32 at)
{
	return bpf_map_lookup_elem(&flows, &at);
}

inline u64 signature_of(u64 hash)
{
	return hash > BUSY ? hash : hash + 2;
}

/* The two candidate buckets of a flow, of all buckets. */
inline u32 first_bucket(u64 signature)
{
	return (u32)signature & half_mask;
}

inline u32 second_bucket(u64 signature)
{
	return half_mask + 1 + ((u32)(signature >> 32) & half_mask);
}

/* Where the cold words of a bucket's first slot are. */
inline u32 first_cold(u32 bucket)
{
	return HEADER_LINES + 2 * (half_mask + 1) + bucket * SLOTS;
}

/* Which slots of a line have this signature, a bit each: without branches, for the verifier's sake. */
inline u32 slots_with(struct line *line, u64 signature)
{
	u32 slots = 0;

#pragma unroll
	for (int i = 0; i < SLOTS; i++) {
		u64 differs = read_once(line->words[2 * i]) ^ signature;
		slots |= (u32)(((differs | -differs) >> 63) ^ 1) << i;
	}
	return slots;
}

/* The number of the lowest bit of four; 0 if none is set. */
inline u32 lowest(u32 bits)
{
	return (u32)(0x0102010301020100ULL >> 4 * (bits & 0xf)) & 3;
}

inline u32 how_many(u32 bits)
{
	return (u32)(0x4332322132212110ULL >> 4 * (bits & 0xf)) & 7;
}

/* The first slot of a line with this signature; SLOTS if there is none. */
inline u32 slot_with(struct line *line, u64 signature)
{
#pragma unroll
	for (u32 i = 0; i < SLOTS; i++)
		if (read_once(line->words[2 * i]) == signature)
			return i;
	return SLOTS;
}

/* Where the entry of the flow with this signature is; 0 if no slot has it. What is read there is no entry
 * (is_entry) while somebody puts the flow in or takes it out; another slot may hold it then. The signature is
 * read again, since lbd may give the slot to another flow meanwhile. `nothing` is 0, which the verifier does
 * not know: else it would follow each slot through the rest of the program. */
inline u64 *look_up(u64 signature, u64 *entry, u32 nothing)
{
	struct line *line = line_at(HEADER_LINES + first_bucket(signature));
	u32 slot;

	if (!line)
		return 0;
	slot = slot_with(line, signature);
	if (slot == SLOTS) {
		/* It may be new. What insert will write is asked for now, so that it comes along with the
		 * second bucket and not after it. */
		struct line *cold = line_at(first_cold(first_bucket(signature)));

		if (cold)
			read_once(cold->words[0]);
		line = line_at(HEADER_LINES + second_bucket(signature));
		if (!line)
			return 0;
		slot = slot_with(line, signature);
		if (slot == SLOTS)
			return 0;
	}
	slot = 2 * ((slot + nothing) & (SLOTS - 1));
	in_order();
	*entry = read_once(line->words[slot + 1]);
	in_order();
	if (read_once(line->words[slot]) != signature)
		*entry = GONE;
	return &line->words[slot + 1];
}

/* Whether the flow that is pending in a slot gives way to another entry of the same flow among `rivals`,
 * which are slots of `line`. A pending one in a later slot gives way itself; its owner frees that slot. */
inline int loses_to(struct line *line, u64 signature, u32 rivals, u32 later)
{
	u32 slot = 2 * lowest(rivals);
	u64 word, was;

	if (!rivals)
		return 0;
	/* More than one rival: let them have it. */
	if (how_many(rivals) > 1)
		return 1;
	word = read_once(line->words[slot + 1]);
	if (!(rivals & ~later) && (word & PENDING) == PENDING) {
		was = __sync_val_compare_and_swap(&line->words[slot + 1], word, GONE);
		word = was == word ? GONE : was;
	}
	in_order();
	/* A rival that is gone may have left its slot to another flow, whose word this is. */
	return word != GONE && read_once(line->words[slot]) == signature;
}

/* FlowTable::insert, but that nothing makes room: that is the director's. Whether the flow is remembered now.
 * If not, both buckets are full, somebody else is at it, or lbd wants nobody to be: the packet is the
 * director's in each case, and nobody asks which. Verified by itself. */
__attribute__((noinline)) int insert(u64 signature, const struct flow *flow, u64 entry, u64 now)
{
	u32 ours = first_bucket(signature), other = second_bucket(signature);
	struct line *line = line_at(HEADER_LINES + ours);
	struct line *second = line_at(HEADER_LINES + other);
	struct line *header = line_at(0);
	struct line *cold, *count;
	u32 slot, mine, free, second_free, later = 0xf;
	u64 pending = entry | PENDING;
	u64 *cell;

	if (!flow || !line || !second || !header || read_once(header->words[AT_PAUSED]))
		return 0;
	free = slots_with(line, FREE);
	second_free = slots_with(second, FREE);
	if (!free && !second_free)
		return 0;
	if (how_many(second_free) > how_many(free)) {
		struct line *first = line;

		ours = other;
		line = second;
		second = first;
		free = second_free;
		later = 0;
	}
	slot = lowest(free);
	cold = line_at(first_cold(ours) + slot);
	count = line_at(FIRST_STRIPE + (ours & (STRIPES - 1)));
	if (!cold || !count)
		return 0;
	if (__sync_val_compare_and_swap(&line->words[2 * slot], FREE, BUSY) != FREE)
		return 0;
	cell = &line->words[2 * slot + 1];
	write_once(*cell, pending);
	write_once(cold->words[0], be64(flow->client.high));
	write_once(cold->words[1], be64(flow->client.low));
	write_once(cold->words[2], be64(flow->vip.high));
	write_once(cold->words[3], be64(flow->vip.low));
	write_once(cold->words[4], (u64)be16((u16)flow->rest) << 48
		| (u64)be16((u16)(flow->rest >> 16)) << 32 | ((flow->rest >> 32) & 0xff) << 16);
	write_once(cold->words[5], now);
	write_once(cold->words[6], 0);
	write_once(cold->words[7], 0);
	/* Published; of two inserts of one flow at least one sees the other from here. */
	__sync_lock_test_and_set(&line->words[2 * slot], signature);
	mine = 1U << slot;
	if (loses_to(line, signature, slots_with(line, signature) & ~mine, ~(mine - 1))
	    || loses_to(second, signature, slots_with(second, signature), later)
	    || __sync_val_compare_and_swap(cell, pending, entry) != pending) {
		/* Unless the one we give way to has done it. */
		__sync_val_compare_and_swap(cell, pending, GONE);
		write_once(line->words[2 * slot], FREE);
		return 0;
	}
	__sync_fetch_and_add(&count->words[0], 1);
	return 1;
}
