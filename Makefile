# `make` alone lists the targets.
PYTHON ?= python3
VENV ?= .venv
# Versions that need pinning; give CONSTRAINTS=/dev/null, or a file of your own, to lift or replace the pins.
CONSTRAINTS ?= constraints.txt
DEMO ?= demo
# Where `make bench` keeps the environments of other projects, about 8 GB, and what it measured.
RIVALS ?= .rivals

# The environment of `make test-recipes`: the code of other projects that recipes follow.
RELEASED ?= .recipes

# Where `make sanitize` builds.
SANITIZED ?= .sanitized

# Where this is set, each of the many processes that tests start compiles every module anew.
export PYTHONDONTWRITEBYTECODE =

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# What the compiled cores are built of; where there is no compiler, the install goes on without them.
SOURCES := $(wildcard loader/*/*.[ch] preprocess/*/*.[ch])

.PHONY: help install demo convert verify ci lint format test test-slow wheel test-wheel test-frameworks test-recipes test-pages test-device fuzz-store fuzz-inputs sanitize soak docs pictures bench clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-16s %s\n", $$1, $$2}'

install: $(STAMP) ## make the environment in .venv, with all that the other targets need

$(STAMP): pyproject.toml $(CONSTRAINTS) $(SOURCES)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint $(CONSTRAINTS) --editable '.[card,demo,lint,look,test]'
	@$(BIN)/resizeonce info --environment | head -n 2
	@touch $@

demo: $(STAMP) ## write small raw datasets, convert each, read a batch of each through the loader
	$(BIN)/python examples/demo.py $(DEMO)

convert: $(STAMP) ## convert a dataset: make convert CONFIG=coco ROOT=... OUT=... [ARGS=...]
	$(BIN)/resizeonce convert $(CONFIG) --root $(ROOT) --out $(OUT) $(ARGS)

verify: $(STAMP) ## check a store: make verify STORE=... [ARGS=...]
	$(BIN)/resizeonce verify $(STORE) $(ARGS)

ci: lint test ## what CI runs

lint: $(STAMP) ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: $(STAMP) ## the test suite
	$(BIN)/python -m pytest -n 3 --dist worksteal

test-slow: $(STAMP) ## what the suite leaves out: wide grids, and installs
	$(BIN)/python -m pytest -n 3 --dist worksteal -m slow

