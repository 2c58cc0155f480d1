import sys
import time
from pathlib import Path

from regression_population import everything, make

if __name__ == "__main__":
    root = Path(sys.argv[1])
    start = time.time()
    wanted = everything()
    print(len(wanted), flush=True)
    for number, name in enumerate(make(root, wanted, "first", 2)):
        print(f"{time.time() - start:7.0f} s  {number + 1}/{len(wanted)}  {name}", flush=True)
