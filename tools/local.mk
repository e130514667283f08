# Scripts: what quickstart calls, and what those who change the code run.
EXTRA_DIST += \
	tests/plant.table \
	tools/check-floors \
	tools/demo \
	tools/fresh-machine \
	tools/helgrind.supp \
	tools/mutants \
	tools/mutate \
	tools/plant \
	tools/plot-bench \
	tools/soak \
	tools/spin-check \
	tools/test-counts \
	tools/variants.sh
# For programs that use the library, too.
dist_pkgdata_DATA = tools/valgrind.supp
