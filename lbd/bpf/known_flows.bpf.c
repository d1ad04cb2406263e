/* Forwards the packets of known flows, and leaves everything else to the director.
 *
 * A second reader of the flow table, beside lbcore's director: it looks a packet's flow up in the same
 * memory and, when the flow goes on as it did, rewrites the two MAC addresses and sends the frame
 * back out. Whatever is not that plain, it declines: the packet goes up the stack, where the director
 * meets it as if this program were not there. A beginning or an end of a flow, a real that drains,
 * dies or has no MAC, fragments, options, ICMP, tags: all declined. So nothing is decided here that
 * was not decided by the director before, and declining is always right, only slower.
 *
 * What must never happen here: a frame sent that the director would not have sent to the same real with
 * the same bytes. lbd's tests give both the same frames and compare.
 */
#include "kernel.h"

#define MAX_INTERFACES 16
#define MAX_REALS 65536

/* lbcore::flow::State */
#define ESTABLISHED 2
#define UDP 7

/* TCP flags after which a flow is not what it was: FIN, SYN, RST. */
#define TURNING 0x07
/* The six flags of RFC 9293 of which a segment has at least one. */
#define ANY_FLAG 0x3f

/* lbcore::flow::Coarse: notes of time this far ahead of now are fresh (60 s in units of 64 ms). */
#define AHEAD 937

/* Set before the program is loaded. */
const volatile u64 key0 = 0;
const volatile u64 key1 = 0;
/* Buckets of half the flow table, less one. */
const volatile u32 half_mask = 0;

/* What lbd changes while the program runs; it maps this memory. */
struct settings {
	/* lbcore::flow::Coarse of now. */
	u32 now;
	/* Which half of `reals` is in force: 0 or 1. */
	u32 half;
	struct interface {
		/* 0: nothing is forwarded here, nor looked at in what comes after it. */
		u32 ifindex;
		/* The largest frame that goes out as it is; 0: everything is declined. */
		u32 largest;
		/* Its MAC, which frames to us bear. */
		u8 mac[8];
	} interfaces[MAX_INTERFACES];
};

/* Where the packets of a real's flows go. Length 32. */
struct real {
	/* Whose id it is; flows of others are declined. */
	u16 epoch;
	/* 0: declined. */
	u16 forwards;
	u32 ifindex;
	/* In units of 64 ms: silent for longer, a flow is forgotten. */
	u32 idle;
	u8 dst[6];
	u8 src[6];
	u64 spare;
};

struct tally {
	u64 packets;
	u64 bytes;
};

struct frames {
	u64 forwarded;
	u64 unfinished;
};

struct line {
	struct {
		u64 signature;
		u64 entry;
	} slots[4];
};

struct address {
	u64 high;
	u64 low;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, u32);
	__type(value, struct settings);
} settings SEC(".maps");

/* The flow table's memory (lbcore::flow::table::layout), a line of 64 bytes an element. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, u32);
	__type(value, struct line);
} flows SEC(".maps");

/* Lines of the flow table before its first bucket. */
#define HEADER_LINES 64

/* Two halves, MAX_REALS apart: lbd fills the one not in force and flips `settings.half`. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * MAX_REALS);
	__type(key, u32);
	__type(value, struct real);
} reals SEC(".maps");

/* VIPs of services in mode dr, so that the host's own traffic is not hashed. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct address);
	__type(value, u8);
} vips SEC(".maps");

/* By real. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_REALS);
	__type(key, u32);
	__type(value, struct tally);
} tallies SEC(".maps");

/* By interface: packets forwarded, and packets declined because their checksum is unfinished. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_INTERFACES);
	__type(key, u32);
	__type(value, struct frames);
} frames SEC(".maps");

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

#define ROUND()                                                                                    \
	do {                                                                                       \
		v0 += v1;                                                                          \
		v1 = rotl(v1, 13) ^ v0;                                                            \
		v0 = rotl(v0, 32);                                                                 \
		v2 += v3;                                                                          \
		v3 = rotl(v3, 16) ^ v2;                                                            \
		v0 += v3;                                                                          \
		v3 = rotl(v3, 21) ^ v0;                                                            \
		v2 += v1;                                                                          \
		v1 = rotl(v1, 17) ^ v2;                                                            \
		v2 = rotl(v2, 32);                                                                 \
	} while (0)

#define ABSORB(word)                                                                               \
	do {                                                                                       \
		v3 ^= (word);                                                                      \
		ROUND();                                                                           \
		v0 ^= (word);                                                                      \
	} while (0)

/* SipHash-1-3 (Aumasson, Bernstein) of the 37 bytes of a flow's key: lbcore::net::HashKey::flow. */
inline u64 hash_of(const struct flow *flow)
{
	u64 v0 = key0 ^ 0x736f6d6570736575ULL;
	u64 v1 = key1 ^ 0x646f72616e646f6dULL;
	u64 v2 = key0 ^ 0x6c7967656e657261ULL;
	u64 v3 = key1 ^ 0x7465646279746573ULL;

	ABSORB(flow->client.high);
	ABSORB(flow->client.low);
	ABSORB(flow->vip.high);
	ABSORB(flow->vip.low);
	ABSORB(flow->rest | 37ULL << 56);
	v2 ^= 0xff;
	ROUND();
	ROUND();
	ROUND();
	return v0 ^ v1 ^ v2 ^ v3;
}

