# Humanizer. `make` lists what there is. What is built once lies in $HUMANIZER_CACHE (default ~/.cache/humanizer), keyed by content.
SHELL := bash
.DEFAULT_GOAL := help
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
CACHE := $(or $(HUMANIZER_CACHE),$(HOME)/.cache/humanizer)
NATIVE_SOURCES := $(wildcard trainer-image/native/*.cc trainer-image/native/*.h trainer-image/native/CMakeLists.txt test/*/*.cc test/*/*.h)
SANITIZED := parity_ops engine_faults engine_fuzz
DEPS := node_modules/.package-lock.json
SUITE ?= engine

help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

$(DEPS): package-lock.json
	@npm install --no-save --no-audit --no-fund --loglevel=error # not ci: it refuses a lock written where other platforms' binaries are not served
	@touch $@

build/native/trainer_native.node: $(NATIVE_SOURCES) | $(DEPS)
	@test/cluster/packages.sh
	@mkdir -p build/native && (cmake -S trainer-image/native -B build/native -DCMAKE_BUILD_TYPE=Release && \
	  cmake --build build/native -j"$$(nproc)") >build/native.log 2>&1 || { tail -30 build/native.log; echo "see build/native.log"; exit 1; }
	@touch $@

native: build/native/trainer_native.node ## Compile the native engine

build/sanitized/built: $(NATIVE_SOURCES) | $(DEPS)
	@mkdir -p build/sanitized && (cmake -S trainer-image/native -B build/sanitized -DHUMANIZER_SANITIZE=address,undefined && \
	  cmake --build build/sanitized -j"$$(nproc)" --target $(SANITIZED)) >build/sanitized.log 2>&1 || { tail -30 build/sanitized.log; echo "see build/sanitized.log"; exit 1; }
	@touch $@

sanitized: build/sanitized/built ## Compile the engine's test programs with sanitizers
demo: native ## The whole story on a real cluster (CONTEXT=name REGISTRY=host/path: on your own)
	@node test/cluster/demo.ts $(if $(CONTEXT),--context $(CONTEXT)) $(if $(REGISTRY),--registry $(REGISTRY))

test: native ## All tests; ends with one line: N passed, N failed
	@test/cluster/packages.sh && test/cluster/build.sh
	@node test/run.ts unit parity wire apiserver chart cluster

test-unit test-parity test-wire: native
	@node test/run.ts $(@:test-%=%)
test-apiserver test-chart: native
	@test/cluster/packages.sh && test/cluster/build.sh
	@node test/run.ts $(@:test-%=%)
test-cluster: native ## The main job on real pods, with faults
	@test/cluster/packages.sh && test/cluster/build.sh
	@node test/run.ts cluster

bench: native ## Measure beside a peer (SUITE=engine); prints a table and writes bench.json
	@node test/bench/$(SUITE).ts

cluster: ## Start a real single-node Kubernetes
	@test/cluster/up.sh && echo "export KUBECONFIG=$(CACHE)/run/demo/admin.conf PATH=$(CACHE)/bin:\$$PATH"
cluster-down: ## Stop it and remove its state
	@test/cluster/down.sh
images: native ## Build the operator's and the trainer's image
	@test/cluster/images.sh

generate: $(DEPS) ## Types and chart from crds/, stubs from proto/
	@cd proto && buf generate
	@node operator/api/generate.ts && node charts/humanizer/generate.ts

verify: native generate ## Lint, types, formats, and that generated files are current
	@git diff --exit-code --stat -- proto/generated operator/api/generated charts || { echo "generated files are stale: run make generate and commit"; exit 1; }
	@biome ci --error-on-warnings . && tsc -p . && (cd proto && buf lint)
	@clang-format --dry-run --Werror $(wildcard trainer-image/native/*.cc trainer-image/native/*.h test/*/*.cc test/*/*.h)

clean: ## Remove what was built in this tree
	@rm -rf build node_modules bench.json

.PHONY: help native sanitized demo test test-unit test-parity test-wire test-apiserver test-chart test-cluster bench cluster cluster-down images generate verify clean
