/* Hands the frames of services in mode dr to lbd's AF_XDP sockets, one a queue; the director decides about
 * them in user space. Everything else goes up the stack, where the interface's raw socket meets it.
 *
 * A frame that a socket has got is lost to this host, so only those go there of which the director never
 * says that they are the host's: plain TCP and UDP to our MAC, for a VIP, a port and a protocol that are
 * balanced. And the sockets know bytes alone: a frame whose checksum or segmentation somebody must still
 * finish goes up, where a raw socket carries that with it.
 *
 * While lbd is dead its sockets are gone, and everything goes up.
 */
#include "kernel.h"
#include "packet.h"

/* What lbd changes while the program runs; it maps this memory. */
struct settings {
	/* The largest IP packet that goes to a socket; 0: none does. */
	u32 largest;
	/* Bytes of a frame that a socket has room for. */
	u32 room;
	/* The interface's MAC, which frames to us bear. */
	u8 mac[8];
};

/* lbcore::net::ServiceKey. */
struct service_key {
	struct address vip;
	/* VIP's port in network order, and the protocol number above it. */
	u64 port_protocol;
};

/* Packets of services that go up nevertheless. */
struct passed {
	u64 unfinished;
	u64 too_large;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, u32);
	__type(value, struct settings);
} settings SEC(".maps");

/* Services in mode dr. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct service_key);
	__type(value, u8);
} balanced SEC(".maps");

/* By queue. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct passed);
} passed SEC(".maps");

inline int is_to_us(const struct ethernet *eth, const struct settings *now)
{
	const u16 *to = (const u16 *)eth->dst, *us = (const u16 *)now->mac;
	return to[0] == us[0] && to[1] == us[1] && to[2] == us[2];
}

SEC("xdp")
int to_sockets(struct xdp_md *ctx)
{
	void *data = (void *)(u64)ctx->data;
	void *end = (void *)(u64)ctx->data_end;
	struct ethernet *eth = data;
	struct packet packet = {};
	struct service_key key;
	struct settings *now;
	struct passed *count;
	u32 zero = 0;

	now = bpf_map_lookup_elem(&settings, &zero);
	count = bpf_map_lookup_elem(&passed, &zero);
	if ((void *)(eth + 1) > end || !now || !count)
		return XDP_PASS;
	if (!is_to_us(eth, now) || !parse(eth, end, &packet))
		return XDP_PASS;
	key.vip = packet.flow.vip;
	key.port_protocol = packet.flow.rest >> 16;
	if (!bpf_map_lookup_elem(&balanced, &key))
		return XDP_PASS;
	if (packet.bytes > read_once(now->largest) || (u32)(end - data) > read_once(now->room)) {
		count->too_large++;
		return XDP_PASS;
	}
	if (unlikely(is_unfinished(&packet))) {
		count->unfinished++;
		return XDP_PASS;
	}
	/* Up the stack if the queue has no socket. */
	return bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_PASS);
}

char _license[] SEC("license") = "Dual MIT/GPL";
