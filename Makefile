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
NETWORK  := cc ip nft ethtool curl setpriv unshare nsenter
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
	@scripts/install-deps.sh $(NETWORK) promtool systemd-analyze g++ ping python3 nginx haproxy keepalived strace iptables
	@$(MAKE) --no-print-directory lint unit unit-file integration
	@$(MAKE) --no-print-directory fuzz FUZZ_SECONDS=30
	@scripts/skipped.sh

.PHONY: lint
lint: ## Formatting, clippy with warnings as errors, licences where cargo-deny is installed
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings
	if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny check licenses bans sources; fi

.PHONY: unit
unit: ## Unit and documentation tests
	$(CARGO) test --workspace --exclude integration --quiet

.PHONY: unit-file
unit-file: ## The systemd unit: no mistakes, exposure 2.5 or better
	scripts/check-unit.sh

.PHONY: integration
integration: ## End-to-end tests on real traffic in network namespaces
	$(CARGO) build --quiet --bins --package lbd --package lbctl --package integration
	rm -f $(FIGURES)
	LBD_FIGURES=$(FIGURES) $(CARGO) test --package integration -- --test-threads=1

.PHONY: fuzz
fuzz: ## Fuzz each target for FUZZ_SECONDS (300) with libFuzzer
	@scripts/install-deps.sh g++
	scripts/fuzz.sh $(FUZZ_SECONDS)

.PHONY: bench
bench: ## Benchmarks: the director alone, the engine, proxies (as root); ROUNDS=5
	@scripts/install-deps.sh $(NETWORK) haproxy wrk
	$(CARGO) bench --package lbcore
	$(CARGO) bench --package lbd --bench engine
	$(CARGO) build --release --bins --package lbd --package lbctl
	$(CARGO) bench --package integration --bench proxy

.PHONY: install
install: ## Install release builds, unit and sample configuration below $(DESTDIR)$(PREFIX)
	$(CARGO) build --release --bins --package lbd --package lbctl
	install -Dm755 $(TARGET)/release/lbd $(DESTDIR)$(PREFIX)/bin/lbd
	install -Dm755 $(TARGET)/release/lbctl $(DESTDIR)$(PREFIX)/bin/lbctl
	install -Dm644 systemd/lbd.service $(DESTDIR)$(PREFIX)/lib/systemd/system/lbd.service
	install -Dm644 systemd/lbd.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/lbd.conf
	install -Dm644 systemd/lbd.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/lbd.conf
	install -Dm644 systemd/lbd.networkd.conf $(DESTDIR)$(PREFIX)/lib/systemd/networkd.conf.d/lbd.conf
	install -Dm644 config/lbd.toml $(DESTDIR)$(PREFIX)/share/doc/lbd/lbd.toml
	install -Dm644 config/dr-minimal.toml $(DESTDIR)$(PREFIX)/share/doc/lbd/dr-minimal.toml
	install -Dm644 config/tproxy.toml $(DESTDIR)$(PREFIX)/share/doc/lbd/tproxy.toml
