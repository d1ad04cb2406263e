# lbd: what people and CI type. `make help` lists it.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO  ?= cargo
PREFIX ?= /usr
DESTDIR ?=
# For each fuzz target.
FUZZ_SECONDS ?= 300

# Debian keeps ip, nft and ethtool where a plain user's PATH does not look.
export PATH := $(PATH):/usr/sbin:/sbin

TARGET   := $(shell pwd)/target
FIGURES  := $(TARGET)/figures.txt
SHELF    := $(TARGET)/shelf
# Of this version.
DATE     := $(shell date --utc --date="$$(sed -n '/^ -- /{s/.*>  //;p;q}' packaging/deb/changelog)" +%F)
# Where the programs were built.
BUILT    ?= $(TARGET)/release
NETWORK  := cc clang ip nft ethtool curl setpriv unshare nsenter
.PHONY: help
help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1\t/' | expand -t 16

.PHONY: demo
demo: ## Show what lbd does, on real traffic in network namespaces; cleans up after itself
	@scripts/install-deps.sh $(NETWORK)
	@echo "building ..."
	@$(CARGO) build --quiet --bins --package lbd --package lbctl --package integration
	@$(TARGET)/debug/demo

.PHONY: lab
lab: ## The demo's network, left up to play in
	@scripts/install-deps.sh $(NETWORK)
	@$(CARGO) build --quiet --bins --package lbd --package lbctl --package integration
	@scripts/lab.sh up

.PHONY: lab-down
lab-down: ## Take the lab away
	@scripts/lab.sh down

.PHONY: test
test: ## All that CI runs: lint, unit, integration and fuzz tests; as root, or in user namespaces
	@scripts/install-deps.sh $(NETWORK) promtool systemd-analyze g++ ping python3 nginx haproxy keepalived strace iptables \
	    chromium tmux dash shellcheck prometheus jsonschema mandoc man zsh fish dpkg-shlibdeps lintian
	@$(MAKE) --no-print-directory lint unit instructions unit-file integration
	@if scripts/has-bpf.sh; then $(MAKE) --no-print-directory integration-engines; fi
	@$(MAKE) --no-print-directory deb-test
	@FUZZ_SEED=1 $(MAKE) --no-print-directory fuzz FUZZ_SECONDS=30
	@scripts/skipped.sh

.PHONY: lint
lint: ## Formatting, clippy with warnings as errors, licences where cargo-deny is installed
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings
	$(CARGO) clippy --package lbd --no-default-features --quiet -- -D warnings
	$(CARGO) clippy --workspace --features lbcore/interleaved --test interleaved --quiet -- -D warnings
	if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny check licenses bans sources; fi

