# The same commands as in scripts/, for those who have make. `make` alone prints this help.
.DEFAULT_GOAL := help
.PHONY: help demo test check unit kernel traffic system golden fuzz mutants vm-test bench bench-quick bench-changes bench-cold bench-requests

help:     ## print this help
	@grep -hE '^[a-z-]+: +##' $(MAKEFILE_LIST) | sed -E 's/: +## /\t/' | expand -t 12
demo:     ## walk through the figures on real traffic, about a minute
	scripts/demo
test:     ## everything: checks and all tiers of tests
	scripts/test
check:    ## ruff, mypy --strict, the import table
	scripts/check
unit:     ## tests that need no privilege
	scripts/test -q tests/unit tests/golden
kernel:   ## tests against the kernel's nftables
	scripts/test -q tests/kernel
traffic:  ## tests with packets between namespaces
	scripts/test -q tests/traffic
system:   ## a machine under systemd: install, kill, upgrade, reboot
	scripts/test -q tests/system
vm-test:  ## the kernel and the traffic tier under Debian's own kernel, in a machine of their own (slow)
	scripts/vm-test
golden:   ## write the golden files anew; look at the difference before you commit it
	scripts/test -q tests/golden --update-golden
fuzz:     ## random policies and packets, kernel against oracle: make fuzz MINUTES=5 SEED=1
	scripts/fuzz --minutes $(or $(MINUTES),5) $(if $(SEED),--seed $(SEED))
mutants:  ## would the tests notice a small mistake? SAMPLE=400; see docs/mutants.md
	scripts/mutants --sample $(or $(SAMPLE),400)
bench:    ## measure packets beside conntrack, an nft list and iptables, some minutes; see docs/performance.md
	scripts/bench --plots docs/performance
bench-quick: ## the same in under two minutes
	scripts/bench --quick --out .cache/bench
bench-changes: ## measure changes beside a bare message, libnftables and nft, some minutes
	scripts/bench-changes
bench-requests: ## measure requests to the daemon, one by one and by 8 to 64 connections at once, two minutes
	scripts/bench-requests
bench-cold: ## measure starts, restarts, repairs and memory, half an hour with 100,000 changes
	scripts/bench-cold $(or $(CHANGES),100000)
