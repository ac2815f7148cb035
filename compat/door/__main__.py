"""`python -m celeriac`: the command line, once it is built."""

import sys

sys.exit("celeriac: the command line is not built yet; what is there today is celeriac.protocol (see README.md)")
