/* What lbd and the program share: lbd::xdp::record is the other half of this page. */
#pragma once
#include "hash.h"
#include "kernel.h"

#define MAX_INTERFACES 16
#define MAX_REALS 65536

/* What lbd changes while the program runs; it maps this memory. */
struct settings {
	/* Milliseconds of the monotonic clock. */
	u64 now;
	/* Which half of `services` and `reals` is in force: 0 or 1. */
	u32 half;
	/* Counts up with every renewal of the budget below. */
	u32 renewal;
	/* New flows that one core may remember until the next renewal. */
	u32 budget;
	/* 0. */
	u32 nothing;
	struct interface {
		/* 0: nothing is forwarded here, nor looked at in what comes after it. */
		u32 ifindex;
		/* The largest frame, from its Ethernet header on, that came as it was sent; 0: everything is
		 * declined. */
		u32 largest;
		/* Its MAC, which frames to us bear. */
		u8 mac[8];
	} interfaces[MAX_INTERFACES];
};

/* Of a service: there is one; without, everything is declined. */
#define THERE 1
/* Its ring answers here for packets without a flow. */
#define BY_RING 2
/* Its ring is asked by the client's address: scheduler sh. */
#define BY_SOURCE 4
/* Flows are not remembered, ever. */
#define TRACK_NONE 8
/* Flows are remembered only while the set changes. */
#define TRACK_CHANGES 16
/* Flows are looked up in the flow table. */
#define LOOKS_UP 32
/* The ring before a change is asked by the client's address. */
#define PAST_BY_SOURCE 64

/* No ring. */
#define NONE 0xffffffffU

/* A service as one snapshot has it. Length 16. */
struct service {
	u16 id;
	u16 flags;
	/* In units of 64 ms: silent for longer, a flow in use is forgotten. */
	u32 idle;
	/* Where its ring begins in `rings`. */
	u32 ring;
	/* The ring before the change that is under way, if one is. */
	u32 past;
};

/* What clients dial, and the service there in each half. Length 64. */
struct endpoint {
	struct address vip;
	/* VIP's port in network order, and the protocol number above it. */
	u64 port_protocol;
	u64 spare;
	struct service halves[2];
};

/* Its flows go on as they did. */
#define KEEPS 1
/* A SYN on one of its flows stays with it. */
#define TAKES_NEW 2
/* It is reached by another interface than frames come in by, and that one takes them from here. */
#define REDIRECTED 4
/* There is one. */
#define PRESENT 8

/* Where the packets of a real's flows go. */
struct real {
	/* Whose id it is; flows of others are declined. */
	u16 epoch;
	u16 flags;
	u32 ifindex;
	/* The largest frame that interface sends, from its Ethernet header on. */
	u32 largest;
	u8 dst[6];
	u8 src[6];
	u16 service;
	u16 spare[3];
};

/* What one core has counted of one real. */
struct tally {
	u64 packets;
	u64 bytes;
	u64 began;
	u64 completed;
	/* By how much its flows have become more or less: lbcore::load. */
	s64 active;
	s64 inactive;
};

/* What one core has counted on one interface. What came in and went out by the first one is not counted:
 * it is what all reals have got less what all others have. */
struct frames {
	/* Received, sent, declined as unfinished, flows not remembered. */
	u64 counts[4];
};

/* Flows that one core has remembered since the renewal. */
struct remembered {
	u32 renewal;
	u32 flows;
};

struct line {
	u64 words[8];
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

/* A hash table of its own: the kernel's took a third of all that this program does. lbd fills it
 * (lbd::xdp::endpoints): an endpoint stands at its place or one of the next few, and its key changes only
 * while it is there in neither half. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, u32);
	__type(value, struct endpoint);
} endpoints SEC(".maps");

#define PLACES 4

/* Set before the program is loaded: 64 less the bits of a place. */
const volatile u32 endpoint_shift = 0;

/* Slots of rings, four in an element. lbd writes rings where none is in force. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, u32);
	__type(value, u64);
} rings SEC(".maps");

/* Two halves, MAX_REALS apart. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * MAX_REALS);
	__type(key, u32);
	__type(value, struct real);
} reals SEC(".maps");

/* By real. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct tally);
} tallies SEC(".maps");

/* By interface. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_INTERFACES);
	__type(key, u32);
	__type(value, struct frames);
} frames SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct remembered);
} remembered SEC(".maps");
