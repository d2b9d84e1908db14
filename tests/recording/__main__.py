"""`python -m tests.recording`: record.py's command."""

import sys

from tests.recording.record import main

sys.exit(main())
