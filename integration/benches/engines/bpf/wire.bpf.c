/* The far end of the wire: makes frames, and counts what comes back; and the least that a balancer
 * could do.
 *
 * The kernel runs `generate` for frame after frame (BPF_F_TEST_XDP_LIVE_FRAMES) and sends each out of
 * the generator's interface. It hands the same pages out again and again without restoring them, so
 * every frame is written anew as far as a balancer may have changed it.
 */
#include "kernel_more.h"

/* What is sent; `Plan` in plan.rs has the same layout. */
struct plan {
	/* Flows are numbered: `first` up to `first + flows`. */
	u64 first;
	u64 flows;
	/* Frames in all; what is asked for beyond them is not sent. */
	u64 limit;
	/* Nanoseconds from frame to frame; 0: as fast as can be. */
	u64 gap;
	/* The sum of the IPv4 header without source and checksum. */
	u32 header_sum;
	/* The sum of the pseudo header without the source. */
	u32 pseudo_sum;
	/* The sum of what follows the IP header, without ports and checksum. */
	u32 rest_sum;
	/* The client of flow 0 (IPv6: its last 32 bits). */
	u32 client;
	/* Of the first service. */
	u32 port;
	/* As many services, at the ports that follow. */
	u32 services;
	/* One frame in so many has a checksum nobody has finished; 0: none. */
	u32 unfinished;
	/* Flows come in random order. */
	u8 random;
	u8 v6;
	u8 tcp;
	/* Each frame's way there and back is timed. */
	u8 timed;
	/* Both MAC addresses as they stand in a frame. */
	u64 macs[2];
};

/* Where the generator is. */
struct progress {
	u64 sent;
	u64 due;
	u64 random;
	/* Of the frame under way, when frames are timed. */
	u64 sent_at;
	/* Times taken. */
	u64 times;
	/* Written to for its effect on the processor. */
	u64 fence;
};

#define MAX_TIMES 4096
#define MAX_REALS 1024

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct plan);
} plans SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct progress);
} progresses SEC(".maps");

/* Frames that came back, by the number of the real they went to. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_REALS);
	__type(key, u32);
	__type(value, u64);
} returned SEC(".maps");

/* Nanoseconds there and back. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_TIMES);
	__type(key, u32);
	__type(value, u64);
} times SEC(".maps");

/* The program under test. */
struct {
	__uint(type, PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} under_test SEC(".maps");

/* A real's MAC is 02:00:00:01 and its number. */
#define REAL_0 0x02
#define REAL_3 0x01

inline u32 next_flow(struct plan *plan, struct progress *progress)
{
	u64 nth = progress->sent;

	if (plan->random) {
		/* Knuth's MMIX generator; the upper half is the random one. */
		progress->random = progress->random * 6364136223846793005ULL + 1442695040888963407ULL;
		return plan->first + ((progress->random >> 32) * plan->flows >> 32);
	}
	if (plan->flows)
		nth %= plan->flows;
	return plan->first + nth;
}

/* Writes the next frame: what a balancer may have changed, and what makes it the next flow's. The
 * checksum is a finished one and does not look unfinished by chance: a word of the payload sees to it. */
inline int write_frame(void *data, void *end, struct plan *plan, struct progress *progress)
{
	struct ethernet *eth = data;
	u16 client_port, port, *ports, *check, *spare;
	u32 flow, client, sum;
	u64 pseudo, all;
	u16 found, bare;

	flow = next_flow(plan, progress);
	client = be32(plan->client + (flow >> 14));
	client_port = be16(1024 + (flow & 0x3fff));
	port = plan->port;
	if (plan->services > 1)
		port += flow % plan->services;
	port = be16(port);

	sum = (client & 0xffff) + (client >> 16);
	pseudo = (u64)plan->pseudo_sum + sum;
	all = pseudo + plan->rest_sum + client_port + port;

	if (data + sizeof(*eth) + sizeof(struct ipv6) > end)
		return 0;
	/* In whole words: fields of packed structures would be written byte by byte. */
	*(u64 *)data = plan->macs[0];
	*(u32 *)(data + 8) = plan->macs[1];
	if (plan->v6) {
		*(u32 *)(data + 34) = client;
		ports = data + sizeof(*eth) + sizeof(struct ipv6);
	} else {
		*(u32 *)(data + 26) = client;
		*(u16 *)(data + 24) = ~folded((u64)plan->header_sum + sum);
		ports = data + sizeof(*eth) + sizeof(struct ipv4);
	}
	/* In words of 16 bits: where the checksum is, and how long the header. */
	check = ports + (plan->tcp ? 8 : 3);
	spare = ports + (plan->tcp ? 10 : 4);
	if ((void *)(spare + 1) > end || (void *)(check + 1) > end)
		return 0;
	ports[0] = client_port;
	ports[1] = port;

	*spare = 0;
	bare = folded(pseudo);
	found = ~folded(all);
	if (!found)
		found = 0xffff;
	if (unlikely(found == bare)) {
		*spare = be16(1);
		found = ~folded(all + be16(1));
		if (!found)
			found = 0xffff;
	}
	if (plan->unfinished && progress->sent % plan->unfinished == 0)
		found = bare;
	*check = found;
	return 1;
}

/* Calls of the clock until another frame is given up for: the verifier walks through all of them. */
#define PATIENCE 4096

/* Whether it is time for the next frame; waits for a while. */
inline int is_due(struct plan *plan, struct progress *progress)
{
	u64 now = clock_ns();

	if (!progress->due)
		progress->due = now;
	for (int i = 0; i < PATIENCE && now < progress->due; i++)
		now = clock_ns();
	if (now < progress->due)
		return 0;
	progress->due += plan->gap;
	return 1;
}

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	u32 zero = 0;
	struct plan *plan = bpf_map_lookup_elem(&plans, &zero);
	struct progress *progress = bpf_map_lookup_elem(&progresses, &zero);