# The optimised lbcore is for those who use it: its own tests take minutes to build so, and seconds to run.
PLAIN = --config profile.dev.package.lbcore.opt-level=0
UNIT_TESTS := $(notdir $(basename $(wildcard lbd/tests/*.rs lbctl/tests/*.rs)))

.PHONY: unit
unit: ## Unit and documentation tests, and every interleaving of two writers of the flow table
	$(CARGO) test --package lbcore $(PLAIN) --quiet
	$(CARGO) test --workspace --exclude lbcore --quiet --lib --bins $(UNIT_TESTS:%=--test %)
	$(CARGO) test --workspace --exclude lbcore --quiet --doc
	$(CARGO) test --package lbcore --features interleaved --test interleaved --quiet

.PHONY: unit-file
unit-file: ## The systemd unit: no mistakes, exposure 2.5 or better
	scripts/check-unit.sh

# These promise times, which others on the same cores would not let them keep.
TIMED_TESTS = accept_proxy check_storm drain guard health iface kubernetes neigh proxy proxy_drain proxy_host \
    proxy_limits proxy_udp restart security security_host vip
# The longest first, so that it is not left to run alone.
E2E_TESTS = reload $(filter-out reload $(TIMED_TESTS),$(notdir $(basename $(wildcard integration/tests/*.rs))))

.PHONY: integration
integration: ## End-to-end tests on real traffic in network namespaces
	rm -f $(FIGURES)
	LBD_FIGURES=$(FIGURES) CARGO=$(CARGO) scripts/e2e.sh $(E2E_TESTS:%=af_packet/%) -- $(TIMED_TESTS:%=af_packet/%)

# What no engine may do differently: forwarding, frames, the guard, drains, reloads, restarts, interfaces.
ENGINE_TESTS       = reload dr frames schedulers
TIMED_ENGINE_TESTS = drain guard iface neigh restart

.PHONY: integration-engines
integration-engines: ## The tests that every engine must pass, on af_xdp and on xdp; as root
	CARGO=$(CARGO) scripts/e2e.sh $(ENGINE_TESTS:%=af_xdp/%) $(ENGINE_TESTS:%=xdp/%) \
	    -- $(TIMED_ENGINE_TESTS:%=af_xdp/%) $(TIMED_ENGINE_TESTS:%=xdp/%)

.PHONY: fuzz
fuzz: ## Fuzz each target for FUZZ_SECONDS (300) with libFuzzer
	@scripts/install-deps.sh g++
	scripts/fuzz.sh $(FUZZ_SECONDS)

.PHONY: bench
bench: ## Benchmarks of director, engines and proxies against their peers, into docs/benchmarks.md (as root); ROUNDS=5
	@scripts/install-deps.sh $(NETWORK) haproxy wrk
	$(CARGO) bench --package lbcore
	$(CARGO) bench --package lbd --bench engine
	$(CARGO) build --release --bins --package lbd --package lbctl
	$(CARGO) bench --package integration --bench engines -- --write
	$(CARGO) bench --package integration --bench proxy -- --write
	@$(MAKE) --no-print-directory instructions

.PHONY: instructions
instructions: ## Instructions of the director for a packet: fails when they grow by more than 3 %
	@scripts/install-deps.sh valgrind
	CARGO=$(CARGO) scripts/instructions.sh

.PHONY: screenshots
screenshots: ## The README's pictures, made anew from a network with traffic
	@scripts/install-deps.sh $(NETWORK) chromium tmux pngquant
	$(CARGO) build --quiet --bins --package lbd --package lbctl --package integration
	$(TARGET)/debug/screenshots docs/pictures

.PHONY: shelf
shelf: ## Manual pages, completion and JSON schema into target/shelf, made by the programs themselves
	@mkdir -p $(SHELF)/man
	@rm -f $(SHELF)/man/*
	@$(BUILT)/lbd man --date $(DATE) >$(SHELF)/man/lbd.8
	@$(BUILT)/lbctl man --date $(DATE) $(SHELF)/man
	@$(BUILT)/lbctl config schema >$(SHELF)/lbd.schema.json
	@$(BUILT)/lbctl completion bash >$(SHELF)/lbctl.bash
	@$(BUILT)/lbctl completion zsh >$(SHELF)/_lbctl
	@$(BUILT)/lbctl completion fish >$(SHELF)/lbctl.fish

.PHONY: deb
deb: ## The Debian package, into target/debian
	@scripts/install-deps.sh cc dpkg-shlibdeps
	$(CARGO) build --release --bins --package lbd --package lbctl
	@$(MAKE) --no-print-directory shelf
	scripts/deb.sh release

.PHONY: deb-test
deb-test: ## Package the debug build, install it in a throw-away root, upgrade, remove and purge it
	$(CARGO) build --quiet --bins --package lbd --package lbctl
	@$(MAKE) --no-print-directory shelf BUILT=$(TARGET)/debug
	scripts/deb.sh debug
	scripts/test-deb.sh

.PHONY: install
install: ## Install release builds and all that belongs to them below $(DESTDIR)$(PREFIX)
	$(CARGO) build --release --bins --package lbd --package lbctl
	@$(MAKE) --no-print-directory shelf
	install -Dm755 $(BUILT)/lbd $(DESTDIR)$(PREFIX)/bin/lbd
	install -Dm755 $(BUILT)/lbctl $(DESTDIR)$(PREFIX)/bin/lbctl
	install -Dm644 systemd/lbd.service $(DESTDIR)$(PREFIX)/lib/systemd/system/lbd.service
	install -Dm644 systemd/lbd-xdp.conf $(DESTDIR)$(PREFIX)/share/doc/lbd/lbd-xdp.conf
	install -Dm644 systemd/lbd-af-xdp.conf $(DESTDIR)$(PREFIX)/share/doc/lbd/lbd-af-xdp.conf
	install -Dm644 systemd/lbd.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/lbd.conf
	install -Dm644 systemd/lbd.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/lbd.conf
	install -Dm644 systemd/lbd.networkd.conf $(DESTDIR)$(PREFIX)/lib/systemd/networkd.conf.d/lbd.conf
	for section in 1 5 8; do \
	    install -d $(DESTDIR)$(PREFIX)/share/man/man$$section; \
	    for page in $(SHELF)/man/*.$$section; do \
	        gzip -9nc $$page >$(DESTDIR)$(PREFIX)/share/man/man$$section/$$(basename $$page).gz; \
	    done; \
	done
	install -Dm644 $(SHELF)/lbctl.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/lbctl
	install -Dm644 $(SHELF)/_lbctl $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions/_lbctl
	install -Dm644 $(SHELF)/lbctl.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/lbctl.fish
	install -Dm644 $(SHELF)/lbd.schema.json $(DESTDIR)$(PREFIX)/share/lbd/lbd.schema.json
	install -Dm644 -t $(DESTDIR)$(PREFIX)/share/doc/lbd/examples config/*.toml
	install -Dm644 -t $(DESTDIR)$(PREFIX)/share/doc/lbd/examples/grafana contrib/grafana/*.json
	install -Dm644 -t $(DESTDIR)$(PREFIX)/share/doc/lbd/examples/prometheus contrib/prometheus/lbd.rules.yml
