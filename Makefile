# Every target sets up what it needs: `make demo` and `make test` run on a fresh machine.
PYTHON ?= $(or $(shell command -v python3.11),$(shell command -v python3))
BIN := .venv/bin
STAMP := .venv/.installed
PACKAGES := rvq_action tokenizer_training vla analysis

ABLATION := runs/ablation
ROWS = $(ABLATION)/rows
TEACHERS :=

DEMO := runs/demo
DEMO_TASKS := drawer-close-v3 drawer-open-v3 door-open-v3 \
              button-press-topdown-v3 push-v3 pick-place-v3
DEMO_EPISODES := 12

POLICY := runs/policy
POLICY_TASKS := drawer-close-v3 button-press-topdown-v3 door-close-v3
POLICY_EPISODES := 40
STARTS := 20

TOKENS := runs/tokens
TOKEN_ROWS := docs/experiments/tokens

SUITE := runs/suite
SUITE_TASKS := button-press-topdown-v3 button-press-v3 coffee-button-v3 door-close-v3 \
               door-open-v3 drawer-close-v3 drawer-open-v3 faucet-open-v3 handle-press-v3 \
               plate-slide-v3 reach-v3 window-open-v3
SUITE_EPISODES := 20
SUITE_STEPS := 3600
SUITE_KEPT := 1200
SUITE_OPTIONS :=

TOKENIZERS :=

SYSTEM_PACKAGES := libosmesa6 libegl1 libgl1-mesa-dri

PLUGIN := vla/lerobot_policy_rvq
PYTHON_LATEST ?= $(or $(shell command -v python3.12),$(shell command -v python3.13))
LEROBOT := .venv-lerobot
LATEST := .venv-lerobot-latest
LATEST_EXTRAS := training,core-scripts,async,peft,pi,feetech,dynamixel
LEROBOT_NEEDS := draccus diffusers accelerate datasets deepdiff opencv-python-headless rerun-sdk wandb \
                 grpcio protobuf pandas jsonlines pyserial imageio-ffmpeg termcolor toml einops scipy pytest \
                 feetech-servo-sdk dynamixel-sdk

.PHONY: help install system test test-lerobot test-lerobot-latest test-cuda stress soak lint format demo policy suite \
        tokens ablation

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 21

install: $(STAMP)  ## Build .venv with every extra from constraints.txt (a no-op when up to date)

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 not found. Install it, or: make PYTHON=/path/to/python3.11"; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is $$("$(PYTHON)" --version), but rvq-action needs Python 3.11 or newer."; \
	  echo "Install it, or: make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/pip || "$(PYTHON)" -m venv .venv || { rm -rf .venv; \
	  echo "The venv module is missing; on Debian: apt-get install python3.11-venv"; exit 1; }
	$(BIN)/pip install --quiet -c constraints.txt -e '.[all]'
	$(BIN)/pip install --quiet -c constraints.txt --no-deps openpi-client
	@touch $@

system: $(STAMP)  ## Make off-screen rendering possible, where that can be done without asking
	@$(BIN)/python -m vla.deploy.robots.rendering --quiet || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "Off-screen rendering does not work yet; installing $(SYSTEM_PACKAGES)."; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	      apt-get install -y -qq --no-install-recommends $(SYSTEM_PACKAGES) >/dev/null; \
	  fi; $(BIN)/python -m vla.deploy.robots.rendering; } || true

test: install system  ## Run the CPU test suite
	$(BIN)/python -m pytest

# The tests of draccus, which it installs in place of ours, go; torchvision comes to terms with a CPU's torch.
define finish_lerobot
	rm -rf $(@D)/lib/python3.*/site-packages/tests
	cp $(PLUGIN)/tests/torchvision_schemas.py $(@D)/lib/python3.*/site-packages/
	echo "import torchvision_schemas" > $$(echo $(@D)/lib/python3.*/site-packages)/torchvision_schemas.pth
	@touch $@
endef

define test_lerobot
	@$(1)/bin/python -c 'import torchcodec' 2>/dev/null \
	  && $(1)/bin/python -m vla.deploy.robots.rendering --quiet || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	      apt-get install -y -qq --no-install-recommends ffmpeg $(SYSTEM_PACKAGES) >/dev/null; \
	  else echo "LeRobot decodes videos with the system's FFmpeg; install ffmpeg $(SYSTEM_PACKAGES)."; \
	    exit 1; fi; }
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(1)/bin/python -m pytest -c $(PLUGIN)/pyproject.toml --rootdir . $(PLUGIN)/tests
endef

