/* Brings every frame to the AF_XDP socket of its queue. */
#include "kernel_more.h"

struct {
	__uint(type, XSKMAP);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, u32);
} sockets SEC(".maps");

SEC("xdp")
int to_socket(struct xdp_md *ctx)
{
	/* No socket: the host has it. */
	return redirect_map(&sockets, ctx->rx_queue_index, XDP_PASS);
}

char _license[] SEC("license") = "Dual MIT/GPL";
