# Scripts: what quickstart calls, and what those who change the code run.
EXTRA_DIST += \
	tools/check-floors \
	tools/demo \
	tools/fresh-machine \
	tools/test-counts \
	tools/valgrind.supp \
	tools/variants.sh
