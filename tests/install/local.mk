# The program of the variant "install": built against what was installed.
EXTRA_DIST += tests/install/main.c
