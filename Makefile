# Humanizer. `make` lists what there is. What is built once lies in $HUMANIZER_CACHE (default ~/.cache/humanizer), keyed by content.
SHELL := bash
.DEFAULT_GOAL := help
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
CACHE := $(or $(HUMANIZER_CACHE),$(HOME)/.cache/humanizer)
OPERATOR_SOURCES := $(shell find operator proto/generated -name '*.ts' ! -name '*.test.ts')
GENERATED := proto/generated operator/api/generated charts/humanizer/templates/crds charts/humanizer/argocd/argocd-cm.yaml
DEPS := node_modules/.package-lock.json
SUITE ?= engine
include trainer-image/native/native.mk

help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

$(DEPS): package-lock.json
	@npm install --no-save --no-audit --no-fund --loglevel=error # not ci: it refuses a lock written where other platforms' binaries are not served
	@touch $@

# The operator as its image has it, and the same with the tests' controller. One file each: loading the packages' two thousand costs a second.
OPERATORS := build/operator.mjs build/widget-operator.mjs
build/operator.mjs: ENTRY := operator/main.ts
build/widget-operator.mjs: ENTRY := test/apiserver/widget-operator.ts
$(OPERATORS): $(OPERATOR_SOURCES) $(wildcard test/apiserver/widget*.ts) | $(DEPS)
	@node operator/bundle.ts $(ENTRY) $@

operator: build/operator.mjs ## Bundle the operator into one file

demo: native ## The whole story on a real cluster, or on yours: CONTEXT= REGISTRY= STORAGE_CLASS= ACCESS_MODE=
	@node test/cluster/demo.ts $(if $(CONTEXT),--context $(CONTEXT)) $(if $(REGISTRY),--registry $(REGISTRY)) \
	  $(if $(STORAGE_CLASS),--storage-class $(STORAGE_CLASS)) $(if $(ACCESS_MODE),--access-mode $(ACCESS_MODE)) $(if $(SHORT),--short)

test: native $(OPERATORS) ## All of the following; ends with one line: N passed, N failed
	@test/cluster/packages.sh && test/cluster/build.sh
	@node test/run.ts unit parity wire apiserver chart cluster documents cuda
test-unit: native ## Single modules, tested beside their source
test-parity: native ## The engine against PyTorch, PEFT and bitsandbytes
test-cuda: native ## The CUDA kernels on an emulated device, and compiled by NVIDIA's compiler
test-wire: native ## Trainer and server over real sockets
test-unit test-parity test-cuda test-wire:
	@node test/run.ts $(@:test-%=%)
test-apiserver: native $(OPERATORS) ## The controllers on a real API server
test-chart: native ## The chart, rendered and installed; Argo CD's health checks
test-cluster: native build/operator.mjs ## The main job on real pods, with faults; the commands of the documents
test-apiserver test-chart test-cluster:
	@test/cluster/packages.sh && test/cluster/build.sh
	@node test/run.ts $(@:test-%=%) $(if $(@:test-cluster=),,documents)

bench: native ## Measure (SUITE=engine, profile, ablation, data, detector or release): prints a table, writes bench.json; engine fails under 60 % of the peak
	@$(if $(filter release,$(SUITE)),test/cluster/packages.sh && test/cluster/build.sh &&) node test/bench/$(SUITE).ts

cuda: $(DEPS) ## Compile the CUDA kernels and write what they take to docs/gpu-resources.md
	@node test/cuda/report.ts

gpu: $(DEPS) ## On a machine with an NVIDIA driver: compare the GPU with the CPU and measure; writes gpu.json and gpu.md
	@node test/gpu/main.ts

cluster: ## Start a real single-node Kubernetes
	@test/cluster/up.sh && echo "export KUBECONFIG=$(CACHE)/run/demo/admin.conf PATH=$(CACHE)/bin:\$$PATH"
cluster-down: ## Stop it and remove its state
	@test/cluster/down.sh
images: native ## Build the images and write their names to build/*.yaml; REGISTRY=host/path pushes them, ENGINE=cuda has the kernels
	@DEMO_FILES=1 NAMES=build test/cluster/images.sh

generate: $(DEPS) ## Types and chart from crds/, stubs from proto/
	@cd proto && buf generate
	@node operator/api/generate.ts && node charts/humanizer/generate.ts

verify: native generate ## Lint, types, formats, and that generated files are current
	@changed=$$(git status --porcelain -- $(GENERATED)) && ! grep '^.[^ ]' <<<"$$changed" || \
	  { echo "generated files are stale: commit these"; exit 1; }
	@test/cluster/packages.sh && node test/cuda/report.ts --check
	@biome ci --error-on-warnings . && tsc -p . && (cd proto && buf lint)
	@clang-format --dry-run --Werror $(wildcard trainer-image/native/*.cc trainer-image/native/*.h test/*/*.cc test/*/*.h) \
	  $(filter %.cc %.h %.cu %.cuh,$(CUDA_SOURCES)) $(wildcard test/gpu/device/*/*.h)

clean: ## Remove what was built in this tree
	@rm -rf build node_modules bench.json gpu.json gpu.md

.PHONY: help operator demo test test-unit test-parity test-cuda test-wire test-apiserver test-chart test-cluster bench cuda gpu cluster cluster-down images generate verify clean # operator is a folder, too
