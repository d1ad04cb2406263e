/* The director in the receive path: lbcore::director for packets that are plain.
 *
 * It looks a packet's flow up in the flow table it shares with lbd. A known flow goes on to its real; a
 * new one of a service whose ring decides (schedulers maglev and sh) goes where the ring says, and is
 * remembered. The two MAC addresses are rewritten and the frame goes out. Whatever is not that plain is
 * declined: the packet goes up the stack, where lbd's director meets it as if this program were not
 * there. Schedulers that count, maintenance, a real that has died or has no MAC, fragments, options,
 * ICMP: all declined. Declining is always right, only slower.
 *
 * What must never happen here: a frame sent that the director would not have sent to the same real with
 * the same bytes, or a note in the flow table that it would not have made. lbd's tests give both the
 * same frames and compare.
 */
#include "flows.h"
#include "kernel.h"
#include "maps.h"
#include "packet.h"

/* A MAC address in order to compare it; what stands behind it is shifted out. */
inline u64 mac_at(const u8 *mac)
{
	return *(const u64 *)mac << 16;
}

/* Nothing goes back where it came from, nor to ourselves; senders have addresses of their own. */
inline int turns_back(const struct ethernet *eth, const struct real *real)
{
	u64 src = mac_at(eth->src), dst = mac_at(eth->dst), to = mac_at(real->dst);

	return (eth->src[0] & 1) || !src || to == src || to == dst || src == dst;
}

/* The place of an interface; MAX_INTERFACES if it is none of ours. Verified by itself, so that the
 * verifier does not follow each place through the rest of the program. */
__attribute__((noinline)) int place_of(u32 ifindex)
{
	u32 zero = 0;
	struct settings *now = bpf_map_lookup_elem(&settings, &zero);

	if (!now)
		return MAX_INTERFACES;
	for (u32 at = 0; at < MAX_INTERFACES; at++) {
		if (now->interfaces[at].ifindex == ifindex)
			return at;
		if (!now->interfaces[at].ifindex)
			break;
	}
	return MAX_INTERFACES;
}

/* Ring::slot: the hash modulo 2^16 + 1, of which 2^16 is -1. What is too much is taken off without
 * branches, which would be guessed wrong half of the time. */
inline u32 ring_slot(u64 hash)
{
	u32 even = (u32)(hash & 0xffff) + (u32)(hash >> 32 & 0xffff);
	u32 odd = (u32)(hash >> 16 & 0xffff) + (u32)(hash >> 48);
	s32 slot = (s32)(even - odd);

	slot += slot >> 31 & 2 * 65537;
	/* Hidden from the compiler, which would make a branch of it. */
	slot = (s32)unknown((u32)slot - 65537);
	slot += slot >> 31 & 65537;
	return (u32)slot;
}

/* The slot of a flow, in a ring that is asked by the client's address or by the whole flow. */
inline u32 slot_of(const struct flow *flow, u64 hash, u32 by_source)
{
	return ring_slot(by_source ? hash_of_source(flow) : hash);
}

/* The real in a slot of the ring that begins at `ring`; `id` stays as it was if there is none. */
inline void ring_pick(u32 ring, u32 slot, u32 *id)
{
	u32 at = ring + slot / 4;
	u64 *word = bpf_map_lookup_elem(&rings, &at);

	if (word)
		*id = (u32)(read_once(*word) >> slot % 4 * 16) & 0xffff;
}

inline struct real *real_at(u32 half, u32 id)
{
	u32 at = half * MAX_REALS + (id & (MAX_REALS - 1));
	return bpf_map_lookup_elem(&reals, &at);
}

enum counted {
	RECEIVED,
	SENT,
	UNFINISHED,
	UNREMEMBERED,
};

inline void count(u32 at, enum counted what)
{
	struct frames *frames_of = bpf_map_lookup_elem(&frames, &at);
	if (frames_of)
		frames_of->counts[what]++;
}

/* The service in force at what a packet dials; 0 if there is none. */
inline struct service *service_of(const struct flow *flow, u32 half)
{
	u64 port_protocol = flow->rest >> 16;
	u64 mixed = (flow->vip.low + rotl(flow->vip.high, 23) + port_protocol) * 0x9e3779b97f4a7c15ULL;
	u32 place = (u32)(mixed >> endpoint_shift);

#pragma unroll
	for (u32 i = 0; i < PLACES; i++) {
		u32 at = place + i;
		struct endpoint *endpoint = bpf_map_lookup_elem(&endpoints, &at);

		if (!endpoint)
			return 0;
		if (endpoint->vip.low == flow->vip.low && endpoint->port_protocol == port_protocol
		    && endpoint->vip.high == flow->vip.high)
			return &endpoint->halves[half];
	}
	return 0;
}