/* An IPv4 address as its eight last bytes of ::ffff:a.b.c.d. */
inline u64 mapped(u32 ipv4)
{
	return (u64)ipv4 << 32 | 0xffff0000ULL;
}

inline int is_mapped(const struct address *address)
{
	return address->high == 0 && (u32)address->low == 0xffff0000U;
}

inline struct address address_of(const u32 *words)
{
	struct address address = {
		.high = (u64)words[1] << 32 | words[0],
		.low = (u64)words[3] << 32 | words[2],
	};
	return address;
}

/* A sum of 16-bit words, brought down to one. */
inline u16 fold(u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (u16)sum;
}

/* What a transport checksum holds until it is finished: the sum of the pseudo header alone (Linux
 * include/linux/skbuff.h, CHECKSUM_PARTIAL). One finished checksum in 65,536 looks the same and is
 * declined, too. IPv4's mapped addresses add ffff twice, which is nothing in one's complement. */
inline int is_unfinished(const struct flow *flow, u8 protocol, u16 length, u16 check)
{
	u64 sum = (flow->client.high & 0xffffffff) + (flow->client.high >> 32)
		+ (flow->client.low & 0xffffffff) + (flow->client.low >> 32)
		+ (flow->vip.high & 0xffffffff) + (flow->vip.high >> 32)
		+ (flow->vip.low & 0xffffffff) + (flow->vip.low >> 32)
		+ be16(protocol) + be16(length);
	return fold(sum) == check;
}

/* The entry of the flow with this signature in one line, 0 if it is not there. The signature is read
 * again, since lbd may give the slot to another flow meanwhile; x86's loads keep their order. */
inline u64 *find(struct line *line, u64 signature, u64 *entry)
{
#pragma unroll
	for (int i = 0; i < 4; i++) {
		if (read_once(line->slots[i].signature) != signature)
			continue;
		in_order();
		*entry = read_once(line->slots[i].entry);
		in_order();
		if (read_once(line->slots[i].signature) == signature)
			return &line->slots[i].entry;
	}
	return 0;
}

inline u64 *look_up(u64 hash, u64 *entry)
{
	u64 signature = hash > 1 ? hash : hash + 2;
	u32 at = HEADER_LINES + ((u32)signature & half_mask);
	struct line *line = bpf_map_lookup_elem(&flows, &at);
	u64 *cell;

	if (!line)
		return 0;
	cell = find(line, signature, entry);
	if (cell)
		return cell;
	at = HEADER_LINES + half_mask + 1 + ((u32)(signature >> 32) & half_mask);
	line = bpf_map_lookup_elem(&flows, &at);
	if (!line)
		return 0;
	return find(line, signature, entry);
}

inline int same_mac(const u8 *a, const u8 *b)
{
	const u16 *x = (const u16 *)a, *y = (const u16 *)b;
	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2];
}

/* Counts a frame that somebody must finish first. */
inline int decline_unfinished(u32 at)
{
	struct frames *count = bpf_map_lookup_elem(&frames, &at);
	if (count)
		count->unfinished++;
	return XDP_PASS;
}

/* The place of the interface a frame came in by; MAX_INTERFACES if it is none of ours. */
inline u32 place_of(struct settings *now, u32 ifindex)
{
	for (u32 at = 0; at < MAX_INTERFACES; at++) {
		if (now->interfaces[at].ifindex == ifindex)
			return at;
		if (!now->interfaces[at].ifindex)
			break;
	}
	return MAX_INTERFACES;
}

