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
	u32 spare;
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

/* Of a service: its ring answers here for packets without a flow. */
#define BY_RING 1
/* Its ring is asked by the client's address: scheduler sh. */
#define BY_SOURCE 2
/* Flows are not remembered, ever. */
#define TRACK_NONE 4
/* Flows are remembered only while the set changes. */
#define TRACK_CHANGES 8
/* Flows are looked up in the flow table. */
#define LOOKS_UP 16

/* No ring. */
#define NONE 0xffffffffU

/* A service as one snapshot has it. */
struct service {
	u16 id;
	/* 0: it is not there, everything is declined. */
	u16 present;
	u32 flags;
	/* In units of 64 ms: silent for longer, a flow in use is forgotten. */
	u32 idle;
	/* Where its ring begins in `rings`. */
	u32 ring;
	/* The ring before the change that is under way, if one is. */
	u32 past;
	u32 spare;
};

struct service_key {
	struct address vip;
	/* VIP's port in network order, and the protocol number above it. */
	u64 port_protocol;
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

/* What one core has counted on one interface. */
struct frames {
	u64 received;
	u64 sent;
	u64 unfinished;
	u64 unremembered;
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

/* By what clients dial: the service in each half. lbd writes the half not in force, then flips. An
 * element is replaced whole, and freed when no program reads it any more. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct service_key);
	__type(value, struct service[2]);
} services SEC(".maps");

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
