/* What the program needs of the kernel's interface (linux/bpf.h, linux/if_ether.h and kin), written
 * out so that building takes clang alone and no headers of one distribution or another. */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef int s32;
typedef unsigned long long u64;
typedef long long s64;

/* The context of an XDP program: linux/bpf.h. */
struct xdp_md {
	u32 data;
	u32 data_end;
	u32 data_meta;
	u32 ingress_ifindex;
	u32 rx_queue_index;
	u32 egress_ifindex;
};

enum xdp_action {
	XDP_ABORTED = 0,
	XDP_DROP,
	XDP_PASS,
	XDP_TX,
	XDP_REDIRECT,
};

enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_XSKMAP = 17,
};

#define BPF_F_MMAPABLE (1U << 10)

#define BPF_F_NO_PREALLOC (1U << 0)

static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_redirect)(u32 ifindex, u64 flags) = (void *)23;
static long (*bpf_redirect_map)(void *map, u32 key, u64 flags) = (void *)51;

/* Maps are described by BTF: a member's type carries its value. */
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int (*name)[value]
#define __type(name, type) typeof(type) *name

#define inline static inline __attribute__((always_inline))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* A compiler barrier: what is read before it is read before what comes after it. */
#define in_order() __asm__ volatile("" ::: "memory")
/* A number of which clang knows nothing, so that bounds put to it again stay for the verifier. */
inline u32 unknown(u32 number)
{
	__asm__ volatile("" : "+r"(number));
	return number;
}
#define read_once(x) (*(volatile typeof(x) *)&(x))
#define write_once(x, value) (*(volatile typeof(x) *)&(x) = (value))

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define be16(x) ((u16)__builtin_bswap16(x))
#define be64(x) ((u64)__builtin_bswap64(x))
#else
#define be16(x) ((u16)(x))
#define be64(x) ((u64)(x))
#endif

/* As they stand in memory, that is in network byte order. */
#define ETH_P_IP be16(0x0800)
#define ETH_P_IPV6 be16(0x86dd)
#define ETH_P_8021Q be16(0x8100)
#define ETH_P_8021AD be16(0x88a8)

/* Headers as they are, not declared packed: clang would read what is packed byte by byte, and the kernel
 * lets programs read at any address where the processor does. */
struct ethernet {
	u8 dst[6];
	u8 src[6];
	u16 type;
};

struct vlan_tag {
	u16 tci;
	u16 type;
};

struct ipv4 {
	u8 version_ihl;
	u8 tos;
	u16 total;
	u16 id;
	u16 fragment;
	u8 ttl;
	u8 protocol;
	u16 check;
	u32 src;
	u32 dst;
};

struct ipv6 {
	u32 version_class_label;
	u16 payload;
	u8 next;
	u8 hops;
	u32 src[4];
	u32 dst[4];
};

struct tcp {
	u16 src;
	u16 dst;
	u32 seq;
	u32 ack;
	u8 offset;
	u8 flags;
	u16 window;
	u16 check;
	u16 urgent;
};

struct udp {
	u16 src;
	u16 dst;
	u16 length;
	u16 check;
};

#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