$(LEROBOT)/.installed: constraints-lerobot.txt pyproject.toml $(PLUGIN)/pyproject.toml
	@test -x $(LEROBOT)/bin/pip || "$(PYTHON)" -m venv $(LEROBOT) || { rm -rf $(LEROBOT); \
	  echo "The venv module is missing; on Debian: apt-get install python3.11-venv"; exit 1; }
	$(LEROBOT)/bin/pip install --quiet -c constraints-lerobot.txt -e '.[hub,data,train,vla,sim]' \
	  $(LEROBOT_NEEDS)
	$(LEROBOT)/bin/pip install --quiet --no-deps -c constraints-lerobot.txt lerobot torchvision torchcodec
	$(LEROBOT)/bin/pip install --quiet --no-deps -e $(PLUGIN)
	$(finish_lerobot)

$(LATEST)/.installed: constraints-lerobot-latest.txt pyproject.toml $(PLUGIN)/pyproject.toml
	@"$(PYTHON_LATEST)" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null || { \
	  echo "LeRobot's newest release needs Python 3.12 or newer. Install it, or:"; \
	  echo "  make test-lerobot-latest PYTHON_LATEST=/path/to/python3.12"; exit 1; }
	@test -x $(LATEST)/bin/pip || "$(PYTHON_LATEST)" -m venv $(LATEST) || { rm -rf $(LATEST); \
	  echo "The venv module is missing; on Debian: apt-get install python3.12-venv"; exit 1; }
	$(LATEST)/bin/pip install --quiet -c constraints-lerobot-latest.txt 'lerobot[$(LATEST_EXTRAS)]' \
	  -e '.[hub,data,train,vla,sim]' -e $(PLUGIN) pytest
	$(finish_lerobot)

test-lerobot: $(LEROBOT)/.installed  ## Run our tests of LeRobot's own programs, in an environment of its own
	$(call test_lerobot,$(LEROBOT))

test-lerobot-latest: $(LATEST)/.installed  ## The same with LeRobot's newest release, on Python 3.12
	$(call test_lerobot,$(LATEST))

test-cuda: install  ## Run the tests that need a GPU
	$(BIN)/python -m pytest -m cuda

# TOKENIZERS: directories of artefacts that are to decode as many.
stress: install  ## Decode 300,000 token sequences a robot: random, whole and corrupted ones
	RVQ_ACTION_TOKENIZERS="$(TOKENIZERS)" $(BIN)/python -m pytest -m stress -s

soak: install  ## Drive a stand-in robot for ten minutes at 50 Hz: memory, threads, files, deadlines
	$(BIN)/python -m tests.vla.deploy.soak 600

lint: install  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install  ## Rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

demo: install system  ## Demonstrations -> features -> tokenizer -> report in runs/demo/report
	$(BIN)/rvq-vla demos --tasks $(DEMO_TASKS) --episodes $(DEMO_EPISODES) --out $(DEMO)/metaworld
	$(BIN)/rvq-train features --data.datasets $(DEMO)/metaworld --out $(DEMO)/features
	$(BIN)/rvq-train fit --config demo --data.datasets $(DEMO)/metaworld \
	  --data.features $(DEMO)/features --run_dir $(DEMO)/rvq
	$(BIN)/rvq-analysis compare --tokenizers $(DEMO)/rvq/tokenizer --data $(DEMO)/metaworld \
	  --features $(DEMO)/features --out $(DEMO)/report