/* Whether this core may remember one more flow, of which it takes note. */
inline int may_remember(struct settings *now)
{
	u32 zero = 0;
	struct remembered *count = bpf_map_lookup_elem(&remembered, &zero);

	if (!count)
		return 0;
	if (count->renewal != now->renewal) {
		count->renewal = now->renewal;
		count->flows = 0;
	}
	if (count->flows >= now->budget)
		return 0;
	count->flows++;
	return 1;
}

/* Counts a flow that turns from one state to another, of the same real or not: lbcore's `recount`.
 * Verified by itself. */
__attribute__((noinline)) int recount(u64 old, u64 new)
{
	u32 was = is_in(ACTIVE, state_of(old)), is = is_in(ACTIVE, state_of(new));
	u32 from = real_of(old), to = real_of(new);
	struct tally *before, *after;

	if (from == to && was == is)
		return 0;
	before = bpf_map_lookup_elem(&tallies, &from);
	after = bpf_map_lookup_elem(&tallies, &to);
	if (!before || !after)
		return 0;
	*(was ? &before->active : &before->inactive) -= 1;
	*(is ? &after->active : &after->inactive) += 1;
	if (from == to && is_in(HANDSHAKE, state_of(old)) && state_of(new) == ESTABLISHED)
		after->completed++;
	return 0;
}

/* Whether a frame may go to a real. */
inline int may_go(const struct xdp_md *ctx, const struct ethernet *eth, u32 bytes, const struct real *real)
{
	if (!(real->flags & KEEPS) || bytes + sizeof(*eth) > real->largest)
		return 0;
	if (real->ifindex != ctx->ingress_ifindex && !(real->flags & REDIRECTED))
		return 0;
	return !turns_back(eth, real);
}

/* Sends a frame that came in at a place to a real. */
inline int send(const struct xdp_md *ctx, struct ethernet *eth, u32 bytes, const struct real *real,
		struct tally *tally, u32 at)
{
	tally->packets++;
	tally->bytes += bytes;
	if (unlikely(at))
		count(at, RECEIVED);
	/* Both addresses, which follow one another here and there. */
	*(u64 *)eth->dst = *(const u64 *)real->dst;
	*(u32 *)(eth->dst + 8) = *(const u32 *)(real->dst + 8);
	if (likely(real->ifindex == ctx->ingress_ifindex)) {
		if (unlikely(at))
			count(at, SENT);
		return XDP_TX;
	}
	at = place_of(real->ifindex);
	if (at)
		count(at, SENT);
	return bpf_redirect(real->ifindex, 0);
}

/* What becomes of a plain packet that came in at a place. Made twice, for each family, so that IPv4 does not
 * carry along what is 0 in its addresses. */
inline int direct(const struct xdp_md *ctx, struct ethernet *eth, const struct packet *packet,
		  struct settings *now, u32 at, const struct interface *us)
{
	u32 half = read_once(now->half) & 1, coarse, id, state;
	u64 hash, signature, entry = 0, new = 0, *cell = 0;
	struct service *service;
	struct tally *tally;
	struct real *real;
	int store = 0, begins = 0;

	if (packet->bytes + sizeof(*eth) > read_once(us->largest))
		return XDP_PASS;
	service = service_of(&packet->flow, half);
	if (!service || !(service->flags & THERE))
		return XDP_PASS;
	if (unlikely(is_unfinished(packet))) {
		count(at, UNFINISHED);
		return XDP_PASS;
	}

	hash = hash_of_flow(&packet->flow);
	signature = signature_of(hash);
	coarse = (u32)(now->now >> 6);
	if (service->flags & LOOKS_UP)
		cell = look_up(signature, &entry, read_once(now->nothing));
	if (cell) {
		/* Somebody is putting it in or taking it out. The director looks into all slots. */
		if (!is_entry(entry))
			return XDP_PASS;
		id = real_of(entry);
		state = state_of(entry);
		real = real_at(half, id);
		if (!real || real->epoch != epoch_of(entry) || real->service != service->id)
			return XDP_PASS;
		if (is_expired(entry, coarse, service->idle))
			return XDP_PASS;
		if (!(packet->flags & SYN) || (!is_in(CLOSING, state) && real->flags & TAKES_NEW)) {
			if (!may_go(ctx, eth, packet->bytes, real))
				return XDP_PASS;
			tally = bpf_map_lookup_elem(&tallies, &id);
			if (!tally)
				return XDP_PASS;
			new = renewed(entry, next_state(state, packet), coarse);
			if (new != entry) {
				if (__sync_val_compare_and_swap(cell, entry, new) != entry)
					return XDP_PASS;
				recount(entry, new);
			}
			return send(ctx, eth, packet->bytes, real, tally, at);
		}
		begins = 1;
	}

