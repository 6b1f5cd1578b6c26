# SPDX-License-Identifier: GPL-2.0
# Python's own tests for python.sh and python_ipc.sh, to be sourced.

# regrtest OPTION|TEST...: by a user who is not root; each case and its result
regrtest() {
	rm -rf junit.xml tmp
	mkdir -m 1777 tmp
	chown nobody: .
	# Not the Python of who runs this, but that of the tests.
	HOME=$PWD TMPDIR=$PWD/tmp as nobody /usr/bin/python3 -m test -j1 \
		--timeout 600 --tempdir "$PWD/tmp" --junit-xml "$PWD/junit.xml" \
		"$@" >&2
	/usr/bin/python3 - <<-'END'
	import xml.etree.ElementTree as xml

	for case in xml.parse("junit.xml").iter("testcase"):
	    said = {child.tag for child in case} & {"error", "failure", "skipped"}
	    print(case.get("name"), *(said or {"passed"}))
	END
}

count() {
	awk '{ n[$NF]++ } END { for (r in n) printf "%d %s ", n[r], r }'
}