wheel: $(STAMP) ## build dist/: the source distribution, and of that alone a wheel for each Linux that auditwheel says it runs on
	$(BIN)/pip install --quiet --constraint $(CONSTRAINTS) --editable '.[wheel]'
	rm -rf dist
	$(BIN)/python -m build --quiet --outdir dist
	@test $$($(BIN)/python -m zipfile --list dist/*.whl | grep -c _core.abi3.so) = 2 || { echo 'error: the wheel lacks a compiled core: is there a C compiler?'; exit 1; }
	PATH=$(abspath $(BIN)):$$PATH $(BIN)/auditwheel repair --wheel-dir dist dist/*-linux_*.whl
	rm dist/*-linux_*.whl
	$(BIN)/abi3audit --strict --verbose dist/*.whl

test-wheel: $(STAMP) ## install each form of the wheel, and none of the compiled cores, into clean environments, convert and train there
	$(BIN)/pip install --quiet --constraint $(CONSTRAINTS) --editable '.[wheel]'
	$(BIN)/python -m pytest -m "" tests/test_packaging.py

test-frameworks: $(STAMP) ## install Lightning, accelerate and torchdata, and train with each
	$(BIN)/pip install --quiet --constraint $(CONSTRAINTS) --editable '.[frameworks]'
	$(BIN)/python -m pytest tests/loader/test_frameworks.py

test-recipes: $(RELEASED)/.installed ## install what published trainers call, and compare each recipe's tensors with what that makes
	$(RELEASED)/bin/python -m pytest tests/recipes -rs

# SAM 2's package is built with the torch that is there: pip would fetch another one for it, with CUDA. SAM 3's asks for
# older packages than the others take; its transforms need none of them.
$(RELEASED)/.installed: pyproject.toml $(CONSTRAINTS) $(SOURCES)
	$(PYTHON) -m venv $(RELEASED)
	$(RELEASED)/bin/pip install --quiet --constraint $(CONSTRAINTS) --editable '.[test,recipes]'
	SAM2_BUILD_CUDA=0 $(RELEASED)/bin/pip install --quiet --no-build-isolation --no-deps sam2==1.1.0 sam3==0.1.4
	@touch $@

test-pages: $(STAMP) ## install selenium, and look at a report in the system's headless Chromium: light, dark, on a phone's width, by keyboard
	$(BIN)/pip install --quiet --constraint $(CONSTRAINTS) --editable '.[pages]'
	$(BIN)/python -m pytest tests/pages -rs

test-device: $(STAMP) ## on a machine with a CUDA device, and a torch for it: copies to it, and the same bits there
	$(BIN)/python -m pytest tests/loader/test_device.py tests/loader/test_compact.py -rs

fuzz-store: $(STAMP) ## flip 2,000 bits of small stores, forge 5,000 under right checksums, let servers lie 500 times: each found, harmless or refused
	PYTHONPATH=tests/support:examples $(BIN)/python tests/fuzz/fuzz_store.py 2000
	PYTHONPATH=tests/support:examples $(BIN)/python tests/fuzz/fuzz_forged.py 5000
	PYTHONPATH=tests/support:examples $(BIN)/python tests/fuzz/fuzz_servers.py 500

fuzz-inputs: $(STAMP) ## convert 2,000 damaged raw datasets; each must give rejects or right samples
	PYTHONPATH=tests/support:examples $(BIN)/python tests/fuzz/fuzz_inputs.py --count 2000 --seed 0

sanitize: $(STAMP) ## build the compiled cores with AddressSanitizer and UndefinedBehaviorSanitizer in a copy, and test and fuzz them there
	rm -rf $(SANITIZED)
	mkdir $(SANITIZED)
	cp -a loader preprocess configs resizeonce docs tests examples pyproject.toml $(SANITIZED)
	for core in loader preprocess; do \
		$(CC) -shared -fPIC -std=c11 -g -O1 -Wall -Wextra -Werror -fno-omit-frame-pointer \
			-fsanitize=address,undefined -fno-sanitize-recover=all \
			-DPy_LIMITED_API=0x030B0000 -I loader/format \
			-I $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("include"))') \
			-o $(SANITIZED)/$$core/kernels/_core.abi3.so $$core/kernels/core.c -lm || exit; \
	done
	cd $(SANITIZED) && PYTHON=$(abspath $(BIN))/python CC=$(CC) sh tests/support/sanitized.sh

soak: $(STAMP) ## kill conversions of every source 200 times at random moments; the stores must be those of undisturbed runs
	PYTHONPATH=tests/support:examples $(BIN)/python tests/fuzz/soak.py 200

docs: $(STAMP) ## write docs/cli.md from the commands' own help, and the pictures of docs/recipes.md
	$(BIN)/python tests/support/cli_page.py
	$(BIN)/python tests/support/recipe_pictures.py

pictures: $(STAMP) ## draw the README's pictures from the data of `make demo`
	PYTHONPATH=examples $(BIN)/python tests/support/demo_pictures.py

bench: $(STAMP) ## the benchmarks of benchmarks/README.md with the other projects that install, and the README's table
	$(BIN)/python benchmarks/convert.py --facts $(RIVALS)/convert.json \
		--rivals $$($(BIN)/python benchmarks/rivals/environments.py $(RIVALS) mds litdata ffcv)
	$(BIN)/python benchmarks/loading.py --samples 512 --facts $(RIVALS)/loading.json \
		--rivals $$($(BIN)/python benchmarks/rivals/environments.py $(RIVALS))
	$(BIN)/python benchmarks/views.py
	$(BIN)/python benchmarks/sav_clips.py
	$(BIN)/python benchmarks/scale.py
	PYTHONPATH=benchmarks $(BIN)/python -m rivals.image_codecs
	$(BIN)/python tests/support/readme_table.py $(RIVALS)/convert.json $(RIVALS)/loading.json

clean: ## remove what the targets made
	rm -rf $(VENV) $(DEMO) $(RIVALS) $(RELEASED) $(SANITIZED) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