	if (!plan || !progress || progress->sent >= plan->limit)
		return XDP_DROP;
	if (plan->gap && !is_due(plan, progress))
		return XDP_DROP;
	if (!write_frame((void *)(u64)ctx->data, (void *)(u64)ctx->data_end, plan, progress))
		return XDP_ABORTED;
	progress->sent++;
	/* While one is late, the next are not timed. */
	if (plan->timed && !progress->sent_at)
		progress->sent_at = clock_ns();
	return XDP_TX;
}

/* Runs the program under test on the next frame, without any wire. */
SEC("xdp")
int run_under_test(struct xdp_md *ctx)
{
	u32 zero = 0;
	struct plan *plan = bpf_map_lookup_elem(&plans, &zero);
	struct progress *progress = bpf_map_lookup_elem(&progresses, &zero);

	if (!plan || !progress)
		return XDP_ABORTED;
	if (!write_frame((void *)(u64)ctx->data, (void *)(u64)ctx->data_end, plan, progress))
		return XDP_ABORTED;
	progress->sent++;
	/* What was just written reaches the cache first: a frame that comes in is there as a whole, and not
	 * on its way out of a core's store buffer. */
	__sync_fetch_and_add(&progress->fence, 1);
	tail_call(ctx, &under_test, 0);
	return XDP_ABORTED;
}

/* Counts what comes back for a real, and keeps it from the stack. */
SEC("xdp")
int count(struct xdp_md *ctx)
{
	struct ethernet *eth = (void *)(u64)ctx->data;
	u32 zero = 0, real, place;
	struct progress *progress;
	u64 *counter, *time;

	if ((void *)(eth + 1) > (void *)(u64)ctx->data_end)
		return XDP_PASS;
	if (eth->dst[0] != REAL_0 || eth->dst[3] != REAL_3)
		return XDP_PASS;
	real = eth->dst[4] << 8 | eth->dst[5];
	counter = bpf_map_lookup_elem(&returned, &real);
	if (counter)
		++*counter;
	progress = bpf_map_lookup_elem(&progresses, &zero);
	if (progress && progress->sent_at) {
		place = progress->times;
		time = bpf_map_lookup_elem(&times, &place);
		if (time)
			*time = clock_ns() - progress->sent_at;
		progress->times++;
		progress->sent_at = 0;
	}
	return XDP_DROP;
}

/* What sending a frame back costs anybody. */
SEC("xdp")
int empty(struct xdp_md *ctx __attribute__((unused)))
{
	return XDP_TX;
}

/* The same with the two MAC addresses of direct routing, so that it counts as returned. */
SEC("xdp")
int bare(struct xdp_md *ctx)
{
	static const u8 macs[12] = {REAL_0, 0, 0, REAL_3, 0, 0, 2, 0, 0, 0, 0, 2};
	struct ethernet *eth = (void *)(u64)ctx->data;

	if ((void *)(eth + 1) > (void *)(u64)ctx->data_end)
		return XDP_PASS;
	/* Whatever is not the generator's goes to the host as ever. */
	if (eth->dst[0] & 1)
		return XDP_PASS;
	__builtin_memcpy(eth, macs, 12);
	return XDP_TX;
}

char _license[] SEC("license") = "Dual MIT/GPL";