policy: install system  ## Demonstrations -> tokens -> a policy of three tasks -> its success in runs/policy
	$(BIN)/rvq-vla demos --tasks $(POLICY_TASKS) --episodes $(POLICY_EPISODES) --image_size 112 \
	  --out $(POLICY)/metaworld
	$(BIN)/rvq-train fit --config tokens16 --trainer.max_steps 0 --data.datasets $(POLICY)/metaworld \
	  --run_dir $(POLICY)/tokens
	$(BIN)/rvq-vla train --config tiny --tokenizer $(POLICY)/tokens/tokenizer \
	  --data.datasets $(POLICY)/metaworld --run_dir $(POLICY)/run
	$(BIN)/rvq-vla rollout --policy $(POLICY)/run/policy --tasks $(POLICY_TASKS) --starts $(STARTS) \
	  --out $(POLICY)/flow --video 1
	$(BIN)/rvq-vla rollout --policy $(POLICY)/run/policy --tasks $(POLICY_TASKS) --starts $(STARTS) \
	  --out $(POLICY)/shuffled --control shuffled --data $(POLICY)/metaworld

suite: install system  ## Twelve tasks -> a policy -> its checkpoints on those and five unseen ones in runs/suite
	$(BIN)/rvq-vla demos --tasks $(SUITE_TASKS) --episodes $(SUITE_EPISODES) --image_size 112 \
	  --out $(SUITE)/metaworld
	$(BIN)/rvq-train fit --config tokens16 --trainer.max_steps 0 --data.datasets $(SUITE)/metaworld \
	  --run_dir $(SUITE)/tokens
	$(BIN)/rvq-vla train --config tiny --tokenizer $(SUITE)/tokens/tokenizer \
	  --data.datasets $(SUITE)/metaworld --run_dir $(SUITE)/run \
	  --trainer.max_steps $(SUITE_STEPS) --keep_policy_every_n_steps $(SUITE_KEPT)
	$(BIN)/rvq-vla suite --policies $(SUITE)/run/policies/step-* --suite metaworld17 \
	  --out $(SUITE)/outcomes --video 1 $(SUITE_OPTIONS)
	$(BIN)/rvq-analysis rollouts --runs $(SUITE)/outcomes --out $(SUITE)/report

# One thread each: the same tokenizers, to the bit, and so the rows that are there already.
tokens: export OMP_NUM_THREADS := 1
tokens: install system  ## The same policy with four kinds of action tokens, three seeds each -> report in runs/tokens
	$(BIN)/rvq-vla demos --tasks $(POLICY_TASKS) --episodes $(POLICY_EPISODES) --image_size 112 \
	  --out $(TOKENS)/demos
	$(BIN)/rvq-vla bridge --data $(TOKENS)/demos --out $(TOKENS)/questions
	$(BIN)/rvq-train features --data.datasets $(TOKENS)/demos --out $(TOKENS)/features
	$(BIN)/rvq-train fit --config tokens16 --trainer.max_steps 400 --data.datasets $(TOKENS)/demos \
	  --run_dir $(TOKENS)/plain
	$(BIN)/rvq-train fit --config aligned --closed_form.slots 4 --trainer.max_steps 400 \
	  --data.datasets $(TOKENS)/demos --data.features $(TOKENS)/features --run_dir $(TOKENS)/aligned
	$(BIN)/rvq-vla ablate --data $(TOKENS)/demos --bridge $(TOKENS)/questions --max_steps 800 \
	  --tokenizers vision_aligned=$(TOKENS)/aligned/tokenizer plain_rvq=$(TOKENS)/plain/tokenizer \
	  --rows $(TOKEN_ROWS) --runs $(TOKENS)/runs
	$(BIN)/rvq-analysis tokens --rows $(TOKEN_ROWS) --out $(TOKENS)/report

# TEACHERS: NAME=CACHE of every other teacher to try, from `rvq-train features`.
ablation: install  ## Train every recipe on DATA with the features in CACHE -> rows and report in runs/ablation; on from the published rows: ROWS=docs/experiments/ablation
	@test -n "$(DATA)" -a -n "$(CACHE)" || { \
	  echo "Which datasets, and where may their visual features be kept? For example:"; \
	  echo "  make ablation DATA=$(DEMO)/metaworld CACHE=runs/features"; exit 1; }
	$(BIN)/rvq-train features --data.datasets $(DATA) --out $(CACHE)
	$(BIN)/rvq-train ablate --data.datasets $(DATA) --features $(CACHE) $(TEACHERS) \
	  --out $(ROWS) --runs_dir $(ABLATION)
	$(BIN)/rvq-analysis ablation --rows $(ROWS) --runs_dir $(ABLATION) --features $(CACHE) \
	  --data $(DATA) --out $(ABLATION)/report
