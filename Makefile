# `make` lists what there is.
.DEFAULT_GOAL := help
PYTHON := PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3

.PHONY: help build previous test unit lint format scenarios rewrite models mutants hunt simulate lab chaos load guests bench profiled demo life docs check clean

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

build: ## the release products: .build/release/holdfast and .build/release/simulate
	swift build -c release --static-swift-stdlib --product holdfast
	swift build -c release --static-swift-stdlib --product simulate

previous: ## the release before, as .build/previous/holdfast: the end-to-end tests then run both in one cluster (minutes)
	scripts/previous

test: ## everything that must pass before a change lands (root; about half an hour)
	scripts/test

unit: ## unit and scenario tests only
	swift test --parallel

lint: ## the formatter's complaints, and those of mypy and ruff about the Python (from PyPI, beside the build)
	swift format lint --strict -r -p Sources Tests Package.swift
	bash -c '. scripts/packages.sh && lint_python'

format: ## lets the formatter rewrite the sources
	swift format -i -r -p Sources Tests Package.swift

scenarios: ## the scenario text files of the cores
	swift test --filter Scenario

rewrite: ## rewrites the expected output of scenario files; look at the difference before committing it
	REWRITE=1 swift test --filter Scenario
	git --no-pager diff --stat -- 'Tests/*.txt'

models: ## all orders of events of a recovery, within bounds, and each of its rules made weaker (minutes; NAMES="R2 R3" with traces)
	$(PYTHON) -m Tests.Models.recovery $(NAMES)

mutants: ## takes each safety rule out of a copy; its test must notice (root; minutes; NAMES="L5 V" for some)
	scripts/mutants $(NAMES)

hunt: ## puts faults of the past back into a copy; the simulator must find each (an hour or more; NAMES="A1 L5" MINUTES=N SEED=N)
	scripts/hunt $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(NAMES)

simulate: ## the whole cluster in virtual time from a fresh seed; prints the seed (SEED=N RUNS=N MINUTES=N NODES=N FLAGS=--edits)
	swift build -c release --static-swift-stdlib --product simulate
	.build/release/simulate --seed $(or $(SEED),$$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')) \
		--runs $(or $(RUNS),$(if $(SEED),1,20)) --minutes $(or $(MINUTES),30) $(if $(NODES),--nodes $(NODES)) $(FLAGS)

profiled: ## simulate built from a profile of its own runs, for long hunts: .build/profiled/release/simulate
	scripts/profiled

lab: ## tests of the laboratory itself (root)
	$(PYTHON) -m unittest discover -s chaos/tests -t .

chaos: build ## real daemons under every fault (root; SEED=N ROUNDS=N WHAT="quick")
	chaos/run $(WHAT) $(if $(SEED),--seed $(SEED)) $(if $(ROUNDS),--rounds $(ROUNDS))

load: build ## 2,000 groups, 50 clients, a full /run, slow disks, 100 MiB of state: no lease is lost (root; GROUPS=N CLIENTS=N STATE=BYTES)
	HOLDFAST_GROUPS=$(or $(GROUPS),2000) HOLDFAST_CLIENTS=$(or $(CLIENTS),50) $(PYTHON) -m unittest Tests/EndToEnd/test_load.py
	HOLDFAST_GROUPS=$(or $(GROUPS),300) HOLDFAST_SLOW_SECONDS=20 $(PYTHON) -m unittest Tests/EndToEnd/test_slow_disk.py
	HOLDFAST_STATE_BYTES=$(or $(STATE),104857600) $(PYTHON) -m unittest Tests/EndToEnd/test_large_state.py

guests: $(if $(HOLDFAST_BINARY),,build) ## the product on three real Debian systems under QEMU (root; hours without KVM; WHAT="names" SEED=N)
	bash -c '. scripts/packages.sh && install_packages "$${guests_packages[@]}"'
	$(PYTHON) -m unittest discover -s guests/tests -t .
	nice -n 10 guests/run $(WHAT) $(if $(SEED),--seed $(SEED))

bench: build ## measures what the project promises, beside the peers' figures (root; about an hour, QUICK=1: minutes)
	Benchmarks/run $(if $(QUICK),--quick) $(WHAT)

demo: ## watch a PostgreSQL survive the death of its server (root)
	scripts/demo

life: ## watch a cluster lose machines, disks and majorities, and be upgraded, under a PostgreSQL (root; minutes)
	scripts/demo-life

docs: ## dead links, and rules that nothing cites
	swift test --filter DocumentTests

check: lint ## lint, types and tests, without root
	swift build
	swift test --parallel

clean: ## removes what was built, and what an interrupted laboratory left
	$(PYTHON) -c "import sys; sys.path.insert(0, '.'); from chaos.lab import leftovers; leftovers.clean(None)"
	rm -rf .build chaos/build Benchmarks/results
