# Scripts: what quickstart calls, and what those who change the code run.
EXTRA_DIST += \
	tools/demo \
	tools/test-counts \
	tools/variants.sh
