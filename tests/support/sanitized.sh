#!/bin/sh
# In a copy whose compiled cores are built with sanitizers (`make sanitize`): tests and fuzzers, and no report of any process.
set -u

# An interpreter that was built without them has to load them first, and so do the processes that it starts.
LD_PRELOAD="$($CC -print-file-name=libasan.so) $($CC -print-file-name=libubsan.so)"
# What is left at the end of an interpreter is no leak of ours. Python's own allocator would hide where an object ends.
# A process may die unnoticed, for another takes its place: each report is a file. UndefinedBehaviorSanitizer writes none of
# its own, but aborts, which AddressSanitizer reports, whatever handles that signal otherwise.
ASAN_OPTIONS="detect_leaks=0:handle_abort=2:log_path=$PWD/report"
UBSAN_OPTIONS="print_stacktrace=1:abort_on_error=1:log_path=$PWD/report"
export LD_PRELOAD ASAN_OPTIONS UBSAN_OPTIONS PYTHONMALLOC=malloc
export PYTHONPATH="$PWD:tests/support:examples"

"$PYTHON" -c 'from resizeonce.loader.kernels import _core; print("sanitized:", _core.__file__)' &&
"$PYTHON" -m pytest -n 2 -p no:cacheprovider tests/*/kernels tests/loader/format tests/loader/test_fill.py \
    tests/preprocess/tensors tests/test_golden.py tests/end_to_end/test_without_core.py &&
"$PYTHON" tests/fuzz/fuzz_store.py 50 &&
"$PYTHON" tests/fuzz/fuzz_forged.py 50 &&
"$PYTHON" tests/fuzz/fuzz_inputs.py --count 50 --seed 0
status=$?

for report in report*; do
    [ ! -e "$report" ] || { cat "$report"; status=1; }
done
exit $status