SEC("xdp")
int known_flows(struct xdp_md *ctx)
{
	void *data = (void *)(u64)ctx->data;
	void *end = (void *)(u64)ctx->data_end;
	struct ethernet *eth = data;
	struct settings *now;
	struct flow flow = {};
	struct interface *us;
	u32 zero = 0, at;
	u32 bytes;
	u16 length, check;
	u8 protocol, state;
	void *transport;

	now = bpf_map_lookup_elem(&settings, &zero);
	if ((void *)(eth + 1) > end || !now)
		return XDP_PASS;
	at = place_of(now, ctx->ingress_ifindex);
	if (at >= MAX_INTERFACES)
		return XDP_PASS;
	us = &now->interfaces[at];
	if ((u32)(end - data) > us->largest || !same_mac(eth->dst, us->mac))
		return XDP_PASS;

	if (likely(eth->type == ETH_P_IP)) {
		struct ipv4 *ip = (void *)(eth + 1);
		u16 total;

		if ((void *)(ip + 1) > end || ip->version_ihl != 0x45)
			return XDP_PASS;
		total = be16(ip->total);
		/* More fragments, or a place other than the first; the reserved bit is let be. */
		if ((ip->fragment & be16(0x3fff)) || total < sizeof(*ip))
			return XDP_PASS;
		if ((u32)total > (u32)(end - (void *)ip))
			return XDP_PASS;
		flow.client.low = mapped(ip->src);
		flow.vip.low = mapped(ip->dst);
		protocol = ip->protocol;
		transport = ip + 1;
		length = total - sizeof(*ip);
		bytes = total;
	} else if (eth->type == ETH_P_IPV6) {
		struct ipv6 *ip = (void *)(eth + 1);

		if ((void *)(ip + 1) > end || (*(u8 *)ip & 0xf0) != 0x60)
			return XDP_PASS;
		length = be16(ip->payload);
		if ((u32)length > (u32)(end - (void *)(ip + 1)))
			return XDP_PASS;
		flow.client = address_of(ip->src);
		flow.vip = address_of(ip->dst);
		/* They would pass for IPv4 addresses. */
		if (is_mapped(&flow.client) || is_mapped(&flow.vip))
			return XDP_PASS;
		protocol = ip->next;
		transport = ip + 1;
		bytes = sizeof(*ip) + length;
	} else {
		return XDP_PASS;
	}
	if (!bpf_map_lookup_elem(&vips, &flow.vip))
		return XDP_PASS;

	if (protocol == IPPROTO_TCP) {
		struct tcp *tcp = transport;
		u32 header;

		if ((void *)(tcp + 1) > end || length < sizeof(*tcp))
			return XDP_PASS;
		header = (tcp->offset >> 4) * 4;
		if (header < sizeof(*tcp) || header > length)
			return XDP_PASS;
		if ((tcp->flags & TURNING) || !(tcp->flags & ANY_FLAG))
			return XDP_PASS;
		flow.rest = (u64)tcp->src | (u64)tcp->dst << 16;
		check = tcp->check;
		state = ESTABLISHED;
	} else if (protocol == IPPROTO_UDP) {
		struct udp *udp = transport;
		u16 said;

		if ((void *)(udp + 1) > end || length < sizeof(*udp))
			return XDP_PASS;
		said = be16(udp->length);
		if (said < sizeof(*udp) || said > length)
			return XDP_PASS;
		flow.rest = (u64)udp->src | (u64)udp->dst << 16;
		check = udp->check;
		state = UDP;
	} else {
		return XDP_PASS;
	}
	flow.rest |= (u64)protocol << 32;
	if (unlikely(is_unfinished(&flow, protocol, length, check)))
		return decline_unfinished(at);

	u64 entry = 0;
	u64 *cell = look_up(hash_of(&flow), &entry);
	if (!cell || ((entry >> 32) & 0xf) != state)
		return XDP_PASS;

	u32 id = entry >> 48;
	u32 where = (now->half & 1) * MAX_REALS + id;
	struct real *real = bpf_map_lookup_elem(&reals, &where);
	if (!real || !real->forwards || real->epoch != ((entry >> 36) & 0xfff))
		return XDP_PASS;
	if (real->ifindex != ctx->ingress_ifindex)
		return XDP_PASS;
	u32 idle = now->now - (u32)entry;
	if (idle > real->idle && -idle > AHEAD)
		return XDP_PASS;
	/* Nothing goes back where it came from, nor to ourselves; senders have addresses of their own. */
	if ((eth->src[0] & 1) || same_mac(real->dst, eth->src) || same_mac(real->dst, eth->dst)
	    || same_mac(eth->src, eth->dst))
		return XDP_PASS;
	{
		const u16 *src = (const u16 *)eth->src;
		if (!(src[0] | src[1] | src[2]))
			return XDP_PASS;
	}
	if (idle) {
		u64 fresh = (entry & ~0xffffffffULL) | now->now;
		if (__sync_val_compare_and_swap(cell, entry, fresh) != entry)
			return XDP_PASS;
	}

	struct tally *tally = bpf_map_lookup_elem(&tallies, &id);
	struct frames *count = bpf_map_lookup_elem(&frames, &at);
	if (!tally || !count)
		return XDP_PASS;
	tally->packets++;
	tally->bytes += bytes;
	count->forwarded++;

	__builtin_memcpy(eth->dst, real->dst, 6);
	__builtin_memcpy(eth->src, real->src, 6);
	return XDP_TX;
}

char _license[] SEC("license") = "Dual MIT/GPL";
