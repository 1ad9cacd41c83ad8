"""One process of several, started by ``countersign serve``."""

import sys

from countersign.server.serve import run_worker

if __name__ == "__main__":
    run_worker(int(sys.argv[1]), int(sys.argv[2]))
