/* Reads the headers of a frame, as lbcore::net::packet does: whatever that would drop, or would have
 * to look at twice, is declined here. */
#pragma once
#include "hash.h"
#include "kernel.h"

#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define ACK 0x10
/* The six flags of RFC 9293 of which a segment has at least one. */
#define ANY_FLAG 0x3f

struct packet {
	struct flow flow;
	/* IP bytes. */
	u32 bytes;
	/* The IP payload's length, as its headers say. */
	u32 length;
	/* The transport checksum, as it stands there. */
	u16 check;
	u8 protocol;
	/* TCP flags; 0 for UDP. */
	u8 flags;
};

inline struct address address_of(const void *bytes)
{
	const u64 *words = bytes;
	struct address address = { .high = words[0], .low = words[1] };
	return address;
}

/* Without a division: 65,535 times `once` is 2^64 - 1, so its inverse modulo 2^64 is -once, which takes
 * multiples to what is left of them, and all else beyond (Granlund, Montgomery: Division by invariant
 * integers using multiplication, 9). */
inline int is_multiple_of_65535(u64 number)
{
	const u64 once = 0x0001000100010001ULL;

	return number * -once <= once;
}

/* What a transport checksum holds until it is finished: the sum of the pseudo header alone (Linux
 * include/linux/skbuff.h, CHECKSUM_PARTIAL). One finished checksum in 65,536 looks the same and is
 * declined, too. */
inline int is_unfinished(const struct packet *packet)
{
	const struct flow *flow = &packet->flow;
	u64 rest = be16(packet->protocol) + be16(packet->length);
	u64 sum = rest + (flow->client.low >> 32) + (flow->vip.low >> 32);

	if (flow->client.high)
		sum += (flow->client.high & 0xffffffff) + (flow->client.high >> 32)
			+ (flow->client.low & 0xffffffff)
			+ (flow->vip.high & 0xffffffff) + (flow->vip.high >> 32)
			+ (flow->vip.low & 0xffffffff);
	/* Brought down to 16 bits, no sum but that of nothing is 0. */
	return packet->check && is_multiple_of_65535(sum + 65535 - packet->check);
}

/* The header after Ethernet's and a VLAN tag, and what it is; 0 if there is none. */
inline const void *network_of(const struct ethernet *eth, void *end, u16 *type)
{
	const struct vlan_tag *tag = (const void *)(eth + 1);

	*type = eth->type;
	if (likely(*type != ETH_P_8021Q && *type != ETH_P_8021AD))
		return eth + 1;
	if ((void *)(tag + 1) > end)
		return 0;
	*type = tag->type;
	return tag + 1;
}

/* The four below: true if it is plain, that is IPv4 without options and fragments or IPv6 without extension
 * headers, TCP or UDP, with lengths and addresses that clients send. */
inline int parse_transport(const void *transport, void *end, struct packet *packet)
{
	if (packet->protocol == IPPROTO_TCP) {
		const struct tcp *tcp = transport;
		u32 header;

		if ((void *)(tcp + 1) > end || packet->length < sizeof(*tcp))
			return 0;
		header = (tcp->offset >> 4) * 4;
		if (header < sizeof(*tcp) || header > packet->length)
			return 0;
		packet->flags = tcp->flags;
		if (!(packet->flags & ANY_FLAG))
			return 0;
		if ((packet->flags & SYN) && (packet->flags & (FIN | RST)))
			return 0;
		packet->flow.rest = *(const u32 *)tcp;
		packet->check = tcp->check;
	} else if (packet->protocol == IPPROTO_UDP) {
		const struct udp *udp = transport;
		u16 said;

		if ((void *)(udp + 1) > end || packet->length < sizeof(*udp))
			return 0;
		said = be16(udp->length);
		if (said < sizeof(*udp) || said > packet->length)
			return 0;
		packet->flags = 0;
		packet->flow.rest = *(const u32 *)udp;
		packet->check = udp->check;
	} else {
		return 0;
	}
	packet->flow.rest |= (u64)packet->protocol << 32;
	return 1;
}

inline int parse_ipv4(const struct ipv4 *ip, void *end, struct packet *packet)
{
	u16 total;
	u8 first;

	if ((void *)(ip + 1) > end || ip->version_ihl != 0x45)
		return 0;
	total = be16(ip->total);
	/* More fragments, or a place other than the first; the reserved bit is let be. */
	if ((ip->fragment & be16(0x3fff)) || total < sizeof(*ip))
		return 0;
	if ((u32)total > (u32)(end - (void *)ip))
		return 0;
	first = *(const u8 *)&ip->src;
	if (first == 0 || first == 127 || first >= 224 || ip->src == ip->dst)
		return 0;
	packet->flow.client.high = 0;
	packet->flow.client.low = mapped(ip->src);
	packet->flow.vip.high = 0;
	packet->flow.vip.low = mapped(ip->dst);
	packet->protocol = ip->protocol;
	packet->length = total - sizeof(*ip);
	packet->bytes = total;
	return parse_transport(ip + 1, end, packet);
}

inline int parse_ipv6(const struct ipv6 *ip, void *end, struct packet *packet)
{
	if ((void *)(ip + 1) > end || (*(const u8 *)ip & 0xf0) != 0x60)
		return 0;
	packet->length = be16(ip->payload);
	packet->bytes = sizeof(*ip) + packet->length;
	if (packet->bytes > (u32)(end - (void *)ip))
		return 0;
	packet->flow.client = address_of(ip->src);
	packet->flow.vip = address_of(ip->dst);
	/* Mapped addresses would pass for IPv4's; ::, ::1 and multicast send nothing. */
	if (packet->flow.client.high == 0 || packet->flow.vip.high == 0 || *(const u8 *)ip->src == 0xff)
		return 0;
	if (packet->flow.client.high == packet->flow.vip.high
	    && packet->flow.client.low == packet->flow.vip.low)
		return 0;
	packet->protocol = ip->next;
	return parse_transport(ip + 1, end, packet);
}

inline int parse(const struct ethernet *eth, void *end, struct packet *packet)
{
	u16 type;
	const void *network = network_of(eth, end, &type);

	if (!network)
		return 0;
	if (likely(type == ETH_P_IP))
		return parse_ipv4(network, end, packet);
	return type == ETH_P_IPV6 && parse_ipv6(network, end, packet);
}