	if (!(service->flags & BY_RING))
		return XDP_PASS;
	id = MAX_REALS;
	ring_pick(service->ring, slot_of(&packet->flow, hash, service->flags & BY_SOURCE), &id);
	if (service->flags & (TRACK_NONE | TRACK_CHANGES)) {
		int syn = packet->flags & SYN;

		if (service->past != NONE && !cell) {
			u32 by_source = service->flags & PAST_BY_SOURCE, past = id;

			ring_pick(service->past, slot_of(&packet->flow, hash, by_source), &past);
			if (syn) {
				store = past != id;
			} else if (past != id) {
				real = real_at(half, past);
				if (real && (real->flags & PRESENT) && real->service == service->id)
					id = past;
			}
		}
		begins |= syn && service->flags & TRACK_CHANGES && !store;
	} else {
		store = !cell && !(packet->flags & RST);
	}
	if (id >= MAX_REALS)
		return XDP_PASS;
	real = real_at(half, id);
	if (!real || real->service != service->id || !may_go(ctx, eth, packet->bytes, real))
		return XDP_PASS;
	tally = bpf_map_lookup_elem(&tallies, &id);
	if (!tally)
		return XDP_PASS;
	if (cell) {
		u32 from = real_of(entry);

		/* What goes to another real is counted at both. */
		if (!bpf_map_lookup_elem(&tallies, &from))
			return XDP_PASS;
		new = entry_of(id, real->epoch, SYN_RECV, coarse);
		if (new != entry) {
			if (__sync_val_compare_and_swap(cell, entry, new) != entry)
				return XDP_PASS;
			recount(entry, new);
		}
	} else if (store) {
		new = entry_of(id, real->epoch, first_state(packet), coarse);
		/* What is taken up in its middle does not begin. */
		begins = packet->protocol == IPPROTO_UDP || (packet->flags & SYN);
		if (may_remember(now)) {
			/* A copy, so that the rest of the program keeps its own in registers. */
			struct flow flow = packet->flow;

			/* No room here, or somebody else is at it: the director makes some, or follows the other,
			 * or knows where a flow goes that finds none. */
			if (!insert(signature, &flow, new, now->now))
				return XDP_PASS;
			*(is_in(ACTIVE, state_of(new)) ? &tally->active : &tally->inactive) += 1;
		} else {
			/* The packets that follow would go by the older ring, as the director knows. */
			if (service->flags & TRACK_CHANGES)
				return XDP_PASS;
			if (begins)
				count(at, UNREMEMBERED);
		}
	}
	if (begins)
		tally->began++;
	return send(ctx, eth, packet->bytes, real, tally, at);
}

SEC("xdp")
int director(struct xdp_md *ctx)
{
	void *data = (void *)(u64)ctx->data;
	void *end = (void *)(u64)ctx->data_end;
	struct ethernet *eth = data;
	struct settings *now;
	struct interface *us;
	const void *network;
	u32 zero = 0, at = 0;
	u16 type;

	now = bpf_map_lookup_elem(&settings, &zero);
	if ((void *)(eth + 1) > end || !now)
		return XDP_PASS;
	if (now->interfaces[0].ifindex != ctx->ingress_ifindex) {
		at = place_of(ctx->ingress_ifindex);
		if (at >= MAX_INTERFACES)
			return XDP_PASS;
	}
	us = &now->interfaces[unknown(at) & (MAX_INTERFACES - 1)];
	if (mac_at(eth->dst) != mac_at(us->mac))
		return XDP_PASS;
	network = network_of(eth, end, &type);
	if (!network)
		return XDP_PASS;
	if (likely(type == ETH_P_IP)) {
		struct packet packet;

		return parse_ipv4(network, end, &packet) ? direct(ctx, eth, &packet, now, at, us) : XDP_PASS;
	}
	if (type == ETH_P_IPV6) {
		struct packet packet;

		return parse_ipv6(network, end, &packet) ? direct(ctx, eth, &packet, now, at, us) : XDP_PASS;
	}
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual MIT/GPL";
